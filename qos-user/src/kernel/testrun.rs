//! One run of a loaded program on a frame that is given to it (`BPF_PROG_TEST_RUN`): no packet is sent.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya_obj::generated::{bpf_attr, bpf_cmd};

use super::{object::Program, sys};

/// What fits into a page beside what the kernel keeps there: 256 bytes of headroom and the shared info.
pub const LINEAR: usize = 4096 - 256 - 320;

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
    // SAFETY: a union of integers, for which all zero is valid.
    let mut attr: bpf_attr = unsafe { mem::zeroed() };
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
    sys::bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: as above; the kernel has filled it in.
    let (verdict, length) = unsafe { (attr.test.retval as i32, attr.test.data_size_out as usize) };
    frame.truncate(length);
    Ok(Output { verdict, frame, context: left })
}

/// Whether the kernel accepts a frame for a test run of a program.
///
/// Not one that is shorter than an Ethernet header; more than a page only for packets in several pieces; and for TC,
/// since Linux 6.18, not one whose EtherType is that of IP without room for the header behind it. The first 14 bytes
/// are taken for an Ethernet header, whatever the program is specialised for.
#[must_use]
pub fn accepts(program: Program, frame: &[u8]) -> bool {
    let least = match (program, frame.get(12..14)) {
        (Program::Tc(_), Some([0x08, 0x00])) => 14 + 20,
        (Program::Tc(_), Some([0x86, 0xdd])) => 14 + 40,
        _ => 14,
    };
    let most = if program == Program::XdpFrags { LINEAR + 16 * 4096 } else { LINEAR };
    (least..=most).contains(&frame.len())
}

const _: () = {
    use mem::offset_of;
    assert!(offset_of!(SkBuff, mark) == 8 && offset_of!(SkBuff, priority) == 32);
    assert!(offset_of!(SkBuff, ingress_ifindex) == 36);
    assert!(offset_of!(SkBuff, data) == 76 && offset_of!(SkBuff, data_end) == 80);
    assert!(offset_of!(SkBuff, wire_len) == 160 && offset_of!(SkBuff, gso_segs) == 164);
    assert!(offset_of!(SkBuff, gso_size) == 176 && size_of::<SkBuff>() == 192);
};
