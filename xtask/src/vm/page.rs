//! The page that says what runs where: `docs/kernels.md`.

use std::fmt::Write as _;

use super::{
    console::{Cost, Report},
    meters,
};
use crate::markdown::{head, row};

/// The kernel programs, and which tests compare each with the host: those of this name in `agreement` and `rules`.
const PROGRAMS: [(&str, &str); 4] = [
    ("qosbpf_xdp", "xdp"),
    ("qosbpf_xdp_frags", "xdp_frags"),
    ("qosbpf_ingress", "tc_ingress"),
    ("qosbpf_egress", "tc_egress"),
];

/// The specialisations of a program that the table shows, each behind Ethernet.
const KINDS: [&str; 4] = ["counting", "remarking", "metering", "1024 rules"];

/// The mechanisms, as the tests name them.
const MECHANISMS: [&str; 6] =
    ["xdp ingress", "xdp-generic ingress", "tcx ingress", "tcx egress", "clsact ingress", "clsact egress"];

/// The whole page; its date is that of the last guest.
pub fn page(reports: &[Report]) -> String {
    let build = reports.first().map_or("qosbpf", |report| &report.build);
    let date = reports.iter().map(|report| report.date.as_str()).max().unwrap_or_default();
    let intro = format!(
        "# Kernels\n\n\
         Written by `cargo xtask vm` on {date}: {build} and its kernel tests in guests with Debian's cloud kernels, in\n\
         software emulation. `-` is what the kernel does not have; the last section says what was left out for that.\n"
    );
    let tables = [programs, mechanisms, auto, meters::table, costs, faults];
    let whole: Vec<&Report> = reports.iter().filter(|report| !report.full).collect();
    let sections = tables.iter().map(|table| table(&whole)).chain([left_out(reports)]);
    [intro].into_iter().chain(sections).collect::<Vec<_>>().join("\n")
}

fn programs(reports: &[&Report]) -> String {
    let mut text = "## The programs\n\nLoaded in every specialisation, that with 1,024 rules of all kinds of field \
        included; what they do to a packet,\nwith rules and without, is what the same code does on the host. Their meters \
        have a table below.\n\n"
        .to_owned();
    let verified = format!("verified ({})", KINDS.join(" / "));
    text +=
        &head(["kernel", "program", "loads", &verified, "host = kernel", "with rules", "meters"].map(str::to_owned));
    for report in reports {
        for (program, test) in PROGRAMS {
            text += &row(program_row(report, program, test));
        }
    }
    text
}

fn program_row(report: &Report, program: &str, test: &str) -> [String; 7] {
    let absent = report.left_out.iter().any(|left_out| left_out.starts_with(&format!("{program}: ")));
    let costs = KINDS.map(|kind| {
        let name = format!("{program} ethernet {kind}");
        report.costs.iter().find(|(other, _)| *other == name).map(|(_, cost)| *cost)
    });
    let unless_absent = |word: &'static str| if absent { "-" } else { word }.to_owned();
    let loads = unless_absent(word(Some(costs.iter().all(Option::is_some))));
    let verified: Option<Vec<String>> =
        costs.iter().map(|cost| cost.and_then(|cost| cost.verified).map(|verified| verified.to_string())).collect();
    let verified = verified.map_or_else(|| "-".to_owned(), |verified| verified.join(" / "));
    let [plain, ruled] =
        ["agreement", "rules"].map(|tests| unless_absent(word(report.test(&format!("{tests} {test}")))));
    let metered = unless_absent(meters::word(report));
    [report.release.clone(), program.to_owned(), loads, verified, plain, ruled, metered]
}

/// Whether something that was tried works.
pub const fn word(passed: Option<bool>) -> &'static str {
    match passed {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "**not run**",
    }
}

fn mechanisms(reports: &[&Report]) -> String {
    let mut text =
        "## Ways to attach\n\nBy each, EF is remarked to one mark and another in turn, while it is sent: none is \
        lost, each is counted and has\nthe one mark or the other.\n\n"
            .to_owned();
    text += &head(["kernel"].into_iter().chain(MECHANISMS).map(str::to_owned));
    for report in reports {
        let cells = MECHANISMS.map(|mechanism| {
            let test = format!("mechanisms {}", test_name(mechanism));
            match report.mechanisms.iter().find(|(name, _)| name == mechanism) {
                Some((_, how)) => how.clone(),
                None if report.test(&test) == Some(true) => "-".to_owned(),
                None => word(report.test(&test)).to_owned(),
            }
        });
        text += &row([report.release.clone()].into_iter().chain(cells));
    }
    text
}

fn test_name(mechanism: &str) -> String {
    match mechanism {
        "xdp ingress" => "native_xdp".to_owned(),
        "xdp-generic ingress" => "generic_xdp".to_owned(),
        tc => tc.replace(' ', "_"),
    }
}

