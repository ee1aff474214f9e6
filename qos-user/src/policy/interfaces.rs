//! `[interface.*]`: which table is in force where.

use qos_common::policy::Local;

use crate::{
    hook::{Direction, Layer, Via},
    policy::{
        diagnostic::{Finding, Findings, quote},
        meant::Within,
        source::{Source, Span},
        tree::{Entry, Key, Kind, Node, Table},
        words,
    },
};

/// The longest name of an interface in bytes (IFNAMSIZ less its end).
pub(super) const LONGEST: usize = 15;

const KEYS: [&str; 6] = ["ingress", "egress", "outer", "local", "hook", "inside"];

/// The mechanisms by their words; `None` is the best that works.
const HOOKS: [(&str, Option<Via>); 5] = [
    ("auto", None),
    ("xdp", Some(Via::XdpNative)),
    ("xdp-generic", Some(Via::XdpGeneric)),
    ("tcx", Some(Via::Tcx)),
    ("clsact", Some(Via::Clsact)),
];

/// One section: an interface, or all whose names begin alike.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub pattern: String,
    pub span: Span,
    /// By direction, ingress first.
    pub bound: [Option<BoundTable>; 2],
    pub local: Local,
    /// Where `local` is written, if it is.
    pub local_span: Option<Span>,
    /// The mechanism asked for by name; of XDP, which is only at ingress, the egress knows nothing.
    pub hook: Option<Via>,
    /// Where `hook` is written, if it is.
    pub hook_span: Option<Span>,
    /// The table for outer headers that this host makes, which is asked with the DSCP inside.
    pub outer: Option<BoundTable>,
    /// Behind which headers to look for IP, each once and in one order, if it is written.
    pub inside: Option<Vec<Layer>>,
}

/// A table as a section names it.
#[derive(Clone, Debug)]
pub(super) struct BoundTable {
    pub table: String,
    pub span: Span,
    pub line: usize,
}

impl Interface {
    /// The table of one direction.
    pub const fn bound(&self, direction: Direction) -> Option<&BoundTable> {
        self.bound[direction as usize].as_ref()
    }

    /// The beginning that a name must have, if this is a glob.
    pub fn prefix(&self) -> Option<&str> {
        self.pattern.strip_suffix('*')
    }

    /// How well a name matches: exactly, by so many bytes of a glob, or not at all. The loopback interface is matched
    /// only by its own name: nobody who writes `l*` means it.
    pub fn rank(&self, name: &str) -> Option<usize> {
        match self.prefix() {
            None => (self.pattern == name).then_some(usize::MAX),
            Some(prefix) => (name != "lo" && name.starts_with(prefix)).then_some(prefix.len()),
        }
    }
}

/// Reads all sections. `remark` has the tables that they may name.
pub(super) fn check(table: &Table, remark: Option<&Table>, source: &Source, findings: &mut Findings) -> Vec<Interface> {
    let mut check = Check { remark, source, findings };
    table.entries().iter().filter_map(|entry| check.interface(entry)).collect()
}

struct Check<'a> {
    remark: Option<&'a Table>,
    source: &'a Source,
    findings: &'a mut Findings,
}

