//! A report as a page of Markdown, which reads on a terminal too.

use super::{bound, number, signed, table::table};
use crate::{
    program::candidate::{EMPTY, LEAN, LEAN_COUNT, LEAST, LEAST_COUNT, OURS, OURS_COUNTING, WHOLE, WHOLE_COUNT},
    report::{Case, Gap, Goal, Job, Machine, Outcome, Report, Row, Switch, Walked},
    samples::Spread,
};

/// The page; `charts` is the folder of the charts as seen from it, if they are shown.
pub fn page(report: &Report, charts: Option<&str>) -> String {
    let mut page = String::from("# Performance\n\n");
    page += "Written by `cargo xtask bench`, which measures all of it again on your machine.\n\n";
    page += &machine(&report.machine, report.effort);
    let chart = |name: &str| charts.map(|folder| format!("![]({folder}/{name})\n\n")).unwrap_or_default();
    if !report.goals.is_empty() {
        page += &format!("## Promises\n\n{GOALS}\n\n{}\n", goals(&report.goals));
    }
    if !report.program.is_empty() {
        page += &format!("## Programs\n\n{PROGRAM}\n\n{}", chart("program.svg"));
        page += &programs(&report.program);
    }
    page += &walks(&report.walks);
    page += &rules(&report.rules);
    if !report.router.is_empty() {
        page += &format!("## A forwarding router\n\n{ROUTER}\n\n{}", chart("router.svg"));
        report.router.iter().for_each(|each| page += &job(each));
        page += &switch(report);
    }
    page += &user(report);
    page += &scaling(report);
    page += &gaps(report);
    page
}

const GOALS: &str = "Each promise is kept, not kept, or not measured, and then it says why. What cannot be told from \
nothing is not divided by:\na ratio of what is added is judged by the most that it can be, or not at all. In the router, `C` has the \
same figure of the floor\nat that hook: what is not to be had there.";

const PROGRAM: &str = "By test run (`BPF_PROG_TEST_RUN`), CPU time of the thread, the same frame again and again: warm \
caches and branches that are\nalways right, so these are lower bounds. XDP test runs call the program directly, TC test \
runs through an indirect call:\ncompare within a hook. The table is an involution, so that every repetition rewrites.\n\n\
Floors are C for instruction set v3, which Linux 5.10 has and qosbpf uses too, and look counters up before they look at \
the packet.\n*Whole* floors keep the whole contract; before anything is measured they leave the same bytes, verdicts and \
counters as qosbpf on\nevery vector of the tests, on each DS byte in both families, and on what came in and what this host \
made. A test run cannot say\nthat the device took a tag off, or that a part of the packet is out of reach: there they are \
not compared. *Lean* floors have four\ntags, version, IHL and counters of both families, and nothing else. *Least* floors \
have a smaller contract than qosbpf: two tags, one\ncounter by DS byte for both families, a table by DS byte; neither \
version nor IHL is looked at, frames without a usable IP header\nare not counted, nor is what becomes of a mark, nor the \
time of the last frame, and a super-packet counts as one.\n\n\
Floors and qosbpf are in ns above the middle of two empty programs, ratios are of wholes, with the middle half of the \
rounds. In each\nround all have another order, in which over the rounds each comes equally often behind each other one. Each
program is loaded several times, to be measured in turn: where the kernel puts its machine code is worth a nanosecond.";

const WALKS: &str = "Instructions that one packet takes, of the objects, without those that the verifier removes: no time, \
so they do not\njitter, and CI holds qosbpf's to a record. Of each kind, what a program takes more or less than its base: a \
floor,\nor qosbpf without the rules or the meter.\n`cargo xtask bench disassembly` writes both ways side by side for each.";

const RULES: &str = "By test run at XDP. Each rule asks for source, destination, protocol and port; the last one matches. \
A typical packet is\nlike no other rule in any field, an adversarial one like each of them in all but one; rules ask for \
a /24 or a /64, those of hosts\nfor a /32 or a /128. `above` is above the middle of two tables alone in the same round.";

const ROUTER: &str = "Three namespaces, veth pairs, 64-byte frames. The price is CPU time of all of it, generator, \
router and sink, on one CPU\n(the sending thread and ksoftirqd). Every candidate is installed and removed in every \
round. Each figure has passed its\ngates in the same run: nothing lost, no bad checksum, each codepoint at the sink as \
often as the job says, and whoever marks\nhas itself counted what was sent, read before it is removed. `above` is above \
the middle of two routers without marking in the same\nround; these two show what no difference looks like.";

const SCALING: &str = "Each round has every program, on one CPU and on several at once, in another order each time. On \
several CPUs only rounds are\ntaken in which all were at work for four fifths of the time. `above` is above the same \
program with one rule for all packets and\nneither meter nor log, on as many CPUs in the same round. Meters have to \
have found each packet green.";

