//! A packet in words, as tests and `explain` have it.

mod endpoint;
mod options;

use core::net::IpAddr;
use std::ops::Range;

use qos_common::ds::Dscp;

use self::{endpoint::Endpoint, options::Options};
use crate::{
    hook::Direction,
    policy::{
        diagnostic::quote,
        packet::{Packet, PacketError},
        protocols,
        ranges::{self, Numbers},
        source::Span,
        words,
    },
};

type Read<T> = Result<T, PacketError>;

const FORM: &str = "write PROTOCOL SOURCE > DESTINATION, such as udp 192.0.2.1:5060 > 198.51.100.1:5060 dscp EF";

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
    if protocol.text.parse::<Dscp>().is_ok() && protocol.number(&ranges::PROTOCOLS).is_err() {
        return Err(protocol.wrong(format!("{} is not a protocol", quote(protocol.text))).help(FORM));
    }
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

fn check_protocol(word: Word<'_>, proto: u8, address: IpAddr) -> Read<()> {
    match (proto, address) {
        (protocols::ICMP, IpAddr::V6(_)) => Err(word.wrong("the addresses are of IPv6").help("did you mean `icmpv6`?")),
        (protocols::ICMPV6, IpAddr::V4(_)) => Err(word.wrong("the addresses are of IPv4").help("did you mean `icmp`?")),
        _ => Ok(()),
    }
}
