//! A packet in words, as tests and `explain` have it.

use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    str::FromStr,
};

use qos_common::ds::{Dscp, Ecn};

use crate::{
    hook::Direction,
    policy::{
        diagnostic::quote,
        interfaces,
        model::{Fragment, Origin},
        packet::{Packet, PacketError},
        protocols,
        ranges::{self, Numbers},
        source::Span,
        words,
    },
};

type Read<T> = Result<T, PacketError>;

const KEYS: [&str; 10] = ["dscp", "ecn", "origin", "from", "vlan", "pcp", "length", "fragment", "icmp-type", "mark"];

const FORM: &str = "write PROTOCOL SOURCE > DESTINATION, such as udp 192.0.2.1:5060 > 198.51.100.1:5060 dscp EF";

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

/// A word and where it is.
#[derive(Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Word<'t> {
    const fn range(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    fn wrong(self, message: impl Into<String>) -> PacketError {
        PacketError { at: self.range(), message: message.into(), help: None }
    }

    /// One of a few words.
    fn one_of<T: Copy>(self, what: &str, known: &[(&'t str, T)]) -> Read<T> {
        let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(self.text)).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let names = known.iter().map(|(name, _)| *name);
            let error = self.wrong(format!("{} is not {what}", quote(self.text)));
            error.help(format!("known here: {}", words::sentence(names)))
        })
    }

    fn number(self, numbers: &Numbers) -> Read<u16> {
        numbers.number(self.text, Span::at(0)).map_err(|finding| PacketError {
            at: self.range(),
            message: finding.title,
            help: finding.help,
        })
    }
}

impl PacketError {
    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Reads a packet.
pub(super) fn read(text: &str, direction: Option<Direction>) -> Read<Packet> {
    let mut words = split(text);
    let end = Word { text: "", at: text.len() };
    let mut next = |what: &str| words.next().ok_or_else(|| end.wrong(format!("{what} is missing")).help(FORM));
    let protocol = next("the protocol")?;
    let proto = u8::try_from(protocol.number(&ranges::PROTOCOLS)?)
        .map_err(|_too_large| protocol.wrong("a protocol is 0 to 255"))?;
    let source = next("the source")?;
    let arrow = next("the `>` between source and destination")?;
    if arrow.text != ">" {
        return Err(arrow.wrong(format!("expected `>`, found {}", quote(arrow.text))).help(FORM));
    }
    let destination = next("the destination")?;
    let (src, dst) = (Endpoint::read(source)?, Endpoint::read(destination)?);
    if src.address.is_ipv4() != dst.address.is_ipv4() {
        return Err(destination.wrong("source and destination are of different families"));
    }
    let options = Options::read(words, direction, end)?;
    check_protocol(protocol, proto, src.address)?;
    for (endpoint, word) in [(&src, source), (&dst, destination)] {
        endpoint.check_port(proto, options.fragment, word)?;
    }
    options.packet(proto, (src, dst), direction)
}

fn split(text: &str) -> impl Iterator<Item = Word<'_>> {
    let start = text.as_ptr().addr();
    text.split_whitespace().map(move |word| Word { text: word, at: word.as_ptr().addr() - start })
}

/// An address, and a port where the protocol has one.
struct Endpoint {
    address: IpAddr,
    port: Option<u16>,
}

impl Endpoint {
    fn read(word: Word<'_>) -> Read<Self> {
        let text = word.text;
        if let Ok(both) = SocketAddr::from_str(text) {
            return Ok(Self { address: both.ip(), port: Some(both.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match bare.parse() {
            Ok(address) => Ok(Self { address, port: None }),
            Err(_not_an_address) => {
                let error = word.wrong(format!("{} is not an address with or without a port", quote(text)));
                Err(error.help("write 192.0.2.1:5060 or [2001:db8::1]:5060"))
            }
        }
    }

    fn check_port(&self, proto: u8, fragment: Fragment, word: Word<'_>) -> Read<()> {
        let wanted = protocols::has_ports(proto) && fragment != Fragment::Later;
        match self.port {
            Some(_) if fragment == Fragment::Later => Err(word.wrong("a later fragment has no ports")),
            Some(_) if !wanted => Err(word.wrong("this protocol has no ports")),
            None if wanted => {
                let help = match self.address {
                    IpAddr::V4(address) => format!("write {address}:5060"),
                    IpAddr::V6(address) => format!("write [{address}]:5060"),
                };
                Err(word.wrong("this protocol has ports, and here is none").help(help))
            }
            _ => Ok(()),
        }
    }
}

fn check_protocol(word: Word<'_>, proto: u8, address: IpAddr) -> Read<()> {
    match (proto, address) {
        (protocols::ICMP, IpAddr::V6(_)) => Err(word.wrong("the addresses are of IPv6").help("did you mean `icmpv6`?")),
        (protocols::ICMPV6, IpAddr::V4(_)) => Err(word.wrong("the addresses are of IPv4").help("did you mean `icmp`?")),
        _ => Ok(()),
    }
}

/// What follows the endpoints.
struct Options<'t> {
    dscp: Dscp,
    ecn: Ecn,
    fragment: Fragment,
    origin: Option<Origin>,
    from: Option<Word<'t>>,
    vlan: Option<u16>,
    pcp: Option<u16>,
    length: Option<(u16, Word<'t>)>,
    icmp_type: Option<(u16, Word<'t>)>,
    mark: u32,
}

impl<'t> Options<'t> {
    fn read(mut words: impl Iterator<Item = Word<'t>>, direction: Option<Direction>, end: Word<'t>) -> Read<Self> {
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

    fn packet(self, proto: u8, (src, dst): (Endpoint, Endpoint), direction: Option<Direction>) -> Read<Packet> {
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
        let least = ip + fragment + transport_length(proto);
        match self.length {
            Some((length, word)) if length < least => {
                Err(word.wrong(format!("the headers of this packet have {least} bytes already")))
            }
            Some((length, _)) => Ok(length),
            None => Ok(least),
        }
    }
}

/// The shortest header of a transport protocol in bytes.
const fn transport_length(proto: u8) -> u16 {
    match proto {
        protocols::TCP => 20,
        protocols::SCTP | protocols::DCCP => 12,
        protocols::UDP | protocols::UDP_LITE | protocols::ICMP | protocols::ICMPV6 => 8,
        _ => 0,
    }
}

fn check_key(key: Word<'_>, seen: &[&str], direction: Option<Direction>) -> Read<()> {
    if !KEYS.contains(&key.text) {
        let error = key.wrong(format!("unknown word {}", quote(key.text)));
        return Err(match words::nearest(key.text, KEYS) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help(format!("known here: {}", words::sentence(KEYS))),
        });
    }
    if seen.contains(&key.text) {
        return Err(key.wrong(format!("`{}` is said twice", key.text)));
    }
    if matches!(key.text, "origin" | "from") && direction == Some(Direction::Ingress) {
        return Err(key.wrong(format!("`{}` is known only at egress, and the hook is at ingress", key.text)));
    }
    Ok(())
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
    let number = super::rules::number_32(word.text);
    number.ok_or_else(|| word.wrong(format!("{} is not a mark: 0 to 0xffffffff", quote(word.text))))
}
