//! `policy explain` and `policy test`: a packet, who decided on it, and how it leaves.

use qos_common::{
    abi::Limited,
    ds::{DsField, Ecn},
    meter::Color,
};

use super::NAME;
use crate::{
    command::Command,
    explain::{Decider, Decision, Explained, Leaves, PassedOver, Stage, Summary, TestRun},
    render::{
        Look,
        screen::{Columns, Screen},
        text::{count, shorten},
    },
    rules::class,
};

/// How many rules that did not match are named.
const PASSED_OVER: usize = 8;

/// The screen of `policy explain` for one packet.
#[must_use]
pub fn explained(stage: &Stage, explained: &Explained, look: &Look) -> String {
    let mut screen = Screen::default();
    head(&mut screen, stage);
    let Explained { packet, decision, passed_over } = explained;
    field(&mut screen, "packet", packet);
    field(&mut screen, "decided by", &decision.by.words(&stage.file));
    if let Some(color) = decision.color {
        field(&mut screen, "color", &format!("{}, with full buckets", color_word(color)));
    }
    field(&mut screen, "leaves as", &leaves(decision));
    if let Some(beside) = beside(decision) {
        field(&mut screen, "and with", &beside);
    }
    for rule in &decision.counted {
        field(&mut screen, "counted by", &format!("{}, which goes on", rule.words(&stage.file)));
    }
    if let Some(limited) = decision.limited {
        field(&mut screen, "limited", limit(limited));
    }
    passed(&mut screen, passed_over, &stage.file);
    screen.footnote(
        look,
        "A twin of the hook's program was run on this packet: nothing was sent, and nothing is counted.",
    );
    screen.finish(look)
}

/// The screen of `policy explain --pcap`: a line a packet, then how many each decided.
#[must_use]
pub fn capture(stage: &Stage, packets: &[Result<Explained, String>], left_out: usize, look: &Look) -> String {
    let mut screen = Screen::default();
    head(&mut screen, stage);
    let mut columns = Columns::new(&[">#", "CAME", "LEAVES", "DECIDED BY", "PACKET"]);
    for (number, packet) in packets.iter().enumerate() {
        let number = (number + 1).to_string();
        columns.row(match packet {
            Ok(Explained { packet, decision, .. }) => {
                let came = decision.came.map_or_else(|| "-".to_owned(), |ds| ds.dscp().to_string());
                vec![number, came, decision.leaves.word(), by_in_brief(&decision.by), packet.clone()]
            }
            Err(why) => vec![number, "-".to_owned(), "?".to_owned(), "could not be tried".to_owned(), why.clone()],
        });
    }
    screen.table(&columns);
    screen.blank();
    let mut columns = Columns::new(&[">PACKETS", "DECIDED BY"]);
    for Summary { by, packets } in crate::explain::summary(packets) {
        let by = by.map_or_else(|| "could not be tried".to_owned(), |by| by.words(&stage.file));
        columns.row(vec![count(packets), by]);
    }
    screen.table(&columns);
    if left_out > 0 {
        screen.alert(&format!("{} more packets in the file: --count N looks at more", count(left_out as u64)));
    }
    screen.finish(look)
}

/// The screen of `policy test`.
#[must_use]
pub fn test_runs(file: &str, tests: &[TestRun], look: &Look) -> String {
    let mut screen = Screen::default();
    tests.iter().for_each(|test| test_run(&mut screen, file, test));
    screen.line(&match tests.len() {
        0 => format!("{file} has no [[test]]"),
        _ => how_many_pass(tests),
    });
    screen.finish(look)
}

/// What came of a test.
pub(super) fn test_run(screen: &mut Screen, file: &str, test: &TestRun) {
    let TestRun { name, line, hook, packet, expected, got } = test;
    let place = format!("{} ({file}:{line})  {hook}", shorten(name, 64));
    if test.passes() {
        return screen.line(&format!("ok    {place}  {}  by {}", expected.word(), by_in_brief(&got.by)));
    }
    screen.alert(&format!("FAIL  {place}"));
    screen.line(&format!("      packet      {packet}"));
    screen.line(&format!("      expected    {}", expected.word()));
    screen.line(&format!("      got         {}", got.leaves.word()));
    screen.line(&format!("      decided by  {}", got.by.words(file)));
}

/// How many tests do.
pub(super) fn how_many_pass(tests: &[TestRun]) -> String {
    let passed = tests.iter().filter(|test| test.passes()).count();
    format!("{passed} of {} [[test]]s pass", tests.len())
}

fn head(screen: &mut Screen, stage: &Stage) {
    let via = stage.via.map_or_else(|| "not attached".to_owned(), |via| via.to_string());
    let policy = match &stage.policy {
        Some((name, hash)) => format!("policy {} {hash}", shorten(name, NAME)),
        None => "no policy".to_owned(),
    };
    let table =
        stage.table.as_ref().map_or_else(|| "no table".to_owned(), |table| format!("table {}", shorten(table, NAME)));
    let force = if stage.in_force { "" } else { "  (not in force here)" };
    screen.heading(&format!("{}  {via}  {policy}  {table}{force}", stage.hook));
    if let Some(version) = &stage.other_version {
        screen.alert(&format!("the program there is of qosbpf {version}, and its twin of {}", crate::VERSION));
    }
    stage.outdated.iter().for_each(|outdated| screen.told(true, "! ", outdated));
    if stage.bypassed {
        screen.alert("BYPASSED: packets pass unchanged; this is what the policy would do");
        screen.line(&format!("  {}", Command::new("qosbpf policy resume").operand(&stage.hook)));
    }
}

