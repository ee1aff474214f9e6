//! The Internet checksum (RFC 1071) of a header of which one 16-bit word changes (RFC 1624).

/// The checksum that follows from `check` when a word of the header changes from `old` to `new`.
///
/// RFC 1624 equation 3, `HC' = ~(~HC + ~m + m')`: a valid checksum stays valid, a wrong one stays wrong by the same
/// amount, so that corruption upstream is neither repaired nor hidden.
///
/// All three are taken as they lie in memory. The sum does not depend on the byte order (RFC 1071 section 2 (B)), and
/// so no byte is swapped.
///
/// Of the two ways to write zero, 0xffff becomes 0x0000 by any update, and an update never makes 0xffff out of anything
/// else in an IPv4 header.
///
/// ```
/// use qos_common::checksum::update;
///
/// // RFC 1624 section 4.
/// assert_eq!(update([0xdd, 0x2f], [0x55, 0x55], [0x32, 0x85]), [0x00, 0x00]);
/// ```
#[inline(always)]
#[must_use]
pub const fn update(check: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    const fn word(bytes: [u8; 2]) -> u64 {
        u16::from_ne_bytes(bytes) as u64
    }
    // ~HC + ~m + m', with both complements in one number; in registers of 64 bits nothing has to be cut off.
    let sum = word(new).wrapping_sub(word(old)).wrapping_sub(word(check)).wrapping_add(2 * 0xffff);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (!(sum as u16)).to_ne_bytes()
}
