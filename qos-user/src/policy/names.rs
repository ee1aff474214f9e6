//! The names that a rule may use, and which of them are used.

use std::collections::{HashMap, HashSet};

use qos_common::ds::Dscp;

use crate::policy::{
    addresses::Collected,
    classes::Class,
    diagnostic::{Finding, Findings, quote},
    meant,
    model::{Prefixes, Verdict},
    ranges,
    sets::Set,
    source::Span,
    tree::Node,
    words,
};

/// Classes and sets by name.
pub(super) struct Names<'a> {
    classes: HashMap<&'a str, &'a Class>,
    sets: HashMap<&'a str, &'a Set>,
    used: Used,
}

/// The classes and sets that rules name.
#[derive(Default)]
pub(super) struct Used {
    pub classes: HashSet<String>,
    pub sets: HashSet<String>,
}

impl<'a> Names<'a> {
    pub fn new(classes: &'a [Class], sets: &'a [Set]) -> Self {
        Self {
            classes: classes.iter().map(|class| (&*class.name, class)).collect(),
            sets: sets.iter().map(|set| (&*set.name, set)).collect(),
            used: Used::default(),
        }
    }

    pub fn into_used(self) -> Used {
        self.used
    }

    /// Reads codepoints, classes and ranges, one or a list: a bit for each of the 64.
    pub fn dscps(&mut self, node: &Node, findings: &mut Findings) -> Option<u64> {
        let mut bits = 0;
        for item in ranges::items(node, findings)? {
            match words::scalar(item) {
                Some(word) => bits |= self.dscp_item(&word, item.span, findings),
                None => words::wrong_kind(item, "a codepoint or a class", findings),
            }
        }
        (bits != 0).then_some(bits)
    }

    fn dscp_item(&mut self, word: &str, span: Span, findings: &mut Findings) -> u64 {
        let error = match word.parse::<Dscp>() {
            Ok(dscp) => return bit(dscp),
            Err(error) => error,
        };
        if let Some(class) = self.classes.get(word) {
            self.used.classes.insert(word.to_owned());
            return class.dscps.iter().copied().map(bit).sum();
        }
        let ends = word.split_once('-').map(|(first, last)| (first.trim().parse::<Dscp>(), last.trim().parse()));
        if let Some((Ok(first), Ok(last))) = ends {
            return match ranges::in_order(first, last, span) {
                Ok((first, last)) => Dscp::all().filter(|dscp| (first..=last).contains(dscp)).map(bit).sum(),
                Err(finding) => {
                    findings.error(*finding);
                    0
                }
            };
        }
        let mut known: Vec<_> = self.classes.keys().copied().collect();
        known.sort_unstable();
        let finding = words::unknown_dscp("DSCP or class", word, span, error, known);
        // It may be a class whose line could not be read.
        findings.missing(words::one_of_several(finding, word));
        0
    }

    /// Reads addresses, prefixes, ranges and sets, one or a list.
    pub fn addresses(&mut self, node: &Node, findings: &mut Findings) -> Option<Prefixes> {
        let mut collected = Collected::default();
        for item in ranges::items(node, findings)? {
            let word = words::string(item, "an address, a prefix or a set", findings).unwrap_or_default();
            let taken = match word.strip_prefix('@') {
                _ if word.is_empty() => Ok(()),
                Some(name) => self.set(name, item.span, &mut collected, findings),
                None if self.sets.contains_key(word) => {
                    let finding = Finding::error(item.span, format!("{} is not an address", quote(word)));
                    Err(Box::new(finding.help(format!("write \"@{word}\""))))
                }
                None => {
                    collected.push(word, item.span).map_err(|finding| Box::new(words::one_of_several(*finding, word)))
                }
            };
            if let Err(finding) = taken {
                findings.error(*finding);
            }
        }
        let prefixes = collected.finish();
        (!prefixes.v4.is_empty() || !prefixes.v6.is_empty()).then_some(prefixes)
    }

    fn set(
        &mut self,
        name: &str,
        span: Span,
        collected: &mut Collected,
        findings: &mut Findings,
    ) -> Result<(), Box<Finding>> {
        if let Some(set) = self.sets.get(name) {
            self.used.sets.insert(name.to_owned());
            collected.extend(&set.prefixes);
            return Ok(());
        }
        let finding = Finding::error(span, format!("there is no set {}", quote(name)));
        // It may be one whose line could not be read.
        findings.missing(match words::nearest(name, self.sets.keys().copied()) {
            Some(near) => finding.help(format!("did you mean `@{near}`?")),
            None => finding.help("sets are lines of the section [sets] of this file"),
        });
        Ok(())
    }

    /// The codepoint that a value has to be, or "keep".
    pub fn mark(&self, node: &Node, findings: &mut Findings) -> Option<Option<Dscp>> {
        match Self::word_of_mark(node, "a codepoint or \"keep\"", findings)?.as_str() {
            "keep" => Some(None),
            "drop" => {
                let finding = Finding::error(node.span, "to drop is not to set a mark");
                findings.error(finding.help("write drop = true"));
                None
            }
            word => self.codepoint(word, node.span, &["keep"], findings).map(Some),
        }
    }

    /// The codepoint that a value has to be, or "keep" or "drop".
    pub fn verdict(&self, node: &Node, findings: &mut Findings) -> Option<Verdict> {
        match Self::word_of_mark(node, "a codepoint, \"keep\" or \"drop\"", findings)?.as_str() {
            "keep" => Some(Verdict::Keep),
            "drop" => Some(Verdict::Drop),
            word => self.codepoint(word, node.span, &["keep", "drop"], findings).map(Verdict::Set),
        }
    }

    fn word_of_mark(node: &Node, wanted: &str, findings: &mut Findings) -> Option<String> {
        let word = words::scalar(node);
        if word.is_none() {
            words::wrong_kind(node, wanted, findings);
        }
        word
    }

    fn codepoint(&self, word: &str, span: Span, others: &[&str], findings: &mut Findings) -> Option<Dscp> {
        let error = match word.parse() {
            Ok(dscp) => return Some(dscp),
            Err(error) => error,
        };
        let finding = words::unknown_dscp("DSCP", word, span, error, others.iter().copied());
        findings.error(match (self.classes.get(word), meant::verdict(word)) {
            (Some(class), _) => class_as_value(class, word, span),
            (None, Some("drop")) if !others.contains(&"drop") => finding.help("write drop = true in place of `set`"),
            (None, Some(verdict)) => finding.suggest(Some(verdict)),
            (None, None) => finding,
        });
        None
    }
}

/// A class stands where a packet would get a codepoint.
pub(super) fn class_as_value(class: &Class, word: &str, span: Span) -> Finding {
    let members = class.dscps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Finding::error(span, "a class is never a value")
        .label("a packet gets one codepoint")
        .help(format!("{} stands for {members}: write one of them", quote(word)))
}

const fn bit(dscp: Dscp) -> u64 {
    1 << dscp.value()
}
