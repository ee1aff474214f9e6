//! One rule: matches and statements from left to right.

use super::{
    super::{
        condition::{Condition, met},
        dscp,
        program::{Act, Case, Marks, Step, always, by},
    },
    elements::{self, Element},
    key::{self, Field, Key},
    ruleset::{Chain, Rule, Ruleset},
    tokens::Token,
};
use crate::hook::Direction;

/// A rule as far as it is carried over.
pub(super) struct Found {
    pub step: Step,
    pub notes: Vec<String>,
}

/// Reads one rule of a chain, as it is at one direction.
pub(super) struct RuleReader<'a> {
    chain: &'a Chain,
    ruleset: &'a Ruleset,
    direction: Direction,
    renamed: &'a [(String, String)],
    cases: Vec<Case>,
    name: Option<String>,
    notes: Vec<String>,
}

/// What follows an operator: words that are values, or the elements of a map.
enum Values {
    Plain(Vec<String>),
    Map(Vec<Element>),
}

impl<'a> RuleReader<'a> {
    pub fn new(chain: &'a Chain, ruleset: &'a Ruleset, direction: Direction, renamed: &'a [(String, String)]) -> Self {
        let any = Condition { families: chain.families, ..Condition::default() };
        let cases = vec![Case { when: vec![any], acts: Vec::new() }];
        Self { chain, ruleset, direction, renamed, cases, name: None, notes: Vec::new() }
    }

    /// Reads all of it; an error is why it cannot be carried over.
    pub fn read(mut self, rule: &Rule) -> Result<Found, String> {
        let mut rest = &*rule.tokens;
        while let Some((token, behind)) = rest.split_first() {
            rest = self.statement(token, behind)?;
        }
        self.note_nat();
        self.cases.retain(|case| !case.when.is_empty());
        let step = Step { line: rule.line, name: self.name, cases: self.cases };
        Ok(Found { step, notes: self.notes })
    }

