//! Numbers, times and names as people read them.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, tz::TimeZone};
use qos_common::ds::Dscp;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::screen::WIDTH;
use crate::printable::is_printable;

/// The decimal prefixes: rates and sizes are in powers of 1000, as everywhere in networking.
const PREFIXES: [&str; 6] = ["k", "M", "G", "T", "P", "E"];

/// A count with thousands separators; from 10^15 on with a prefix, so that it never has more than 19 characters.
pub fn count(number: u64) -> String {
    if number >= 1_000_000_000_000_000 {
        return rate(number as f64);
    }
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number a second in three digits: `0`, `0.5`, `498`, `1.62M`, `71.2M`.
pub fn rate(number: f64) -> String {
    if number < 999.5 {
        return small(number);
    }
    let mut scaled = number;
    let mut prefix = "";
    for next in PREFIXES {
        if scaled < 999.5 {
            break;
        }
        scaled /= 1000.0;
        prefix = next;
    }
    match scaled {
        s if s < 9.995 => format!("{s:.2}{prefix}"),
        s if s < 99.95 => format!("{s:.1}{prefix}"),
        s => format!("{s:.0}{prefix}"),
    }
}

/// Below a thousand: whole, but a tenth where less than ten would hide what moves slowly.
fn small(number: f64) -> String {
    let whole = number == number.trunc();
    if whole || number >= 9.95 {
        format!("{number:.0}")
    } else if number < 0.05 {
        "<0.1".to_owned()
    } else {
        format!("{number:.1}")
    }
}

/// How long something was sampled: `1.0 s`, and from about a minute on in minutes, as those who watch say it.
pub fn seconds(seconds: f64) -> String {
    if seconds < 55.0 { format!("{} s", rate(seconds)) } else { format!("{:.0} m", seconds / 60.0) }
}

/// How long, in its two largest units: `8 s`, `4m 12s`, `1h 02m`, `3d 04h`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// The time of day, or if the day is not that of `now` the date and the minute.
pub fn local(time: SystemTime, now: SystemTime, zone: &TimeZone) -> String {
    let (time, now) = (timestamp(time).to_zoned(zone.clone()), timestamp(now).to_zoned(zone.clone()));
    let format = if time.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    time.strftime(format).to_string()
}

/// Whether something can have begun then: not where the clock had not been set, as on a board that begins each boot in 1970,
/// nor where it was ahead of that of now.
pub fn is_credible(time: SystemTime, now: SystemTime) -> bool {
    const EARLIEST: Duration = Duration::from_secs(1_577_836_800); // 2020-01-01
    const DAY: Duration = Duration::from_secs(86_400);
    time >= SystemTime::UNIX_EPOCH + EARLIEST && time.duration_since(now).unwrap_or_default() < DAY
}

/// A time in UTC as RFC 3339 has it, with nine digits of a second.
pub fn rfc3339(time: SystemTime) -> String {
    format!("{:.9}", timestamp(time))
}

/// A time beyond the years -9999 to 9999 is none that a clock shows; it becomes the nearest.
fn timestamp(time: SystemTime) -> Timestamp {
    let late = if time < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::try_from(time).unwrap_or(late)
}

/// A codepoint as `EF 46`, or the number alone where it has no name.
pub fn mark(dscp: Dscp) -> String {
    match dscp.name() {
        Some(name) => format!("{name} {}", dscp.value()),
        None => dscp.value().to_string(),
    }
}

/// The width of a text on the terminal, in columns.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Text as it may go to a terminal: characters that would move the cursor, turn the direction, or worse, become `?`.
///
/// Line ends stay, and with `color` the sequences that color (ECMA-48, SGR).
#[must_use]
pub fn harmless(text: &str, color: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| !is_printable(c) && c != '\n') {
        let (before, found) = rest.split_at(at);
        clean.push_str(before);
        let (shown, behind) = match sgr(found).filter(|_| color) {
            Some(colors) => colors,
            None => {
                let mut behind = found.chars();
                behind.next();
                ("?", behind.as_str())
            }
        };
        clean.push_str(shown);
        rest = behind;
    }
    clean + rest
}

/// The same for what has no line ends and no color.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if is_printable(c) { c } else { '?' }).collect()
}

/// The sequence that colors, at the beginning of a text, and what follows it.
fn sgr(text: &str) -> Option<(&str, &str)> {
    let parameters = text.strip_prefix("\x1b[")?;
    let behind = parameters.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').strip_prefix('m')?;
    text.split_at_checked(text.len() - behind.len())
}

/// A name from outside in at most `columns` columns, with an ellipsis at its end if it was longer.
///
/// Control characters would move the cursor or worse; they become `?`.
pub fn shorten(name: &str, columns: usize) -> String {
    let clean = one_line(name);
    if width(&clean) <= columns {
        return clean;
    }
    let mut text = String::new();
    let mut left = columns.saturating_sub(1);
    for c in clean.chars() {
        let columns = c.width().unwrap_or(0);
        if columns > left {
            break;
        }
        left -= columns;
        text.push(c);
    }
    text.push('…');
    text
}

