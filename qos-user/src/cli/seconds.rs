//! Seconds as an option has them, with a point.

use std::time::Duration;

/// Shorter, and the reading would be most of what the CPU does.
const SHORTEST: Duration = Duration::from_millis(100);

/// How far apart two readings are.
pub fn interval(word: &str) -> Result<Duration, String> {
    let is_name = word.starts_with(char::is_alphabetic);
    let instead = if is_name { "; a hook stands before --watch, or behind --watch=2" } else { "" };
    let interval = seconds(word).map_err(|error| error + instead)?;
    if interval < SHORTEST { Err(format!("at least {} seconds", SHORTEST.as_secs_f64())) } else { Ok(interval) }
}

/// How long something takes.
pub fn seconds(word: &str) -> Result<Duration, String> {
    let seconds: f64 = word.parse().map_err(|_not_a_number| format!("`{word}` is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_that_was_taken_for_seconds_is_told_where_it_stands() {
        let said = |word: &str| interval(word).unwrap_err();
        assert_eq!(
            said("wan0:egress"),
            "`wan0:egress` is not a number of seconds; a hook stands before --watch, or behind --watch=2"
        );
        assert_eq!(said("2,5"), "`2,5` is not a number of seconds");
    }
}