fn machine(machine: &Machine, effort: &str) -> String {
    let Machine { date, version, kernel, cpu, cpus, load, clang, spectre_v2, tools } = machine;
    let rows = [
        ("date", date.clone()),
        ("qosbpf", version.clone()),
        ("kernel", format!("Linux {kernel}")),
        ("CPU", format!("{cpu}, {cpus} usable")),
        ("load before", load.clone()),
        ("indirect calls", spectre_v2.clone()),
        ("floors compiled by", clang.clone()),
        ("others", tools.join("; ")),
        ("run", effort.to_owned()),
    ];
    table(&["", ""], rows.map(|(name, value)| vec![name.to_owned(), value])) + "\n"
}

fn goals(goals: &[Goal]) -> String {
    let row = |goal: &Goal| {
        let outcome = match (goal.outcome, &goal.gap) {
            (Outcome::Kept, _) => "yes".to_owned(),
            (Outcome::NotKept, _) => "NO".to_owned(),
            (Outcome::NotMeasured, gap) => {
                format!("NOT MEASURED: {}", gap.as_ref().map_or("", |gap| gap.why.as_str()))
            }
        };
        let [measured, floor] = [goal.measured, goal.floor].map(|figure| figure.map(number).unwrap_or_default());
        vec![goal.what.clone(), bound(goal), measured, floor, outcome]
    };
    table(&["what", "promised", "measured", "C", "kept"], goals.iter().map(row))
}

/// For each hook what counting costs, and what the table costs; the rest is in the JSON document.
fn programs(cases: &[Case]) -> String {
    let kinds = [("counting", COUNT), ("counting and remarking", REMARK)];
    let mut text = String::new();
    for hook in cases.chunk_by(|one, next| one.hook == next.hook) {
        for (kind, columns) in kinds {
            let name = hook.first().map_or("", |case| case.hook);
            let heads = [
                "frame",
                "empty",
                "C, least",
                "C, lean",
                "C, whole",
                "qosbpf",
                "qosbpf / whole",
                "ns",
                "qosbpf / least",
                "qosbpf / lean",
            ];
            let rows = hook.iter().map(|case| frame(case, columns));
            text += &format!("### {name}, {kind}\n\n{}\n", table(&heads, rows));
        }
    }
    text
}

/// The kinds of instructions that differences are made by.
const KINDS: [&str; 10] =
    ["stack", "context", "packet", "constants", "values", "wide numbers", "moves", "arithmetic", "branches", "calls"];

fn walks(walks: &[Walked]) -> String {
    if walks.is_empty() {
        return String::new();
    }
    let heads: Vec<&str> = ["hook", "frame", "base", "", "program", ""].into_iter().chain(KINDS).collect();
    let row = |walked: &Walked| {
        let more = |kind: &str| match walked.of_name.of(kind) - walked.of_base.of(kind) {
            0 => String::new(),
            more => format!("{more:+}"),
        };
        let Walked { hook, frame, base, name, of_base, of_name } = walked;
        let (base, name) = ((*base).to_owned(), (*name).to_owned());
        let (less, more_of_them) = (of_base.instructions.to_string(), of_name.instructions.to_string());
        let mut cells = vec![(*hook).to_owned(), (*frame).to_owned(), base, less, name, more_of_them];
        cells.extend(KINDS.iter().map(|kind| more(kind)));
        cells
    };
    format!("## Instructions\n\n{WALKS}\n\n{}\n", table(&heads, walks.iter().map(row)))
}

/// Rules, a table for each family.
fn rules(cases: &[Case]) -> String {
    if cases.is_empty() {
        return String::new();
    }
    let tables = cases.iter().map(|case| {
        format!("### {}, {}, rules\n\n{}\n", case.hook, case.frame, table(&ABOVE, case.rows.iter().map(above)))
    });
    format!("## Rules\n\n{RULES}\n\n{}", tables.collect::<String>())
}

/// Programs above the first one.
const ABOVE: [&str; 5] = ["program", "ns", "middle half", "above", "middle half"];

fn above(row: &Row) -> Vec<String> {
    let mut cells = cells(row);
    cells.push(range(&row.above));
    cells
}

