//! Programs and libraries of the system.

use std::path::Path;

use super::{
    apt,
    need::{Cure, Need},
};
use crate::shell;

/// Something of the system: how its presence is seen, its package, what it is for.
struct Part {
    sign: Sign,
    package: &'static str,
    why: &'static str,
}

enum Sign {
    Program(&'static str),
    File(&'static str),
}

const PARTS: [Part; 11] = [
    Part { sign: Sign::Program("cc"), package: "gcc", why: "links every Rust program" },
    Part { sign: Sign::File("/usr/include/stdio.h"), package: "libc6-dev", why: "what programs are linked with" },
    Part { sign: Sign::Program("ip"), package: "iproute2", why: "network namespaces for the demo and the tests" },
    Part { sign: Sign::Program("ping"), package: "iputils-ping", why: "marked traffic for the demo and the tests" },
    Part { sign: Sign::Program("tcpdump"), package: "tcpdump", why: "the tests compare what we count with captures" },
    Part { sign: Sign::Program("nft"), package: "nftables", why: "the tests mark beside us, and read our filters" },
    Part {
        sign: Sign::Program("iptables"),
        package: "iptables",
        why: "the tests mark beside us, and read our filters",
    },
    Part { sign: Sign::Program("ethtool"), package: "ethtool", why: "the tests switch offloads on and off" },
    Part { sign: Sign::Program("prometheus"), package: "prometheus", why: "scrapes the service in its tests" },
    Part {
        sign: Sign::Program("promtool"),
        package: "prometheus",
        why: "reads the metrics of the service in its tests",
    },
    Part {
        sign: Sign::File("/lib/systemd/systemd"),
        package: "systemd",
        why: "runs the unit of the service in its tests, apart from the one that runs this machine",
    },
];

/// What measuring needs beside them.
const OF_BENCH: [Part; 2] = [
    Part {
        sign: Sign::File("/usr/include/linux/bpf.h"),
        package: "linux-libc-dev",
        why: "what the floors need of the kernel's interface",
    },
    Part { sign: Sign::Program("strip"), package: "binutils", why: "how large the binary is without symbols" },
];

/// For fuzzing.
const OF_FUZZ: [Part; 1] =
    [Part { sign: Sign::Program("c++"), package: "g++", why: "builds libFuzzer, which runs the fuzz targets" }];

/// For guests with other kernels.
const GUEST_PARTS: [Part; 12] = [
    Part { sign: Sign::Program("strip"), package: "binutils", why: "makes the programs of a guest small" },
    Part { sign: Sign::Program("qemu-system-x86_64"), package: "qemu-system-x86", why: "boots other kernels" },
    Part { sign: Sign::File("/bin/busybox"), package: "busybox-static", why: "the shell of a guest" },
    Part { sign: Sign::Program("ip"), package: "iproute2", why: "network namespaces in a guest" },
    Part { sign: Sign::Program("nft"), package: "nftables", why: "flowtables in a guest" },
    Part { sign: Sign::Program("wg"), package: "wireguard-tools", why: "keys for WireGuard in a guest" },
    Part { sign: Sign::Program("modprobe"), package: "kmod", why: "which modules a module depends on" },
    Part { sign: Sign::Program("cpio"), package: "cpio", why: "packs the file system of a guest" },
    Part { sign: Sign::Program("zstd"), package: "zstd", why: "unpacks kernel modules" },
    Part { sign: Sign::Program("xz"), package: "xz-utils", why: "unpacks kernel modules" },
    Part { sign: Sign::Program("dpkg-deb"), package: "dpkg", why: "unpacks kernels" },
    Part {
        sign: Sign::File("/usr/share/keyrings/debian-archive-keyring.gpg"),
        package: "debian-archive-keyring",
        why: "kernels are taken only as Debian has signed them",
    },
];

/// What is missing of them.
pub fn needs() -> Vec<Need> {
    let mut needs = missing(&PARTS, is_there);
    needs.extend(bpftool(shell::has_program, apt::has));
    needs
}

/// Ubuntu has it in packages of each kernel alone. Tests that need it say what they leave out without it.
fn bpftool(has_program: impl Fn(&str) -> bool, has_package: impl Fn(&str) -> bool) -> Option<Need> {
    let (name, why) = ("bpftool", "the tests type what doctor says of the programs of others");
    let cure = || Need { what: name.to_owned(), why, cure: Cure::Package(name.to_owned()) };
    (!has_program(name) && has_package(name)).then(cure)
}

/// What is missing to measure.
pub fn for_bench() -> Vec<Need> {
    let mut needs = missing(&OF_BENCH, is_there);
    needs.extend(clang(shell::has_program, apt::has));
    needs
}

/// The clang of the LLVM that compiles qosbpf, so that floors have a compiler that is as good; where there is no package of
/// it, the one of the distribution.
fn clang(has_program: impl Fn(&str) -> bool, has_package: impl Fn(&str) -> bool) -> Option<Need> {
    let same = qos_build::compiler().and_then(|compiler| compiler.llvm_major()).map(|llvm| format!("clang-{llvm}"));
    let same = same.filter(|name| has_program(name) || has_package(name));
    let name = same.unwrap_or_else(|| "clang".to_owned());
    let why = "compiles the floors that qosbpf is measured against";
    (!has_program(&name)).then(|| Need { what: name.clone(), why, cure: Cure::Package(name) })
}

/// What is missing to fuzz.
pub fn fuzz_needs() -> Vec<Need> {
    missing(&OF_FUZZ, is_there)
}

/// What is missing for guests with other kernels.
pub fn guest_needs() -> Vec<Need> {
    missing(&GUEST_PARTS, is_there)
}

fn is_there(sign: &Sign) -> bool {
    match sign {
        Sign::Program(name) => shell::has_program(name),
        Sign::File(path) => Path::new(path).exists(),
    }
}

fn missing(parts: &[Part], present: impl Fn(&Sign) -> bool) -> Vec<Need> {
    let missing = parts.iter().filter(|part| !present(&part.sign));
    missing
        .map(|part| Need { what: part.package.to_owned(), why: part.why, cure: Cure::Package(part.package.to_owned()) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_clang_is_asked_for_where_there_is_one() {
        let asked = |there: bool, package: bool| clang(|_| there, |_| package).map(|need| need.what);
        assert_eq!(asked(true, false), None);
        assert!(asked(false, true).is_some_and(|name| name.starts_with("clang-")));
        assert_eq!(asked(false, false).as_deref(), Some("clang"));
    }

    #[test]
    fn bpftool_is_asked_for_where_there_is_a_package_of_it() {
        assert!(bpftool(|_| true, |_| true).is_none() && bpftool(|_| false, |_| false).is_none());
        assert_eq!(bpftool(|_| false, |_| true).map(|need| need.what).as_deref(), Some("bpftool"));
    }

    #[test]
    fn what_is_there_is_not_asked_for() {
        let needs = missing(&PARTS, |sign| !matches!(sign, Sign::Program("nft" | "ping")));
        let packages: Vec<_> = needs.iter().filter_map(Need::package).collect();
        assert_eq!(packages, ["iputils-ping", "nftables"]);
        assert!(missing(&PARTS, |_| true).is_empty());
    }
}
