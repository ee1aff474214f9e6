//! Any word as a codepoint: every reading agrees with the others of the same word.

use qos_common::{ds::Dscp, notation::NotationError};

pub fn hold(input: &[u8]) {
    let Ok(word) = str::from_utf8(input) else { return };
    let read = word.parse::<Dscp>();
    assert_eq!(word.to_ascii_uppercase().parse(), read, "{word:?}");
    assert_eq!(word.to_ascii_lowercase().parse(), read, "{word:?}");
    match read {
        Ok(dscp) => {
            assert!(dscp.value() < 64);
            assert_eq!(dscp.to_string().parse(), Ok(dscp), "{word:?}");
            assert_eq!(format!("tos={}", dscp.value() << 2).parse(), Ok(dscp));
        }
        Err(NotationError::NotSixBits(Some(dscp))) => assert_eq!(format!("tos={word}").parse(), Ok(dscp), "{word:?}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
