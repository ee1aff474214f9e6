//! Chains, sets and maps, and which of them matter.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{Line, condition::Addresses, dscp},
    elements::Element,
    tokens::Token,
};

#[derive(Debug, Default)]
pub(super) struct Ruleset {
    /// By family, table and name.
    pub chains: BTreeMap<String, Chain>,
    /// Sets and maps by family, table and name.
    pub named: BTreeMap<String, Vec<Element>>,
    /// The lines that these are written on.
    pub blocks: BTreeMap<String, Vec<Line>>,
    /// Those that packets fill, or time empties, and where it says so.
    pub changing: BTreeMap<String, Line>,
}

#[derive(Clone, Debug)]
pub(super) struct Chain {
    /// All that it is written on.
    pub block: Vec<Line>,
    /// Family and table.
    pub table: String,
    pub families: u8,
    pub name: String,
    pub base: Option<Base>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Base {
    pub hook: String,
    pub priority: i64,
    pub devices: Vec<String>,
    /// The line of `policy drop`.
    pub drops: Option<Line>,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub line: Line,
    pub tokens: Vec<Token>,
}

impl Chain {
    /// The id of another chain of its table.
    pub fn id_of(&self, name: &str) -> String {
        format!("{} {name}", self.table)
    }
}

impl Ruleset {
    /// The chains that set a mark, or from which one is reached that does.
    pub fn marking(&self) -> BTreeSet<String> {
        let sets = |rule: &Rule| {
            rule.tokens.windows(2).any(|pair| pair[1].is("set") && (pair[0].is("dscp") || pair[0].is("priority")))
        };
        let own = self.chains.iter().filter(|(_, chain)| chain.rules.iter().any(sets)).map(|(id, _)| id.clone());
        let mut marking = own.collect::<BTreeSet<_>>();
        loop {
            let reaches = |chain: &Chain| {
                let tokens = chain.rules.iter().flat_map(|rule| &rule.tokens);
                tokens.into_iter().any(|token| marking.contains(&chain.id_of(&token.text)))
                    || self.named_of(chain).any(|name| marking.contains(&chain.id_of(name)))
            };
            let more = self.chains.iter().filter(|(id, chain)| !marking.contains(*id) && reaches(chain));
            let more = more.map(|(id, _)| id.clone()).collect::<Vec<_>>();
            if more.is_empty() {
                return marking;
            }
            marking.extend(more);
        }
    }

    /// Whether a chain of these names a set or a map.
    pub fn is_asked(&self, id: &str, marking: &BTreeSet<String>) -> bool {
        let chains = self.chains.iter().filter(|(chain, _)| marking.contains(*chain)).map(|(_, chain)| chain);
        let mut tokens = chains.flat_map(|chain| {
            chain.rules.iter().flat_map(move |rule| rule.tokens.iter().map(move |token| (chain, token)))
        });
        tokens.any(|(chain, token)| token.text.strip_prefix('@').is_some_and(|name| chain.id_of(name) == id))
    }

    /// The words of the verdict maps that a chain names.
    fn named_of<'a>(&'a self, chain: &'a Chain) -> impl Iterator<Item = &'a str> {
        let names = chain.rules.iter().flat_map(|rule| &rule.tokens).filter_map(|token| token.text.strip_prefix('@'));
        let elements = names.filter_map(|name| self.named.get(&chain.id_of(name))).flatten();
        elements.filter_map(|element| element.value.as_deref()).flat_map(str::split_whitespace)
    }

    /// The named sets that are of addresses.
    pub fn address_sets(&self) -> Vec<(String, Addresses)> {
        let mut sets = Vec::new();
        for (id, elements) in &self.named {
            let members =
                elements.iter().map(|element| dscp::addresses(&element.key).filter(|_| element.value.is_none()));
            let members = members.collect::<Option<Vec<_>>>().filter(|members| !members.is_empty());
            let name = id
                .rsplit(' ')
                .next()
                .unwrap_or_default()
                .replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-");
            if let Some(members) = members.filter(|_| !sets.iter().any(|(known, _)| *known == name)) {
                sets.push((name, dscp::union(members)));
            }
        }
        sets.sort_by(|one, other| one.0.cmp(&other.0));
        sets
    }
}

/// `type filter hook egress device "eth0" priority mangle - 5`
pub(super) fn base(tokens: &[Token]) -> Base {
    let mut base = Base::default();
    let mut words = tokens.iter().peekable();
    while let Some(word) = words.next() {
        match &*word.text {
            "hook" => base.hook = words.next().map(|token| token.text.clone()).unwrap_or_default(),
            "device" => base.devices.extend(words.next().map(|token| token.text.clone())),
            "devices" => {
                let names = words.by_ref().take_while(|token| !token.is("}"));
                let names = names.filter(|token| token.quoted || !matches!(&*token.text, "=" | "{" | ","));
                base.devices.extend(names.map(|token| token.text.clone()));
            }
            "priority" => {
                let rest = words.by_ref().map(|token| token.text.clone()).collect::<String>();
                base.priority = priority(&rest);
            }
            _ => {}
        }
    }
    base
}

fn priority(text: &str) -> i64 {
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (name, more) = text.split_at_checked(end).unwrap_or((text, ""));
    let named = match name {
        "raw" => -300,
        "mangle" => -150,
        "dstnat" => -100,
        "security" => 50,
        "srcnat" => 100,
        _ => 0,
    };
    named + more.parse::<i64>().unwrap_or_default()
}
