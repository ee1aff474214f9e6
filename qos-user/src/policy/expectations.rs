//! `[[test]]`: packets, and what has to become of them.

use qos_common::ds::Dscp;

use crate::{
    hook::Direction,
    policy::{
        diagnostic::{Finding, Findings},
        meant::Within,
        model::Verdict,
        names::Names,
        packet::Packet,
        places,
        rules::{named, wrong_header},
        source::{Source, Span},
        tree::{Kind, Node, Table},
        words,
    },
};

const KEYS: [&str; 4] = ["name", "on", "packet", "expect"];

/// A packet at a hook, and what has to become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyTest {
    /// Its name.
    pub name: String,
    /// The line of its `[[test]]`.
    pub line: usize,
    /// The interface of the hook.
    pub interface: String,
    /// The direction of the hook.
    pub direction: Direction,
    /// The packet as it comes to the hook.
    pub packet: Packet,
    /// The packet as it is written.
    pub text: String,
    /// What has to become of it.
    pub expect: Verdict,
}

impl PolicyTest {
    /// The codepoint with which the packet has to leave; `None`: it has to be dropped.
    #[must_use]
    pub const fn expected(&self) -> Option<Dscp> {
        match self.expect {
            Verdict::Keep => Some(self.packet.dscp),
            Verdict::Set(dscp) => Some(dscp),
            Verdict::Drop => None,
        }
    }
}

/// Reads all of them.
pub(super) fn check(node: &Node, names: &Names<'_>, source: &Source, findings: &mut Findings) -> Vec<PolicyTest> {
    let Kind::Array(items) = &node.kind else {
        wrong_header("test", node, findings);
        return Vec::new();
    };
    items.iter().filter_map(|item| test(item, names, source, findings)).collect()
}

fn test(item: &Node, names: &Names<'_>, source: &Source, findings: &mut Findings) -> Option<PolicyTest> {
    let table = words::table(item, "a test", findings)?;
    for entry in table.entries().iter().filter(|entry| !KEYS.contains(&&*entry.key.text)) {
        words::unknown_key_within(Within::Test, entry, &KEYS, findings);
    }
    let (name, span) = named("test", item, table, findings);
    let on = value(table, "on", span, "write the hook, such as on = \"ppp0:egress\"", findings);
    let hook = on.and_then(|node| places::hook(node, findings));
    let help = "write packet = \"udp 192.0.2.1:5060 > 198.51.100.1:5060 dscp EF\"";
    let text = value(table, "packet", span, help, findings);
    let text = text.and_then(|node| Some((words::string(node, "a packet in words", findings)?, node.span)));
    let direction = hook.as_ref().map(|(_, direction)| *direction);
    let packet = text.and_then(|(text, span)| read_packet(text, span, direction, source, findings));
    let expect = value(table, "expect", span, "write expect = a DSCP, \"keep\" or \"drop\"", findings);
    let expect = expect.and_then(|node| names.verdict(node, findings));
    let (interface, direction) = hook?;
    let (line, text) = (source.line(item.span.start), text?.0.to_owned());
    Some(PolicyTest { name, line, interface, direction, packet: packet?, text, expect: expect? })
}

fn value<'t>(table: &'t Table, key: &str, span: Span, help: &str, findings: &mut Findings) -> Option<&'t Node> {
    let entry = table.get(key);
    if entry.is_none() && !words::is_misspelt(Within::Test, table, key, &KEYS) {
        findings.missing(Finding::error(span, format!("this test has no `{key}`")).help(help));
    }
    entry.map(|entry| &entry.value)
}

fn read_packet(
    text: &str,
    span: Span,
    direction: Option<Direction>,
    source: &Source,
    findings: &mut Findings,
) -> Option<Packet> {
    match Packet::parse(text, direction) {
        Ok(packet) => Some(packet),
        Err(wrong) => {
            // The word has its place if the string is written without escapes.
            let inner = Span { start: span.start + 1, end: span.start + 1 + text.len() };
            let plain = source.text().get(inner.start..inner.end) == Some(text);
            let word = Span { start: inner.start + wrong.at.start, end: inner.start + wrong.at.end };
            let finding = Finding::error(if plain { word } else { span }, wrong.message);
            findings.error(Finding { help: wrong.help, ..finding });
            None
        }
    }
}
