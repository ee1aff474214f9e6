//! `on`: the hooks of a rule or of a test.

use crate::{
    hook::Direction,
    policy::{
        diagnostic::{Finding, Findings, quote, shown},
        interfaces,
        model::Place,
        ranges,
        source::Span,
        tree::Node,
        words,
    },
};

/// Reads one place, or a list of them, each with where it is written.
pub(super) fn read(node: &Node, findings: &mut Findings) -> Vec<(Place, Span)> {
    let items = ranges::items(node, findings).unwrap_or_default();
    let mut places = Vec::with_capacity(items.len());
    for item in items {
        let Some(word) = words::string(item, "\"INTERFACE:ingress\", \"INTERFACE:egress\" or \"all\"", findings) else {
            continue;
        };
        match place(word, item.span) {
            Ok(place) => places.push((place, item.span)),
            Err(finding) => findings.error(words::one_of_several(*finding, word)),
        }
    }
    places
}

/// Reads one hook of one interface, as a test needs it.
pub(super) fn hook(node: &Node, findings: &mut Findings) -> Option<(String, Direction)> {
    let word = words::string(node, "\"INTERFACE:ingress\" or \"INTERFACE:egress\"", findings)?;
    match place(word, node.span) {
        Ok(Place { pattern, direction: Some(direction) }) if !pattern.ends_with('*') => Some((pattern, direction)),
        Ok(_) => {
            let finding = Finding::error(node.span, "a test is on one hook of one interface");
            findings.error(finding.help("write an interface that the rules are meant for, such as \"ppp0:egress\""));
            None
        }
        Err(finding) => {
            findings.error(*finding);
            None
        }
    }
}

fn place(word: &str, span: Span) -> Result<Place, Box<Finding>> {
    if word == "all" {
        return Ok(Place { pattern: "*".to_owned(), direction: None });
    }
    let Some((pattern, direction)) = word.split_once(':') else {
        let finding = Finding::error(span, format!("{} says no direction", quote(word)));
        let word = shown(word);
        return Err(Box::new(finding.help(format!("write \"{word}:ingress\", \"{word}:egress\", or a list of both"))));
    };
    if let Some(finding) = interfaces::bad_pattern(pattern, span) {
        return Err(Box::new(finding));
    }
    let direction = direction.parse::<Direction>().map_err(|_unknown| Box::new(bad_direction(direction, span)))?;
    if pattern == "all" {
        let finding = Finding::error(span, "`all` is written without a direction");
        return Err(Box::new(finding.help(format!("write \"*:{direction}\" for every interface"))));
    }
    Ok(Place { pattern: pattern.to_owned(), direction: Some(direction) })
}

fn bad_direction(word: &str, span: Span) -> Finding {
    let finding = Finding::error(span, format!("{} is not a direction", quote(word)));
    let meant = match word {
        "in" | "input" => Some("ingress"),
        "out" | "output" => Some("egress"),
        _ => words::nearest(word, Direction::BOTH.map(Direction::as_str)),
    };
    match meant {
        Some(near) => finding.suggest(Some(near)),
        None => finding.help("the directions are `ingress` and `egress`"),
    }
}
