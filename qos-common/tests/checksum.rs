//! RFC 1624 in steps against RFC 1071 over the whole header: every change of the DS field, every kind of header.

use qos_common::{
    checksum::update,
    ds::DsField,
    locate::{Family, Header},
    remark::remark,
};
use qos_vectors::{checksum, frame::Ipv4};

/// Headers of different lengths and sums, among them one whose sum is next to every edge.
fn headers() -> Vec<Vec<u8>> {
    let plain = Ipv4::default();
    let options = Ipv4 { options: vec![0x94, 4, 0, 0, 7, 7, 4, 1, 2, 3, 4, 0], fragment: 0x2000, ..Ipv4::default() };
    let longest = Ipv4 { options: vec![0xff; 40], total_length: Some(0xffff), ..Ipv4::default() };
    let zero = plain.with_zero_checksum(b"");
    let one = Ipv4 { identification: zero.identification.wrapping_sub(1), ..plain.clone() };
    let most = Ipv4 { identification: zero.identification.wrapping_add(1), ..plain.clone() };
    [plain, options, longest, zero, one, most].iter().map(|header| header.packet(b"")).collect()
}

fn with(header: &[u8], ds: u8, check: [u8; 2]) -> Vec<u8> {
    let mut header = header.to_vec();
    header[1] = ds;
    header[10..12].copy_from_slice(&check);
    header
}

fn updated(header: &[u8], new: u8) -> Vec<u8> {
    let check = update([header[10], header[11]], [0, header[1]], [0, new]);
    with(header, new, check)
}

#[test]
fn a_valid_checksum_becomes_the_recomputed_one() {
    for header in headers() {
        for old in 0..=255 {
            let valid = with(&header, old, checksum::of_ipv4_header(&with(&header, old, [0; 2])));
            for new in 0..=255 {
                let after = updated(&valid, new);
                assert_eq!(after[10..12], checksum::of_ipv4_header(&after), "{old:#x} to {new:#x} in {header:x?}");
            }
        }
    }
}

#[test]
fn a_wrong_checksum_stays_wrong_by_the_same_amount() {
    for header in headers() {
        let valid = u16::from_be_bytes(checksum::of_ipv4_header(&header));
        let wrong = [0, 1, 0x7fff, 0xfffe, 0xffff, !valid, valid.wrapping_add(1), valid.swap_bytes()];
        for (old, new) in (0..=255).flat_map(|old| (0..=255).map(move |new| (old, new))) {
            for check in wrong {
                let before = with(&header, old, check.to_be_bytes());
                let error = checksum::error_of_ipv4_header(&updated(&before, new));
                assert_eq!(error, checksum::error_of_ipv4_header(&before), "{check:#x}, {old:#x} to {new:#x}");
            }
        }
    }
}

/// The header that reaches 0xffff, the other zero, is one that no sender should make; it stays as valid as it was.
#[test]
fn every_checksum_word_keeps_its_error() {
    let header = Ipv4::default().packet(b"");
    for check in 0..=u16::MAX {
        let before = with(&header, 0xb8, check.to_be_bytes());
        let after = updated(&before, 0x03);
        assert_eq!(checksum::error_of_ipv4_header(&after), checksum::error_of_ipv4_header(&before), "{check:#x}");
        assert_ne!(after[10..12], [0xff, 0xff], "a rewrite never makes 0xffff: {check:#x}");
    }
}

/// RFC 1624 section 4: a header with checksum 0xdd2f whose word 0x5555 becomes 0x3285 has the checksum 0x0000.
#[test]
fn the_example_of_the_rfc() {
    assert_eq!(update([0xdd, 0x2f], [0x55, 0x55], [0x32, 0x85]), [0, 0]);
}

#[test]
fn every_ds_field_is_read_and_written_in_both_families() {
    for old in 0..=255u8 {
        for new in 0..64 {
            let to = DsField::new(new << 2).dscp();
            let header = |family| Header { family, offset: 0, ds: DsField::new(old) };
            let mut v4 = Ipv4 { ds: old, ..Ipv4::default() }.packet(b"");
            remark(&mut v4[..], &header(Family::V4), to).unwrap();
            assert_eq!(v4, Ipv4 { ds: new << 2 | old & 3, ..Ipv4::default() }.packet(b""));
            let v6 = qos_vectors::frame::Ipv6 { ds: old, ..Default::default() };
            let mut bytes = v6.packet(b"");
            remark(&mut bytes[..], &header(Family::V6), to).unwrap();
            assert_eq!(bytes, qos_vectors::frame::Ipv6 { ds: new << 2 | old & 3, ..v6 }.packet(b""));
        }
    }
}

#[test]
fn a_header_that_is_not_there_is_not_written() {
    let to = DsField::new(0xb8).dscp();
    for (family, length) in [(Family::V4, 19), (Family::V6, 1)] {
        for length in 0..=length {
            let mut bytes = vec![0x45; length];
            let header = Header { family, offset: 0, ds: DsField::new(0) };
            assert_eq!(remark(&mut bytes[..], &header, to), None);
            assert_eq!(bytes, vec![0x45; length]);
        }
    }
}
