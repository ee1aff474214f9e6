//! The host: kernel, privileges, bpf file system.

use super::{
    Command, Cure, Finding,
    facts::{Bpffs, BpffsState, Host},
};

/// The oldest kernel that is tried.
const OLDEST: (u32, u32) = (5, 10);

/// Machines of which Linux says that reading a word at any address is cheap. On others the verifier may refuse programs.
const UNALIGNED: [&str; 8] = ["x86_64", "i686", "aarch64", "armv6l", "armv7l", "ppc64le", "s390x", "loongarch64"];

/// The first kernel for real-time work in which a hook may be interrupted by another of the same CPU.
const UNLOCKED: (u32, u32) = (6, 18);

const HOST: &str = "host";

/// What is found about the host, by whoever asks about it, or about an interface.
#[must_use]
pub fn host(host: &Host, interface: Option<&str>) -> Vec<Finding> {
    let found = [
        kernel(host),
        machine(host),
        jit(host),
        realtime(host),
        lockdown(host),
        bpffs(&host.bpffs),
        capabilities(host, interface),
    ];
    let mut findings: Vec<_> =
        found.into_iter().flatten().chain(ghosts(host)).chain(odd_names(host)).chain(lacks(host)).collect();
    findings.insert(0, summary(host));
    findings
}

/// Major and minor number of a release.
#[must_use]
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn summary(host: &Host) -> Finding {
    let jit = match host.jit {
        Ok(true) => "JIT on",
        Ok(false) => "JIT off",
        Err(_) => "JIT not known",
    };
    let btf = if host.btf { "BTF" } else { "no BTF of the kernel's own (nothing here needs it)" };
    let rights = if host.missing.is_empty() { "capabilities complete" } else { "capabilities missing" };
    let bpffs = match host.bpffs.state {
        BpffsState::Mounted | BpffsState::Covering => "bpffs rw",
        BpffsState::ReadOnly => "bpffs ro",
        BpffsState::Foreign(..) => "bpffs with foreign pins",
        BpffsState::Open(..) => "bpffs with pins that others may change",
        BpffsState::Absent { .. } | BpffsState::Hidden | BpffsState::Buried => "no bpffs",
    };
    let text = format!("kernel {} {}, {jit}, {btf}, {rights}, {bpffs}", host.release, host.machine);
    Finding::ok(HOST, "host", text)
}

fn kernel(host: &Host) -> Option<Finding> {
    let old = version(&host.release).is_some_and(|version| version < OLDEST);
    let text = format!("kernel {} is older than {}.{}: not tried", host.release, OLDEST.0, OLDEST.1);
    old.then(|| Finding::fail(HOST, "kernel-too-old", text).cure(Cure::Advice("a newer kernel".to_owned())))
}

fn lacks(host: &Host) -> impl Iterator<Item = Finding> {
    host.lacks.iter().map(|lack| {
        let (major, minor) = lack.since;
        let text = format!("this kernel lacks {} (Linux {major}.{minor}): {}", lack.feature, lack.without);
        Finding::info(HOST, "kernel-lacks", text)
    })
}

/// Nobody can enter it to detach.
fn ghosts(host: &Host) -> impl Iterator<Item = Finding> {
    host.ghosts.iter().map(|folder| {
        let text = format!("{folder}: pins of a network namespace that no process, name or mount of this host has");
        Finding::info(HOST, "netns-gone", text).cure(Cure::Host(Command::new("rm -r").word(folder)))
    })
}

/// The kernel takes any bytes.
fn odd_names(host: &Host) -> impl Iterator<Item = Finding> {
    host.odd_names.iter().map(|name| {
        let text =
            format!("interface {name} has a name that is not UTF-8: nothing here attaches to it, counts it or asks it");
        let advice = format!("give it another name: ip link set dev {name} name NEW");
        Finding::warn(HOST, "odd-name", text).cure(Cure::Advice(advice))
    })
}

fn machine(host: &Host) -> Option<Finding> {
    let text = format!("{}: no cheap unaligned access; the verifier may refuse the programs", host.machine);
    (!UNALIGNED.contains(&host.machine.as_str())).then(|| Finding::warn(HOST, "unaligned-access", text))
}

