//! `policy diff`: what a policy would change, hook by hook.

use super::{
    NAME,
    explain::{how_many_pass, test_run},
    policy_name,
};
use crate::{
    command::Command,
    invocation::quoted,
    render::{
        Look,
        screen::Screen,
        text::{count, shorten},
    },
    snapshot::{
        diff::{
            EntryDiff, HookDiff, MarkDiff, NeverAsked, Outcome, OuterDiff, PolicyDiff, RuleChange, RuleDiff, Tests,
        },
        rates::total,
    },
};

/// More codepoints than these make a line hard to read.
const MARKS: usize = 6;

/// Of more rules that are never asked `policy check` tells.
const NEVER_ASKED: usize = 8;

/// The screen of `policy diff`.
#[must_use]
pub fn diff(found: &PolicyDiff, look: &Look) -> String {
    let mut screen = Screen::default();
    head(&mut screen, found);
    for hook in &found.hooks {
        screen.blank();
        block(&mut screen, hook);
    }
    screen.blank();
    if let Some(session) = &found.session {
        screen.line(session);
    }
    of_tests(&mut screen, found);
    if !found.differs() {
        screen.line("no difference: the same marks leave at every hook");
        return screen.finish(look);
    }
    if !found.tests.refuse() {
        let prune = if found.prune { " --prune" } else { "" };
        screen.line(&format!("apply: qosbpf policy apply {}{prune} --confirm 60s", quoted(&found.next.file)));
    }
    screen.footnote(
        look,
        "pkt/s = packets of one second: of an entry, that came to the hook in these codepoints, also protected ones; \
         of a rule, that it decided on or counted.",
    );
    screen.finish(look)
}

/// What is compared, and which rules of the next policy no packet comes to.
fn head(screen: &mut Screen, found: &PolicyDiff) {
    let PolicyDiff { running, next, never_asked, .. } = found;
    let saved = match running {
        Some(running) if running.saved => "yes",
        Some(_) => "no",
        None => "-",
    };
    let shadowed = if never_asked.is_empty() { "none".to_owned() } else { never_asked.len().to_string() };
    screen.heading(&format!(
        "running {}  ->  {} {}   saved: {saved}   shadowed rules: {shadowed}",
        policy_name(running.as_ref()),
        shorten(&next.file, 40),
        next.hash
    ));
    for NeverAsked { hook, rule, why } in never_asked.iter().take(NEVER_ASKED) {
        screen.told(true, "! ", &format!("{rule} is never asked at {hook}: {why}"));
    }
    if let Some(more) = never_asked.len().checked_sub(NEVER_ASKED).filter(|more| *more > 0) {
        let check = Command::new("qosbpf policy check").operand(&next.file);
        screen.told(true, "! ", &format!("and {more} more: {check}"));
    }
}

/// What came of the tests, as before the policy is applied.
fn of_tests(screen: &mut Screen, found: &PolicyDiff) {
    match &found.tests {
        Tests::Run(runs) if runs.is_empty() => {}
        Tests::Run(runs) => {
            runs.iter().filter(|run| !run.passes()).for_each(|run| test_run(screen, &found.next.file, run));
            let refused = if found.tests.refuse() { ": policy apply refuses it, but with --force" } else { "." };
            screen.line(&format!("{}{refused}", how_many_pass(runs)));
        }
        Tests::Left(why) => screen.told(false, "", &format!("its [[test]]s are not run: {why}")),
        Tests::Failed(why) => screen.told(true, "! ", &format!("{why}: policy apply refuses it, but with --force")),
    }
}

