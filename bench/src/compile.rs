//! The C programs, compiled here by clang.

use std::{env, mem::offset_of, path::Path, process::Command};

use anyhow::{Context as _, bail};
use aya::{Ebpf, EbpfLoader};
use qos_common::{abi::Counters, ds::Dscp, policy::Table};
use tempfile::TempDir;

const SOURCES: [(&str, &str); 8] = [
    ("kernel.h", include_str!("../floors/kernel.h")),
    ("locate.h", include_str!("../floors/locate.h")),
    ("weigh.h", include_str!("../floors/weigh.h")),
    ("least.h", include_str!("../floors/least.h")),
    ("lean.h", include_str!("../floors/lean.h")),
    ("whole.h", include_str!("../floors/whole.h")),
    ("floors.bpf.c", include_str!("../floors/floors.bpf.c")),
    ("traffic.bpf.c", include_str!("../floors/traffic.bpf.c")),
];

/// The compiled programs.
#[derive(Clone, Debug)]
pub struct Objects {
    floors: Vec<u8>,
    traffic: Vec<u8>,
    /// The first line of `clang --version`.
    pub compiler: String,
}

/// What the generator sends.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// The device that it sends by.
    pub ifindex: u32,
    /// One codepoint after the other; else DF alone.
    pub cycle: bool,
    /// IPv6; else IPv4.
    pub ipv6: bool,
    /// Ethernet, IP and UDP header of a packet in DF, as on the wire.
    pub headers: [u8; 64],
}

impl Objects {
    /// Compiles them.
    ///
    /// # Errors
    ///
    /// That clang is missing, or what it says.
    pub fn build() -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        for (name, text) in SOURCES {
            std::fs::write(folder.path().join(name), text)?;
        }
        let clang = newest_clang();
        let version = Command::new(&clang).arg("--version").output().with_context(|| clang.clone())?;
        let version = String::from_utf8_lossy(&version.stdout);
        Ok(Self {
            floors: compile(&clang, folder.path(), "floors.bpf.c")?,
            traffic: compile(&clang, folder.path(), "traffic.bpf.c")?,
            compiler: version.lines().next().unwrap_or_default().to_owned(),
        })
    }

    /// The floors with this table, their programs not yet loaded.
    ///
    /// # Errors
    ///
    /// What aya or bpf(2) says.
    pub fn floors(&self, table: &Table) -> anyhow::Result<Ebpf> {
        let mut loader = EbpfLoader::new();
        let by_ds = by_ds(table);
        loader.override_global("TABLE", table.bytes().as_slice(), true);
        loader.override_global("DS_TABLE", by_ds.as_slice(), true);
        loader.load(&self.floors).context("the floors")
    }

    /// The object of the floors.
    pub fn floor_object(&self) -> &[u8] {
        &self.floors
    }

    /// Generator and sink, not yet loaded.
    ///
    /// # Errors
    ///
    /// What aya or bpf(2) says.
    pub fn traffic(&self, traffic: &Traffic) -> anyhow::Result<Ebpf> {
        let (cycle, ipv6) = (u32::from(traffic.cycle), u32::from(traffic.ipv6));
        let mut loader = EbpfLoader::new();
        loader.override_global("OUT_IFINDEX", &traffic.ifindex, true);
        loader.override_global("CYCLE", &cycle, true).override_global("IS_IPV6", &ipv6, true);
        loader.override_global("HEADERS", traffic.headers.as_slice(), true);
        loader.load(&self.traffic).context("generator and sink")
    }
}

/// The newest clang of those whose version is in their name, as Debian and Ubuntu have them; else the one without.
fn newest_clang() -> String {
    let folders = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let files = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    newest(names).map_or_else(|| "clang".to_owned(), |version| format!("clang-{version}"))
}

fn newest(names: impl Iterator<Item = String>) -> Option<u32> {
    names.filter_map(|name| name.strip_prefix("clang-")?.parse().ok()).max()
}

/// The table by whole DS byte, ECN kept.
pub fn by_ds(table: &Table) -> [u8; 256] {
    let bytes = table.bytes();
    std::array::from_fn(|ds| bytes[ds >> 2] << 2 | ds as u8 & 3)
}

fn compile(clang: &str, folder: &Path, source: &str) -> anyhow::Result<Vec<u8>> {
    let object = folder.join("object");
    let mut clang = Command::new(clang);
    clang.current_dir(folder).args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-c", source, "-o"]);
    // Where Debian and Ubuntu have the headers that depend on the architecture.
    clang.arg(&object).arg(format!("-I/usr/include/{}-linux-gnu", env::consts::ARCH));
    clang.args(layout().map(|(name, word)| format!("-D{name}={word}")));
    let output = clang.output().context("clang")?;
    if !output.status.success() {
        bail!("clang {source}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(std::fs::read(object)?)
}

/// Where the counters lie, in words of 64 bits.
fn layout() -> [(&'static str, usize); 6] {
    [
        ("WHOLE_WORDS", Counters::WORDS),
        ("KEPT_AT", offset_of!(Counters, kept) / 8),
        ("CHANGED_AT", offset_of!(Counters, changed) / 8),
        ("PROTECTED_AT", offset_of!(Counters, protected) / 8),
        ("UNCOUNTED_AT", offset_of!(Counters, uncounted) / 8),
        ("LAST_AT", offset_of!(Counters, last) / 8),
    ]
}

/// The job of program measurements: d becomes d XOR 46, which taken twice changes nothing.
///
/// The frame of a test run is not put back between repetitions, and each of them has to rewrite it.
pub fn involution() -> Table {
    table(|dscp| dscp ^ 46)
}

/// The table of router measurements: of 0, 3, .. 57, twenty codepoints, d becomes d XOR 32.
///
/// No two neighbours become the same, so that the cache for the route of the packet before helps nobody.
pub fn twenty() -> Table {
    table(|dscp| if dscp % 3 == 0 && dscp < 60 { dscp ^ 32 } else { dscp })
}

/// Everything becomes one codepoint.
pub fn one_value(value: u8) -> Table {
    table(|_| value)
}

fn table(to: impl Fn(u8) -> u8) -> Table {
    let mut table = Table::IDENTITY;
    for from in Dscp::all() {
        if let Some(to) = Dscp::new(to(from.value())) {
            table.set(from, to);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_involution_always_changes_and_comes_back() {
        let table = involution();
        for dscp in Dscp::all() {
            assert!(table.get(dscp) != dscp && table.get(table.get(dscp)) == dscp);
        }
    }

    #[test]
    fn the_newest_clang_is_taken() {
        let names = ["clang", "clang-9", "clang-22", "clang-14", "clang-format-30"].map(str::to_owned);
        assert_eq!(newest(names.into_iter()), Some(22));
        assert_eq!(newest(["clang".to_owned()].into_iter()), None);
    }

    #[test]
    fn the_table_by_ds_byte_keeps_ecn() {
        let table = by_ds(&involution());
        assert!((0..=255_u8).all(|ds| table[usize::from(ds)] == (ds >> 2 ^ 46) << 2 | ds & 3));
    }

    #[test]
    fn twenty_codepoints_change() {
        assert_eq!(Dscp::all().filter(|dscp| twenty().get(*dscp) != *dscp).count(), 20);
    }
}
