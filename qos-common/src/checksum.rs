//! The Internet checksum (RFC 1071) of a header of which one 16-bit word changes (RFC 1624).

/// The checksum that follows from `check` when a word of the header changes from `old` to `new`.
///
/// RFC 1624 equation 3, `HC' = ~(~HC + ~m + m')`: a valid checksum stays valid, a wrong one stays wrong by the same
/// amount, so that corruption upstream is neither repaired nor hidden.
///
/// All three are taken as they lie in memory. The sum does not depend on the byte order (RFC 1071 section 2 (B)), and
/// so no byte is swapped.
#[inline(always)]
#[must_use]
pub const fn update(check: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let sum = !u16::from_ne_bytes(check) as u32 + !u16::from_ne_bytes(old) as u32 + u16::from_ne_bytes(new) as u32;
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_ne_bytes()
}