fn jit(host: &Host) -> Option<Finding> {
    match &host.jit {
        Ok(true) => None,
        Ok(false) => {
            let text = "BPF programs are interpreted: some ten times slower";
            if !host.jit_setting {
                let none = "no setting helps: this kernel was built without a JIT, or has none for this machine";
                return Some(Finding::warn(HOST, "jit-off", text).cure(Cure::Advice(none.to_owned())));
            }
            let text = format!(
                "{text}. Those that are attached stay so, and doctor says how each is loaded anew once the JIT is on"
            );
            let cure = Cure::Host(Command::new("sysctl -w net.core.bpf_jit_enable=1"));
            Some(Finding::warn(HOST, "jit-off", text).cure(cure))
        }
        Err(why) => Some(Finding::unknown(HOST, "jit-unknown", format!("whether the JIT is on: {why}"))),
    }
}

/// From 6.18 on a kernel for real-time work may be built without the lock that keeps a second run from beginning on a CPU.
fn realtime(host: &Host) -> Option<Finding> {
    let may_be_without = version(&host.release).is_none_or(|version| version >= UNLOCKED);
    let text = "kernel for real-time work (PREEMPT_RT): unless it was built with CONFIG_PREEMPT_RT_NEEDS_BH_LOCK, one packet \
                may be handled in the midst of another on the same CPU, and then not each is counted; each is remarked";
    (host.realtime && may_be_without).then(|| Finding::info(HOST, "realtime", text))
}

/// Programs that read the kernel's memory would be refused; ours read packets and maps.
fn lockdown(host: &Host) -> Option<Finding> {
    let mode = host.lockdown.as_deref().filter(|mode| *mode != "none")?;
    let text = format!("lockdown={mode}: bars programs that read kernel memory, which these do not");
    Some(Finding::info(HOST, "lockdown", text))
}

fn capabilities(host: &Host, interface: Option<&str>) -> Option<Finding> {
    if host.missing.is_empty() {
        return None;
    }
    let missing: Vec<_> = host.missing.iter().map(|(name, why)| format!("{name} ({why})")).collect();
    let text = format!("this process lacks {}", missing.join(", "));
    Some(Finding::fail(HOST, "capability", text).cure(to_get_them(host, interface)))
}

/// Nobody gets back what is out of the bounding set, not even root: whoever starts the process has to leave it in.
fn to_get_them(host: &Host, interface: Option<&str>) -> Cure {
    if !host.bounded && !host.root {
        let doctor = Command::new("doctor");
        return Cure::Privileged(interface.into_iter().fold(doctor, Command::operand));
    }
    let names: Vec<_> = host.missing.iter().map(|(name, _)| *name).collect();
    let short: Vec<_> = names.iter().map(|name| format!("--cap-add {}", name.trim_start_matches("CAP_"))).collect();
    let (names, short) = (names.join(" "), short.join(" "));
    Cure::Advice(format!(
        "no command in this shell gives it back. In a unit add it to CapabilityBoundingSet= and \
         AmbientCapabilities=: {names}; a container is started with {short}"
    ))
}

