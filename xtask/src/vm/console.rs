//! What a guest prints, and what it means.
//!
//! The first process brackets each test program with marks. Test programs say in single lines what the matrix shows:
//! `cost: PROGRAM: verified N, translated N`, `mechanism: ...`, `auto: ...`, `fault: ...`, `left out: ...`. A guest that
//! did not come to its last mark has said nothing.

use crate::summary::{self, Summary};

/// The guest has booted; the release of its kernel follows.
pub const BOOTED: &str = "@@BOOTED";
/// What `qosbpf --version` says follows.
pub const BUILD: &str = "@@BUILD";
/// A test program begins; its name follows.
pub const BEGINS: &str = "@@BEGINS";
/// It has ended; name and exit code follow.
pub const ENDS: &str = "@@ENDS";
/// A record of the budget follows.
pub const RECORD: &str = "@@RECORD";
/// And ends.
pub const RECORD_ENDS: &str = "@@RECORD-ENDS";
/// Everything was run.
pub const END: &str = "@@END";
/// How many seconds it took, as who started the guest knows.
pub const TOOK: &str = "@@TOOK";

/// What a guest said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The release of its kernel.
    pub release: String,
    /// What was tried there: the version, and the commit that it was built from.
    pub build: String,
    /// Seconds from start to end.
    pub seconds: u64,
    /// Programs of tests with their exit codes.
    pub programs: Vec<(String, i32)>,
    /// Tests, by program and name, and whether each passed.
    pub tests: Vec<(String, bool)>,
    /// How many passed, and how many did not.
    pub sum: Summary,
    /// What each kernel program costs: its name, and what the verifier counted and what it left, in one text.
    pub costs: Vec<(String, Cost)>,
    /// How each mechanism went: its name and direction, and the rest.
    pub mechanisms: Vec<(String, String)>,
    /// What `auto` took, by direction.
    pub auto: Vec<(String, String)>,
    /// What came of faults of the whole machine: the fault, and the rest.
    pub faults: Vec<(String, String)>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
    /// The same test by test: its name, as in `tests`, and what it left out, once.
    pub skipped: Vec<(String, String)>,
    /// The day on which the guest ended, as `2026-01-31`, as who started it knows.
    pub date: String,
    /// The budget that it wrote, if asked to.
    pub record: Option<String>,
    /// Whether it is a kernel for all machines, of which only that is tried which one for clouds has not.
    pub full: bool,
    /// The programs of tests that it was asked to run.
    pub asked: &'static [&'static str],
}

/// What a kernel program costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Instructions that the verifier followed, where the kernel says it.
    pub verified: Option<u32>,
    /// Bytes of the program as the verifier left it.
    pub translated: u32,
}

impl Report {
    /// Whether every program of tests came to a good end.
    pub fn passed(&self) -> bool {
        let all = self.asked.iter().all(|test| self.programs.iter().any(|(name, _)| name == test));
        // What a kernel for all machines is tried for, it must not lack.
        let there = !self.full || self.left_out.is_empty();
        all && there && self.sum.passed() > 0 && self.programs.iter().all(|(_, code)| *code == 0)
    }

    /// Whether a test passed; `None` if it did not run, or is said to have been left out.
    pub fn test(&self, name: &str) -> Option<bool> {
        self.tests.iter().find(|(test, _)| test == name).map(|(_, passed)| *passed)
    }
}

/// Reads a console; `None` without a last mark.
pub fn read(console: &str) -> Option<Report> {
    let mut reader = Reader::default();
    let mut ended = false;
    for line in console.lines().map(|line| line.trim_end_matches('\r')) {
        reader.line(line);
        ended |= line.contains(END) && !line.contains(ENDS);
    }
    let Reader { mut report, summary, .. } = reader;
    report.sum = summary.sum;
    (ended && !report.release.is_empty()).then_some(report)
}

#[derive(Default)]
struct Reader {
    report: Report,
    summary: summary::Reader,
    program: String,
    /// The test that runs.
    test: Option<String>,
    recording: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(release) = behind(line, BOOTED) {
            release.clone_into(&mut self.report.release);
        } else if let Some(build) = behind(line, BUILD) {
            build.clone_into(&mut self.report.build);
        } else if let Some(name) = behind(line, BEGINS) {
            name.clone_into(&mut self.program);
        } else if let Some((name, code)) = behind(line, ENDS).and_then(|rest| rest.split_once(' ')) {
            self.report.programs.push((name.to_owned(), code.trim().parse().unwrap_or(-1)));
        } else if let Some(seconds) = behind(line, TOOK) {
            self.report.seconds = seconds.parse().unwrap_or_default();
        } else if line.contains(RECORD_ENDS) {
            self.recording = false;
        } else if line.contains(RECORD) {
            (self.recording, self.report.record) = (true, Some(String::new()));
        } else if let (true, Some(record)) = (self.recording, &mut self.report.record) {
            record.push_str(line);
            record.push('\n');
        } else {
            self.summary.line(line);
            self.begins(line);
            self.said(line);
            self.result(line);
        }
    }

    fn said(&mut self, line: &str) {
        let report = &mut self.report;
        let pair = |rest: &str| rest.split_once(": ").map(|(name, rest)| (name.to_owned(), rest.to_owned()));
        if let Some(rest) = behind(line, "left out: ") {
            if !report.left_out.iter().any(|other| other == rest) {
                report.left_out.push(rest.to_owned());
            }
            let skipped = self.test.iter().map(|test| (format!("{} {test}", self.program), rest.to_owned()));
            let new: Vec<_> = skipped.filter(|skipped| !report.skipped.contains(skipped)).collect();
            report.skipped.extend(new);
        } else if let Some((name, cost)) = behind(line, "cost: ").and_then(pair) {
            report.costs.extend(read_cost(&cost).map(|cost| (name, cost)));
        } else if let Some(rest) = behind(line, "mechanism: ") {
            report.mechanisms.extend(pair(rest));
        } else if let Some(rest) = behind(line, "fault: ") {
            report.faults.extend(pair(rest));
        } else if let Some(rest) = behind(line, "auto: ") {
            report.auto.extend(pair(rest));
        }
    }

    /// `test NAME ... ok`; what the test prints stands between the dots and the word.
    fn begins(&mut self, line: &str) {
        if let Some((name, _)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... ")) {
            self.test = Some(name.to_owned());
        }
    }

    fn result(&mut self, line: &str) {
        let Some(passed) = line.split(' ').next_back().and_then(verdict) else { return };
        if let Some(test) = self.test.take() {
            self.report.tests.push((format!("{} {test}", self.program), passed));
        }
    }
}

