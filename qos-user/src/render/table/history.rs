//! `policy history`: the policies that were in force.

use std::time::SystemTime;

use super::NAME;
use crate::{
    render::{
        Look,
        screen::{Columns, Screen},
        text::{local, shorten},
    },
    status::PastPolicy,
};

/// The screen of `policy history`, the latest first.
#[must_use]
pub fn history(past: &[PastPolicy], now: SystemTime, look: &Look) -> String {
    let mut screen = Screen::default();
    if past.is_empty() {
        screen.line("no policy has been in force: qosbpf policy apply FILE");
        return screen.finish(look);
    }
    let mut columns = Columns::new(&[">#", "IN FORCE", "POLICY", "HASH", "FILE", "BY"]);
    for past in past {
        columns.row(vec![
            past.number.to_string(),
            when(past, &local(past.when, now, &look.zone)),
            shorten(&past.name, NAME),
            shorten(&past.hash, 8),
            shorten(past.file.rsplit('/').next().unwrap_or(&past.file), 16),
            past.by.clone(),
        ]);
    }
    screen.table(&columns);
    screen.footnote(look, "To apply one again: qosbpf policy rollback N --confirm 60s");
    screen.finish(look)
}

/// Since when it is in force, or was.
fn when(past: &PastPolicy, time: &str) -> String {
    match (past.in_force, past.taken_back) {
        (true, _) => format!("now, since {time}"),
        (false, true) => format!("taken back, from {time}"),
        (false, false) => format!("from {time}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{sample, screen::WIDTH, text::width};

    #[test]
    fn the_screen() {
        insta::assert_snapshot!(history(&sample::history(), sample::now(), &sample::look()));
    }

    #[test]
    fn nothing_is_wider_than_a_hundred_columns() {
        let mut past = sample::history();
        past[0].name = "n".repeat(64);
        past[0].file = "f".repeat(200);
        past[0].by = "someone (ssh 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff) ".repeat(3);
        let text = history(&past, sample::now(), &sample::look());
        assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
    }
}
