//! The calls of bpf(2) that aya has no form of, and the product no need: the translated instructions of a program, and
//! loading a few instructions written by hand.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{
    BPF_F_XDP_HAS_FRAGS, bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_prog_info, bpf_prog_type,
};

/// The instructions of a program as the verifier left them.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_OBJ_GET_INFO_BY_FD`; or that this kernel hides them, which it does for programs whose
/// constants are blinded.
pub fn translated(program: BorrowedFd<'_>) -> io::Result<Vec<bpf_insn>> {
    // SAFETY: integers, for which all zero is valid.
    let mut info: bpf_prog_info = unsafe { mem::zeroed() };
    read_info(program, &mut info)?;
    let bytes = info.xlated_prog_len;
    // SAFETY: as above.
    let mut instructions = vec![unsafe { mem::zeroed::<bpf_insn>() }; bytes as usize / size_of::<bpf_insn>()];
    // SAFETY: as above.
    info = unsafe { mem::zeroed() };
    (info.xlated_prog_insns, info.xlated_prog_len) = (instructions.as_mut_ptr() as u64, bytes);
    read_info(program, &mut info)?;
    if bytes == 0 || info.xlated_prog_insns == 0 {
        let why = "the kernel hides translated instructions: see net.core.bpf_jit_harden and kernel.kptr_restrict";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(instructions)
}

fn read_info(program: BorrowedFd<'_>, info: &mut bpf_prog_info) -> io::Result<()> {
    let mut attr = zeroed();
    attr.info.bpf_fd = program.as_raw_fd() as u32;
    attr.info.info = &raw mut *info as u64;
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr).map(drop)
}

/// An instruction: code, target and source, offset, value.
#[must_use]
pub fn instruction(code: u8, [target, source]: [u8; 2], off: i16, imm: i32) -> bpf_insn {
    let _bitfield_1 = bpf_insn::new_bitfield_1(target, source);
    bpf_insn { code, _bitfield_align_1: [], _bitfield_1, off, imm }
}

/// Loads a TC program of a few instructions.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_PROG_LOAD`.
pub fn load_classifier(name: &std::ffi::CStr, instructions: &[bpf_insn]) -> io::Result<OwnedFd> {
    load(Kind::Classifier, 0, name, instructions)
}

/// Lets this process lock all memory that it wants, where it may: before Linux 5.11 programs and maps count as such.
pub fn lift_memory_limit() {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the kernel reads the structure.
    let _refused = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) };
}

/// The hooks that a program can be written for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// XDP.
    Xdp,
    /// TC.
    Classifier,
}

/// Loads a program that does nothing but return `verdict`.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_PROG_LOAD`.
pub fn load_constant(kind: Kind, name: &std::ffi::CStr, verdict: i32) -> io::Result<OwnedFd> {
    load_verdict(kind, 0, name, verdict)
}

/// Loads a program that says it can do with packets in several pieces.
///
/// # Errors
///
/// `EINVAL` where the kernel has no such thing; else what bpf(2) reports for `BPF_PROG_LOAD`.
pub fn load_xdp_frags() -> io::Result<OwnedFd> {
    const XDP_PASS: i32 = 2;
    load_verdict(Kind::Xdp, BPF_F_XDP_HAS_FRAGS, c"frags", XDP_PASS)
}

fn load_verdict(kind: Kind, flags: u32, name: &std::ffi::CStr, verdict: i32) -> io::Result<OwnedFd> {
    let instructions = [instruction(0xb7, [0, 0], 0, verdict), instruction(0x95, [0, 0], 0, 0)];
    load(kind, flags, name, &instructions)
}

fn load(kind: Kind, flags: u32, name: &std::ffi::CStr, instructions: &[bpf_insn]) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: of this union nothing else is used.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = match kind {
        Kind::Xdp => bpf_prog_type::BPF_PROG_TYPE_XDP,
        Kind::Classifier => bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS,
    } as u32;
    load.prog_flags = flags;
    (load.insns, load.insn_cnt) = (instructions.as_ptr() as u64, instructions.len() as u32);
    load.license = c"GPL".as_ptr() as u64;
    for (place, byte) in load.prog_name.iter_mut().zip(name.to_bytes()) {
        *place = byte.cast_signed();
    }
    let fd = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Asks which programs there are at TCX ingress of the loopback device.
///
/// # Errors
///
/// `EINVAL` where the kernel has no TCX; else what bpf(2) reports for `BPF_PROG_QUERY`.
pub fn query_tcx() -> io::Result<()> {
    const LOOPBACK: u32 = 1;
    let mut attr = zeroed();
    attr.query.attach_type = bpf_attach_type::BPF_TCX_INGRESS as u32;
    attr.query.__bindgen_anon_1.target_ifindex = LOOPBACK;
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr).map(drop)
}

/// Attaches an XDP program to an interface by a link, which ends with its descriptor.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_LINK_CREATE`.
pub fn link_xdp(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    attr.link_create.__bindgen_anon_2.target_ifindex = ifindex;
    attr.link_create.attach_type = bpf_attach_type::BPF_XDP as u32;
    let fd = bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins an object.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_OBJ_PIN`.
pub fn pin(object: BorrowedFd<'_>, path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.bpf_fd = object.as_raw_fd() as u32;
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of integers, for which all zero is valid.
    unsafe { mem::zeroed() }
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: `attr` is a whole, initialised union whose pointers outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<bpf_attr>()) };
    match i32::try_from(result) {
        Ok(fd) if fd >= 0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}
