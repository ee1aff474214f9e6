//! What follows the endpoints of a packet: words with a value each.

use core::net::IpAddr;

use qos_common::ds::{Dscp, Ecn};

use super::{Read, Word, endpoint::Endpoint};
use crate::{
    hook::Direction,
    policy::{
        diagnostic::quote,
        interfaces,
        meant::{self, Within},
        model::{Fragment, Origin},
        packet::{Packet, PacketError},
        protocols, ranges, rules,
        source::Span,
        words,
    },
};

const KEYS: [&str; 10] = ["dscp", "ecn", "origin", "from", "vlan", "pcp", "length", "fragment", "icmp-type", "mark"];

const ECNS: [(&str, Ecn); 10] = [
    ("0", Ecn::NotEct),
    ("1", Ecn::Ect1),
    ("2", Ecn::Ect0),
    ("3", Ecn::Ce),
    ("not-ect", Ecn::NotEct),
    ("ect1", Ecn::Ect1),
    ("ect0", Ecn::Ect0),
    ("ce", Ecn::Ce),
    ("ect(0)", Ecn::Ect0),
    ("ect(1)", Ecn::Ect1),
];
const FRAGMENTS: [(&str, Fragment); 3] = [("no", Fragment::No), ("first", Fragment::First), ("later", Fragment::Later)];
const ORIGINS: [(&str, Origin); 2] = [("local", Origin::Local), ("forwarded", Origin::Forwarded)];