fn verdict(word: &str) -> Option<bool> {
    match word {
        "ok" => Some(true),
        "FAILED" => Some(false),
        _ => None,
    }
}

/// What follows a mark, which the firmware's own words may precede.
fn behind<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.split_once(mark).map(|(_, rest)| rest.trim_start())
}

/// Of `verified N, translated N`.
fn read_cost(text: &str) -> Option<Cost> {
    let (verified, translated) = text.strip_prefix("verified ")?.split_once(", translated ")?;
    Some(Cost { verified: verified.parse().ok(), translated: translated.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "\
\x1b[2J@@BOOTED 5.10.0-46-cloud-amd64\r
@@BUILD qosbpf 0.1.0 (0123456789ab)\r
@@BEGINS budget\r
running 2 tests\r
test a ... cost: qosbpf_xdp ethernet counting: verified -, translated 2008\r
left out: qosbpf_xdp_frags: this kernel does not have XDP\r
ok\r
test b ... FAILED\r
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.79s\r
@@ENDS budget 101\r
@@BEGINS mechanisms\r
test c ... mechanism: clsact egress: remarked 5 of 5\r
auto: egress: clsact; not tcx: this kernel has no TCX\r
fault: a clock: nothing lost\r
ok\r
@@ENDS mechanisms 0\r
@@RECORD\r
kernel = \"5.10.0\"\r
@@RECORD-ENDS\r
@@END\r
";

    #[test]
    fn a_console_is_read_to_its_end() {
        let report = read(CONSOLE).expect("it has an end mark");
        assert_eq!(report.release, "5.10.0-46-cloud-amd64");
        assert_eq!(report.build, "qosbpf 0.1.0 (0123456789ab)");
        assert_eq!(report.programs, [("budget".to_owned(), 101), ("mechanisms".to_owned(), 0)]);
        assert_eq!((report.test("budget a"), report.test("budget b")), (Some(true), Some(false)));
        assert_eq!((report.test("mechanisms c"), report.test("mechanisms d")), (Some(true), None));
        assert_eq!(report.sum.to_string(), "1 passed, 1 failed, 0 skipped");
        assert_eq!(report.costs.first().map(|(_, cost)| *cost), Some(Cost { verified: None, translated: 2008 }));
        assert_eq!(report.mechanisms, [("clsact egress".to_owned(), "remarked 5 of 5".to_owned())]);
        assert_eq!(report.auto, [("egress".to_owned(), "clsact; not tcx: this kernel has no TCX".to_owned())]);
        assert_eq!(report.faults, [("a clock".to_owned(), "nothing lost".to_owned())]);
        assert_eq!(report.left_out, ["qosbpf_xdp_frags: this kernel does not have XDP"]);
        assert_eq!(report.record.as_deref(), Some("kernel = \"5.10.0\"\n"));
        assert!(!report.passed(), "a program failed, and others did not run");
    }

    #[test]
    fn a_guest_passes_if_it_ran_all_that_it_was_asked_for() {
        const TESTS: [&str; 2] = ["links", "rules"];
        let passing = |programs: &[(&str, i32)], full: bool, left_out: &[&str]| {
            let programs = programs.iter().map(|(name, code)| ((*name).to_owned(), *code)).collect();
            let left_out = left_out.iter().map(|what| (*what).to_owned()).collect();
            let mut sum = summary::Reader::default();
            sum.line("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.79s");
            Report { programs, full, left_out, sum: sum.sum, asked: &TESTS, ..Report::default() }.passed()
        };
        assert!(passing(&[("links", 0), ("rules", 0)], false, &["PPPoE: this kernel has none"]));
        assert!(!passing(&[("links", 0), ("rules", 0)], true, &["PPPoE: this kernel has none"]));
        assert!(!passing(&[("links", 0)], false, &[]), "one did not run");
        assert!(!passing(&[("links", 0), ("rules", 101)], false, &[]));
    }

    #[test]
    fn without_an_end_mark_nothing_was_said() {
        let cut = CONSOLE.split_once("@@RECORD").expect("a record").0;
        assert_eq!(read(cut), None);
        assert_eq!(read(""), None);
        assert_eq!(read("@@END\n"), None, "nor without a kernel");
    }
}
