//! One line of an access list.

use core::net::Ipv4Addr;

use super::{
    super::{
        condition::{Addresses, Condition, LATER, Number, V4, V6},
        dscp,
        spans::Spans,
    },
    config::AccessList,
    matching::precedences,
};

/// Words that are still to be read.
struct Rest<'w>(&'w [String]);

impl<'w> Rest<'w> {
    fn next(&mut self) -> &'w str {
        let (first, rest) = self.0.split_first().map_or(("", &[][..]), |(first, rest)| (&**first, rest));
        self.0 = rest;
        first
    }

    fn peek(&self) -> &'w str {
        self.0.first().map_or("", |word| &**word)
    }
}

/// What `permit udp any 10.0.0.0 0.0.0.255 eq 5060` asks for.
pub(super) fn conditions(words: &[String], list: &AccessList) -> Result<Vec<Condition>, String> {
    let mut rest = Rest(words.get(1..).unwrap_or_default());
    let mut when = Condition { families: if list.is_v6 { V6 } else { V4 }, ..Condition::default() };
    if list.is_standard {
        when.src = addresses(&mut rest)?;
        return ended(when, &mut rest);
    }
    let word = rest.next();
    if !matches!(word, "ip" | "ipv6") {
        let proto = dscp::protocol(word).ok_or_else(|| format!("the protocol {word} is not known by name"))?;
        let proto = if list.is_v6 && proto == 1 { 58 } else { proto };
        when.numbers.insert(Number::Proto, Spans::one(proto.into()));
    }
    when.src = addresses(&mut rest)?;
    ports(&mut rest, Number::SrcPort, &mut when)?;
    when.dst = addresses(&mut rest)?;
    ports(&mut rest, Number::DstPort, &mut when)?;
    ended(when, &mut rest)
}

fn ended(mut when: Condition, rest: &mut Rest<'_>) -> Result<Vec<Condition>, String> {
    while !rest.peek().is_empty() {
        match rest.next() {
            "dscp" => {
                let word = rest.next();
                when.dscp &= 1 << dscp::dscp(word).ok_or_else(|| format!("{word} is not a codepoint"))?;
            }
            "precedence" => when.dscp &= precedences(&[rest.next()])?,
            "fragments" => when.fragments = LATER,
            "log" | "log-input" => {}
            word => return Err(format!("{word}: there is no such field here")),
        }
    }
    Ok(vec![when])
}

/// `any`, `host A`, `A WILDCARD`, `A/LENGTH`.
fn addresses(rest: &mut Rest<'_>) -> Result<Option<Addresses>, String> {
    let word = rest.next();
    let read = |word: &str| dscp::addresses(word).ok_or_else(|| format!("{word} is not an address"));
    match word {
        "any" | "any4" | "any6" => return Ok(None),
        "host" => return read(rest.next()).map(Some),
        _ if word.contains('/') => return read(word).map(Some),
        _ => {}
    }
    let Ok(wildcard) = rest.peek().parse::<Ipv4Addr>() else { return read(word).map(Some) };
    rest.next();
    let mask = Ipv4Addr::from_bits(!wildcard.to_bits());
    read(&format!("{word}/{mask}"))
        .map(Some)
        .map_err(|_not_read| format!("{word} {wildcard}: its bits are not those of a prefix"))
}

fn ports(rest: &mut Rest<'_>, field: Number, when: &mut Condition) -> Result<(), String> {
    let port = |word: &str| dscp::port(word).map(u128::from).ok_or_else(|| format!("{word} is not a port"));
    let most = field.most();
    let spans = match rest.peek() {
        "eq" | "neq" => {
            let negated = rest.next() == "neq";
            let mut ports = vec![port(rest.next())?];
            while let Ok(more) = port(rest.peek()) {
                ports.push(more);
                rest.next();
            }
            let spans = Spans::of(ports.into_iter().map(|port| (port, port)));
            if negated { spans.complement(most) } else { spans }
        }
        "range" => {
            rest.next();
            Spans::of([(port(rest.next())?, port(rest.next())?)])
        }
        "gt" => {
            rest.next();
            Spans::of([(port(rest.next())? + 1, most)])
        }
        "lt" => {
            rest.next();
            Spans::of([(0, port(rest.next())?.saturating_sub(1))])
        }
        _ => return Ok(()),
    };
    when.numbers.insert(field, spans);
    Ok(())
}