impl Check<'_> {
    fn interface(&mut self, entry: &Entry) -> Option<Interface> {
        let Key { text: pattern, span } = &entry.key;
        if let Some(finding) = bad_pattern(pattern, *span) {
            self.findings.error(finding);
        }
        let table = words::table(&entry.value, "a section with `ingress`, `egress`, `local`", self.findings)?;
        let mut interface = Interface {
            pattern: pattern.clone(),
            span: *span,
            bound: [None, None],
            local: Local::default(),
            local_span: None,
            hook: None,
            hook_span: None,
            inside: None,
            outer: None,
        };
        for inner in table.entries() {
            self.key(&mut interface, inner);
        }
        Some(interface)
    }

    fn key(&mut self, interface: &mut Interface, entry: &Entry) {
        match &*entry.key.text {
            "local" => {
                interface.local = self.local(&entry.value).unwrap_or_default();
                interface.local_span = Some(entry.key.span);
            }
            "hook" => {
                interface.hook = self.hook(&entry.value).flatten();
                interface.hook_span = Some(entry.value.span);
            }
            "outer" => interface.outer = self.bound(entry),
            "inside" => interface.inside = Some(self.inside(&entry.value)),
            word => match (word.parse::<Direction>(), &entry.value.kind) {
                (Ok(direction), _) => interface.bound[direction as usize] = self.bound(entry),
                (Err(_), Kind::Table(_)) => {
                    self.findings.error(words::unquoted("interface", &interface.pattern, entry));
                }
                (Err(_), _) => words::unknown_key_within(Within::Interface, entry, &KEYS, self.findings),
            },
        }
    }

    fn bound(&mut self, entry: &Entry) -> Option<BoundTable> {
        let span = entry.value.span;
        let table = words::string(&entry.value, "the name of a table", self.findings)?;
        if self.remark.is_none_or(|remark| remark.get(table).is_none()) {
            let known = self.remark.map(Table::entries).unwrap_or_default().iter().map(|entry| &*entry.key.text);
            let finding = Finding::error(span, format!("there is no table {}", quote(table)));
            self.findings.missing(match words::nearest(table, known) {
                Some(near) => finding.suggest(Some(near)),
                None => finding.help("tables are sections [remark.NAME] of this file"),
            });
            return None;
        }
        Some(BoundTable { table: table.to_owned(), span, line: self.source.line(entry.key.span.start) })
    }

    fn local(&mut self, node: &Node) -> Option<Local> {
        const WORDS: [(&str, Local); 3] =
            [("keep-control", Local::KeepControl), ("keep", Local::Keep), ("policy", Local::Policy)];
        let word = words::string(node, "\"keep-control\", \"keep\" or \"policy\"", self.findings)?;
        self.one_of("local", word, node, &WORDS, "it is \"keep-control\" (the default), \"keep\" or \"policy\"")
    }

    fn hook(&mut self, node: &Node) -> Option<Option<Via>> {
        let word = words::string(node, "\"auto\", \"xdp\", \"tcx\" or \"clsact\"", self.findings)?;
        let help = "it is \"auto\" (the default), \"xdp\", \"xdp-generic\", \"tcx\" or \"clsact\"";
        self.one_of("hook", word, node, &HOOKS, help)
    }

    fn inside(&mut self, node: &Node) -> Vec<Layer> {
        const WORDS: [(&str, Layer); 2] = [(Layer::Pppoe.as_str(), Layer::Pppoe), (Layer::Mpls.as_str(), Layer::Mpls)];
        let Kind::Array(items) = &node.kind else {
            words::wrong_kind(node, "a list such as [\"pppoe\", \"mpls\"]", self.findings);
            return Vec::new();
        };
        let layers = items.iter().filter_map(|item| {
            let word = words::string(item, "\"pppoe\" or \"mpls\"", self.findings)?;
            self.one_of("inside", word, item, &WORDS, "it is a list of \"pppoe\" and \"mpls\"")
        });
        Layer::sorted(layers.collect())
    }

    fn one_of<T: Copy>(&mut self, key: &str, word: &str, node: &Node, known: &[(&str, T)], help: &str) -> Option<T> {
        let found = known.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
        if found.is_none() {
            let finding = Finding::error(node.span, format!("`{key}` cannot be {}", quote(word)));
            self.findings.error(match words::nearest(word, known.iter().map(|(word, _)| *word)) {
                Some(near) => finding.suggest(Some(near)),
                None => finding.help(help),
            });
        }
        found
    }
}

pub(super) fn bad_pattern(pattern: &str, span: Span) -> Option<Finding> {
    let word = quote(pattern);
    let name = pattern.strip_suffix('*').unwrap_or(pattern);
    let title = if pattern.is_empty() {
        "the name of an interface is empty".to_owned()
    } else if name.contains('*') {
        format!("{word} cannot be a glob: it has one star, at its end")
    } else if name.len() > LONGEST {
        format!("{word} is longer than the {LONGEST} bytes of an interface's name")
    } else if pattern == "." || pattern == ".." || name.contains(forbidden) {
        format!("{word} cannot be the name of an interface: no blank, `/` or `:`")
    } else {
        return None;
    };
    Some(Finding::error(span, title))
}

fn forbidden(c: char) -> bool {
    c == '/' || c == ':' || c.is_whitespace() || c.is_control()
}