/// What follows the endpoints.
pub(super) struct Options<'t> {
    dscp: Dscp,
    ecn: Ecn,
    pub fragment: Fragment,
    origin: Option<Origin>,
    from: Option<Word<'t>>,
    vlan: Option<u16>,
    pcp: Option<u16>,
    length: Option<(u16, Word<'t>)>,
    icmp_type: Option<(u16, Word<'t>)>,
    mark: u32,
}

impl<'t> Options<'t> {
    pub fn read(mut words: impl Iterator<Item = Word<'t>>, direction: Option<Direction>, end: Word<'t>) -> Read<Self> {
        let mut options = Self {
            dscp: Dscp::DF,
            ecn: Ecn::NotEct,
            fragment: Fragment::No,
            origin: None,
            from: None,
            vlan: None,
            pcp: None,
            length: None,
            icmp_type: None,
            mark: 0,
        };
        let mut seen = Vec::new();
        while let Some(key) = words.next() {
            check_key(key, &seen, direction)?;
            seen.push(key.text);
            let value = words.next().ok_or_else(|| end.wrong(format!("`{}` has no value", key.text)))?;
            options.take(key.text, value)?;
        }
        options.check_origin()?;
        Ok(options)
    }

    fn take(&mut self, key: &str, value: Word<'t>) -> Read<()> {
        match key {
            "dscp" => self.dscp = dscp(value)?,
            "ecn" => self.ecn = value.one_of("an ECN codepoint", &ECNS)?,
            "origin" => self.origin = Some(value.one_of("an origin", &ORIGINS)?),
            "from" => self.from = Some(interface(value)?),
            "vlan" => self.vlan = Some(value.number(&ranges::VLANS)?),
            "pcp" => self.pcp = Some(value.number(&ranges::PCPS)?),
            "length" => self.length = Some((value.number(&ranges::LENGTHS)?, value)),
            "fragment" => self.fragment = value.one_of("a kind of fragment", &FRAGMENTS)?,
            "icmp-type" => self.icmp_type = Some((value.number(&ranges::ICMP_TYPES)?, value)),
            _ => self.mark = mark(value)?,
        }
        Ok(())
    }

    fn check_origin(&self) -> Read<()> {
        if let (Some(Origin::Local), Some(from)) = (self.origin, self.from) {
            return Err(from.wrong("what this host made came in by no interface").help("leave out `from`"));
        }
        Ok(())
    }

    pub fn packet(self, proto: u8, (src, dst): (Endpoint, Endpoint), direction: Option<Direction>) -> Read<Packet> {
        let icmp_type = self.icmp_type(proto)?;
        let length = self.length(proto, src.address)?;
        let origin = (direction != Some(Direction::Ingress)).then(|| self.origin.unwrap_or(Origin::Forwarded));
        let tagged = self.vlan.is_some() || self.pcp.is_some();
        Ok(Packet {
            src: src.address,
            dst: dst.address,
            dscp: self.dscp,
            ecn: self.ecn,
            proto: Some(proto),
            src_port: src.port,
            dst_port: dst.port,
            icmp_type,
            fragment: self.fragment,
            // A tag without an id is a priority tag (802.1Q), one without a priority has 0.
            vlan: tagged.then(|| self.vlan.unwrap_or_default()),
            pcp: tagged.then(|| self.pcp.unwrap_or_default()).and_then(|pcp| u8::try_from(pcp).ok()),
            length,
            mark: Some(self.mark),
            origin,
            from: self.from.map(|from| from.text.to_owned()),
        })
    }

    fn icmp_type(&self, proto: u8) -> Read<Option<u8>> {
        let echo = match proto {
            protocols::ICMP => 8,
            protocols::ICMPV6 => 128,
            _ => {
                return self
                    .icmp_type
                    .map_or(Ok(None), |(_, word)| Err(word.wrong("only ICMP and ICMPv6 have a type")));
            }
        };
        match self.icmp_type {
            Some((_, word)) if self.fragment == Fragment::Later => Err(word.wrong("a later fragment has no ICMP type")),
            None if self.fragment == Fragment::Later => Ok(None),
            Some((number, _)) => Ok(u8::try_from(number).ok()),
            None => Ok(Some(echo)),
        }
    }

    fn length(&self, proto: u8, address: IpAddr) -> Read<u16> {
        let (ip, fragment) = if address.is_ipv4() { (20, 0) } else { (40, 8) };
        let fragment = if self.fragment == Fragment::No { 0 } else { fragment };
        let least = ip + fragment + protocols::header_length(proto);
        match self.length {
            Some((length, word)) if length < least => {
                Err(word.wrong(format!("the headers of this packet have {least} bytes already")))
            }
            Some((length, _)) => Ok(length),
            None => Ok(least),
        }
    }
}

fn check_key(key: Word<'_>, seen: &[&str], direction: Option<Direction>) -> Read<()> {
    if !KEYS.contains(&key.text) {
        return Err(key.wrong(format!("unknown word {}", quote(key.text))).help(meant_by(key)));
    }
    if seen.contains(&key.text) {
        return Err(key.wrong(format!("`{}` is said twice", key.text)));
    }
    if matches!(key.text, "origin" | "from") && direction == Some(Direction::Ingress) {
        return Err(key.wrong(format!("`{}` is known only at egress, and the hook is at ingress", key.text)));
    }
    Ok(())
}

/// What is meant by a word that is no key.
fn meant_by(word: Word<'_>) -> String {
    if dscp(word).is_ok() {
        return format!("a codepoint has its word before it: write dscp {}", word.text);
    }
    if let Some((key, value)) = word.text.split_once('=').filter(|(key, _)| KEYS.contains(key)) {
        return format!("a value is a word of its own: write {key} {value}");
    }
    if let Some(advice) = meant::advice(Within::Packet, word.text) {
        return advice.to_owned();
    }
    match meant::key(Within::Packet, word.text).or_else(|| words::nearest(word.text, KEYS)) {
        Some(key) => format!("did you mean `{key}`?"),
        None => format!("known here: {}", words::sentence(KEYS)),
    }
}

fn dscp(word: Word<'_>) -> Read<Dscp> {
    word.text.parse().map_err(|error| {
        let finding = words::unknown_dscp("DSCP", word.text, Span::at(0), error, None);
        PacketError { at: word.range(), message: finding.title, help: finding.help }
    })
}

fn interface(word: Word<'_>) -> Read<Word<'_>> {
    if word.text.ends_with('*') {
        return Err(word.wrong("a packet came in by one interface: a glob is for rules"));
    }
    match interfaces::bad_pattern(word.text, Span::at(0)) {
        Some(finding) => Err(word.wrong(finding.title)),
        None => Ok(word),
    }
}

fn mark(word: Word<'_>) -> Read<u32> {
    let number = rules::number_32(word.text);
    number.ok_or_else(|| word.wrong(format!("{} is not a mark: 0 to 0xffffffff", quote(word.text))))
}