/// A text broken between words so that no line has more than `columns`; lines after the first are indented.
pub fn wrap(text: &str, columns: usize, indent: usize) -> Vec<String> {
    if width(text) <= columns {
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_inclusive(' ') {
        if width(&line) + width(word.trim_end()) > columns && !line.trim().is_empty() {
            lines.push(line.trim_end().to_owned());
            line = " ".repeat(indent);
        }
        line.push_str(&shorten(word, columns - indent));
    }
    lines.push(line.trim_end().to_owned());
    lines
}

/// A text that goes on below itself. A command of ours at its end has a line of its own if it would be broken otherwise:
/// whoever copies a part of one runs another command.
pub fn told(text: &str, indent: usize) -> Vec<String> {
    let lines = wrap(text, WIDTH, indent);
    let Some((why, command)) = command_at_the_end(text) else { return lines };
    if lines.iter().any(|line| line.contains(command)) {
        return lines;
    }
    let mut lines = wrap(why, WIDTH, indent);
    lines.push(format!("{:indent$}{command}", ""));
    lines
}

/// What is before it, and the command; where a text goes on behind one, nobody knows where it ends.
fn command_at_the_end(text: &str) -> Option<(&str, &str)> {
    let (why, command) = text.split_at_checked(text.rfind(": qosbpf ")? + 2)?;
    let goes_on = command.ends_with(')') || [", ", "; ", ": "].iter().any(|sign| command.contains(sign));
    (!goes_on).then_some((why.trim_end(), command))
}

/// A text behind a lead, under which it goes on, in lines that fit a screen.
pub fn under(lead: &str, text: &str) -> Vec<String> {
    told(&one_line(&format!("{lead}{text}")), width(lead))
}

/// The same with a line end after each line.
#[must_use]
pub fn hanging(lead: &str, text: &str) -> String {
    under(lead, text).join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_color_reaches_the_terminal() {
        let hostile = "a\x1b[2Jb\x07\u{9b}c\r\n\x1b[1;31md\x1b[0m\x1b[3";
        assert_eq!(harmless(hostile, false), "a?[2Jb??c?\n?[1;31md?[0m?[3");
        assert_eq!(harmless(hostile, true), "a?[2Jb??c?\n\x1b[1;31md\x1b[0m?[3");
        assert_eq!(harmless("", true), "");
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        let counts = [0, 17, 999, 1_000, 184_520, 9_398_185, 999_999_999_999_999, u64::MAX].map(count);
        assert_eq!(counts, ["0", "17", "999", "1,000", "184,520", "9,398,185", "999,999,999,999,999", "18.4E"]);
        let rates = [0.0, 0.01, 0.5, 4.0, 9.96, 498.4, 999.6, 1_620_000.0, 71_200_000.0, 4_100.0, 1e11].map(rate);
        assert_eq!(rates, ["0", "<0.1", "0.5", "4", "10", "498", "1.00k", "1.62M", "71.2M", "4.10k", "100G"]);
    }

    #[test]
    fn spans_have_two_units() {
        let spans = [8, 252, 3_720, 273_600].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["8 s", "4m 12s", "1h 02m", "3d 04h"]);
    }

    #[test]
    fn times_say_the_day_only_if_it_is_another() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_298_400);
        assert_eq!(local(now - Duration::from_secs(60), now, &zone), "22:59:00");
        assert_eq!(local(now - Duration::from_secs(86_400), now, &zone), "2026-11-20 23:00");
        assert_eq!(rfc3339(now + Duration::from_nanos(123_456_789)), "2026-11-21T22:00:00.123456789Z");
        assert_eq!(rfc3339(now), "2026-11-21T22:00:00.000000000Z");
    }

    #[test]
    fn names_are_cut_and_cleaned() {
        assert_eq!(shorten("edge-standard", 13), "edge-standard");
        assert_eq!(shorten("edge-standard", 8), "edge-st…");
        assert_eq!(shorten("a\x1b[2Jb", 20), "a?[2Jb");
        assert_eq!(width(&shorten("日本語日本語", 8)), 7);
    }

    #[test]
    fn what_is_too_long_goes_on_under_its_text() {
        let text =
            hanging("wan0:egress  ", &format!("attached: tcx, the best there is; table {}, and more", "t".repeat(64)));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.iter().all(|line| width(line) <= WIDTH) && text.ends_with('\n'), "{text}");
        assert_eq!(lines[1], format!("             {}, and more", "t".repeat(64)));
        assert_eq!(hanging("lan0  ", "short"), "lan0  short\n");
    }

    #[test]
    fn wrapped_lines_lose_nothing_and_fit() {
        let text = "the quick brown fox jumps over the lazy dog";
        let lines = wrap(text, 16, 2);
        assert!(lines.iter().all(|line| width(line) <= 16), "{lines:?}");
        let words: Vec<_> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
        assert_eq!(words.join(" "), text);
    }
}
