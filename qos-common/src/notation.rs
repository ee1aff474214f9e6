//! How people write a codepoint: by name, as the 6-bit value, or as the ToS byte that contains it.

use core::{fmt, str::FromStr};

use crate::ds::{DsField, Dscp};

/// Why a word is not a codepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotationError {
    /// Neither a name nor a number.
    Unknown,
    /// A number above 63; if it is the ToS byte of a codepoint, that codepoint.
    NotSixBits(Option<Dscp>),
    /// `tos=` with more than 255.
    NotEightBits,
}

impl FromStr for Dscp {
    type Err = NotationError;

    /// Reads `EF`, `ef`, `VOICE-ADMIT`, `46`, `0x2e`, `0b101110`, `tos=184`, `tos=0xb8`.
    ///
    /// A bare number is the 6-bit value; of a ToS byte the two ECN bits are left out.
    ///
    /// ```
    /// use qos_common::{ds::Dscp, notation::NotationError};
    ///
    /// assert_eq!("0x2e".parse(), Ok(Dscp::EF));
    /// assert_eq!("tos=0xb8".parse(), Ok(Dscp::EF));
    /// assert_eq!("184".parse::<Dscp>(), Err(NotationError::NotSixBits(Some(Dscp::EF))));
    /// ```
    fn from_str(word: &str) -> Result<Self, NotationError> {
        if let Some(byte) = strip_prefix_ignore_case(word, "tos=") {
            let byte = number(byte).ok_or(NotationError::Unknown)?;
            let byte = u8::try_from(byte).map_err(|_too_large| NotationError::NotEightBits)?;
            return Ok(DsField::new(byte).dscp());
        }
        match number(word) {
            Some(value) => from_number(value),
            None => Self::from_name(word).ok_or(NotationError::Unknown),
        }
    }
}

fn from_number(value: u32) -> Result<Dscp, NotationError> {
    match u8::try_from(value) {
        Ok(byte) => Dscp::new(byte).ok_or(NotationError::NotSixBits(Some(DsField::new(byte).dscp()))),
        Err(_too_large) => Err(NotationError::NotSixBits(None)),
    }
}

/// An unsigned number in decimal, `0x` or `0b` notation, without sign or blanks.
fn number(word: &str) -> Option<u32> {
    let (digits, radix) = if let Some(digits) = strip_prefix_ignore_case(word, "0x") {
        (digits, 16)
    } else if let Some(digits) = strip_prefix_ignore_case(word, "0b") {
        (digits, 2)
    } else {
        (word, 10)
    };
    let all_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    // Digits that do not fit are a number too, only too large for anything here.
    all_digits.then(|| u32::from_str_radix(digits, radix).unwrap_or(u32::MAX))
}

fn strip_prefix_ignore_case<'a>(word: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = word.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

impl fmt::Display for NotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("neither the name of a codepoint nor a number"),
            Self::NotSixBits(Some(dscp)) => {
                write!(f, "a DSCP is 0 to 63; as a ToS byte this is {dscp}: write tos=")
            }
            Self::NotSixBits(None) => f.write_str("a DSCP is 0 to 63"),
            Self::NotEightBits => f.write_str("a ToS byte is 0 to 255"),
        }
    }
}

impl core::error::Error for NotationError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_ef_is_ef() {
        for word in ["EF", "ef", "Ef", "46", "046", "0x2e", "0X2E", "0b101110", "tos=184", "TOS=0xb8", "tos=187"] {
            assert_eq!(word.parse(), Ok(Dscp::EF), "{word}");
        }
    }

    #[test]
    fn every_name_is_read_back() {
        for dscp in Dscp::all() {
            let Some(name) = dscp.name() else { continue };
            assert_eq!(name.parse(), Ok(dscp));
        }
        for (word, value) in [("BE", 0), ("CS0", 0), ("VOICE-ADMIT", 44), ("nqb", 45), ("le", 1)] {
            assert_eq!(word.parse(), Ok(Dscp::new(value).unwrap()));
        }
    }

    #[test]
    fn what_is_no_codepoint_says_why() {
        use NotationError::*;
        let parse = |word: &str| word.parse::<Dscp>().unwrap_err();
        for word in ["", "af44", "-1", "+46", " 46", "0x", "0b2", "tos=", "tos=EF", "4é"] {
            assert_eq!(parse(word), Unknown, "{word}");
        }
        assert_eq!(parse("184"), NotSixBits(Some(Dscp::EF)));
        assert_eq!(parse("64"), NotSixBits(Dscp::new(16)));
        assert_eq!(parse("256"), NotSixBits(None));
        assert_eq!(parse("99999999999999999999"), NotSixBits(None));
        assert_eq!(parse("tos=256"), NotEightBits);
    }
}
