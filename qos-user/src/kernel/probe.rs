//! What the kernel makes of programs, asked by programs of a few instructions that are attached nowhere.

use std::{io, os::fd::AsFd as _, sync::OnceLock};

use aya_obj::generated::{BPF_F_XDP_HAS_FRAGS, bpf_insn, bpf_prog_type};

use super::sys;

/// Whether programs are translated to machine code: asked of one that does nothing, which every translator knows.
///
/// # Errors
///
/// What bpf(2) reports; that this process may load none, for one.
pub fn is_translated() -> io::Result<bool> {
    is_machine_code(bpf_prog_type::BPF_PROG_TYPE_SOCKET_FILTER, &nothing())
}

/// Whether programs may have a compare-and-swap of 64 bits: upstream since Linux 5.12. A translator that does not know it,
/// as on 32-bit machines, leaves the whole program to the interpreter: then there is none, unless all programs are
/// interpreted.
///
/// # Errors
///
/// That this process may load none.
pub fn swap() -> io::Result<bool> {
    let swaps = is_machine_code(bpf_prog_type::BPF_PROG_TYPE_SOCKET_FILTER, &swapping());
    refused_is_no(swaps.and_then(|swaps| Ok(is_as_fast(swaps, is_translated()?))))
}

/// The same, asked once a process; also "no" if the kernel lets this process load none.
pub fn has_swap() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| swap().unwrap_or(false))
}

/// Whether native XDP takes packets in several pieces of a program that says it knows them: upstream since Linux 5.18.
///
/// # Errors
///
/// That this process may load none.
pub fn frags() -> io::Result<bool> {
    let loaded = sys::load(bpf_prog_type::BPF_PROG_TYPE_XDP, BPF_F_XDP_HAS_FRAGS, &nothing());
    refused_is_no(loaded.map(|_| true))
}

fn is_machine_code(kind: bpf_prog_type, program: &[bpf_insn]) -> io::Result<bool> {
    Ok(sys::machine_code(sys::load(kind, 0, program)?.as_fd())? > 0)
}

const fn is_as_fast(with_it: bool, without: bool) -> bool {
    with_it || !without
}

/// What the kernel does not know it refuses; who may not load anything learns nothing.
fn refused_is_no(asked: io::Result<bool>) -> io::Result<bool> {
    match asked {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Ok(false),
        asked => asked,
    }
}

/// Returns at once.
fn nothing() -> [bpf_insn; 2] {
    [instruction(CLEAR, 0, 0, 0), instruction(EXIT, 0, 0, 0)]
}

/// Swaps a word of its own stack.
fn swapping() -> [bpf_insn; 5] {
    const STACK: u8 = 10;
    [
        instruction(CLEAR, 0, 0, 0),
        instruction(STORE, STACK, -8, 0),
        instruction(SWAP, STACK, -8, 0xf1),
        instruction(CLEAR, 0, 0, 0),
        instruction(EXIT, 0, 0, 0),
    ]
}

const CLEAR: u8 = 0xb7;
const STORE: u8 = 0x7b;
const SWAP: u8 = 0xdb;
const EXIT: u8 = 0x95;

fn instruction(code: u8, target: u8, off: i16, imm: i32) -> bpf_insn {
    bpf_insn { code, _bitfield_align_1: [], _bitfield_1: bpf_insn::new_bitfield_1(target, 0), off, imm }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// arm and x86 of 32 bits translate programs, and leave those with it to the interpreter; a kernel without a
    /// translator interprets both.
    #[test]
    fn a_swap_is_taken_where_it_does_not_cost_the_machine_code() {
        let taken = [(true, true), (false, true), (false, false)].map(|(with, without)| is_as_fast(with, without));
        assert_eq!(taken, [true, false, true]);
    }

    #[test]
    fn what_is_refused_is_not_there_and_who_may_not_ask_does_not_know() {
        let refused = |errno| refused_is_no(Err(io::Error::from_raw_os_error(errno)));
        assert!(!refused(libc::EINVAL).unwrap());
        assert!(refused(libc::EPERM).is_err());
        assert!(refused_is_no(Ok(true)).unwrap());
    }

    /// Needs root, as this kernel's answer does.
    #[test]
    fn this_kernel_has_what_its_version_has() {
        if !nix::unistd::geteuid().is_root() {
            assert!(is_translated().is_err() && !has_swap());
            return;
        }
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let version = crate::diagnosis::version(&release).unwrap();
        assert_eq!(frags().unwrap(), version >= (5, 18), "{release}");
        assert_eq!(swap().unwrap(), version >= (5, 12), "{release}");
        assert_eq!(has_swap(), swap().unwrap());
        let setting = std::fs::read_to_string("/proc/sys/net/core/bpf_jit_enable");
        assert_eq!(is_translated().unwrap(), setting.map_or(true, |setting| setting.trim() != "0"));
    }
}
