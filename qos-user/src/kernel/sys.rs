//! The calls of bpf(2) that aya has no safe form of: opening a pin for reading alone, and detaching a link at once.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{BPF_F_RDONLY, bpf_attr, bpf_cmd, bpf_link_info};

/// Opens a pinned object; `read_only` needs no more than read permission on the pin (Linux 6.0 and later for people
/// without privileges), and is possible for maps alone.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_OBJ_GET`.
pub fn open_pin(path: &Path, read_only: bool) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a union of integers, for which all zero is valid.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.__bindgen_anon_4.pathname = name.as_ptr() as u64;
    attr.__bindgen_anon_4.file_flags = if read_only { BPF_F_RDONLY } else { 0 };
    let fd = bpf(bpf_cmd::BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Detaches a link now, whoever still holds a descriptor of it (Linux 5.9).
///
/// # Errors
///
/// What bpf(2) reports for `BPF_LINK_DETACH`.
pub fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.link_detach.link_fd = link.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attr).map(drop)
}

/// The interface that a link of XDP or TCX is attached to; 0 once the device is gone.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_OBJ_GET_INFO_BY_FD`.
pub fn link_interface(link: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: as above.
    let mut info: bpf_link_info = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.info.bpf_fd = link.as_raw_fd() as u32;
    attr.info.info = &raw mut info as u64;
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    // SAFETY: for both types of link the interface is the first word, and the kernel has written it.
    Ok(unsafe { info.__bindgen_anon_1.xdp.ifindex })
}

/// The system call itself; `attr` has what the command asks for.
pub(super) fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: `attr` is a whole, initialised union whose pointers outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<bpf_attr>()) };
    match i32::try_from(result) {
        Ok(fd) if fd >= 0 => Ok(fd),
        _ => Err(io::Error::last_os_error()),
    }
}
