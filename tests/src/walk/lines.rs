//! Which line of the source an instruction comes from, as the object says it (`.BTF.ext`).

use anyhow::Context as _;
use aya_obj::{Object, btf::LineSecInfo};

/// The lines of a program.
#[derive(Debug)]
pub(super) struct Lines(Vec<(usize, String)>);

/// The strings of an object's BTF (`Documentation/bpf/btf.rst`, section 3.1).
pub(super) fn strings(object: &Object) -> anyhow::Result<Vec<u8>> {
    const HEADER: usize = 4;
    const STRINGS: usize = 16;
    let bytes = object.btf.as_ref().context("an object without BTF")?.to_bytes();
    let word = |at: usize| {
        let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes);
        word.context("BTF is cut off").map(|word| word as usize)
    };
    let start = word(HEADER)? + word(STRINGS)?;
    Ok(bytes.get(start..).context("BTF is cut off")?.to_vec())
}

impl Lines {
    pub(super) fn of(info: &LineSecInfo, strings: &[u8]) -> Self {
        let line = |line: &aya_obj::generated::bpf_line_info| {
            let path = string(strings, line.file_name_off);
            // The upper bits are the line, the lower ten the column.
            (line.insn_off as usize, format!("{}:{}", short(&path), line.line_col >> 10))
        };
        Self(info.line_info.iter().map(line).collect())
    }

    /// The line of the instruction at this place.
    pub(super) fn at(&self, at: usize) -> String {
        let behind = self.0.partition_point(|(from, _)| *from <= at);
        behind.checked_sub(1).and_then(|index| self.0.get(index)).map(|(_, line)| line.clone()).unwrap_or_default()
    }
}

fn string(strings: &[u8], offset: u32) -> String {
    let bytes = strings.get(offset as usize..).unwrap_or_default();
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

/// From the folder of a crate on, or the last name: the rest is of the machine that built it.
fn short(path: &str) -> &str {
    let crates = ["qos-common/src/", "qos-ebpf/src/", "aya-ebpf", "core/src/"];
    let from = crates.iter().find_map(|name| path.find(name)).or_else(|| path.rfind('/').map(|slash| slash + 1));
    path.split_at(from.unwrap_or(0)).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_machine_is_left_out() {
        assert_eq!(short("/home/me/qosbpf/qos-common/src/gso.rs"), "qos-common/src/gso.rs");
        assert_eq!(short("/tmp/x/./weigh.h"), "weigh.h");
        assert_eq!(short("floors.bpf.c"), "floors.bpf.c");
    }
}
