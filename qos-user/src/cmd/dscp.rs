//! `dscp`: any notation to every notation.

use std::io::Write;

use jiff::tz::TimeZone;
use qos_common::{
    ds::{DsField, Dscp},
    notation::NotationError,
};

use crate::{
    cli::DscpArgs,
    error::{Exit, Failure},
    invocation::Invocation,
    render::{
        Look,
        dscp::{Asked, list, page, single, table},
        json::{Layout, document},
    },
};

/// The classes of a policy with their codepoints.
pub type Classes = [(String, Vec<Dscp>)];

/// Prints each value, or without values all 64; `classes` are those of the policy in force.
///
/// # Errors
///
/// With exit code 2 and before anything is printed, if a value is no codepoint; if `out` cannot be written.
pub fn run(args: &DscpArgs, classes: &Classes, out: &mut impl Write) -> anyhow::Result<Exit> {
    let of = |asked: Asked<'static>| Asked { class: class(classes, asked.dscp), ..asked };
    let asked = args.values.iter().map(|word| ask(word).map(of)).collect::<Result<Vec<_>, _>>()?;
    let text = match (asked.as_slice(), args.json) {
        ([], true) => document(&list(&Dscp::all().map(Asked::from).map(of).collect::<Vec<_>>()), Layout::Pretty)?,
        ([one], true) => document(&single(*one), Layout::Pretty)?,
        (several, true) => document(&list(several), Layout::Pretty)?,
        ([], false) => table(&look()),
        (several, false) => several.iter().map(|asked| page(*asked, &look())).collect::<Vec<_>>().join("\n"),
    };
    out.write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

fn class(classes: &Classes, dscp: Dscp) -> Option<&str> {
    classes.iter().find(|(_, members)| members.contains(&dscp)).map(|(name, _)| name.as_str())
}

/// The page has no times, no names from outside and nothing that needs a human.
fn look() -> Look {
    Look { zone: TimeZone::UTC, ascii: true, color: false, quiet: false, invocation: Invocation::default() }
}

/// Reads a value; a bare number that is a named codepoint's ToS byte too has both readings.
fn ask(word: &str) -> Result<Asked<'static>, Failure> {
    let dscp: Dscp = word.parse().map_err(|error| wrong(word, error))?;
    let tos = byte(word);
    // Binary digits say by their number which of the two is meant; a name or tos= says it in words.
    let bare = word.starts_with(|c: char| c.is_ascii_digit()) && !word.starts_with("0b") && !word.starts_with("0B");
    let as_tos = DsField::new(dscp.value());
    let known = bare && as_tos.bits() != 0 && as_tos.bits().is_multiple_of(4) && as_tos.dscp().name().is_some();
    Ok(Asked { dscp, tos, as_tos: known.then(|| as_tos.dscp()), class: None })
}

/// The whole byte of `tos=N`, of which the codepoint is only a part.
fn byte(word: &str) -> Option<DsField> {
    let number = word.to_ascii_lowercase();
    let number = number.strip_prefix("tos=")?;
    let (digits, radix) = match number.split_at_checked(2) {
        Some(("0x", digits)) => (digits, 16),
        Some(("0b", digits)) => (digits, 2),
        _ => (number, 10),
    };
    u8::from_str_radix(digits, radix).ok().map(DsField::new)
}

fn wrong(word: &str, error: NotationError) -> Failure {
    let (message, hint) = match error {
        NotationError::NotSixBits(Some(dscp)) => {
            let hint = format!("as ToS byte it is {dscp}: write tos={word}");
            (format!("`{word}` is not a DSCP: those are 0 to 63"), Some(hint))
        }
        NotationError::NotSixBits(None) => (format!("`{word}` is not a DSCP: those are 0 to 63"), None),
        NotationError::NotEightBits => (format!("`{word}` is not a ToS byte: those are 0 to 255"), None),
        NotationError::Unknown => {
            (format!("`{word}` is neither the name of a codepoint nor a number"), Some(nearest(word)))
        }
    };
    Failure { hint, ..Failure::new("not-a-dscp", message).exit(Exit::Usage) }
}

