//! What a rule compares: `ip saddr`, `tcp dport`, `meta l4proto`, and what its values mean.

use super::super::{
    condition::{Addresses, Condition, Number, V4, V6},
    dscp,
    spans::Spans,
};
use crate::hook::Direction;

/// A field with what it says of the packet by itself.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub field: Field,
    /// What a packet must be to have the field.
    pub implied: Condition,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Src,
    Dst,
    Dscp,
    /// The value is so much less than ours.
    Number(Number, u128),
    Mark,
    Priority,
    Family,
    /// By which it came in.
    Input,
    /// By which it leaves.
    Output,
}

/// Reads the one or two words of a key; how many they are.
pub(super) fn read(first: &str, second: &str) -> Result<(Key, usize), String> {
    if let Some(field) = of_meta(first) {
        return Ok((Key { field, implied: Condition::default() }, 1));
    }
    let unknown = || format!("{first} {second}: there is no such field here");
    let number = |number| Field::Number(number, 0);
    let (field, implied) = match (first, second) {
        ("meta", name) => (of_meta(name).ok_or_else(unknown)?, Condition::default()),
        ("ip" | "ip6", "saddr") => (Field::Src, of_family(first)),
        ("ip" | "ip6", "daddr") => (Field::Dst, of_family(first)),
        ("ip" | "ip6", "dscp") => (Field::Dscp, of_family(first)),
        ("ip", "protocol") | ("ip6", "nexthdr") => (number(Number::Proto), of_family(first)),
        ("ip", "length") => (number(Number::Length), of_family(first)),
        // The payload, without the header.
        ("ip6", "length") => (Field::Number(Number::Length, 40), of_family(first)),
        ("tcp" | "udp" | "sctp" | "dccp" | "udplite" | "th", "sport") => (number(Number::SrcPort), of_protocol(first)),
        ("tcp" | "udp" | "sctp" | "dccp" | "udplite" | "th", "dport") => (number(Number::DstPort), of_protocol(first)),
        ("icmp" | "icmpv6", "type") => (number(Number::IcmpType), of_protocol(first)),
        ("vlan", "id") => (number(Number::Vlan), Condition::default()),
        ("vlan", "pcp") => (number(Number::Pcp), Condition::default()),
        ("ether", "type") => (Field::Family, Condition::default()),
        ("ct", _) => return Err(format!("{first} {second}: connections are not tracked here")),
        _ => return Err(unknown()),
    };
    Ok((Key { field, implied }, 2))
}

fn of_meta(name: &str) -> Option<Field> {
    Some(match name {
        "iifname" | "iif" => Field::Input,
        "oifname" | "oif" => Field::Output,
        "l4proto" => Field::Number(Number::Proto, 0),
        "length" => Field::Number(Number::Length, 0),
        "mark" => Field::Mark,
        "priority" => Field::Priority,
        "nfproto" | "protocol" => Field::Family,
        _ => return None,
    })
}

fn of_family(word: &str) -> Condition {
    Condition { families: if word == "ip" { V4 } else { V6 }, ..Condition::default() }
}

fn of_protocol(word: &str) -> Condition {
    match dscp::protocol(word) {
        Some(proto) => Condition::number(Number::Proto, Spans::one(proto.into())),
        None => Condition::default(),
    }
}

impl Key {
    /// Packets of which the field has one of these values, or if `negated` none of them.
    pub fn is_one_of(&self, values: &[&str], negated: bool, direction: Direction) -> Result<Vec<Condition>, String> {
        let condition = match self.field {
            Field::Src | Field::Dst => self.addressed(values, negated)?,
            Field::Dscp => codepoints(values, negated)?,
            Field::Number(number, less) => numbers(number, less, values, negated)?,
            Field::Family => families(values, negated)?,
            Field::Mark => mark(values, negated)?,
            Field::Priority => return Err("no rule here asks for the priority".to_owned()),
            Field::Input | Field::Output => return interfaces(self.field, values, negated, direction),
        };
        Ok(self.implied.and(&condition))
    }

    fn addressed(&self, values: &[&str], negated: bool) -> Result<Condition, String> {
        let read = |word: &&str| dscp::addresses(word).ok_or_else(|| format!("{word} is not an address"));
        let all = dscp::union(values.iter().map(read).collect::<Result<Vec<Addresses>, _>>()?);
        let addresses = Some(if negated { all.complement() } else { all });
        Ok(match self.field {
            Field::Src => Condition { src: addresses, ..Condition::default() },
            _ => Condition { dst: addresses, ..Condition::default() },
        })
    }

