//! The files of OpenWrt's qosify: `/etc/config/qosify`, and `/etc/qosify/*.conf` with a line for each port or address.
//!
//! It compares the far end: source address and port at ingress, destination at egress. An address beats a port, a port
//! the default of its protocol, and a later line an earlier one. `+` marks only what comes unmarked: that is what its
//! authors say of it.

mod config;

use self::config::{Config, Value};
use super::{
    Line, Options, Read,
    condition::{Condition, Number},
    dscp, hook,
    lines::Lines,
    program::{Act, Case, Step, always},
    spans::Spans,
};
use crate::{
    hook::Direction,
    policy::protocols::{ICMP, ICMPV6, TCP, UDP},
};

/// A port or an address with what its packets are marked.
#[derive(Clone, Debug)]
struct Mapping {
    line: Line,
    what: What,
    value: Value,
}

#[derive(Clone, Debug)]
enum What {
    Ports(u8, Spans),
    Address(super::condition::Addresses),
}

pub(super) fn read(lines: &Lines, options: &Options) -> Read {
    let mut read = Read { local: true, ..Read::default() };
    let config = Config::read(lines, &mut read);
    let mappings = config.mappings.iter().filter_map(|(line, text)| match mapping(*line, text) {
        Ok(mapping) => Some(mapping),
        Err(reason) => {
            read.leave(lines, *line, reason);
            None
        }
    });
    let mappings = mappings.collect::<Vec<_>>();
    let places = config.places(options, lines, &mut read);
    if let Some(first) = mappings.first().filter(|_| config.defaults().is_none()) {
        let reason = "what no line names keeps its mark here; qosify makes it CS0 where its defaults do not say another: \
                      import /etc/config/qosify too";
        read.note(lines, first.line, reason);
    }
    for direction in Direction::BOTH {
        let mut steps = Vec::new();
        for place in places.iter().filter(|place| place.directions.contains(&direction)) {
            let when = Condition { on: place.pattern.clone(), ..Condition::default() };
            let chain = format!("{direction} {}", place.pattern.as_deref().unwrap_or("*"));
            steps.push(Step::new(Line::default(), vec![when], vec![Act::Jump(chain.clone())]));
            let side = Side { config: &config, direction, lines, read: &mut read };
            let rules = side.steps(&mappings);
            read.program.chains.insert(chain, rules);
        }
        read.program.chains.insert(hook(direction).to_owned(), steps);
    }
    read
}

/// `tcp:80 voice`, `udp:5060-5061 +video`, `192.0.2.1 bulk`
fn mapping(line: Line, text: &str) -> Result<Mapping, String> {
    let mut words = text.split_whitespace();
    let (Some(key), Some(value)) = (words.next(), words.next()) else {
        return Err("a port or an address and a class are wanted".to_owned());
    };
    let ports = |proto, word| {
        let range = dscp::ports(word, '-').ok_or_else(|| format!("{word} is not a port or a range"))?;
        Ok::<_, String>(What::Ports(proto, Spans::of([range])))
    };
    let what = match key.split_once(':') {
        Some(("tcp", word)) => ports(TCP, word)?,
        Some(("udp", word)) => ports(UDP, word)?,
        Some(("dns" | "dns_c" | "dns_q", _)) => return Err("names are not looked up here: write addresses".to_owned()),
        _ => What::Address(dscp::addresses(key).ok_or_else(|| format!("{key} is neither a port nor an address"))?),
    };
    Ok(Mapping { line, what, value: Value::of(value) })
}

/// What is asked at one direction.
struct Side<'a> {
    config: &'a Config,
    direction: Direction,
    lines: &'a Lines,
    read: &'a mut Read,
}

impl Side<'_> {
    fn steps(mut self, mappings: &[Mapping]) -> Vec<Step> {
        let is_address = |mapping: &&Mapping| matches!(mapping.what, What::Address(_));
        let mut steps = Vec::new();
        for mapping in mappings.iter().rev().filter(is_address) {
            steps.extend(self.step(mapping.line, self.condition(&mapping.what), &mapping.value));
        }
        let icmp = Spans::of([ICMP, ICMPV6].map(|proto| (u128::from(proto), u128::from(proto))));
        if let Some((line, value)) = self.config.of_defaults("dscp_icmp") {
            steps.extend(self.step(line, Condition::number(Number::Proto, icmp.clone()), &value));
        } else if let Some(line) = self.config.defaults() {
            // Left alone, whatever the other defaults are.
            let case = Case { when: vec![Condition::number(Number::Proto, icmp)], acts: vec![Act::Return] };
            steps.push(Step { line, name: Some("no default for ICMP".to_owned()), cases: vec![case] });
        }
        for mapping in mappings.iter().rev().filter(|mapping| !is_address(mapping)) {
            steps.extend(self.step(mapping.line, self.condition(&mapping.what), &mapping.value));
        }
        let tcp = Spans::one(TCP.into());
        for (key, protos) in [("dscp_default_tcp", tcp.clone()), ("dscp_default_udp", tcp.complement(255))] {
            if let Some((line, value)) = self.config.default_or_best_effort(key) {
                steps.extend(self.step(line, Condition::number(Number::Proto, protos), &value));
            }
        }
        steps
    }

    fn condition(&self, what: &What) -> Condition {
        let egress = self.direction == Direction::Egress;
        match what {
            What::Ports(proto, spans) => {
                let mut when = Condition::number(Number::Proto, Spans::one((*proto).into()));
                when.numbers.insert(if egress { Number::DstPort } else { Number::SrcPort }, spans.clone());
                when
            }
            What::Address(addresses) if egress => Condition { dst: Some(addresses.clone()), ..Condition::default() },
            What::Address(addresses) => Condition { src: Some(addresses.clone()), ..Condition::default() },
        }
    }

    /// Marks and ends; a class that is not there leaves the packet alone.
    fn step(&mut self, line: Line, when: Condition, value: &Value) -> Option<Step> {
        let Some(to) = self.config.dscp(value, self.direction) else {
            self.read.leave(self.lines, line, format!("{} is neither a class in the text nor a codepoint", value.word));
            return None;
        };
        let marks = vec![Act::Mark(always(to)), Act::Return];
        let mut cases = Vec::new();
        if value.fallback {
            cases.push(Case { when: vec![Condition { dscp: 1, ..when.clone() }], acts: marks });
            cases.push(Case { when: vec![when], acts: vec![Act::Return] });
        } else {
            cases.push(Case { when: vec![when], acts: marks });
        }
        Some(Step { line, name: None, cases })
    }
}
