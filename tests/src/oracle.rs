//! What captures have to count as, and how they look remarked, by programs that share nothing with this one.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, bail, ensure};
use qos_common::{locate::Located, policy::Table};
use qos_vectors::{counts::ByDs, reader};
use serde::Deserialize;

use crate::{
    capture::{self, Captured},
    tally::Tally,
};

/// The counts of one capture, as the oracle writes them. Bytes are those on the wire.
#[derive(Clone, Debug, Deserialize)]
pub struct Expected {
    v4: ByDs,
    v6: ByDs,
    /// The captured bytes by DS field, where a frame of the file was cut.
    v4_cap: Option<BTreeMap<String, u64>>,
    v6_cap: Option<BTreeMap<String, u64>>,
    non_ip: u64,
    non_ip_bytes: u64,
    bad_ip: u64,
    bad_ip_bytes: u64,
    /// All frames.
    pub packets: u64,
}

impl Expected {
    /// What a hook has to count when the captured bytes of `frames` come to it.
    ///
    /// Of frames without a DS field the oracle has the bytes on the wire alone, so what was cut off them is subtracted.
    ///
    /// # Errors
    ///
    /// A DS field is not a number, or has no captured bytes.
    pub fn tally(&self, frames: &[Captured]) -> anyhow::Result<Tally> {
        let cut = |class| frames.iter().filter(move |frame| located(frame) == Some(class)).map(cut_off).sum::<i64>();
        let captured_of =
            |bytes: u64, class| bytes.checked_add_signed(-cut(class)).context("more is cut than there was");
        Ok(Tally {
            v4: captured(&self.v4, self.v4_cap.as_ref())?,
            v6: captured(&self.v6, self.v6_cap.as_ref())?,
            not_ip: [self.non_ip, captured_of(self.non_ip_bytes, Located::NotIp)?],
            malformed: [self.bad_ip, captured_of(self.bad_ip_bytes, Located::Malformed)?],
        })
    }
}

fn located(frame: &Captured) -> Option<Located> {
    Some(reader::read(&frame.bytes, capture::link(frame.link_type)?, 0).located)
}

/// Below 0 in captures that were damaged on purpose.
fn cut_off(frame: &Captured) -> i64 {
    frame.length as i64 - frame.bytes.len() as i64
}

fn captured(by_ds: &ByDs, cut: Option<&BTreeMap<String, u64>>) -> anyhow::Result<BTreeMap<u8, [u64; 2]>> {
    let read = |(ds, [packets, bytes]): (&String, &[u64; 2])| {
        let number = u8::from_str_radix(ds.trim_start_matches("0x"), 16).with_context(|| ds.clone())?;
        let bytes = match cut {
            Some(cut) => *cut.get(ds).with_context(|| format!("{ds} has no captured bytes"))?,
            None => *bytes,
        };
        Ok((number, [*packets, bytes]))
    };
    by_ds.iter().map(read).collect()
}

/// Reads the counts of many captures, by file name.
///
/// # Errors
///
/// The file cannot be read.
pub fn read(path: &Path) -> anyhow::Result<BTreeMap<String, Expected>> {
    let file = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&file).with_context(|| path.display().to_string())
}

/// The frames of a capture as a right rewrite leaves them.
///
/// # Errors
///
/// python3 or `remark_oracle.py` in `oracles` cannot be run, or refuses the file.
pub fn remarked(oracles: &Path, file: &Path, table: &Table) -> anyhow::Result<Vec<Captured>> {
    let folder = tempfile::tempdir()?;
    let (map, out) = (folder.path().join("map"), folder.path().join("out"));
    let numbers: Vec<String> = table.bytes().iter().map(u8::to_string).collect();
    fs::write(&map, numbers.join(" "))?;
    let mut python = Command::new("python3");
    python.arg(oracles.join("remark_oracle.py")).args([file, &out]).arg("--map").arg(&map);
    let ran = python.output().context("python3")?;
    if !ran.status.success() {
        bail!("remark_oracle.py {}: {}", file.display(), String::from_utf8_lossy(&ran.stderr));
    }
    let frames = capture::read(&fs::read(&out)?)?;
    ensure!(!frames.is_empty() || fs::metadata(file)?.len() < 64, "remark_oracle.py wrote no frame");
    Ok(frames)
}