    /// What a comparison with `<`, `>`, `<=` or `>=` means.
    pub fn compared(&self, operator: &str, value: &str) -> Result<Vec<Condition>, String> {
        let Field::Number(number, less) = self.field else {
            return Err(format!("{operator} {value}: only numbers are compared so"));
        };
        let value = value_of(number, value)? + less;
        let most = number.most();
        let (first, last) = match operator {
            "<" | "lt" => (0, value.checked_sub(1).ok_or("nothing is less than 0")?),
            "<=" | "le" => (0, value),
            ">" | "gt" => (value + 1, most),
            _ => (value, most),
        };
        Ok(self.implied.and(&Condition::number(number, Spans::of([(first, last.min(most))]))))
    }
}

/// The codepoints that words name.
pub(super) fn bits(values: &[&str]) -> Result<u64, String> {
    let mut bits = 0;
    for word in values {
        let wrong = || format!("{word} is not a codepoint");
        let (first, last) = match (dscp::dscp(word), word.split_once('-')) {
            (Some(dscp), _) => (dscp, dscp),
            (None, Some((first, last))) => (dscp::dscp(first).ok_or_else(wrong)?, dscp::dscp(last).ok_or_else(wrong)?),
            (None, None) => return Err(wrong()),
        };
        bits |= (first..=last).map(|dscp| 1u64 << dscp).sum::<u64>();
    }
    Ok(bits)
}

fn codepoints(values: &[&str], negated: bool) -> Result<Condition, String> {
    let bits = bits(values)?;
    Ok(Condition { dscp: if negated { !bits } else { bits }, ..Condition::default() })
}

fn numbers(number: Number, less: u128, values: &[&str], negated: bool) -> Result<Condition, String> {
    let mut ranges = Vec::new();
    for word in values {
        let single = value_of(number, word).map(|value| (value, value));
        let (first, last) = match (single, word.split_once('-')) {
            (Err(_), Some((first, last))) => (value_of(number, first)?, value_of(number, last)?),
            (single, _) => single?,
        };
        ranges.push((first + less, last + less));
    }
    let spans = Spans::of(ranges);
    Ok(Condition::number(number, if negated { spans.complement(number.most()) } else { spans }))
}

fn value_of(number: Number, word: &str) -> Result<u128, String> {
    let named = match (number, word) {
        (Number::IcmpType, "echo-request") => return Err("echo-request: write the number of the type".to_owned()),
        (Number::Proto, _) => dscp::protocol(word).map(u128::from),
        (Number::SrcPort | Number::DstPort | Number::Port, _) => dscp::port(word).map(u128::from),
        _ => dscp::number(word).map(u128::from),
    };
    named.filter(|value| *value <= number.most()).ok_or_else(|| format!("{word} cannot be read as {}", number.key()))
}

fn families(values: &[&str], negated: bool) -> Result<Condition, String> {
    let mut families = 0;
    for word in values {
        families |= match *word {
            "ipv4" | "ip" => V4,
            "ipv6" | "ip6" => V6,
            _ => return Err(format!("{word} is not IPv4 or IPv6")),
        };
    }
    Ok(Condition { families: if negated { !families & (V4 | V6) } else { families }, ..Condition::default() })
}

fn mark(values: &[&str], negated: bool) -> Result<Condition, String> {
    let [value] = values else { return Err("a rule here asks for one skb mark".to_owned()) };
    let (value, mask) = value.split_once('/').unwrap_or((value, "0xffffffff"));
    let read = |word: &str| dscp::number(word).ok_or_else(|| format!("{word} is not a mark"));
    let bits = (read(value)?, read(mask)?);
    if bits.0 & !bits.1 != 0 || bits.1 == 0 {
        return Err("no mark has these bits".to_owned());
    }
    Ok(match negated {
        true => Condition { mark_not: vec![bits], ..Condition::default() },
        false => Condition { mark: Some(bits), ..Condition::default() },
    })
}

fn interfaces(field: Field, names: &[&str], negated: bool, direction: Direction) -> Result<Vec<Condition>, String> {
    if let Some(name) = names.iter().find(|name| !dscp::is_interface(name)) {
        return Err(format!("{name} cannot be the name of an interface here"));
    }
    let owned = || names.iter().map(|name| (*name).to_owned());
    let any = Condition::default;
    let is_own = (field == Field::Input) == (direction == Direction::Ingress);
    Ok(match (is_own, negated, direction) {
        (true, true, _) => {
            return Err(format!("a rule is bound to interfaces: it cannot be on all but {}", names.join(", ")));
        }
        (true, false, _) => owned().map(|name| Condition { on: Some(name), ..any() }).collect(),
        // Before routing there is no interface that a packet leaves by.
        (false, true, Direction::Ingress) => vec![any()],
        (false, false, Direction::Ingress) => Vec::new(),
        (false, false, Direction::Egress) => {
            vec![Condition { local: Some(false), from: Some(owned().collect()), ..any() }]
        }
        (false, true, Direction::Egress) => vec![
            Condition { local: Some(true), ..any() },
            Condition { local: Some(false), from_not: owned().collect(), ..any() },
        ],
    })
}
