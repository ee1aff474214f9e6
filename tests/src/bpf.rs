//! The calls of bpf(2) that aya has no form of: a test run with the flag that checks the sum beside a packet, the
//! translated instructions of a program, and loading a few instructions written by hand.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{
    BPF_F_XDP_HAS_FRAGS, bpf_attach_type, bpf_attr, bpf_cmd, bpf_insn, bpf_prog_info, bpf_prog_type,
};

/// `BPF_F_TEST_SKB_CHECKSUM_COMPLETE` (Linux 6.1).
const CHECKSUM_COMPLETE: u32 = 1 << 2;

/// What a test run is given.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The frame, 14 bytes at least.
    pub frame: &'a [u8],
    /// The context of a TC program.
    pub context: Option<&'a SkBuff>,
    /// Whether the kernel keeps the sum of everything behind the first 14 bytes beside the packet, and fails the run
    /// with `EBADMSG` if that sum is wrong afterwards.
    pub checksum_complete: bool,
}

/// What came of a test run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// What the program returned.
    pub verdict: i32,
    /// The frame as it left.
    pub frame: Vec<u8>,
    /// The context as it left; all 0 where none was given.
    pub context: SkBuff,
}

/// The context of a TC program, `struct __sk_buff` of `linux/bpf.h`.
///
/// Of its fields a test run takes those that are public here and `mark`, `priority`, `ifindex`, `cb`, `tstamp` and
/// `hwtstamp`; it refuses any other one that is not 0. A tag in metadata is none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SkBuff {
    len_and_type: [u32; 2],
    /// The skb mark.
    pub mark: u32,
    queue_to_tag: [u32; 5],
    /// The skb priority.
    pub priority: u32,
    /// The interface by which the packet came in; 0 for what this host made.
    pub ingress_ifindex: u32,
    ifindex_to_classid: [u32; 9],
    /// Where the packet begins; for programs alone.
    pub data: u32,
    /// Where it ends; for programs alone.
    pub data_end: u32,
    napi_id_to_data_meta: [u32; 15],
    flow_keys: u64,
    tstamp: u64,
    /// Bytes on the wire of all segments.
    pub wire_len: u32,
    /// Segments of a super-packet.
    pub gso_segs: u32,
    sk: u64,
    /// Bytes of payload in each segment but the last; 0 for a packet that is none.
    pub gso_size: u32,
    tstamp_type: u32,
    hwtstamp: u64,
}

impl SkBuff {
    /// A packet that came in by an interface; by 0 one that this host made.
    #[must_use]
    pub fn from_interface(ingress_ifindex: u32) -> Self {
        Self { ingress_ifindex, ..Self::default() }
    }

    /// The same with a mark.
    #[must_use]
    pub const fn marked(self, mark: u32) -> Self {
        Self { mark, ..self }
    }

    /// A super-packet of `gso_segs` segments with `gso_size` bytes of payload in each; on the wire `wire_len` bytes.
    #[must_use]
    pub fn super_packet(gso_size: u32, gso_segs: u32, wire_len: u32) -> Self {
        Self { gso_size, gso_segs, wire_len, ..Self::default() }
    }
}

/// Runs a program once.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_PROG_TEST_RUN`.
pub fn test_run(program: BorrowedFd<'_>, input: &Input<'_>) -> io::Result<Output> {
    test_runs(program, input, 1)
}

/// Runs a program so often without a pause, on a frame that is not put back in between; what came of the last run.
///
/// # Errors
///
/// Those of [`test_run`].
pub fn test_runs(program: BorrowedFd<'_>, input: &Input<'_>, times: u32) -> io::Result<Output> {
    let mut frame = vec![0; input.frame.len()];
    let mut attr = zeroed();
    // SAFETY: of this union nothing else is used.
    let test = unsafe { &mut attr.test };
    test.prog_fd = program.as_raw_fd() as u32;
    test.repeat = times;
    (test.data_in, test.data_size_in) = (input.frame.as_ptr() as u64, input.frame.len() as u32);
    (test.data_out, test.data_size_out) = (frame.as_mut_ptr() as u64, frame.len() as u32);
    let mut left = SkBuff::default();
    if let Some(context) = input.context {
        (test.ctx_out, test.ctx_size_out) = (&raw mut left as u64, size_of::<SkBuff>() as u32);
        (test.ctx_in, test.ctx_size_in) = (&raw const *context as u64, size_of::<SkBuff>() as u32);
    }
    test.flags = if input.checksum_complete { CHECKSUM_COMPLETE } else { 0 };
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: as above; the kernel has filled it in.
    let (verdict, length) = unsafe { (attr.test.retval as i32, attr.test.data_size_out as usize) };
    frame.truncate(length);
    Ok(Output { verdict, frame, context: left })
}

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

/// Loads a TC program of a few instructions.
///
/// # Errors
///
/// What bpf(2) reports for `BPF_PROG_LOAD`.
pub fn load_classifier(instructions: &[bpf_insn]) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: of this union nothing else is used.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS as u32;
    (load.insns, load.insn_cnt) = (instructions.as_ptr() as u64, instructions.len() as u32);
    load.license = c"GPL".as_ptr() as u64;
    let fd = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
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
    const MOVE_TO_R0: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    // SAFETY: integers, for which all zero is valid.
    let instruction = |code, imm| bpf_insn { code, imm, ..unsafe { mem::zeroed() } };
    let instructions = [instruction(MOVE_TO_R0, verdict), instruction(EXIT, 0)];
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

const _: () = {
    use mem::offset_of;
    assert!(offset_of!(SkBuff, mark) == 8 && offset_of!(SkBuff, priority) == 32);
    assert!(offset_of!(SkBuff, ingress_ifindex) == 36);
    assert!(offset_of!(SkBuff, data) == 76 && offset_of!(SkBuff, data_end) == 80);
    assert!(offset_of!(SkBuff, wire_len) == 160 && offset_of!(SkBuff, gso_segs) == 164);
    assert!(offset_of!(SkBuff, gso_size) == 176 && size_of::<SkBuff>() == 192);
};