fn auto(reports: &[&Report]) -> String {
    let mut text = "## What `auto` takes on a veth device\n\n".to_owned();
    text += &head(["kernel", "ingress", "egress"].map(str::to_owned));
    for report in reports {
        let took = |direction: &str| {
            let found = report.auto.iter().find(|(name, _)| name == direction);
            found.map_or_else(|| word(None).to_owned(), |(_, what)| what.clone())
        };
        text += &row([report.release.clone(), took("ingress"), took("egress")]);
    }
    text
}

/// A row for whatever `tests/tests/budget` measures: rules and meters appear when they are measured there.
fn costs(reports: &[&Report]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in reports.iter().flat_map(|report| &report.costs) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    let mut text =
        "## What they cost\n\nInstructions that the verifier followed (it gives up at a million; Linux says it since \
        5.16), and bytes of the program\nas it left it.\n\n"
            .to_owned();
    text +=
        &head(["program"].into_iter().chain(reports.iter().map(|report| report.release.as_str())).map(str::to_owned));
    for name in names {
        let cells = reports.iter().map(|report| {
            let cost = report.costs.iter().find(|(other, _)| other == name);
            cost.map_or_else(|| "-".to_owned(), |(_, cost)| cost_cell(*cost))
        });
        text += &row([name.to_owned()].into_iter().chain(cells));
    }
    text
}

fn cost_cell(cost: Cost) -> String {
    let verified = cost.verified.map_or_else(|| "-".to_owned(), |verified| verified.to_string());
    format!("{verified}; {} B", cost.translated)
}

/// What is done to the machine as a whole, while packets flow.
fn faults(reports: &[&Report]) -> String {
    let mut text = "## Faults of the machine\n\nEach while EF is sent and remarked; the other faults are in \
        [reliability.md](reliability.md).\n\n"
        .to_owned();
    text += &head(["kernel", "fault", "what came of it"].map(str::to_owned));
    for report in reports {
        for (fault, rest) in &report.faults {
            text += &row([report.release.clone(), fault.clone(), rest.clone()]);
        }
    }
    text
}

fn left_out(reports: &[Report]) -> String {
    let mut text = "## Tests\n\n".to_owned();
    for report in reports {
        let what = if report.full { ", for all machines, of which only PPPoE is tried" } else { "" };
        let _infallible = writeln!(text, "- {}{what}: {} in {} s", report.release, report.sum, report.seconds);
        for what in &report.left_out {
            let _infallible = writeln!(text, "  - left out: {what}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let cost = |verified| Cost { verified, translated: 800 };
        Report {
            release: "5.10.0".to_owned(),
            build: "qosbpf 0.1.0 (0123456789ab)".to_owned(),
            costs: vec![
                ("qosbpf_xdp ethernet counting".to_owned(), cost(Some(7))),
                ("qosbpf_xdp ethernet remarking".to_owned(), cost(Some(9))),
                ("qosbpf_xdp ethernet metering".to_owned(), cost(Some(11))),
                ("qosbpf_xdp ethernet 1024 rules".to_owned(), cost(Some(13))),
                ("qosbpf_egress ethernet counting".to_owned(), cost(None)),
            ],
            tests: vec![
                ("agreement xdp".to_owned(), true),
                ("agreement tc_egress".to_owned(), false),
                ("rules xdp".to_owned(), true),
                ("rules tc_egress".to_owned(), true),
                ("mechanisms tcx_egress".to_owned(), true),
                ("mechanisms clsact_egress".to_owned(), false),
                ("meters shares".to_owned(), true),
            ],
            mechanisms: vec![("xdp ingress".to_owned(), "remarked 5 of 5".to_owned())],
            left_out: vec!["qosbpf_xdp_frags: not here".to_owned()],
            date: "2026-01-31".to_owned(),
            ..Report::default()
        }
    }

    #[test]
    fn a_program_that_fails_or_did_not_run_is_not_said_to_work() {
        let page = page(&[report()]);
        for line in [
            "Written by `cargo xtask vm` on 2026-01-31: qosbpf 0.1.0 (0123456789ab)",
            "| 5.10.0 | qosbpf_xdp | yes | 7 / 9 / 11 / 13 | yes | yes | yes |",
            "| 5.10.0 | qosbpf_xdp_frags | - | - | - | - | - |",
            "| 5.10.0 | qosbpf_ingress | **no** | - | **not run** | **not run** | yes |",
            "| 5.10.0 | qosbpf_egress | **no** | - | **no** | yes | yes |",
            "| 5.10.0 | remarked 5 of 5 | **not run** | **not run** | - | **not run** | **no** |",
            "| qosbpf_xdp ethernet counting | 7; 800 B |",
            "| qosbpf_egress ethernet counting | -; 800 B |",
            "  - left out: qosbpf_xdp_frags: not here",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
    }
}
