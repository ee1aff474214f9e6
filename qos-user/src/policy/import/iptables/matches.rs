//! Everything before `-j`: what a rule asks for.

use super::{
    super::{
        condition::{Addresses, Condition, LATER, Number, V6, met},
        dscp,
        spans::Spans,
    },
    saved::set_name,
    targets::tos,
};

const ECN: &str = "it asks for the ECN bits too, which no rule here does: it matches whatever they are";

/// What the matches of a rule ask for.
#[derive(Clone, Debug)]
pub(super) struct Matches {
    family: u8,
    sets: Vec<(String, Addresses)>,
    renamed: Vec<(String, String)>,
    /// One of them holds; interfaces are apart.
    pub conditions: Vec<Condition>,
    /// `-i`: whether it is negated, and the pattern.
    pub input: Option<(bool, String)>,
    /// `-o`.
    pub output: Option<(bool, String)>,
    pub comment: Option<String>,
    pub differs: Vec<&'static str>,
    /// `--mark` is that of the connection: of `-m mark` and `-m connmark` the last one has the word.
    of_connection: bool,
}

type Spanned = Result<Condition, String>;

impl Matches {
    pub fn new(family: u8, sets: &[(String, Addresses)], renamed: &[(String, String)]) -> Self {
        Self {
            family,
            sets: sets.to_vec(),
            renamed: renamed.to_vec(),
            conditions: vec![Condition { families: family, ..Condition::default() }],
            input: None,
            output: None,
            comment: None,
            differs: Vec::new(),
            of_connection: false,
        }
    }

    pub fn asks_mark(&self) -> bool {
        self.conditions.iter().any(|when| when.mark.is_some() || !when.mark_not.is_empty())
    }

    /// Reads options with their values.
    pub fn read(&mut self, words: &[String]) -> Result<(), String> {
        let mut words = words.iter().map(|word| &**word).peekable();
        let mut negated = false;
        while let Some(word) = words.next() {
            match word {
                "!" => {
                    negated = true;
                    continue;
                }
                "-m" | "--match" => match words.next() {
                    Some("connmark") => self.of_connection = true,
                    Some("mark") => self.of_connection = false,
                    _ => {}
                },
                "-f" | "--fragment" => {
                    self.meet(&[Condition {
                        fragments: if negated { !LATER & 7 } else { LATER },
                        ..Condition::default()
                    }]);
                }
                option => {
                    // iptables of old: `--dport ! 80`.
                    negated |= words.next_if(|word| *word == "!").is_some();
                    let value = words.next().unwrap_or_default();
                    let direction = if option == "--match-set" { words.next() } else { None };
                    self.option(option, value, direction, negated)?;
                }
            }
            negated = false;
        }
        Ok(())
    }

    fn option(&mut self, option: &str, value: &str, direction: Option<&str>, negated: bool) -> Result<(), String> {
        match option {
            "-i" | "--in-interface" => self.input = self.interface(value, negated),
            "-o" | "--out-interface" => self.output = self.interface(value, negated),
            "--comment" => self.comment = Some(value.to_owned()),
            "-s" | "--source" | "--src" | "--src-range" => self.address(value, negated, true)?,
            "-d" | "--destination" | "--dst" | "--dst-range" => self.address(value, negated, false)?,
            "--match-set" => self.match_set(value, direction.unwrap_or_default(), negated)?,
            "--ports" | "--port" if negated => {
                self.meet(&[number(Number::SrcPort, ports(value)?, true)]);
                self.meet(&[number(Number::DstPort, ports(value)?, true)]);
            }
            _ => {
                let condition = self.plain(option, value, negated)?;
                self.meet(&[condition]);
            }
        }
        Ok(())
    }

