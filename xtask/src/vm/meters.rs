//! What the guests say of meters.

use super::{console::Report, page};
use crate::markdown::{head, row};

/// What the names of their tests begin with: that of their program.
const PROGRAM: &str = "meters ";

/// Whether each was passed.
fn tests(report: &Report) -> Vec<bool> {
    report.tests.iter().filter(|(test, _)| test.starts_with(PROGRAM)).map(|(_, passed)| *passed).collect()
}

fn all_passed(report: &Report) -> Option<bool> {
    let tests = tests(report);
    (!tests.is_empty()).then(|| tests.iter().all(|passed| *passed))
}

/// Whether meters work in the programs; those of two rates by a lock where the kernel has nothing better.
pub fn word(report: &Report) -> &'static str {
    let without_swap = |what: &String| what.starts_with("meters by compare-and-swap: ");
    match all_passed(report) {
        Some(true) if report.left_out.iter().any(without_swap) => "yes, by a lock",
        passed => page::word(passed),
    }
}

/// How their tests went, and what they left out, and why.
pub fn table(reports: &[&Report]) -> String {
    let mut text = "## Meters\n\nSingle-rate and two-rate meters (RFC 2697, 2698, 4115): a burst in every program, the shares of a \
        load, by a lock and by\ncompare-and-swap, and two CPUs that share a meter.\n\n"
        .to_owned();
    text += &head(["kernel", "tests", "left out, and why"].map(str::to_owned));
    for report in reports {
        text += &row([report.release.clone(), count(&tests(report)), left_out(report)]);
    }
    text
}

fn count(tests: &[bool]) -> String {
    let passed = tests.iter().filter(|passed| **passed).count();
    match tests.len() {
        0 => page::word(None).to_owned(),
        all if all == passed => format!("{passed} of {all} passed"),
        all => format!("**{passed} of {all} passed**"),
    }
}

/// Each with the number of tests that left it out, as a whole or in part.
fn left_out(report: &Report) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (_, what) in report.skipped.iter().filter(|(test, _)| test.starts_with(PROGRAM)) {
        match counts.iter_mut().find(|(other, _)| other == what) {
            Some((_, count)) => *count += 1,
            None => counts.push((what, 1)),
        }
    }
    let parts: Vec<_> = counts.iter().map(|(what, count)| format!("{what} (in {count} of the tests)")).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::{super::console, *};

    /// What guests say of them: one of Linux 5.10 with one CPU.
    const CONSOLE: &str = "\
@@BOOTED 5.10.0-46-cloud-amd64\r
@@BUILD qosbpf 0.1.0 (0123456789ab)\r
@@BEGINS vlan\r
test tags_at_tcx ... left out: tags at TCX: this kernel does not have TCX\r
ok\r
@@ENDS vlan 0\r
@@BEGINS meters\r
\r
running 7 tests\r
test a_burst_of_cbs_conforms_in_every_program ... left out: meters by compare-and-swap: this kernel does not have the instruction\r
left out: meters by compare-and-swap: this kernel does not have the instruction\r
ok\r
test no_other_form_has_the_instruction ... left out: meters by compare-and-swap: this kernel does not have the instruction\r
ok\r
test shares_are_those_of_rfc_2698 ... ok\r
test the_other_meters_give_what_their_rfcs_say ... ok\r
test two_cpus_get_every_token_there_is ... left out: a meter that two CPUs share: this machine has one CPU\r
ok\r
test two_cpus_never_spend_a_token_twice ... left out: a meter that two CPUs share: this machine has one CPU\r
ok\r
test two_cpus_share_the_buckets ... left out: a meter that two CPUs share: this machine has one CPU\r
ok\r
\r
test result: ok. 7 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 74.92s\r
\r
@@ENDS meters 0\r
@@END\r
";

    fn report(console: &str) -> Report {
        console::read(console).expect("it has an end mark")
    }

    #[test]
    fn what_a_guest_left_out_is_beside_what_it_passed() {
        let report = report(CONSOLE);
        assert_eq!(word(&report), "yes, by a lock");
        let table = table(&[&report]);
        let row = "| 5.10.0-46-cloud-amd64 | 7 of 7 passed | meters by compare-and-swap: this kernel does not have the instruction \
            (in 2 of the tests); a meter that two CPUs share: this machine has one CPU (in 3 of the tests) |\n";
        assert!(table.ends_with(row), "{table}");
    }

    #[test]
    fn a_meter_that_fails_or_was_not_tried_is_not_said_to_work() {
        let failed = CONSOLE.replace("shares_are_those_of_rfc_2698 ... ok", "shares_are_those_of_rfc_2698 ... FAILED");
        let failed = report(&failed);
        assert_eq!((word(&failed), count(&tests(&failed)).as_str()), ("**no**", "**6 of 7 passed**"));
        let brief = report(&CONSOLE.replace("@@BEGINS meters", "@@BEGINS rules"));
        assert_eq!((word(&brief), count(&tests(&brief)).as_str()), ("**not run**", "**not run**"));
        let newer = report(&CONSOLE.replace("left out: meters by", "meters by"));
        assert_eq!(word(&newer), "yes");
    }
}
