//! A case of the [contract](crate::contract) as one string of bytes, as a fuzzer makes it.
//!
//! ```text
//! 0      bit 0: layer 3    bit 1: a tag in metadata    bit 2: made by this host    bits 3, 4: what `local` spares
//!        bits 5, 6: behind which headers the hook looks
//! 1..65  the table, one byte for each codepoint
//! 65..   the frame
//! ```

use qos_common::{
    inside::Inside,
    locate::Link,
    policy::{Local, Origin},
};

use crate::{
    Vector,
    contract::{Case, table},
};

/// Reads a case; `None` where the bytes end before the frame.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Case<'_>> {
    let (flags, rest) = bytes.split_first()?;
    let (entries, frame) = rest.split_first_chunk()?;
    Some(Case {
        frame,
        link: if flags & 1 == 0 { Link::Ethernet } else { Link::Layer3 },
        stripped_tags: usize::from(flags >> 1 & 1),
        inside: Inside::from_bits(flags >> 5 & 3),
        table: table(entries),
        local: match flags >> 3 & 3 {
            0 => Local::KeepControl,
            1 => Local::Policy,
            _ => Local::Keep,
        },
        origin: if flags & 4 == 0 { Origin::Forwarded } else { Origin::Local },
    })
}

/// A vector as such a string, under a table that sends every codepoint to the one whose bits are the other way round.
#[must_use]
pub fn encode(vector: &Vector) -> Vec<u8> {
    let flags = u8::from(vector.link == Link::Layer3) | (vector.stripped_tags as u8) << 1 | vector.inside.bits() << 5;
    let entries = (0..64u8).map(|dscp| dscp ^ 0x3f);
    [flags].into_iter().chain(entries).chain(vector.frame.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_read_back() {
        for vector in crate::all() {
            let bytes = encode(&vector);
            let case = decode(&bytes).unwrap();
            assert_eq!((case.frame, case.link), (&vector.frame[..], vector.link));
            assert_eq!((case.stripped_tags, case.local), (vector.stripped_tags, Local::KeepControl));
            assert_eq!(case.inside, vector.inside);
        }
        assert!(decode(&[0; 64]).is_none() && decode(&[0; 65]).is_some());
    }
}