fn block(screen: &mut Screen, hook: &HookDiff) {
    if !hook.differs {
        screen.line(&format!("{}   no difference   ({})", hook.name, hook.effect));
        return;
    }
    let name = |table: &Option<String>| table.as_ref().map_or("none".to_owned(), |table| shorten(table, NAME));
    let (old, new) = (name(&hook.old_table), name(&hook.new_table));
    let tables = if old == new { old } else { format!("{old} -> {new}") };
    screen.heading(&format!("{}   table {tables}   {}", hook.name, hook.effect));
    if hook.bypassed {
        screen.alert("BYPASSED: nothing changes here until it is resumed");
    }
    if let Some((why, cure)) = &hook.needs_tc {
        screen.alert(&format!("needs TC, and would be refused: {why}"));
        screen.told(false, "  ", cure);
    }
    if let Some((old, new)) = hook.local {
        screen.line(&format!("  ~ local  {old} -> {new}"));
    }
    if let Some((old, new)) = &hook.inside {
        screen.line(&format!("  ~ inside  {old} -> {new}"));
    }
    if let Some(OuterDiff { old, new, inside }) = &hook.outer {
        let inside = inside.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let tables = format!("{} -> {}", name(old), name(new));
        screen.line(&format!("  ~ outer  {tables}   for {} inside", shorten(&inside, 40)));
    }
    for rule in &hook.from {
        screen.line(&format!("  ~ from   rule \"{}\" means other interfaces by now", shorten(rule, 2 * NAME)));
    }
    for rule in &hook.rules {
        rule_lines(screen, rule);
    }
    for entry in &hook.entries {
        screen.line(&line(entry, hook.live));
    }
    if hook.live && !hook.entries.is_empty() {
        doubt(&hook.rules).iter().for_each(|doubt| screen.told(false, "  ", doubt));
    }
}

/// How many packets a new rule would take only a trial could tell: the counters know codepoints, not addresses and ports.
fn rule_lines(screen: &mut Screen, rule: &RuleDiff) {
    let sign = match rule.change {
        RuleChange::Added => '+',
        RuleChange::Removed => '-',
        RuleChange::Changed | RuleChange::Moved => '~',
    };
    let line = rule.line.map_or_else(String::new, |line| format!(" (line {line})"));
    let name = shorten(&rule.name, 2 * NAME);
    let moved = if rule.change == RuleChange::Moved { "  moved" } else { "" };
    let rate = match rule.rate {
        Some(rate) if rate.packets > 0.0 => format!("  {} pkt/s now", rounded(rate.packets)),
        Some(_) => "  no packet now".to_owned(),
        None if rule.change == RuleChange::Added => "  how many it would take, only traffic tells".to_owned(),
        None => String::new(),
    };
    screen.line(&format!("  {sign} rule \"{name}\"{line}{moved}{rate}"));
    if rule.change == RuleChange::Changed {
        rule.old.iter().for_each(|old| screen.told(false, "      now   ", old));
        rule.new.iter().for_each(|new| screen.told(false, "      then  ", new));
    } else {
        rule.new.iter().chain(&rule.old).take(1).for_each(|words| screen.told(false, "      ", words));
    }
}

fn line(entry: &EntryDiff, live: bool) -> String {
    let key = shorten(&entry.key, NAME);
    let change = match (entry.old, entry.new) {
        (None, Some(new)) => format!("+ {key:<10} {}", word(new)),
        (Some(old), None) => format!("- {key:<10} {}", word(old)),
        (Some(old), Some(new)) if old != new => format!("~ {key:<10} {} -> {}", word(old), word(new)),
        _ => format!("~ {key:<10} of more or fewer codepoints"),
    };
    if live { format!("  {change:<28}  {}", estimate(entry)) } else { format!("  {change}") }
}

fn word(outcome: Outcome) -> String {
    match outcome {
        Outcome::Keep => "keep".to_owned(),
        Outcome::Mark(to) => to.to_string(),
    }
}

fn estimate(entry: &EntryDiff) -> String {
    let moving: Vec<&MarkDiff> = entry.marks.iter().filter(|mark| mark.rate.packets > 0.0).collect();
    if moving.is_empty() {
        return "would change nothing now: none comes to the table".to_owned();
    }
    let told =
        moving.iter().take(MARKS).map(|mark| format!("{} -> {} {}/s", mark.old, mark.new, rounded(mark.rate.packets)));
    let told = told.collect::<Vec<_>>().join(", ");
    let more = if moving.len() > MARKS { format!(", and {} more", moving.len() - MARKS) } else { String::new() };
    format!("would change {} pkt/s now:  {told}{more}", rounded(entry.rate().packets))
}

