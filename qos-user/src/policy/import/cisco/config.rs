//! The sections of a configuration that are about marks.

use std::collections::BTreeMap;

use super::{
    super::{Line, Read, lines::Lines},
    unrelated,
};
use crate::hook::Direction;

/// A line in words.
pub(super) type Words = (Line, Vec<String>);

#[derive(Debug, Default)]
pub(super) struct Config {
    pub classes: BTreeMap<String, ClassMap>,
    /// Each with its line.
    pub policies: BTreeMap<String, (Line, Vec<Class>)>,
    pub tables: BTreeMap<String, Vec<Words>>,
    pub lists: BTreeMap<String, AccessList>,
    pub services: Vec<Service>,
    /// The lines of each class-map, policy-map, table-map and access list, by [`key`].
    pub blocks: BTreeMap<String, Vec<Line>>,
}

#[derive(Debug, Default)]
pub(super) struct ClassMap {
    pub any: bool,
    pub matches: Vec<Words>,
}

/// A class of a policy-map.
#[derive(Debug)]
pub(super) struct Class {
    pub line: Line,
    pub name: String,
    pub lines: Vec<Words>,
    /// The lines of a `police` that has its actions on lines of their own, by its first one.
    pub parts: BTreeMap<Line, Vec<Line>>,
}

impl Class {
    /// A line with those that go on with it.
    pub fn block(&self, line: Line) -> Vec<Line> {
        let rest = self.parts.get(&line).into_iter().flatten();
        std::iter::once(line).chain(rest.copied()).collect()
    }
}

#[derive(Debug, Default)]
pub(super) struct AccessList {
    pub is_v6: bool,
    pub is_standard: bool,
    /// From `permit` or `deny` on.
    pub entries: Vec<Words>,
}

/// `service-policy`
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub line: Line,
    pub interface: String,
    pub direction: Direction,
    pub policy: String,
}

/// The section that a line belongs to.
#[derive(Default)]
enum Section {
    #[default]
    None,
    Class(String),
    Policy(String),
    Table(String),
    List(String),
    Interface(String),
    /// One that has nothing to do with marks.
    Unrelated,
}

/// The name of a section among those of all kinds.
pub(super) fn key(kind: &str, name: &str) -> String {
    format!("{kind} {name}")
}

impl Section {
    fn key(&self) -> String {
        match self {
            Self::Class(name) => key("class-map", name),
            Self::Policy(name) => key("policy-map", name),
            Self::Table(name) => key("table-map", name),
            Self::List(name) => key("access-list", name),
            Self::Interface(name) => key("interface", name),
            Self::Unrelated | Self::None => String::new(),
        }
    }
}

impl Config {
    pub fn read(lines: &Lines, read: &mut Read) -> Self {
        let mut config = Self::default();
        let mut section = Section::None;
        for (line, text) in lines.iter() {
            let words = text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let Some(first) = words.first().filter(|word| !word.starts_with('!')) else {
                read.account.beside(line);
                continue;
            };
            if let Some(begun) = config.begins(line, first, &words) {
                config.blocks.entry(begun.key()).or_default().push(line);
                read.account.take(line);
                // The lines of a numbered list do not make a section.
                section = if first == "access-list" { Section::None } else { begun };
                continue;
            }
            // A section ends where another one begins, or a line that is not set in.
            if !text.starts_with([' ', '\t']) && unrelated::is_unrelated(&words) {
                section = Section::Unrelated;
            }
            if config.belongs(&section, (line, words.clone())) {
                config.blocks.entry(section.key()).or_default().push(line);
                read.account.take(line);
            } else if unrelated::is_about_marks(&words) {
                read.leave(lines, line, "it is in no section that is known");
            } else if matches!(section, Section::Unrelated) || unrelated::is_unrelated(&words) {
                read.account.beside(line);
            }
        }
        config
    }

