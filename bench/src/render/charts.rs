//! Which charts there are.

use super::svg::{Bar, Group, bars};
use crate::report::{Report, Row};

/// The frames in the chart of programs; the tables have all.
const SHOWN: [&str; 3] = ["IPv4", "IPv6", "IPv4, one tag"];

/// Each chart by the name of its file.
pub fn charts(report: &Report) -> Vec<(&'static str, String)> {
    let mut charts = Vec::new();
    let groups = programs(report);
    if !groups.is_empty() {
        let note = "ns a packet above an empty program, by test run; the line is the middle half of the rounds";
        charts.push(("program.svg", bars("What a program costs", note, &groups)));
    }
    let groups = routers(report);
    if !groups.is_empty() {
        let note =
            "ns of CPU time a packet above the same router without marking; the line is the middle half of the rounds";
        charts.push(("router.svg", bars("What marking adds to a forwarding router", note, &groups)));
    }
    charts
}

fn programs(report: &Report) -> Vec<Group> {
    let shown = report.program.iter().filter(|case| SHOWN.contains(&case.frame));
    let group = |case: &crate::report::Case| Group {
        name: format!("{}, {}", case.hook, case.frame),
        bars: case.rows.iter().skip(2).map(bar).collect(),
    };
    shown.map(group).collect()
}

fn routers(report: &Report) -> Vec<Group> {
    let group = |job: &crate::report::Job| Group {
        name: job.name.to_owned(),
        bars: job.rows.iter().skip(2).map(|routed| bar(&routed.row)).collect(),
    };
    report.router.iter().map(group).collect()
}

fn bar(row: &Row) -> Bar {
    Bar {
        label: row.name.clone(),
        value: row.above.median,
        spread: (row.above.p25, row.above.p75),
        ours: row.name.starts_with("qosbpf"),
    }
}