    fn statement<'t>(&mut self, token: &Token, rest: &'t [Token]) -> Result<&'t [Token], String> {
        let word = |at: usize| rest.get(at).map_or("", |token| &*token.text);
        match &*token.text {
            "counter" => Ok(behind(rest, if word(0) == "packets" { 4 } else { usize::from(word(0) == "name") * 2 })),
            "comment" => {
                self.name = Some(word(0).to_owned());
                Ok(behind(rest, 1))
            }
            "log" => {
                self.notes.push("what it logs is not carried over: add log = \"1/s\" to the rule".to_owned());
                Ok(without_log(rest))
            }
            "accept" => self.act(Act::Accept, rest),
            "drop" => self.act(Act::Drop, rest),
            "return" => self.act(Act::Return, rest),
            "continue" => Ok(rest),
            "jump" => self.act(Act::Jump(word(0).to_owned()), behind(rest, 1)),
            "goto" => self.act(Act::Goto(word(0).to_owned()), behind(rest, 1)),
            "limit" | "quota" => Err(format!("{}: use a meter for rates", token.text)),
            "meta" | "ct" if word(1) == "set" && word(0) != "priority" => {
                let reason =
                    format!("{} {} is not about the DS field: that part has to stay in nft", token.text, word(0));
                self.notes.push(reason);
                self.foreign_set(rest)
            }
            _ => self.compare_or_set(token, rest),
        }
    }

    /// Skips a `set` of one plain word.
    fn foreign_set<'t>(&self, rest: &'t [Token]) -> Result<&'t [Token], String> {
        match rest.get(3).map(|token| &*token.text) {
            None | Some("accept" | "counter" | "comment" | "return" | "ip" | "ip6" | "jump" | "goto") => {
                Ok(behind(rest, 3))
            }
            Some(_) => Err("it sets something by an expression".to_owned()),
        }
    }

    fn act<'t>(&mut self, act: Act, rest: &'t [Token]) -> Result<&'t [Token], String> {
        self.cases.iter_mut().for_each(|case| case.acts.push(act.clone()));
        Ok(rest)
    }

    fn compare_or_set<'t>(&mut self, token: &Token, rest: &'t [Token]) -> Result<&'t [Token], String> {
        let (key, words) = key::read(&token.text, rest.first().map_or("", |token| &token.text))?;
        let rest = behind(rest, words - 1);
        let operator = rest.first().map_or("", |token| if token.quoted { "" } else { &*token.text });
        if key.field == Field::Mark && self.direction == Direction::Ingress {
            return Err("at our ingress the skb mark has not been set yet: nft sets it later".to_owned());
        }
        match operator {
            "set" => self.set(&key, behind(rest, 1)),
            "vmap" => {
                let (values, rest) = self.values(behind(rest, 1), true)?;
                self.map(&key, &values, verdict)?;
                Ok(rest)
            }
            "<" | ">" | "<=" | ">=" | "lt" | "gt" | "le" | "ge" => {
                let value = rest.get(1).map_or("", |token| &*token.text);
                self.meet(&key.compared(operator, value)?)?;
                Ok(behind(rest, 2))
            }
            "&" | "and" => self.masked(&key, behind(rest, 1)),
            "!=" | "ne" => self.compare(&key, behind(rest, 1), true),
            "==" | "eq" => self.compare(&key, behind(rest, 1), false),
            _ => self.compare(&key, rest, false),
        }
    }

    fn compare<'t>(&mut self, key: &Key, rest: &'t [Token], negated: bool) -> Result<&'t [Token], String> {
        let (values, rest) = self.values(rest, false)?;
        let Values::Plain(values) = values else { return Err("a map where values are asked for".to_owned()) };
        let conditions = self.conditions(key, &values, negated)?;
        self.meet(&conditions)?;
        Ok(rest)
    }

    /// `mark & 0xff == 0x10`
    fn masked<'t>(&mut self, key: &Key, rest: &'t [Token]) -> Result<&'t [Token], String> {
        let word = |at: usize| rest.get(at).map_or("", |token| &*token.text);
        if key.field != Field::Mark {
            return Err("only the skb mark is asked under a mask".to_owned());
        }
        let negated = matches!(word(1), "!=" | "ne");
        let past = if negated || matches!(word(1), "==" | "eq") { 3 } else { 2 };
        let conditions = key.is_one_of(&[&format!("{}/{}", word(past - 1), word(0))], negated, self.direction)?;
        self.meet(&conditions)?;
        Ok(behind(rest, past))
    }

    fn conditions(&self, key: &Key, values: &[String], negated: bool) -> Result<Vec<Condition>, String> {
        let is_interface = matches!(key.field, Field::Input | Field::Output);
        let renamed = |word: &String| {
            let found = self.renamed.iter().find(|(old, _)| is_interface && old == word);
            found.map_or_else(|| word.clone(), |(_, new)| new.clone())
        };
        let values = values.iter().map(renamed).collect::<Vec<_>>();
        let values = values.iter().map(|word| &**word).collect::<Vec<_>>();
        key.is_one_of(&values, negated, self.direction)
    }

    fn meet(&mut self, conditions: &[Condition]) -> Result<(), String> {
        let has_marked = self.cases.iter().any(|case| case.acts.iter().any(|act| matches!(act, Act::Mark(_))));
        if has_marked && conditions.iter().any(|when| when.dscp != u64::MAX) {
            return Err("it asks for the mark that it has set itself".to_owned());
        }
        let possible = |cases: &[Case]| cases.iter().any(|case| !case.when.is_empty());
        let was_possible = possible(&self.cases);
        for case in &mut self.cases {
            case.when = met(&case.when, conditions);
        }
        // Where there are no conditions, the other direction has them.
        if was_possible && !conditions.is_empty() && !possible(&self.cases) {
            return Err("no packet of this table has all that it asks for".to_owned());
        }
        Ok(())
    }

    /// One word, a set in brackets, `@NAME`, or in place of them `map ...`.
    fn values<'t>(&self, rest: &'t [Token], is_map: bool) -> Result<(Values, &'t [Token]), String> {
        let Some(first) = rest.first() else { return Err("a value is missing".to_owned()) };
        let (elements, rest) = match first.text.strip_prefix('@').filter(|_| !first.quoted) {
            Some(name) => {
                let named = self.ruleset.named.get(&self.chain.id_of(name));
                (named.cloned().ok_or_else(|| format!("@{name} is not in the text"))?, behind(rest, 1))
            }
            None if first.is("{") => {
                let end = rest.iter().position(|token| token.is("}")).ok_or("a bracket is never closed")?;
                (elements::read(rest), behind(rest, end + 1))
            }
            None => (vec![Element { key: first.text.clone(), value: None }], behind(rest, 1)),
        };
        if elements.is_empty() {
            return Err("a set that is filled while it runs is not known here".to_owned());
        }
        let plain = || Values::Plain(elements.iter().map(|element| element.key.clone()).collect());
        Ok((if is_map { Values::Map(elements.clone()) } else { plain() }, rest))
    }

    fn set<'t>(&mut self, key: &Key, rest: &'t [Token]) -> Result<&'t [Token], String> {
        let word = |at: usize| rest.get(at).map_or("", |token| &*token.text);
        let at = rest.iter().position(|token| token.is("map")).filter(|at| *at <= 2);
        match (key.field, at) {
            (Field::Dscp, Some(at)) => {
                self.meet(std::slice::from_ref(&key.implied))?;
                let by = key::read(word(0), word(1))?.0;
                let (values, rest) = self.values(behind(rest, at + 1), true)?;
                let marks = |value: &str| dscp::dscp(value).map(|dscp| Act::Mark(always(dscp)));
                match (by.field, &values) {
                    (Field::Dscp, Values::Map(elements)) => self.translate(&by, elements)?,
                    _ => self
                        .map(&by, &values, |value| marks(value).ok_or_else(|| format!("{value} is not a codepoint")))?,
                }
                Ok(rest)
            }
            (Field::Dscp, None) => {
                self.meet(std::slice::from_ref(&key.implied))?;
                let dscp = dscp::dscp(word(0)).ok_or_else(|| format!("{} is not a codepoint", word(0)))?;
                self.act(Act::Mark(always(dscp)), behind(rest, 1))
            }
            (Field::Priority, None) => {
                let priority = priority(word(0)).ok_or_else(|| format!("{} is not a priority", word(0)))?;
                self.act(Act::Priority(priority), behind(rest, 1))
            }
            _ => Err("it changes another field than the DS field".to_owned()),
        }
    }

    /// `ip dscp set ip dscp map { cs5 : cs0 }`; a mark that has no element ends the rule.
    fn translate(&mut self, key: &Key, elements: &[Element]) -> Result<(), String> {
        let mut table = [None; 64];
        for Element { key, value } in elements {
            let value = value.as_deref().unwrap_or_default();
            let to = dscp::dscp(value).ok_or_else(|| format!("{value} is not a codepoint"))?;
            let from = key::bits(&[key])?;
            (0..64).filter(|at| from >> at & 1 == 1).for_each(|at| table[at] = Some(to));
        }
        let known = (0..64).filter(|at| table[*at].is_some()).map(|at| 1u64 << at).sum();
        let marks: Marks = by(|dscp| table[usize::from(dscp)].unwrap_or(dscp));
        self.meet(std::slice::from_ref(&key.implied))?;
        self.meet(&[Condition { dscp: known, ..Condition::default() }])?;
        self.cases.iter_mut().for_each(|case| case.acts.push(Act::Mark(marks.clone())));
        Ok(())
    }

    /// Every element is a case of its own.
    fn map(&mut self, key: &Key, values: &Values, act: impl Fn(&str) -> Result<Act, String>) -> Result<(), String> {
        let Values::Map(elements) = values else { return Err("a map is missing".to_owned()) };
        let mut cases = Vec::new();
        for element in elements {
            let conditions = self.conditions(key, std::slice::from_ref(&element.key), false)?;
            let act = act(element.value.as_deref().unwrap_or_default())?;
            for case in &self.cases {
                let acts = case.acts.iter().cloned().chain([act.clone()]).collect();
                cases.push(Case { when: met(&case.when, &conditions), acts });
            }
        }
        self.cases = cases;
        Ok(())
    }

    fn note_nat(&mut self) {
        let asks = self.cases.iter().flat_map(|case| &case.when).any(|when| when.src.is_some());
        if self.direction == Direction::Egress && asks {
            let reason = "at our egress the source is the one after SNAT, in nft it is mostly the one before: where this \
                          host masquerades, mark at the ingress of the LAN instead";
            self.notes.push(reason.to_owned());
        }
    }
}

