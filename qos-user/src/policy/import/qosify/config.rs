//! Sections, options, and the lines that are not of UCI.

use super::super::{Line, Options, Read, dscp, lines::Lines};
use crate::hook::Direction;

/// Options of a flow's history, which nothing here keeps.
const OF_FLOWS: [&str; 6] =
    ["dscp_prio", "dscp_bulk", "prio_max_avg_pkt_len", "bulk_trigger_pps", "bulk_trigger_timeout", "timeout"];
/// Sections.
const KINDS: [&str; 5] = ["defaults", "class", "alias", "interface", "device"];
/// Options of the shaper.
const OF_CAKE: [&str; 12] = [
    "bandwidth",
    "bandwidth_up",
    "bandwidth_down",
    "overhead_type",
    "overhead",
    "mode",
    "nat",
    "host_isolate",
    "autorate_ingress",
    "ingress_options",
    "egress_options",
    "options",
];

#[derive(Debug, Default)]
pub(super) struct Config {
    sections: Vec<Section>,
    /// What the files of ports and addresses say.
    pub mappings: Vec<(Line, String)>,
}

#[derive(Debug)]
struct Section {
    line: Line,
    kind: String,
    name: String,
    options: Vec<(Line, String, String)>,
}

/// A class or a codepoint, perhaps for unmarked packets only.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub word: String,
    /// `+`
    pub fallback: bool,
}

/// Interfaces, and which of their directions; without a pattern all.
#[derive(Debug)]
pub(super) struct Place {
    pub pattern: Option<String>,
    pub directions: Vec<Direction>,
}

/// Options of a section that are read.
fn is_known(kind: &str, key: &str) -> bool {
    match kind {
        "defaults" => matches!(key, "defaults" | "dscp_icmp" | "dscp_default_tcp" | "dscp_default_udp"),
        "class" | "alias" => matches!(key, "ingress" | "egress"),
        "interface" | "device" => matches!(key, "name" | "disabled" | "ingress" | "egress"),
        _ => false,
    }
}

impl Value {
    pub fn of(word: &str) -> Self {
        let plain = word.strip_prefix('+');
        Self { word: plain.unwrap_or(word).to_owned(), fallback: plain.is_some() }
    }
}

impl Section {
    fn get(&self, key: &str) -> Option<(Line, &str)> {
        self.options.iter().rev().find(|(_, name, _)| name == key).map(|(line, _, value)| (*line, &**value))
    }

    fn is_off(&self, key: &str) -> bool {
        self.get(key).is_some_and(|(_, value)| matches!(value, "0" | "off" | "false" | "no"))
    }

    fn is_on(&self, key: &str) -> bool {
        self.get(key).is_some_and(|(_, value)| matches!(value, "1" | "on" | "true" | "yes"))
    }
}

impl Config {
    pub fn read(lines: &Lines, read: &mut Read) -> Self {
        let mut config = Self::default();
        for (line, text) in lines.iter() {
            let text = text.split('#').next().unwrap_or_default().trim();
            let word =
                |at: usize| text.split_whitespace().nth(at).unwrap_or_default().trim_matches(['\'', '"']).to_owned();
            match &*word(0) {
                "" => read.account.beside(line),
                "config" => {
                    read.account.take(line);
                    if !KINDS.contains(&&*word(1)) {
                        read.leave(lines, line, "a section of this kind is not known here");
                    }
                    config.sections.push(Section { line, kind: word(1), name: word(2), options: Vec::new() });
                }
                "option" | "list" => config.option(line, word(1), word(2), lines, read),
                _ => {
                    read.account.take(line);
                    config.mappings.push((line, text.to_owned()));
                }
            }
        }
        config
    }

    fn option(&mut self, line: Line, key: String, value: String, lines: &Lines, read: &mut Read) {
        if OF_FLOWS.contains(&&*key) {
            read.leave(lines, line, "this is about the history of a flow, which nothing here keeps");
        } else if OF_CAKE.contains(&&*key) {
            read.note(lines, line, "this is the shaper's: it stays with CAKE");
        }
        let kind = self.sections.last().map_or("", |section| &*section.kind);
        if is_known(kind, &key) {
            read.account.take(line);
        }
        if let Some(section) = self.sections.last_mut() {
            section.options.push((line, key, value));
        }
    }

    /// An option of the section `defaults`.
    pub fn of_defaults(&self, key: &str) -> Option<(Line, Value)> {
        let sections = self.sections.iter().filter(|section| section.kind == "defaults");
        sections.filter_map(|section| section.get(key)).next_back().map(|(line, value)| (line, Value::of(value)))
    }

    /// Where the defaults begin.
    pub fn defaults(&self) -> Option<Line> {
        self.sections.iter().find(|section| section.kind == "defaults").map(|section| section.line)
    }

    /// The same; where there is such a section and it does not say, best effort.
    pub fn default_or_best_effort(&self, key: &str) -> Option<(Line, Value)> {
        self.of_defaults(key).or_else(|| self.defaults().map(|line| (line, Value::of("CS0"))))
    }

    /// The codepoint of a class or a word.
    pub fn dscp(&self, value: &Value, direction: Direction) -> Option<u8> {
        let class = self
            .sections
            .iter()
            .rev()
            .find(|section| matches!(&*section.kind, "class" | "alias") && section.name == value.word);
        match class {
            Some(class) => dscp::dscp(class.get(direction.as_str())?.1),
            None => dscp::dscp(&value.word),
        }
    }

    /// The interfaces that it is for.
    pub fn places(&self, options: &Options, lines: &Lines, read: &mut Read) -> Vec<Place> {
        let mut places = Vec::new();
        for section in self.sections.iter().filter(|section| matches!(&*section.kind, "interface" | "device")) {
            places.extend(place(section, options, lines, read));
        }
        if !places.is_empty() {
            return places;
        }
        let asked = options.on.iter().map(|(pattern, direction)| Place {
            pattern: Some(pattern.clone()),
            directions: direction.map_or_else(|| Direction::BOTH.to_vec(), |only| vec![only]),
        });
        places.extend(asked);
        if places.is_empty() {
            let first = self.mappings.first().map(|(line, _)| *line).or(self.sections.first().map(|first| first.line));
            read.note(
                lines,
                first.unwrap_or_default(),
                "no interface is enabled in the text: the rules are for all; --on IFACE",
            );
            places.push(Place { pattern: None, directions: Direction::BOTH.to_vec() });
        }
        places
    }
}

fn place(section: &Section, options: &Options, lines: &Lines, read: &mut Read) -> Option<Place> {
    let name = section.get("name").map_or(&*section.name, |(_, name)| name);
    if section.is_on("disabled") {
        read.note(lines, section.line, "it is disabled");
        return None;
    }
    let renamed = options.interfaces.iter().find(|(old, _)| old == name).map(|(_, new)| new.clone());
    if renamed.is_none() && section.kind == "interface" {
        let reason =
            format!("{name} is a network of OpenWrt, taken as the name of the device: --interface {name}=DEVICE");
        read.note(lines, section.line, reason);
    }
    let pattern = renamed.unwrap_or_else(|| name.to_owned());
    if !dscp::is_interface(&pattern) {
        read.leave(lines, section.line, format!("{pattern} cannot be the name of an interface"));
        return None;
    }
    let directions = Direction::BOTH.into_iter().filter(|direction| !section.is_off(direction.as_str())).collect();
    Some(Place { pattern: Some(pattern), directions })
}