fn bpffs(bpffs: &Bpffs) -> Option<Finding> {
    let path = &bpffs.path;
    match &bpffs.state {
        BpffsState::Mounted => None,
        BpffsState::ReadOnly => {
            let text = format!("{path} is mounted read-only: nothing can be pinned");
            let cure = Cure::Host(Command::new("mount -o remount,rw").word(path));
            Some(Finding::fail(HOST, "bpffs-read-only", text).cure(cure))
        }
        BpffsState::Absent { folder, base } => {
            let text = format!("no bpf file system at {path}: nothing is pinned; attach mounts one if it may");
            let mount = |at: &str| Command::new("mount -t bpf bpf").word(at);
            let made = || Command::new("mkdir -p").word(path);
            let all = [base.as_deref().map(mount), (!folder).then(made), Some(mount(path))];
            let mounted = all.into_iter().flatten().reduce(Command::then);
            Some(Finding::warn(HOST, "bpffs-absent", text).cures(mounted.map(Cure::Host)))
        }
        BpffsState::Hidden => {
            let text = format!("{path} is no bpf file system in this mount namespace: pins would end with it");
            let cure = Cure::Advice("run it outside of `ip netns exec`, with --netns NAME".to_owned());
            Some(Finding::fail(HOST, "bpffs-hidden", text).cure(cure))
        }
        BpffsState::Covering => {
            let text = format!("{path} is mounted over another bpf file system: what is pinned in that is not seen");
            Some(Finding::warn(HOST, "bpffs-covered", text).cure(Cure::Host(Command::new("umount").word(path))))
        }
        BpffsState::Buried => {
            let text =
                format!("what is mounted at {path} hides the bpf file system: what is pinned in that is not seen");
            Some(Finding::fail(HOST, "bpffs-covered", text).cure(Cure::Host(Command::new("umount").word(path))))
        }
        BpffsState::Foreign(why, folder) => {
            let cure = Cure::Host(Command::new("rm -r").word(folder));
            let text = format!(
                "{why}: look who made it; what marks by pins in it stops when it is removed, until qosbpf run attaches it again"
            );
            Some(Finding::fail(HOST, "bpffs-foreign", text).cure(cure))
        }
        BpffsState::Open(why, folder) => {
            let cure = Cure::Host(Command::new("chmod go-w").word(folder));
            let text = format!("{why}: look who did it; all in it is root's, and what marks goes on");
            Some(Finding::fail(HOST, "bpffs-open", text).cure(cure))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{Level, facts::Lack};

    fn good() -> Host {
        Host {
            release: "6.12.107+deb13".to_owned(),
            machine: "x86_64".to_owned(),
            lacks: Vec::new(),
            jit: Ok(true),
            jit_setting: true,
            realtime: false,
            btf: true,
            lockdown: Some("none".to_owned()),
            missing: Vec::new(),
            root: true,
            bounded: false,
            bpffs: Bpffs { path: "/sys/fs/bpf".to_owned(), state: BpffsState::Mounted },
            ghosts: Vec::new(),
            odd_names: Vec::new(),
        }
    }

    fn found(host: &Host) -> Vec<(Level, &'static str)> {
        super::host(host, None).iter().skip(1).map(|finding| (finding.level, finding.code)).collect()
    }

    #[test]
    fn a_good_host_has_one_line() {
        assert!(found(&good()).is_empty());
        assert_eq!(
            host(&good(), None)[0].text,
            "kernel 6.12.107+deb13 x86_64, JIT on, BTF, capabilities complete, bpffs rw"
        );
    }

    #[test]
    fn pins_of_a_namespace_that_is_gone_are_told_with_the_cure() {
        let folder = "/sys/fs/bpf/qosbpf/v1/netns-9".to_owned();
        let host = Host { ghosts: vec![folder], ..good() };
        assert_eq!(found(&host), [(Level::Info, "netns-gone")]);
        let cure = Cure::Host(Command::new("rm -r /sys/fs/bpf/qosbpf/v1/netns-9"));
        assert_eq!(super::host(&host, None)[1].cure, Some(cure));
    }

    #[test]
    fn an_interface_that_nothing_can_name_is_told() {
        let host = Host { odd_names: vec![r"$'\xff0'".to_owned()], ..good() };
        assert_eq!(found(&host), [(Level::Warn, "odd-name")]);
        let cure = Cure::Advice(r"give it another name: ip link set dev $'\xff0' name NEW".to_owned());
        assert_eq!(super::host(&host, None)[1].cure, Some(cure));
    }

    #[test]
    fn each_fault_of_the_host_has_its_line() {
        let cases: [(Host, Level, &str); 13] = [
            (Host { release: "6.18.3-rt".to_owned(), realtime: true, ..good() }, Level::Info, "realtime"),
            (Host { release: "4.19.0".to_owned(), ..good() }, Level::Fail, "kernel-too-old"),
            (Host { machine: "mips".to_owned(), ..good() }, Level::Warn, "unaligned-access"),
            (Host { jit: Ok(false), ..good() }, Level::Warn, "jit-off"),
            (Host { jit: Err("not permitted".to_owned()), ..good() }, Level::Unknown, "jit-unknown"),
            (Host { lockdown: Some("confidentiality".to_owned()), ..good() }, Level::Info, "lockdown"),
            (Host { missing: vec![("CAP_PERFMON", "x")], ..good() }, Level::Fail, "capability"),
            (with(BpffsState::ReadOnly), Level::Fail, "bpffs-read-only"),
            (with(BpffsState::Hidden), Level::Fail, "bpffs-hidden"),
            (with(BpffsState::Covering), Level::Warn, "bpffs-covered"),
            (with(BpffsState::Buried), Level::Fail, "bpffs-covered"),
            (with(BpffsState::Foreign("not root's".to_owned(), "/x y".to_owned())), Level::Fail, "bpffs-foreign"),
            (with(BpffsState::Open("is open".to_owned(), "/x y".to_owned())), Level::Fail, "bpffs-open"),
        ];
        for (host, level, code) in cases {
            assert_eq!(found(&host), [(level, code)]);
        }
    }

    #[test]
    fn before_6_18_a_kernel_for_real_time_work_counts_as_any_other() {
        assert!(found(&Host { realtime: true, ..good() }).is_empty());
    }

    #[test]
    fn the_jit_is_put_on_where_its_setting_is() {
        let cure = |jit_setting| host(&Host { jit: Ok(false), jit_setting, ..good() }, None).remove(1).cure;
        assert_eq!(cure(true), Some(Cure::Host(Command::new("sysctl -w net.core.bpf_jit_enable=1"))));
        assert!(matches!(cure(false), Some(Cure::Advice(advice)) if advice.contains("without a JIT")));
    }

    #[test]
    fn who_may_becomes_root_and_who_was_limited_is_started_otherwise() {
        let cure_at = |interface, root, bounded| {
            let host = Host { missing: vec![("CAP_PERFMON", "x")], root, bounded, ..good() };
            super::host(&host, interface)
                .into_iter()
                .find(|finding| finding.code == "capability")
                .and_then(|found| found.cure)
        };
        let cure = |root, bounded| cure_at(None, root, bounded);
        assert_eq!(cure(false, false), Some(Cure::Privileged(Command::new("doctor"))));
        assert_eq!(cure_at(Some("wan0"), false, false), Some(Cure::Privileged(Command::new("doctor wan0"))));
        for limited in [cure(true, true), cure(false, true), cure(true, false)] {
            let Some(Cure::Advice(advice)) = limited else { panic!("{limited:?}") };
            for said in ["CapabilityBoundingSet=", "AmbientCapabilities=: CAP_PERFMON;", "--cap-add PERFMON"] {
                assert!(advice.contains(said), "{advice}");
            }
        }
    }

    fn with(state: BpffsState) -> Host {
        Host { bpffs: Bpffs { path: "/sys/fs/bpf".to_owned(), state }, ..good() }
    }

    #[test]
    fn what_the_kernel_lacks_says_what_happens_instead() {
        let tcx = Lack { feature: "TCX", since: (6, 6), without: "auto takes clsact" };
        let found = host(&Host { lacks: vec![tcx], ..good() }, None);
        assert_eq!(found[1].text, "this kernel lacks TCX (Linux 6.6): auto takes clsact");
        assert_eq!(found[1].level, Level::Info);
    }

    #[test]
    fn the_mount_is_made_where_there_is_no_folder_too() {
        let cure = |folder, base| {
            let bpffs = Bpffs { path: "/sys/fs/bpf/op".to_owned(), state: BpffsState::Absent { folder, base } };
            host(&Host { bpffs, ..good() }, None)[1].cure.clone()
        };
        let (made, mounted) = ("mkdir -p /sys/fs/bpf/op", "mount -t bpf bpf /sys/fs/bpf/op");
        let first = "mount -t bpf bpf /sys/fs/bpf";
        let all =
            |lines: &[&'static str]| lines.iter().map(|line| Command::new(line)).reduce(Command::then).map(Cure::Host);
        assert_eq!(cure(true, None), all(&[mounted]));
        assert_eq!(cure(false, None), all(&[made, mounted]));
        assert_eq!(cure(false, Some("/sys/fs/bpf".to_owned())), all(&[first, made, mounted]));
    }
}
