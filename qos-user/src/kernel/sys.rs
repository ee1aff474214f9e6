//! What aya has no safe form of. Of bpf(2): opening a pin for reading alone, detaching a link at once, writing many values
//! of a map at once or one of whatever kind of map, loading a program of a few instructions. Of mmap(2): how much was written into a ring buffer.

use std::{
    ffi::CString,
    io, mem,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    ptr,
};

use aya::programs::{ProgramInfo, loaded_programs};
use aya_obj::generated::{
    BPF_F_RDONLY, bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_link_info, bpf_prog_info, bpf_prog_type,
};

use crate::hook::Direction;

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

/// Writes the first values of an array map in one call (Linux 5.6), where one call for each would take most of the time
/// that it takes to load a large policy.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_MAP_UPDATE_BATCH`.
pub fn write_array<const BYTES: usize>(map: BorrowedFd<'_>, values: &[[u8; BYTES]]) -> io::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let keys: Vec<u32> = (0..values.len() as u32).collect();
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.batch.map_fd = map.as_raw_fd() as u32;
    attr.batch.keys = keys.as_ptr() as u64;
    attr.batch.values = values.as_ptr() as u64;
    attr.batch.count = keys.len() as u32;
    bpf(bpf_cmd::BPF_MAP_UPDATE_BATCH, &mut attr).map(drop)
}

/// Writes the first value of a map whose keys and values have four bytes.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_MAP_UPDATE_ELEM`.
pub(super) fn write_first(map: BorrowedFd<'_>, mut value: u32) -> io::Result<()> {
    at_first(bpf_cmd::BPF_MAP_UPDATE_ELEM, map, &mut value).map(drop)
}

/// Whether such a map has a first value.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_MAP_LOOKUP_ELEM`.
pub(super) fn has_first(map: BorrowedFd<'_>) -> io::Result<bool> {
    match at_first(bpf_cmd::BPF_MAP_LOOKUP_ELEM, map, &mut 0) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn at_first(command: bpf_cmd, map: BorrowedFd<'_>, value: &mut u32) -> io::Result<i32> {
    let key = 0_u32;
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    // SAFETY: of this union nothing else is used.
    let element = unsafe { &mut attr.__bindgen_anon_2 };
    (element.map_fd, element.key) = (map.as_raw_fd() as u32, &raw const key as u64);
    element.__bindgen_anon_1.value = &raw mut *value as u64;
    bpf(command, &mut attr)
}

/// How many bytes were ever written into a ring buffer, with the headers of its entries. Its second page begins with that;
/// whoever looks there takes nothing from the one who reads. The map is to be open for writing, too: the kernel shares no other.
///
/// # Errors
///
/// What mmap(2) reports.
pub(super) fn written(ring: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: it asks for a constant of the system.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).map_err(io::Error::other)?;
    let (fd, flags, second) = (ring.as_raw_fd(), libc::MAP_SHARED, page as libc::off_t);
    // SAFETY: a new mapping, where the kernel has room for it.
    let place = unsafe { libc::mmap(ptr::null_mut(), page, libc::PROT_READ, flags, fd, second) };
    if place == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has mapped a page there, which begins with a word that others write as a whole.
    let written = unsafe { place.cast::<usize>().read_volatile() };
    // SAFETY: that page, to which nothing refers any more.
    unsafe { libc::munmap(place, page) };
    Ok(written)
}

/// Opens a link by its id (Linux 5.8).
///
/// # Errors
///
/// What bpf(2) reports for `BPF_LINK_GET_FD_BY_ID`: that it is gone, or that this process may not.
pub fn link_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.__bindgen_anon_6.__bindgen_anon_1.link_id = id;
    let fd = bpf(bpf_cmd::BPF_LINK_GET_FD_BY_ID, &mut attr)?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What the kernel says of a program by its id; `None` if it is gone, or this process may not ask.
#[must_use]
pub fn program_by_id(id: u32) -> Option<ProgramInfo> {
    loaded_programs().filter_map(Result::ok).find(|info| info.id() == id)
}

/// What the kernel knows of a link of XDP or TCX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceLink {
    /// Its id.
    pub id: u32,
    /// Its program.
    pub program_id: u32,
    /// The number of its device, in whatever network namespace that is; 0 once the device is gone.
    pub ifindex: u32,
}

/// Asks for it.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_OBJ_GET_INFO_BY_FD`.
pub fn interface_link(link: BorrowedFd<'_>) -> io::Result<InterfaceLink> {
    // SAFETY: as above.
    let mut info: bpf_link_info = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.info.bpf_fd = link.as_raw_fd() as u32;
    attr.info.info = &raw mut info as u64;
    attr.info.info_len = size_of::<bpf_link_info>() as u32;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    // SAFETY: for both types of link the interface is the first word, and the kernel has written it.
    let ifindex = unsafe { info.__bindgen_anon_1.xdp.ifindex };
    Ok(InterfaceLink { id: info.id, program_id: info.prog_id, ifindex })
}

/// Whether the kernel has TCX, which is upstream since Linux 6.6 and can be left out of a build: asked, by a question of
/// which only the type of the hook can be unknown to it.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_PROG_QUERY`.
pub fn has_tcx(ifindex: u32) -> io::Result<bool> {
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.query.attach_type = bpf_attach_type::BPF_TCX_INGRESS as u32;
    attr.query.__bindgen_anon_1.target_ifindex = ifindex;
    match bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The programs in the list of TCX, in the order in which they run.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_PROG_QUERY`.
pub fn tcx_programs(ifindex: u32, direction: Direction) -> io::Result<Vec<u32>> {
    /// Far more than the kernel lets in, which is 64.
    const ROOM: usize = 128;
    let mut ids = [0u32; ROOM];
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.query.attach_type = match direction {
        Direction::Ingress => bpf_attach_type::BPF_TCX_INGRESS as u32,
        Direction::Egress => bpf_attach_type::BPF_TCX_EGRESS as u32,
    };
    attr.query.__bindgen_anon_1.target_ifindex = ifindex;
    attr.query.prog_ids = ids.as_mut_ptr() as u64;
    attr.query.__bindgen_anon_2.prog_cnt = ROOM as u32;
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: for this command the kernel has written how many there are.
    let count = unsafe { attr.query.__bindgen_anon_2.prog_cnt } as usize;
    Ok(ids.into_iter().take(count).collect())
}

/// How many bytes of machine code a program was translated to; 0 if it is interpreted.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_OBJ_GET_INFO_BY_FD`.
pub(super) fn machine_code(program: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: as above.
    let mut info: bpf_prog_info = unsafe { mem::zeroed() };
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    attr.info.bpf_fd = program.as_raw_fd() as u32;
    attr.info.info = &raw mut info as u64;
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info.jited_prog_len)
}

/// Loads a program that is attached nowhere.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_PROG_LOAD`.
pub(super) fn load(kind: bpf_prog_type, flags: u32, program: &[bpf_insn]) -> io::Result<OwnedFd> {
    // SAFETY: as above.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
    // SAFETY: of this union nothing else is used.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    (load.prog_type, load.prog_flags) = (kind as u32, flags);
    (load.insns, load.insn_cnt) = (program.as_ptr() as u64, program.len() as u32);
    load.license = c"GPL".as_ptr() as u64;
    let fd = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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
