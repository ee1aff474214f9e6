//! Rates, sizes, and how often something is logged.

use core::num::NonZero;

use crate::policy::{
    diagnostic::{Finding, quote},
    model::LogRate,
    source::Span,
    words,
};

/// Bits a second.
const RATE_UNITS: &[(&str, u64)] = &[("bit", 1), ("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];
/// Bytes.
const SIZE_UNITS: &[(&str, u64)] = &[("B", 1), ("kB", 1_000), ("MB", 1_000_000), ("KiB", 1 << 10), ("MiB", 1 << 20)];
/// Seconds.
const TIMES: &[(&str, u32)] = &[("s", 1), ("min", 60), ("h", 3600)];

/// The rates at which a meter is exact, in bits a second.
const RATES: std::ops::RangeInclusive<u64> = 8_000..=400_000_000_000;
/// The most that a burst may be, in bytes.
const MOST_BURST: u64 = u32::MAX as u64;
/// The most events that a rule may log, whatever the time.
const MOST_EVENTS: u32 = 1_000;

type Read<T> = Result<T, Box<Finding>>;

/// So many bits a second as [`rate`] reads them, in the largest unit in which they are whole.
pub(super) fn written_rate(bits: i64) -> String {
    written(bits, RATE_UNITS)
}

/// The same of bytes, as [`size`] reads them.
pub(super) fn written_size(bytes: i64) -> String {
    written(bytes, SIZE_UNITS)
}

fn written(number: i64, units: &[(&str, u64)]) -> String {
    let is_decimal = |factor: i64| factor == 1 || factor % 1_000 == 0;
    let factors = units.iter().filter_map(|(unit, factor)| Some((*unit, i64::try_from(*factor).ok()?)));
    let whole = factors.filter(|(_, factor)| is_decimal(*factor) && number % factor == 0);
    // None is whole in every unit.
    let most =
        if number == 0 { whole.min_by_key(|(_, factor)| *factor) } else { whole.max_by_key(|(_, factor)| *factor) };
    most.map_or_else(|| number.to_string(), |(unit, factor)| format!("{}{unit}", number / factor))
}

/// A rate such as `8mbit` in bytes a second, a fraction of a byte left out.
pub(super) fn rate(word: &str, span: Span) -> Read<u64> {
    let bits = quantity("rate", word, span, RATE_UNITS, "8mbit")?;
    if RATES.contains(&bits) {
        return Ok(bits / 8);
    }
    Err(Box::new(Finding::error(span, format!("{} is not a rate of a meter: 8kbit to 400gbit", quote(word)))))
}

/// A size such as `64kB` in bytes, a fraction left out.
pub(super) fn size(word: &str, span: Span) -> Read<u64> {
    let bytes = quantity("size", word, span, SIZE_UNITS, "64kB")?;
    if bytes <= MOST_BURST {
        return Ok(bytes);
    }
    Err(Box::new(Finding::error(span, format!("{} is more than a burst can be: {MOST_BURST} B", quote(word)))))
}

/// A rate such as `10/min`.
pub(super) fn log_rate(word: &str, span: Span) -> Read<LogRate> {
    let wrong = |title: String| Finding::error(span, title);
    let example = "write \"1/s\", \"10/min\" or \"6/h\"";
    let Some((events, unit)) = word.split_once('/') else {
        return Err(Box::new(wrong(format!("{} does not say how often", quote(word))).help(example)));
    };
    let Some((_, seconds)) = TIMES.iter().find(|(name, _)| *name == unit) else {
        let finding = wrong(format!("{} is not a unit of time here", quote(unit)));
        return Err(Box::new(finding.help("the units are `s`, `min` and `h`")));
    };
    match events.parse::<NonZero<u32>>() {
        Ok(events) if events.get() <= MOST_EVENTS => Ok(LogRate { events, seconds: *seconds }),
        _ => {
            let title = format!("{} is not a number of events: 1 to {MOST_EVENTS}", quote(events));
            Err(Box::new(wrong(title).help(example)))
        }
    }
}

/// A number, perhaps with a decimal fraction, and a unit without which it would be ambiguous.
fn quantity(what: &str, word: &str, span: Span, units: &[(&'static str, u64)], example: &str) -> Read<u64> {
    let digits = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let (number, unit) = word.split_at_checked(digits).unwrap_or((word, ""));
    let unit = unit.trim_start();
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(Box::new(bad_unit(what, word, (number, unit), span, units, example)));
    };
    decimal(number, *factor).ok_or_else(|| {
        let finding = Finding::error(span, format!("{} is not a {what}", quote(word)));
        Box::new(finding.help(format!("write it as \"{example}\"")))
    })
}

fn bad_unit(
    what: &str,
    word: &str,
    (number, unit): (&str, &str),
    span: Span,
    units: &[(&'static str, u64)],
    example: &str,
) -> Finding {
    if number.is_empty() {
        return Finding::error(span, format!("{} is not a {what}", quote(word)))
            .help(format!("write it as \"{example}\""));
    }
    let names = units.iter().map(|(name, _)| *name);
    let known = names.clone().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if unit.is_empty() {
        return Finding::error(span, format!("{} has no unit", quote(word))).help(format!("the units are {known}"));
    }
    let finding = Finding::error(span, format!("{} is not a unit of a {what}", quote(unit)));
    match meant(unit, units).or_else(|| words::nearest(unit, names)) {
        Some(near) => finding.help(format!("did you mean `{number}{near}`?")),
        None => finding.help(format!("the units are {known}")),
    }
}

/// What other tools write.
fn meant(unit: &str, units: &[(&'static str, u64)]) -> Option<&'static str> {
    let lower = unit.to_lowercase();
    // `64K`, as tc writes it, and other capitals.
    let whole = |name: &&str| name.eq_ignore_ascii_case(unit);
    let letter = |name: &&str| lower.len() == 1 && name.len() > 1 && name.to_lowercase().starts_with(&lower);
    let names = || units.iter().map(|(name, _)| *name);
    if let Some(name) = names().find(whole).or_else(|| names().find(letter)) {
        return Some(name);
    }
    match &*lower {
        "kbps" | "kbit/s" | "kbits" => Some("kbit"),
        "mbps" | "mbit/s" | "mbits" => Some("mbit"),
        "gbps" | "gbit/s" | "gbits" => Some("gbit"),
        "bps" | "bit/s" | "bits" => Some("bit"),
        "bytes" | "byte" => Some("B"),
        _ => None,
    }
}

/// `number` times `factor`, exactly but for the last fraction of one.
fn decimal(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| (1..=12).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let scaled = whole.parse::<u128>().ok()? * scale + fraction.parse::<u128>().ok()?;
    u64::try_from(scaled * u128::from(factor) / scale).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_bytes_a_second() {
        for (word, bytes) in [
            ("8kbit", 1_000),
            ("8000bit", 1_000),
            ("8001 bit", 1_000),
            ("1.5mbit", 187_500),
            ("8mbit", 1_000_000),
            ("400gbit", 50_000_000_000),
            ("0.000008gbit", 1_000),
        ] {
            assert_eq!(rate(word, Span::at(0)).unwrap(), bytes, "{word}");
        }
        for word in ["7999bit", "401gbit", "8", "mbit", "-8mbit", "8Mbit", "1..5mbit", "1e3kbit", "", "8mbitt", "٣kbit"]
        {
            assert!(rate(word, Span::at(0)).is_err(), "{word}");
        }
    }

    #[test]
    fn sizes_are_bytes() {
        for (word, bytes) in
            [("0B", 0), ("1500B", 1_500), ("64kB", 64_000), ("64KiB", 65_536), ("1.5MB", 1_500_000), ("2MiB", 2 << 20)]
        {
            assert_eq!(size(word, Span::at(0)).unwrap(), bytes, "{word}");
        }
        for word in ["64", "64kb", "64k", "5000MB", "999999999999999999999B"] {
            assert!(size(word, Span::at(0)).is_err(), "{word}");
        }
    }

    #[test]
    fn logs_are_so_many_in_so_long() {
        for (word, events, seconds) in [("1/s", 1, 1), ("10/min", 10, 60), ("1000/h", 1000, 3600)] {
            assert_eq!(
                log_rate(word, Span::at(0)).unwrap(),
                LogRate { events: NonZero::new(events).unwrap(), seconds }
            );
        }
        for word in ["1", "0/s", "1001/s", "/s", "1/", "1/d", "one/s", "+1/s "] {
            assert!(log_rate(word, Span::at(0)).is_err(), "{word}");
        }
    }
}