/// How far what is said of the table may be wrong: rules that are new or others may take packets of it, and what those of now
/// decide may come to it. Which packets these are the counters do not know.
fn doubt(rules: &[RuleDiff]) -> Option<String> {
    let takes = rules.iter().any(|rule| rule.change != RuleChange::Removed);
    let given_up = rules.iter().filter(|rule| rule.change != RuleChange::Added).filter_map(|rule| rule.rate);
    let given_up = total(given_up).packets;
    let at_most = takes.then(|| "of the table at most so many".to_owned());
    let beside = (given_up > 0.0)
        .then(|| format!("up to {} pkt/s that rules decide now may come to the table", rounded(given_up)));
    let said: Vec<String> = at_most.into_iter().chain(beside).collect();
    (!said.is_empty()).then(|| format!("rules change too: {}", said.join("; ")))
}

/// Whole packets; less than one a second is still some.
fn rounded(rate: f64) -> String {
    count(rate.round().max(1.0) as u64)
}

#[cfg(test)]
mod tests {
    use qos_common::ds::Dscp;

    use super::*;
    use crate::{
        explain::TestRun,
        render::{sample, screen::WIDTH, text::width},
    };

    #[test]
    fn the_screen() {
        insta::assert_snapshot!(diff(&sample::diff(), &sample::look()));
    }

    #[test]
    fn another_table_for_outer_headers_is_said() {
        let mut found = sample::diff();
        let inside = vec![Dscp::EF, Dscp::LE];
        found.hooks[0].outer = Some(OuterDiff { old: None, new: Some("tunnels".to_owned()), inside });
        found.hooks[0].differs = true;
        let text = diff(&found, &sample::look());
        assert!(text.contains("  ~ outer  none -> tunnels   for EF LE inside\n"), "{text}");
    }

    #[test]
    fn a_rule_that_means_other_interfaces_by_now_is_said() {
        let mut found = sample::diff();
        (found.hooks[0].from, found.hooks[0].differs) = (vec!["calls".to_owned()], true);
        let text = diff(&found, &sample::look());
        assert!(text.contains("\n  ~ from   rule \"calls\" means other interfaces by now\n"), "{text}");
    }

    /// A table may be asked of fewer packets than now, or of more.
    #[test]
    fn where_rules_change_too_it_is_said_how_far_the_table_may_be_wrong() {
        use std::slice;

        use crate::snapshot::rates::Rate;
        let rate = |packets| Rate { packets, ..Rate::default() };
        let rule = |change, rate| RuleDiff { name: "r".to_owned(), change, line: None, old: None, new: None, rate };
        let added = rule(RuleChange::Added, None);
        let removed = rule(RuleChange::Removed, Some(rate(30.0)));
        assert_eq!(doubt(&[]), None);
        assert_eq!(doubt(&[rule(RuleChange::Removed, Some(rate(0.0)))]), None);
        assert_eq!(doubt(slice::from_ref(&added)).as_deref(), Some("rules change too: of the table at most so many"));
        let beside = "up to 30 pkt/s that rules decide now may come to the table";
        assert_eq!(doubt(slice::from_ref(&removed)), Some(format!("rules change too: {beside}")));
        assert_eq!(doubt(&[added, removed]), Some(format!("rules change too: of the table at most so many; {beside}")));
    }

    #[test]
    fn what_apply_would_refuse_is_said_with_what_helps() {
        let mut found = sample::diff();
        (found.prune, found.next.file) = (true, "new policy.toml".to_owned());
        let cure = "to move it: qosbpf detach ppp0:ingress".to_owned();
        found.hooks[1].needs_tc = Some(("attached by xdp-native: rule \"calls\" sets mark".to_owned(), cure));
        let text = diff(&found, &sample::look());
        assert!(text.contains("! needs TC, and would be refused: attached by xdp-native"), "{text}");
        assert!(text.contains("\n  to move it: qosbpf detach ppp0:ingress\n"), "{text}");
        assert!(text.contains("apply: qosbpf policy apply 'new policy.toml' --prune --confirm 60s\n"), "{text}");
    }