fn field(screen: &mut Screen, name: &str, value: &str) {
    screen.line(&format!("{name:<11} {value}"));
}

fn leaves(decision: &Decision) -> String {
    match (decision.leaves, decision.came) {
        (Leaves::Dropped, _) => "DROPPED".to_owned(),
        (Leaves::As(dscp), Some(came)) if came.dscp() == dscp => format!("{dscp}, unchanged   ECN {}", ecn(came)),
        (Leaves::As(dscp), Some(came)) => format!("{} -> {dscp}   ECN {} kept", came.dscp(), ecn(came)),
        (Leaves::As(dscp), None) => dscp.to_string(),
        (Leaves::Untouched, _) => "it came".to_owned(),
    }
}

const fn ecn(ds: DsField) -> &'static str {
    match ds.ecn() {
        Ecn::NotEct => "Not-ECT",
        Ecn::Ect1 => "ECT(1)",
        Ecn::Ect0 => "ECT(0)",
        Ecn::Ce => "CE",
    }
}

fn beside(decision: &Decision) -> Option<String> {
    let priority = decision.priority.map(|priority| format!("skb priority {}", class(priority)));
    let mark = decision.mark.map(|mark| format!("skb mark {mark:#x}"));
    let both: Vec<_> = [priority, mark].into_iter().flatten().collect();
    (!both.is_empty()).then(|| both.join(", "))
}

const fn limit(limited: Limited) -> &'static str {
    match limited {
        Limited::LaterFragment => "a later fragment: no rule sees its ports",
        Limited::HeaderChainTooLong => "the transport header is too far behind: no rule sees it",
    }
}

const fn color_word(color: Color) -> &'static str {
    match color {
        Color::Green => "green",
        Color::Yellow => "yellow",
        Color::Red => "red",
    }
}

fn passed(screen: &mut Screen, rules: &[PassedOver], file: &str) {
    for PassedOver { rule, because } in rules.iter().take(PASSED_OVER) {
        field(screen, "not by", &format!("{}: not so: {because}", rule.words(file)));
    }
    if rules.len() > PASSED_OVER {
        field(screen, "", &format!("and {} more rules", rules.len() - PASSED_OVER));
    }
}

/// Without the file, for a cell.
fn by_in_brief(by: &Decider) -> String {
    match by {
        Decider::Rule(rule) => format!("rule \"{}\"", shorten(&rule.name, NAME)),
        Decider::Entry { table, key, .. } => format!("table {}: {}", shorten(table, 16), shorten(key, 16)),
        Decider::Outer { inner, table, .. } => format!("outer {}: {inner} inside", shorten(table, 16)),
        Decider::Local(_) => "local".to_owned(),
        Decider::Nobody => "nobody".to_owned(),
        Decider::Uncounted(qos_common::abi::Uncounted::NotIp) => "not IP".to_owned(),
        Decider::Uncounted(qos_common::abi::Uncounted::Malformed) => "malformed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{sample, screen::WIDTH, text::width};

    #[test]
    fn the_screen() {
        insta::assert_snapshot!(explained(&sample::stage(), &sample::explained(), &sample::look()));
    }

    #[test]
    fn a_bypassed_hook_says_so() {
        let stage = Stage { bypassed: true, ..sample::stage() };
        let text = explained(&stage, &sample::explained(), &sample::look());
        assert!(text.contains("! BYPASSED") && text.contains("qosbpf policy resume lan0:ingress"), "{text}");
    }

    #[test]
    fn a_hook_that_is_not_as_interfaces_are_says_so() {
        let told = "a rule's `from` means other interfaces by now: qosbpf policy apply p.toml";
        let stage = Stage { outdated: vec![told.to_owned()], ..sample::stage() };
        let text = explained(&stage, &sample::explained(), &sample::look());
        assert!(text.contains(&format!("\n! {told}\n")), "{text}");
    }

    #[test]
    fn tests_that_pass_and_fail() {
        insta::assert_snapshot!(test_runs("edge.toml", &sample::test_runs(), &sample::look()));
    }

    #[test]
    fn a_capture() {
        let packets = [Ok(sample::explained()), Err("a frame of 9 bytes".to_owned()), Ok(sample::explained())];
        insta::assert_snapshot!(capture(&sample::stage(), &packets, 1234, &sample::look()));
    }

    #[test]
    fn nothing_is_wider_than_a_hundred_columns() {
        let mut long = sample::explained();
        long.packet = "udp ".repeat(60);
        let texts = [
            explained(&sample::stage(), &long, &sample::look()),
            capture(&sample::stage(), &[Ok(long)], 0, &sample::look()),
        ];
        for text in texts {
            assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
        }
    }
}
