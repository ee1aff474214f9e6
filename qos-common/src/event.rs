//! What a program tells of a packet that a rule logs.

use crate::locate::Family;

/// How many bytes of a packet an event has, from the IP header on: the longest IPv4 header and the ports behind it, or an
/// IPv6 header with 40 bytes of extension headers and ports.
pub const CAPTURED: usize = 80;

/// One packet that a rule has logged: an entry of the ring buffer `EVENTS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// When it came, in nanoseconds since boot without suspends.
    pub time: u64,
    /// Bytes of the frame as a capture would show them; of a super-packet those of all its segments.
    pub bytes: u32,
    /// The counter of the rule, below [`RULE_SLOTS`](crate::rules::RULE_SLOTS).
    pub slot: u16,
    /// The DS field as the packet came.
    pub before: u8,
    /// The DS field as it left.
    pub after: u8,
    /// [`Family`].
    pub family: u8,
    /// 1 if it went no further.
    pub dropped: u8,
    /// How many of `headers` are the packet's.
    pub captured: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// The beginning of the packet, from its IP header on, as it came.
    pub headers: [u8; CAPTURED],
}

impl Event {
    /// Nothing yet.
    pub const NONE: Self = Self {
        time: 0,
        bytes: 0,
        slot: 0,
        before: 0,
        after: 0,
        family: Family::V4 as u8,
        dropped: 0,
        captured: 0,
        reserved: [0; 5],
        headers: [0; CAPTURED],
    };

    /// Bytes of an event in the ring buffer.
    pub const BYTES: usize = size_of::<Self>();

    /// The event that the kernel wrote; `None` for another number of bytes.
    #[must_use]
    pub fn from_ne_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (head, headers) = bytes.split_at_checked(Self::BYTES - CAPTURED)?;
        let [time, rest @ ..] = head.as_chunks::<8>().0 else { return None };
        let [second, third] = rest else { return None };
        Some(Self {
            time: u64::from_ne_bytes(*time),
            bytes: u32::from_ne_bytes(*second.first_chunk()?),
            slot: u16::from_ne_bytes([second[4], second[5]]),
            before: second[6],
            after: second[7],
            family: third[0],
            dropped: third[1],
            captured: third[2],
            reserved: [0; 5],
            headers: headers.try_into().ok()?,
        })
    }
}

const _: () = assert!(Event::BYTES == 104, "userspace and kernel disagree");
