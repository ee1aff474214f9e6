//! Which characters may be shown: names and texts of others go to terminals.

/// Whether a character can be shown in a line: it neither controls a terminal nor turns the direction of what follows.
#[must_use]
pub fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
