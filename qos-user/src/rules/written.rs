//! Codepoints as they are written into pins: numbers, and `null` for none.

use qos_common::ds::Dscp;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error};

/// A codepoint.
pub(super) mod one {
    use super::*;

    pub fn serialize<S: Serializer>(dscp: &Dscp, serializer: S) -> Result<S::Ok, S::Error> {
        dscp.value().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dscp, D::Error> {
        known(u8::deserialize(deserializer)?)
    }
}

/// A codepoint or none.
pub(super) mod option {
    use super::*;

    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub fn serialize<S: Serializer>(dscp: &Option<Dscp>, serializer: S) -> Result<S::Ok, S::Error> {
        dscp.map(Dscp::value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Dscp>, D::Error> {
        Option::<u8>::deserialize(deserializer)?.map(known).transpose()
    }
}

fn known<E: Error>(value: u8) -> Result<Dscp, E> {
    Dscp::new(value).ok_or_else(|| E::custom(format!("{value} is no codepoint")))
}