/// The name that is most like the word, or where all names are.
fn nearest(word: &str) -> String {
    let word = word.to_ascii_uppercase();
    let names = Dscp::all().filter_map(Dscp::name);
    let scored = names.map(|name| (strsim::damerau_levenshtein(&word, name), name));
    match scored.min() {
        Some((1, name)) => format!("did you mean {name}?"),
        _ => "all names: qosbpf dscp".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dscp(values: &[&str], json: bool) -> anyhow::Result<String> {
        with_classes(values, json, &[])
    }

    fn with_classes(values: &[&str], json: bool, classes: &Classes) -> anyhow::Result<String> {
        let args = DscpArgs { values: values.iter().map(|word| (*word).to_owned()).collect(), json };
        let mut out = Vec::new();
        assert_eq!(run(&args, classes, &mut out)?, Exit::Done);
        Ok(String::from_utf8(out)?)
    }

    fn json(values: &[&str]) -> serde_json::Value {
        serde_json::from_str(&dscp(values, true).unwrap()).unwrap()
    }

    fn failure(word: &str) -> Failure {
        dscp(&["EF", word], false).unwrap_err().downcast().unwrap()
    }

    #[test]
    fn pages() {
        insta::assert_snapshot!("ef", dscp(&["EF"], false).unwrap());
        insta::assert_snapshot!("several", dscp(&["40", "tos=0xba", "NQB", "2", "54", "63", "LE"], false).unwrap());
    }

    #[test]
    fn the_class_that_has_it_here_is_named_whatever_its_length() {
        let classes = |name: &str| [(name.to_owned(), vec![Dscp::EF, "AF41".parse().unwrap()])];
        let page = with_classes(&["EF"], false, &classes("voice")).unwrap();
        let first = page.lines().next().unwrap();
        assert!(first.ends_with("class here: voice   RFC 4594: Telephony"), "{first}");
        let long = with_classes(&["AF41", "CS1"], false, &classes(&"v".repeat(64))).unwrap();
        assert_eq!(long.lines().nth(1), Some(&*format!("class here: {}", "v".repeat(64))));
        assert_eq!(long.matches("class here").count(), 1, "{long}");
        let of = |word: &str| -> serde_json::Value {
            serde_json::from_str(&with_classes(&[word], true, &classes("voice")).unwrap()).unwrap()
        };
        assert_eq!((&of("EF")["class"], of("CS1").get("class")), (&"voice".into(), None));
    }

    #[test]
    fn the_whole_table() {
        insta::assert_snapshot!(dscp(&[], false).unwrap());
    }

    #[test]
    fn one_value_is_one_object() {
        insta::assert_snapshot!(dscp(&["46"], true).unwrap());
    }

    #[test]
    fn a_number_that_is_a_known_tos_byte_too_has_both_readings() {
        let text = dscp(&["40"], false).unwrap();
        let line = "40 as DSCP is CS5; as ToS byte it is AF11 10; write tos=40 to mean that";
        assert_eq!(text.lines().next(), Some(line));
        let both = json(&["0x28"]);
        assert_eq!((&both["name"], &both["as_tos"]["name"]), (&"CS5".into(), &"AF11".into()));
        for word in ["46", "EF", "tos=40", "CS5", "0b101000", "0", "33", "8"] {
            assert!(json(&[word]).get("as_tos").is_none(), "{word}");
        }
        assert_eq!(json(&["4"])["as_tos"]["name"], "LE");
    }

    #[test]
    fn several_values_or_none_are_a_list() {
        let several = json(&["EF", "tos=186"]);
        assert_eq!(several["schema"], 1);
        assert_eq!(several["codepoints"].as_array().unwrap().len(), 2);
        assert_eq!((&several["codepoints"][1]["dscp"], &several["codepoints"][1]["ecn"]), (&46.into(), &2.into()));
        assert_eq!(json(&[])["codepoints"].as_array().unwrap().len(), 64);
    }

    #[test]
    fn what_is_no_codepoint_ends_with_2_and_says_what_to_write() {
        let byte = failure("184");
        assert_eq!((byte.code, byte.exit), ("not-a-dscp", Exit::Usage));
        assert_eq!(byte.hint.as_deref(), Some("as ToS byte it is EF: write tos=184"));
        assert_eq!(failure("0xb8").hint.as_deref(), Some("as ToS byte it is EF: write tos=0xb8"));
        assert_eq!(failure("256").hint, None);
        assert_eq!(failure("AF44").hint.as_deref(), Some("did you mean AF41?"));
        assert_eq!(failure("gold").hint.as_deref(), Some("all names: qosbpf dscp"));
        assert!(failure("tos=256").message.contains("0 to 255"));
    }

    #[test]
    fn nothing_is_wider_than_a_hundred_columns() {
        let all: Vec<String> = (0..64).map(|value: u8| value.to_string()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        for text in [dscp(&all, false).unwrap(), dscp(&[], false).unwrap()] {
            assert!(text.is_ascii());
            let longest = text.lines().max_by_key(|line| line.len()).unwrap();
            assert!(longest.len() <= 100, "{longest}");
        }
    }
}
