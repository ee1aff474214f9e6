//! The Internet checksum over a whole header (RFC 1071), not in steps as the data path has it.

/// The ones' complement sum of 16-bit words in network byte order, folded; an odd last byte is the upper one of a word.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(word.get(1).copied().unwrap_or(0)));
    let total: u64 = words.sum();
    // The value modulo 0xffff, where zero stands only for "all words are zero".
    match total % 0xffff {
        0 if total != 0 => 0xffff,
        rest => rest as u16,
    }
}

/// The checksum that an IPv4 header should have; whatever stands in its checksum field does not matter.
///
/// `header` has 20 bytes at least.
#[must_use]
pub fn of_ipv4_header(header: &[u8]) -> [u8; 2] {
    let mut header = header.to_vec();
    header[10..12].fill(0);
    (!sum(&header)).to_be_bytes()
}

/// By how much the checksum of an IPv4 header is wrong, modulo 0xffff; 0 if a receiver accepts it.
#[must_use]
pub fn error_of_ipv4_header(header: &[u8]) -> u16 {
    sum(header) % 0xffff
}