    /// The running one may be lost at the next boot; that the other one is not saved yet, nobody asks.
    #[test]
    fn saved_is_what_runs() {
        let mut found = sample::diff();
        found.next.saved = !found.next.saved;
        assert_eq!(diff(&found, &sample::look()), diff(&sample::diff(), &sample::look()));
        let head = |found: &PolicyDiff| diff(found, &sample::look()).lines().next().unwrap_or_default().to_owned();
        for (saved, word) in [(true, "saved: yes "), (false, "saved: no ")] {
            found.running.iter_mut().for_each(|running| running.saved = saved);
            assert!(head(&found).contains(word), "{}", head(&found));
        }
        found.running = None;
        assert!(head(&found).contains("saved: - "), "{}", head(&found));
    }

    #[test]
    fn rules_that_are_never_asked_are_named_but_for_a_long_list() {
        let mut found = sample::diff();
        assert!(diff(&found, &sample::look()).contains("   shadowed rules: none\n"));
        let unasked = |number| NeverAsked {
            hook: "ppp*:egress".to_owned(),
            rule: format!("rule \"r{number}\" (line {number})"),
            why: "no packet can match it".to_owned(),
        };
        found.never_asked = (0..=NEVER_ASKED).map(unasked).collect();
        let text = diff(&found, &sample::look());
        assert!(
            text.contains("   shadowed rules: 9\n! rule \"r0\" (line 0) is never asked at ppp*:egress: no packet"),
            "{text}"
        );
        assert!(text.contains("\n! and 1 more: qosbpf policy check new.toml\n"), "{text}");
    }

    #[test]
    fn tests_that_pass_are_counted_and_those_that_fail_are_shown_in_place_of_the_command() {
        let mut found = sample::diff();
        let passing: Vec<_> = sample::test_runs().into_iter().filter(TestRun::passes).collect();
        found.tests = Tests::Run(passing.clone());
        let text = diff(&found, &sample::look());
        let all = passing.len();
        assert!(text.contains(&format!("\n{all} of {all} [[test]]s pass.\napply: qosbpf policy apply")), "{text}");
        found.tests = Tests::Run(sample::test_runs());
        let text = diff(&found, &sample::look());
        assert!(
            text.contains("\n! FAIL  ") && text.contains("      expected    ") && !text.contains("apply: "),
            "{text}"
        );
        let refused = format!("\n{all} of {} [[test]]s pass: policy apply refuses it", sample::test_runs().len());
        assert!(text.contains(&refused), "{text}");
        found.tests = Tests::Left("this process lacks CAP_BPF".to_owned());
        let text = diff(&found, &sample::look());
        assert!(text.contains("\nits [[test]]s are not run: this process lacks CAP_BPF\napply: "), "{text}");
        found.tests = Tests::Failed("test \"a\": no".to_owned());
        let text = diff(&found, &sample::look());
        assert!(text.contains("\n! test \"a\": no: policy apply refuses it") && !text.contains("apply: "), "{text}");
    }

    #[test]
    fn no_difference_is_said() {
        let mut found = sample::diff();
        found.hooks.truncate(1);
        assert!(!found.differs());
        assert!(diff(&found, &sample::look()).ends_with("no difference: the same marks leave at every hook\n"));
    }

    #[test]
    fn nothing_is_wider_than_a_hundred_columns_but_what_is_typed_in() {
        let mut found = sample::diff();
        found.next.file = "f".repeat(200);
        let typed = format!("  qosbpf policy apply {} --confirm 60s", found.next.file);
        found.hooks.iter_mut().flat_map(|hook| &mut hook.entries).for_each(|entry| entry.key = "k".repeat(64));
        found.hooks.iter_mut().flat_map(|hook| &mut hook.rules).for_each(|rule| {
            rule.name = "n".repeat(64);
            rule.old = Some("dst-port 1 2 3 4 and 5 more, ".repeat(9));
        });
        let text = diff(&found, &sample::look());
        assert!(text.lines().all(|line| width(line) <= WIDTH || line == typed), "{text}");
        assert!(text.lines().any(|line| line == typed), "{text}");
    }
}
