//! `-j` and `-g`: what a rule does.

use super::super::{
    dscp,
    program::{Act, always, by},
};

#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The rule only counts.
    Nothing,
    Act(Act),
    Chain {
        name: String,
        goto: bool,
    },
    /// A target of another trade.
    Other(String),
}

const ECN: &str = "it also changes the ECN bits, which are never changed here";

/// Targets that are not about the DS field, and let the packet go on.
const OTHERS: &[&str] = &[
    "AUDIT",
    "CHECKSUM",
    "CONNMARK",
    "CONNSECMARK",
    "CT",
    "DNAT",
    "HL",
    "HMARK",
    "LOG",
    "MARK",
    "MASQUERADE",
    "NFLOG",
    "NOTRACK",
    "RATEEST",
    "SECMARK",
    "SET",
    "SNAT",
    "TCPMSS",
    "TCPOPTSTRIP",
    "TEE",
    "TRACE",
    "TTL",
    "ULOG",
    "ECN",
];

/// A target, the words behind it that are not its own, and what is not quite the same here.
type Found<'w> = (Target, &'w [String], Vec<&'static str>);

/// Reads from `-j` on.
pub(super) fn read(words: &[String]) -> Result<Found<'_>, String> {
    let [how, name, rest @ ..] = words else { return Ok((Target::Nothing, &[], Vec::new())) };
    let act = |act: Act, rest| Ok((Target::Act(act), rest, Vec::new()));
    match &**name {
        "DSCP" => set_dscp(rest),
        "TOS" => set_tos(rest),
        "CLASSIFY" => match rest {
            [option, class, rest @ ..] if option == "--set-class" => act(Act::Priority(class_of(class)?), rest),
            _ => Err("CLASSIFY without --set-class".to_owned()),
        },
        "ACCEPT" => act(Act::Accept, rest),
        "RETURN" => act(Act::Return, rest),
        "DROP" => act(Act::Drop, rest),
        "QUEUE" | "NFQUEUE" | "TPROXY" | "REJECT" | "SYNPROXY" => {
            Err(format!("{name} ends the way of a packet, which nothing here can say"))
        }
        other if OTHERS.contains(&other) => Ok((Target::Other(other.to_owned()), &[], Vec::new())),
        chain => {
            let goto = how == "-g" || how == "--goto";
            Ok((Target::Chain { name: chain.to_owned(), goto }, rest, Vec::new()))
        }
    }
}

/// Why a name is neither a target nor a chain.
pub(super) fn unknown(name: &str) -> String {
    format!(
        "{name} is no target that is known here, and the text has no chain of that name: DSCP, TOS, CLASSIFY, ACCEPT, \
         RETURN, DROP and jumps to chains are carried over"
    )
}

fn set_dscp(words: &[String]) -> Result<Found<'_>, String> {
    let [option, value, rest @ ..] = words else { return Err("DSCP without a codepoint".to_owned()) };
    let dscp = match &**option {
        "--set-dscp" => dscp::number(value).and_then(|value| u8::try_from(value).ok()).filter(|value| *value < 64),
        "--set-dscp-class" => dscp::dscp(value),
        _ => None,
    };
    let dscp = dscp.ok_or_else(|| format!("{option} {value} is not a codepoint"))?;
    Ok((Target::Act(Act::Mark(always(dscp))), rest, Vec::new()))
}

fn set_tos(words: &[String]) -> Result<Found<'_>, String> {
    let [option, value, rest @ ..] = words else { return Err("TOS without a value".to_owned()) };
    let byte = |word: &str| dscp::number(word).and_then(|value| u8::try_from(value).ok());
    let wrong = || format!("{option} {value} is not a TOS byte");
    let (value, mask) = match &**option {
        "--set-tos" => tos(value).ok_or_else(wrong)?,
        "--and-tos" => (0, !byte(value).ok_or_else(wrong)?),
        "--or-tos" => (byte(value).ok_or_else(wrong)?, byte(value).ok_or_else(wrong)?),
        "--xor-tos" => (byte(value).ok_or_else(wrong)?, 0),
        _ => return Err(wrong()),
    };
    let differs = if (value | mask) & 3 == 0 { Vec::new() } else { vec![ECN] };
    let marks = by(|dscp| ((dscp << 2) & !mask ^ value) >> 2);
    Ok((Target::Act(Act::Mark(marks)), rest, differs))
}

/// `0x10/0x3f`: a value and which bits of the byte it is about.
pub(super) fn tos(word: &str) -> Option<(u8, u8)> {
    let byte = |word: &str| dscp::number(word).and_then(|value| u8::try_from(value).ok());
    let named = match word.to_ascii_lowercase().as_str() {
        "minimize-delay" => Some(0x10),
        "maximize-throughput" => Some(0x08),
        "maximize-reliability" => Some(0x04),
        "minimize-cost" => Some(0x02),
        "normal-service" => Some(0x00),
        _ => None,
    };
    match (named, word.split_once('/')) {
        (Some(value), _) => Some((value, 0x3f)),
        (None, Some((value, mask))) => Some((byte(value)?, byte(mask)?)),
        (None, None) => Some((byte(word)?, 0xff)),
    }
}

/// `1:10`, in hexadecimal.
fn class_of(word: &str) -> Result<u32, String> {
    let half = |digits: &str| u16::from_str_radix(digits, 16).ok().map(u32::from);
    let class = word.split_once(':').and_then(|(major, minor)| Some(half(major)? << 16 | half(minor)?));
    class.ok_or_else(|| format!("{word} is not a class"))
}