fn behind(rest: &[Token], words: usize) -> &[Token] {
    rest.get(words..).unwrap_or_default()
}

fn without_log(mut rest: &[Token]) -> &[Token] {
    while rest.first().is_some_and(|token| matches!(&*token.text, "prefix" | "level" | "group" | "flags" | "snaplen")) {
        rest = behind(rest, 2);
    }
    rest
}

fn verdict(text: &str) -> Result<Act, String> {
    match &*text.split_whitespace().collect::<Vec<_>>() {
        ["accept"] => Ok(Act::Accept),
        ["drop"] => Ok(Act::Drop),
        ["return"] => Ok(Act::Return),
        ["jump", chain] => Ok(Act::Jump((*chain).to_owned())),
        ["goto", chain] => Ok(Act::Goto((*chain).to_owned())),
        // Nothing is done; the rest of the rule goes on.
        ["continue"] => Ok(Act::Mark(by(|dscp| dscp))),
        _ => Err(format!("{text}: nothing here does that")),
    }
}

/// A number, or a class in hexadecimal.
fn priority(word: &str) -> Option<u32> {
    let half = |digits: &str| u16::from_str_radix(digits, 16).ok().map(u32::from);
    match word.split_once(':') {
        Some((major, minor)) => Some(half(major)? << 16 | half(minor)?),
        None => dscp::number(word),
    }
}