    fn plain(&mut self, option: &str, value: &str, negated: bool) -> Spanned {
        let wrong = || format!("{option} {value} cannot be read");
        Ok(match option {
            "-p" | "--protocol" | "--proto" => return protocol(value, negated),
            "--sport" | "--source-port" | "--sports" | "--source-ports" => {
                number(Number::SrcPort, ports(value)?, negated)
            }
            "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
                number(Number::DstPort, ports(value)?, negated)
            }
            "--ports" | "--port" => number(Number::Port, ports(value)?, negated),
            "--length" => number(Number::Length, ports(value)?, negated),
            "--icmp-type" | "--icmpv6-type" => return icmp_type(value, self.family == V6, negated),
            "--dscp" => {
                let dscp = dscp::number(value).and_then(|value| u8::try_from(value).ok()).filter(|value| *value < 64);
                codepoints(1 << dscp.ok_or_else(wrong)?, negated)
            }
            "--dscp-class" => codepoints(1 << dscp::dscp(value).ok_or_else(wrong)?, negated),
            "--tos" => self.tos(tos(value).ok_or_else(wrong)?, negated),
            "--mark" if self.of_connection => return Err("connmark: connections are not tracked here".to_owned()),
            "--mark" => mark(value, negated).ok_or_else(wrong)?,
            "--ctstate" | "--state" | "--ctdir" | "--connbytes" | "--helper" => {
                return Err(format!("{option}: connections are not tracked here"));
            }
            "--string" | "--hex-string" | "--u32" | "--bytecode" => {
                return Err(format!("{option}: no rule here looks into the payload"));
            }
            _ => return Err(format!("{option} {value}: there is no such field here")),
        })
    }

    fn meet(&mut self, others: &[Condition]) {
        self.conditions = met(&self.conditions, others);
    }

    /// eth+ is our eth*.
    fn interface(&self, name: &str, negated: bool) -> Option<(bool, String)> {
        let renamed = self.renamed.iter().find(|(old, _)| old == name).map(|(_, new)| new.clone());
        let pattern = renamed.unwrap_or_else(|| match name.strip_suffix('+') {
            Some(prefix) => format!("{prefix}*"),
            None => name.to_owned(),
        });
        (pattern != "*" || negated).then_some((negated, pattern))
    }

    fn address(&mut self, value: &str, negated: bool, is_source: bool) -> Result<(), String> {
        let read = |word: &str| dscp::addresses(word).ok_or_else(|| format!("{word} is not an address"));
        let members = value.split(',').map(read).collect::<Result<Vec<_>, _>>()?;
        self.addressed(dscp::union(members), negated, is_source);
        Ok(())
    }

    fn addressed(&mut self, addresses: Addresses, negated: bool, is_source: bool) {
        let addresses = addresses.of_families(self.family);
        // Of the other family nothing is in it, and so everything is not.
        let is_empty = addresses.families() == 0;
        let addresses = match (negated, is_empty) {
            (true, true) => return,
            (true, false) => addresses.complement(),
            (false, _) => addresses,
        };
        let (src, dst) = if is_source { (Some(addresses), None) } else { (None, Some(addresses)) };
        self.meet(&[Condition { src, dst, ..Condition::default() }]);
    }

    fn match_set(&mut self, name: &str, direction: &str, negated: bool) -> Result<(), String> {
        let set = self.sets.iter().find(|(known, _)| *known == set_name(name)).map(|(_, members)| members.clone());
        let set = set.ok_or_else(|| format!("the set {name} is not in the text: add what `ipset save` prints"))?;
        match direction {
            "src" | "dst" => self.addressed(set, negated, direction == "src"),
            _ => return Err(format!("--match-set {name} {direction}: sets are of addresses here")),
        }
        Ok(())
    }

    fn tos(&mut self, (value, mask): (u8, u8), negated: bool) -> Condition {
        if mask & 3 != 0 {
            self.differs.push(ECN);
        }
        let bits = (0u8..64).filter(|dscp| dscp << 2 & mask == value & !3).map(|dscp| 1u64 << dscp).sum();
        codepoints(bits, negated)
    }
}

fn number(field: Number, spans: Spans, negated: bool) -> Condition {
    Condition::number(field, if negated { spans.complement(field.most()) } else { spans })
}

fn codepoints(bits: u64, negated: bool) -> Condition {
    Condition { dscp: if negated { !bits } else { bits }, ..Condition::default() }
}

fn ports(value: &str) -> Result<Spans, String> {
    let read = |word: &str| dscp::ports(word, ':').ok_or_else(|| format!("{word} is not a number or a range"));
    Ok(Spans::of(value.split(',').map(read).collect::<Result<Vec<_>, _>>()?))
}

fn protocol(value: &str, negated: bool) -> Spanned {
    if value == "all" || value == "0" {
        return Ok(Condition::default());
    }
    let proto = dscp::protocol(value).ok_or_else(|| format!("the protocol {value} is not known by name"))?;
    Ok(number(Number::Proto, Spans::one(proto.into()), negated))
}

fn icmp_type(value: &str, is_v6: bool, negated: bool) -> Spanned {
    let named = match value {
        "any" => return Ok(Condition::default()),
        "echo-request" => Some(if is_v6 { 128 } else { 8 }),
        "echo-reply" => Some(if is_v6 { 129 } else { 0 }),
        _ => value.parse::<u8>().ok(),
    };
    let number_of =
        named.ok_or_else(|| format!("the ICMP type {value}: write its number; codes are not asked here"))?;
    Ok(number(Number::IcmpType, Spans::one(number_of.into()), negated))
}

fn mark(value: &str, negated: bool) -> Option<Condition> {
    let (value, mask) = match value.split_once('/') {
        Some((value, mask)) => (dscp::number(value)?, dscp::number(mask)?),
        None => (dscp::number(value)?, u32::MAX),
    };
    if mask == 0 || value & !mask != 0 {
        return None;
    }
    let bits = (value, mask);
    Some(match negated {
        true => Condition { mark_not: vec![bits], ..Condition::default() },
        false => Condition { mark: Some(bits), ..Condition::default() },
    })
}
