//! What becomes of each line, so that none is lost.
//!
//! A reader says of the lines that it has read that they are taken, and of those that are plainly about something else
//! that they are beside. A line that no reader speaks of is left: what is not understood is never passed over.

use std::collections::BTreeSet;

use super::{Left, Line, Read, lines::Lines};

#[derive(Debug, Default)]
pub(super) struct Account {
    taken: BTreeSet<Line>,
    beside: BTreeSet<Line>,
}

impl Account {
    /// A line that was read: it is in the policy, it holds what is, or something else is said of it.
    pub fn take(&mut self, line: Line) {
        self.taken.insert(line);
    }

    /// A line that has nothing to do with marking, whatever was said of it before.
    pub fn beside(&mut self, line: Line) {
        self.taken.remove(&line);
        self.beside.insert(line);
    }
}

impl Read {
    /// Leaves what nobody has spoken of, and notes the numbers of the lines that are about something else.
    pub fn balance(&mut self, lines: &Lines) {
        let said = self.left.iter().chain(&self.notes).map(|left| left.line).collect::<BTreeSet<_>>();
        let mut beside = BTreeSet::new();
        for (line, text) in lines.iter() {
            if said.contains(&line) || self.account.taken.contains(&line) {
                continue;
            }
            if text.trim().is_empty() || self.account.beside.contains(&line) {
                beside.insert(line);
            } else {
                self.leave(lines, line, "this line is not known here");
            }
        }
        while let Some(first) = beside.first().copied() {
            let others = beside.split_off(&Line { file: first.file + 1, number: 0 });
            let reason = match beside.len() {
                1 => format!("1 line has nothing to do with marking: {}", first.number),
                count => format!("{count} lines have nothing to do with marking: {}", numbers(&beside)),
            };
            self.notes.push(Left { line: first, text: String::new(), reason, in_part: false });
            beside = others;
        }
    }
}

/// `1-12, 20`: the numbers of lines of one file, in their order.
pub(super) fn numbers<'a>(lines: impl IntoIterator<Item = &'a Line>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for Line { number, .. } in lines {
        match ranges.last_mut() {
            Some((_, last)) if *number <= *last + 1 => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let words = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(", ")
}