/// The candidates of a table: least, lean and whole floor, qosbpf.
type Columns = [&'static str; 4];
const COUNT: Columns = [LEAST_COUNT, LEAN_COUNT, WHOLE_COUNT, OURS_COUNTING];
const REMARK: Columns = [LEAST, LEAN, WHOLE, OURS];

fn frame(case: &Case, [least, lean, whole, ours]: Columns) -> Vec<String> {
    let row = |name: &str| case.rows.iter().find(|row| row.name == name);
    let above = |name| row(name).map(|row| signed(row.above.median)).unwrap_or_default();
    let ratio = |to: &str| case.ratios.iter().find(|ratio| ratio.of == ours && ratio.to == to);
    let of = |spread: &Spread| format!("{:.3} ({:.3} to {:.3})", spread.median, spread.p25, spread.p75);
    vec![
        case.frame.to_owned(),
        row(EMPTY).map(|row| number(row.ns.median)).unwrap_or_default(),
        above(least),
        above(lean),
        above(whole),
        above(ours),
        ratio(whole).map(|ratio| of(&ratio.ratio)).unwrap_or_default(),
        ratio(whole).map(|ratio| signed(ratio.ns.median)).unwrap_or_default(),
        ratio(least).map(|ratio| format!("{:.3}", ratio.ratio.median)).unwrap_or_default(),
        ratio(lean).map(|ratio| format!("{:.3}", ratio.ratio.median)).unwrap_or_default(),
    ]
}

fn cells(row: &Row) -> Vec<String> {
    vec![row.name.clone(), number(row.ns.median), range(&row.ns), signed(row.above.median)]
}

fn range(spread: &Spread) -> String {
    format!("{} to {}", number(spread.p25), number(spread.p75))
}

fn job(job: &Job) -> String {
    let row = |routed: &crate::report::Routed| {
        let mut cells = cells(&routed.row);
        cells.extend([range(&routed.row.above), format!("{:.3}", routed.ratio.median), routed.packets.to_string()]);
        cells
    };
    let heads = ["candidate", "ns", "middle half", "above", "middle half", "ratio", "packets"];
    format!("### {}\n\n{}.\n\n{}\n", job.name, capital(job.what), table(&heads, job.rows.iter().map(row)))
}

fn switch(report: &Report) -> String {
    if report.switch.is_empty() {
        return String::new();
    }
    let text = |switch: &Switch| {
        let Switch { hook, switches, bursts, packets, lost, afterwards } = switch;
        format!(
            "{hook}: {switches} policies were applied, one after the other, while {packets} packets came in bursts; \
            {lost} were lost, none had\na bad checksum, and each had the mark that one policy or the other gives. \
            {} bursts met the policy that marks, {} the one that\nkeeps, and in {} there was a switch. Afterwards, by \
            test run:\n\n{}\n",
            bursts.marked,
            bursts.kept,
            bursts.both,
            table(&ABOVE, afterwards.iter().map(above))
        )
    };
    format!("### Policies switched under load\n\n{}", report.switch.iter().map(text).collect::<String>())
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn user(report: &Report) -> String {
    if report.user.is_empty() {
        return String::new();
    }
    let row = |fact: &crate::report::Fact| {
        vec![fact.name.clone(), format!("{} {}", number(fact.value.median), fact.unit), range(&fact.value)]
    };
    format!("## Commands, memory, size\n\n{}\n", table(&["what", "median", "middle half"], report.user.iter().map(row)))
}

fn scaling(report: &Report) -> String {
    if report.scaling.is_empty() {
        return String::new();
    }
    let row = |scale: &crate::report::Scale| {
        let above = scale.above.map(|above| (signed(above.median), range(&above))).unwrap_or_default();
        let (sent, counted) = (scale.sent.to_string(), scale.counted.to_string());
        let (ns, range) = (number(scale.ns.median), range(&scale.ns));
        vec![scale.name.clone(), scale.cpus.to_string(), ns, range, above.0, above.1, sent, counted]
    };
    let heads = ["what", "CPUs", "CPU ns a packet", "middle half", "above", "middle half", "sent", "counted"];
    format!("## Several CPUs\n\n{SCALING}\n\n{}\n", table(&heads, report.scaling.iter().map(row)))
}

fn gaps(report: &Report) -> String {
    let line = |gap: &Gap| format!("- {}{}: {}\n", if gap.declared { "" } else { "FAILED: " }, gap.what, gap.why);
    let lines = report.not_measured.iter().map(line);
    format!("## Not measured\n\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_and_a_broken_promise_too() {
        let goal = |outcome, measured, gap| Goal {
            what: "cost".into(),
            bound: 1.05,
            at_least: false,
            outcome,
            measured,
            floor: measured,
            gap,
            ways: None,
        };
        let gap = Gap::new("rules", "none yet");
        let goals = vec![
            goal(Outcome::NotKept, Some(1.2), None),
            goal(Outcome::NotMeasured, None, Some(Gap::new("router", "no veth"))),
        ];
        let page = page(&Report { goals, not_measured: vec![gap], ..Report::default() }, None);
        assert!(page.contains("| cost | at most 1.05 | 1.20     | 1.20 | NO                    |"), "{page}");
        assert!(page.contains("| cost | at most 1.05 |          |      | NOT MEASURED: no veth |"), "{page}");
        assert!(page.ends_with("## Not measured\n\n- rules: none yet\n"));
        assert!(!page.contains("## Programs"));
    }
}
