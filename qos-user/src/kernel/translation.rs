//! Whether programs are translated to machine code: the kernel decides of each when it is loaded, and never again.

use std::{fs, path::Path};

use super::{probe, sys};

/// Settings of the network, of which other network namespaces than the first show only their own.
const CORE: &str = "/proc/sys/net/core";

/// That of the translator.
const JIT: &str = "bpf_jit_enable";

/// One that is shown where that of the translator is, by every kernel.
const BESIDE_JIT: &str = "netdev_max_backlog";

/// Whether those are that are loaded now. Asked of a program; the setting is not to be seen in every network namespace, and
/// may say one thing and do another.
///
/// # Errors
///
/// That neither says.
pub fn is_on() -> Result<bool, String> {
    let setting = fs::read_to_string(Path::new(CORE).join(JIT));
    match (probe::is_translated(), setting) {
        (Ok(translated), _) => Ok(translated),
        (Err(_refused), Ok(setting)) => Ok(setting.trim() != "0"),
        (Err(error), Err(_)) => Err(error.to_string()),
    }
}

/// Whether there is a setting for it, as far as this network namespace shows.
#[must_use]
pub fn may_have_setting() -> bool {
    may_be_among(Path::new(CORE))
}

fn may_be_among(settings: &Path) -> bool {
    settings.join(JIT).exists() || !settings.join(BESIDE_JIT).exists()
}

/// Whether a program is interpreted, and would not be if it were loaded now. No where this process may not ask.
#[must_use]
pub fn is_left_out(program_id: u32) -> bool {
    let info = sys::program_by_id(program_id);
    info.is_some_and(|info| info.size_jitted() == 0) && is_on().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_shows_other_settings_and_none_of_the_jit_has_none() {
        let settings = tempfile::tempdir().unwrap();
        assert!(may_be_among(settings.path()), "another network namespace than the first");
        fs::write(settings.path().join(BESIDE_JIT), "1000\n").unwrap();
        assert!(!may_be_among(settings.path()));
        fs::write(settings.path().join(JIT), "0\n").unwrap();
        assert!(may_be_among(settings.path()));
        assert!(may_be_among(Path::new(CORE)), "this kernel has one");
    }
}
