//! The vectors agree with themselves: names, answers, and the second reader.

use std::collections::BTreeSet;

use qos_common::locate::{Family, Located};
use qos_vectors::{all, checksum, reader};

#[test]
fn no_two_have_the_same_name() {
    let names: BTreeSet<String> = all().into_iter().map(|vector| vector.name).collect();
    assert_eq!(names.len(), all().len());
}

#[test]
fn the_second_reader_gives_the_stated_answers() {
    for vector in all() {
        let reading = reader::read_inside(&vector.frame, vector.link, vector.inside, vector.stripped_tags);
        assert_eq!(reading.located, vector.expect, "{}", vector.name);
    }
}

#[test]
fn the_checksum_edges_are_what_they_say() {
    let mut seen = BTreeSet::new();
    for vector in all() {
        let Located::Ip(header) = vector.expect else { continue };
        if header.family == Family::V4 && vector.name.contains("checksum") && !vector.name.starts_with("cut") {
            let bytes = &vector.frame[header.offset..header.offset + 20];
            let right = checksum::error_of_ipv4_header(bytes) == 0;
            assert_eq!(right, !vector.name.contains("wrong"), "{}", vector.name);
            seen.insert((right, [bytes[10], bytes[11]]));
        }
    }
    for edge in [(true, [0, 0]), (true, [0xff, 0xff]), (false, [0, 0]), (false, [0xff, 0xff])] {
        assert!(seen.contains(&edge), "{edge:?}");
    }
}

/// RFC 1071 section 3 has this sum.
#[test]
fn the_sum_is_that_of_the_rfc() {
    assert_eq!(checksum::sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    assert_eq!(checksum::sum(&[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
    assert_eq!((checksum::sum(&[0; 4]), checksum::sum(&[0xff; 4])), (0, 0xffff));
}
