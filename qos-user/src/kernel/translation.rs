//! Whether programs are translated to machine code: the kernel decides of each when it is loaded, and never again.

use std::fs;

use aya::programs::loaded_programs;

use super::sys;

/// Whether those are that are loaded now. Asked of a program; the setting is not to be seen in every network namespace, and
/// may say one thing and do another.
///
/// # Errors
///
/// That neither says.
pub fn is_on() -> Result<bool, String> {
    let setting = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable");
    match (sys::is_translated(), setting) {
        (Ok(translated), _) => Ok(translated),
        (Err(_refused), Ok(setting)) => Ok(setting.trim() != "0"),
        (Err(error), Err(_)) => Err(error.to_string()),
    }
}

/// Whether a program is interpreted, and would not be if it were loaded now. No where this process may not ask.
#[must_use]
pub fn is_left_out(program_id: u32) -> bool {
    let info = loaded_programs().filter_map(Result::ok).find(|info| info.id() == program_id);
    info.is_some_and(|info| info.size_jitted() == 0) && is_on().unwrap_or(false)
}