    /// Whether a policy-map is the child of another.
    pub fn is_nested(&self, name: &str) -> bool {
        let lines = self.policies.values().flat_map(|(_, classes)| classes).flat_map(|class| &class.lines);
        lines
            .into_iter()
            .any(|(_, words)| words[0] == "service-policy" && words.last().is_some_and(|word| word == name))
    }

    /// The section that a line begins.
    fn begins(&mut self, line: Line, first: &str, words: &[String]) -> Option<Section> {
        let last = words.last().cloned().unwrap_or_default();
        Some(match first {
            "class-map" => {
                let any = words.iter().any(|word| word == "match-any");
                self.classes.insert(last.clone(), ClassMap { any, matches: Vec::new() });
                Section::Class(last)
            }
            "policy-map" => {
                self.policies.entry(last.clone()).or_insert_with(|| (line, Vec::new()));
                Section::Policy(last)
            }
            "table-map" => {
                self.tables.entry(last.clone()).or_default();
                Section::Table(last)
            }
            "interface" => Section::Interface(words.get(1..).unwrap_or_default().join("")),
            "access-list" if words.len() > 3 => {
                self.numbered(line, words);
                Section::List(words[1].clone())
            }
            "ip" | "ipv6" if words.get(1).is_some_and(|word| word == "access-list") => {
                let is_standard = words.get(2).is_some_and(|word| word == "standard");
                let list = AccessList { is_v6: first == "ipv6", is_standard, entries: Vec::new() };
                self.lists.insert(last.clone(), list);
                Section::List(last)
            }
            _ => return None,
        })
    }

    /// `access-list 101 permit udp any any eq 5060`
    fn numbered(&mut self, line: Line, words: &[String]) {
        let number = words[1].parse::<u32>().unwrap_or_default();
        let list = self.lists.entry(words[1].clone()).or_default();
        list.is_standard = matches!(number, 1..=99 | 1300..=1999);
        list.entries.push((line, words[2..].to_vec()));
    }

    /// Puts a line into its section; whether there is one.
    fn belongs(&mut self, section: &Section, (line, words): Words) -> bool {
        match section {
            Section::Class(name) if words[0] == "match" => {
                self.classes.entry(name.clone()).or_default().matches.push((line, words))
            }
            Section::Policy(name) => return self.of_policy(name, line, words),
            Section::Table(name) if matches!(&*words[0], "map" | "default") => {
                self.tables.entry(name.clone()).or_default().push((line, words))
            }
            Section::List(name) => {
                // A line may begin with its number.
                let at = words.iter().position(|word| matches!(&**word, "permit" | "deny"));
                let Some(entry) = at.filter(|at| *at < 2).map(|at| words[at..].to_vec()) else { return false };
                self.lists.entry(name.clone()).or_default().entries.push((line, entry));
            }
            Section::Interface(name) => match &*words {
                [service, way, policy] if service == "service-policy" && (way == "input" || way == "output") => {
                    let direction = if way == "input" { Direction::Ingress } else { Direction::Egress };
                    self.services.push(Service { line, interface: name.clone(), direction, policy: policy.clone() });
                }
                _ => return false,
            },
            Section::Class(_) | Section::Table(_) | Section::Unrelated | Section::None => return false,
        }
        true
    }

    fn of_policy(&mut self, name: &str, line: Line, words: Vec<String>) -> bool {
        let Some((_, classes)) = self.policies.get_mut(name) else { return false };
        if words[0] == "class" {
            let name = words.last().cloned().unwrap_or_default();
            classes.push(Class { line, name, lines: Vec::new(), parts: BTreeMap::new() });
            return true;
        }
        let Some(class) = classes.last_mut() else { return words[0] == "description" };
        match class.lines.last_mut() {
            Some((first, police)) if police[0] == "police" && words[0].ends_with("-action") => {
                class.parts.entry(*first).or_default().push(line);
                police.extend(words);
            }
            _ => class.lines.push((line, words)),
        }
        true
    }
}
