//! Codepoints, ports, protocols and addresses as other tools write them.

use core::net::IpAddr;

use ipnet::IpNet;
use qos_common::ds::Dscp;

use super::{condition::Addresses, spans::Spans};
use crate::policy::protocols;

/// Ports by the names that these tools print without being asked for numbers.
const PORTS: &[(&str, u16)] = &[
    ("ftp-data", 20),
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("tacacs", 49),
    ("domain", 53),
    ("bootps", 67),
    ("bootpc", 68),
    ("tftp", 69),
    ("http", 80),
    ("www", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("imap", 143),
    ("snmp", 161),
    ("snmptrap", 162),
    ("bgp", 179),
    ("https", 443),
    ("isakmp", 500),
    ("syslog", 514),
    ("rtsp", 554),
    ("imaps", 993),
    ("pop3s", 995),
    ("non500-isakmp", 4500),
    ("sip", 5060),
    ("sips", 5061),
];

/// A codepoint in any notation, and in words that only other tools have.
pub(super) fn dscp(word: &str) -> Option<u8> {
    let lower = word.to_ascii_lowercase();
    let name = match &*lower {
        "default" => "DF",
        "lephb" => "LE",
        "voice-admit" => "VA",
        other => other,
    };
    name.parse::<Dscp>().ok().map(Dscp::value)
}

/// A number in decimal or hexadecimal notation.
pub(super) fn number(word: &str) -> Option<u32> {
    crate::policy::rules::number_32(word)
}

/// A port by number or name.
pub(super) fn port(word: &str) -> Option<u16> {
    let named = || PORTS.iter().find(|(name, _)| *name == word).map(|(_, port)| *port);
    word.parse().ok().or_else(named)
}

/// `80`, or the two ends of a range.
pub(super) fn ports(word: &str, separator: char) -> Option<(u128, u128)> {
    let (first, last) = match word.split_once(separator) {
        Some((first, last)) => {
            let end = |word: &str, open| if word.is_empty() { Some(open) } else { port(word) };
            (end(first, 0)?, end(last, u16::MAX)?)
        }
        None => (port(word)?, port(word)?),
    };
    (first <= last).then(|| (u128::from(first), u128::from(last)))
}

/// A protocol by number or name.
pub(super) fn protocol(word: &str) -> Option<u8> {
    let named = || protocols::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, number)| *number);
    word.parse().ok().or_else(named).or_else(|| (word == "ahp").then_some(51))
}

/// An address, a prefix, an address with a mask, or a range; bits behind the prefix do not count.
pub(super) fn addresses(word: &str) -> Option<Addresses> {
    let (first, last) = match word.split_once('-') {
        Some((first, last)) => (first.trim().parse().ok()?, last.trim().parse().ok()?),
        None => ends(word)?,
    };
    of_range(first, last)
}

fn ends(word: &str) -> Option<(IpAddr, IpAddr)> {
    let Some((address, length)) = word.split_once('/') else {
        let address: IpAddr = word.parse().ok()?;
        return Some((address, address));
    };
    let length = match length.parse::<u8>() {
        Ok(length) => length,
        Err(_) => ipnet::ip_mask_to_prefix(length.parse().ok()?).ok()?,
    };
    let net = IpNet::new(address.parse().ok()?, length).ok()?;
    Some((net.network(), net.broadcast()))
}

/// All addresses from one to another of the same family.
pub(super) fn of_range(first: IpAddr, last: IpAddr) -> Option<Addresses> {
    let mut addresses = Addresses::default();
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
            addresses.v4 = Spans::of([(first.to_bits().into(), last.to_bits().into())]);
        }
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
            addresses.v6 = Spans::of([(first.to_bits(), last.to_bits())]);
        }
        _ => return None,
    }
    Some(addresses)
}

/// All of them together.
pub(super) fn union(all: impl IntoIterator<Item = Addresses>) -> Addresses {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for addresses in all {
        v4.extend_from_slice(addresses.v4.ranges());
        v6.extend_from_slice(addresses.v6.ranges());
    }
    Addresses { v4: Spans::of(v4), v6: Spans::of(v6) }
}

/// Whether a word can be the name of an interface here.
pub(super) fn is_interface(word: &str) -> bool {
    let name = word.strip_suffix('*').unwrap_or(word);
    let forbidden = |c: char| c == '/' || c == ':' || c == '*' || c.is_whitespace() || c.is_control();
    name.len() <= 15 && !word.is_empty() && !name.contains(forbidden) && word != "." && word != ".." && word != "all"
}
