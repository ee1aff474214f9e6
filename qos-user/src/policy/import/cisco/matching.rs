//! class-maps: a chain for each, that goes on to what a class does where it matches.

use super::{
    super::{
        Line,
        condition::{Condition, Number, V4, V6, met},
        dscp,
        program::{Act, Step},
        spans::Spans,
    },
    Reader, access_list,
    config::Words,
};
use crate::hook::Direction;

const SNAT: &str = "at our egress the source is the one after SNAT: where this host masquerades, every packet has its own \
                    address there, so mark at the ingress of the LAN instead";

/// What a line of a class-map asks for.
enum Asked {
    Conditions(Vec<Condition>),
    List(String),
    Class(String),
}

impl Reader<'_> {
    /// The chain of a class, which goes to `hit` if it matches.
    pub fn class(&mut self, name: &str, line: Line, hit: &str) -> String {
        let chain = format!("class {name} of {hit}");
        let config = self.config;
        self.uses("class-map", name);
        let Some(map) = config.classes.get(name) else {
            self.read.leave(self.lines, line, format!("there is no class-map {name} in the text"));
            return chain;
        };
        let asked = map.matches.iter().filter(|(_, words)| words[0] == "match").collect::<Vec<_>>();
        if map.any {
            let mut steps = Vec::new();
            for (at, line) in asked.into_iter().enumerate() {
                let matcher = self.matcher(line, hit, &format!("{chain} {at}"));
                steps.push(Step::new(Line::default(), vec![Condition::default()], vec![Act::Jump(matcher)]));
            }
            self.read.program.chains.insert(chain.clone(), steps);
            return chain;
        }
        if let Some((line, _)) = self.contradiction(&asked) {
            let reason = "no packet has this and what the lines before it ask for: match-any asks for one of them";
            self.read.leave(self.lines, *line, reason);
            return chain;
        }
        let mut next = None;
        for (at, line) in asked.into_iter().enumerate().rev() {
            next = Some(self.matcher(line, next.as_deref().unwrap_or(hit), &format!("{chain} {at}")));
        }
        // A class that asks for nothing matches nothing.
        next.unwrap_or(chain)
    }

    /// The first line of a match-all that no packet can match beside those before it.
    fn contradiction<'w>(&self, asked: &[&'w Words]) -> Option<&'w Words> {
        let mut all = vec![Condition::default()];
        asked.iter().copied().find(|(_, words)| {
            if let Ok(Asked::Conditions(when)) = self.asked(words.get(1..).unwrap_or_default()) {
                all = met(&all, &when);
            }
            all.is_empty()
        })
    }

    /// The chain of one line, which goes to `hit` if it matches and else ends.
    fn matcher(&mut self, (line, words): &Words, hit: &str, chain: &str) -> String {
        let negated = words.get(1).is_some_and(|word| word == "not");
        let words = words.get(1 + usize::from(negated)..).unwrap_or_default();
        let goes = |hits: bool| if hits == negated { Act::Return } else { Act::Goto(hit.to_owned()) };
        let mut steps = Vec::new();
        match self.asked(words) {
            Ok(Asked::Conditions(when)) => steps.push(Step::new(*line, when, vec![goes(true)])),
            Ok(Asked::List(name)) => match self.list(&name, &goes) {
                Ok(entries) => steps.extend(entries),
                Err(reason) => {
                    self.read.leave(self.lines, *line, reason);
                    return chain.to_owned();
                }
            },
            Ok(Asked::Class(name)) => {
                let end = format!("{chain} end");
                self.read
                    .program
                    .chains
                    .insert(end.clone(), vec![Step::new(*line, vec![Condition::default()], vec![goes(true)])]);
                let class = self.class(&name, *line, &end);
                if !negated {
                    return class;
                }
                self.read.leave(self.lines, *line, "a class that another one must not match cannot be asked for here");
                return chain.to_owned();
            }
            Err(reason) => {
                self.read.leave(self.lines, *line, reason);
                return chain.to_owned();
            }
        }
        if negated {
            steps.push(Step::new(*line, vec![Condition::default()], vec![goes(false)]));
        }
        self.read.program.chains.insert(chain.to_owned(), steps);
        chain.to_owned()
    }

    fn list(&mut self, name: &str, goes: &dyn Fn(bool) -> Act) -> Result<Vec<Step>, String> {
        let list = self.config.lists.get(name).ok_or_else(|| format!("there is no access list {name} in the text"))?;
        self.uses("access-list", name);
        let mut steps = Vec::new();
        for (line, words) in &list.entries {
            match access_list::conditions(words, list) {
                Ok(when) if self.direction == Direction::Egress && when.iter().any(|when| when.src.is_some()) => {
                    self.read.note(self.lines, *line, SNAT);
                    steps.push(Step::new(*line, when, vec![goes(words[0] == "permit")]));
                }
                Ok(when) => steps.push(Step::new(*line, when, vec![goes(words[0] == "permit")])),
                Err(_) if words[0] == "remark" => self.read.account.beside(*line),
                Err(reason) => self.read.leave(self.lines, *line, reason),
            }
        }
        Ok(steps)
    }

    fn asked(&self, words: &[String]) -> Result<Asked, String> {
        let words = words.iter().map(|word| &**word).collect::<Vec<_>>();
        let (families, rest) = match &*words {
            ["ip", "rtp", ..] => return Err("RTP is asked by even ports: write the ports".to_owned()),
            ["ip", rest @ ..] => (V4, rest),
            ["ipv6", rest @ ..] => (V6, rest),
            rest => (V4 | V6, rest),
        };
        let any = || Condition { families, ..Condition::default() };
        let number = |field, word: &str| {
            let value = dscp::number(word).map(u128::from).filter(|value| *value <= Number::most(field));
            value
                .map(|value| Condition::number(field, Spans::one(value)))
                .ok_or_else(|| format!("{word} cannot be read"))
        };
        let one = |condition: Condition| Ok(Asked::Conditions(vec![condition]));
        match rest {
            ["any"] => one(any()),
            ["dscp", values @ ..] => one(Condition { dscp: codepoints(values)?, ..any() }),
            ["precedence", values @ ..] => one(Condition { dscp: precedences(values)?, ..any() }),
            ["access-group", "name", name] | ["access-group", name] => Ok(Asked::List((*name).to_owned())),
            ["class-map", name] => Ok(Asked::Class((*name).to_owned())),
            ["cos", value] => one(number(Number::Pcp, value)?),
            ["vlan", value] => one(number(Number::Vlan, value)?),
            ["protocol", "ip"] => one(Condition { families: V4, ..any() }),
            ["protocol", "ipv6"] => one(Condition { families: V6, ..any() }),
            ["protocol", name @ ("icmp" | "gre" | "ospf" | "eigrp" | "pim" | "egp" | "tcp" | "udp")] => {
                let proto = dscp::protocol(name).map(u128::from).unwrap_or_default();
                one(Condition::number(Number::Proto, Spans::one(proto)))
            }
            ["protocol", name, ..] => Err(format!("{name}: no rule here recognizes applications: write ports")),
            ["input-interface", ..] if self.direction == Direction::Ingress => {
                Err("at ingress the interface is the one of the service-policy".to_owned())
            }
            _ => Err(format!("match {}: there is no such field here", words.join(" "))),
        }
    }
}

fn codepoints(values: &[&str]) -> Result<u64, String> {
    let bit =
        |word: &&str| dscp::dscp(word).map(|dscp| 1u64 << dscp).ok_or_else(|| format!("{word} is not a codepoint"));
    values.iter().map(bit).try_fold(0, |bits, bit| Ok(bits | bit?))
}

/// The eight codepoints of each IP precedence.
pub(super) fn precedences(values: &[&str]) -> Result<u64, String> {
    let bits = |word: &&str| {
        precedence(word).map(|prec| 0xffu64 << (8 * prec)).ok_or_else(|| format!("{word} is no precedence"))
    };
    values.iter().map(bits).try_fold(0, |all, bits| Ok(all | bits?))
}

/// An IP precedence by number or name (RFC 791).
pub(super) fn precedence(word: &str) -> Option<u8> {
    let names = ["routine", "priority", "immediate", "flash", "flash-override", "critical", "internet", "network"];
    let named = || names.iter().position(|name| *name == word).and_then(|at| u8::try_from(at).ok());
    word.parse().ok().or_else(named).filter(|precedence| *precedence < 8)
}
