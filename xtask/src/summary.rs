//! What all test programs said together.

use std::fmt;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Summary {
    /// How many passed.
    pub const fn passed(&self) -> u64 {
        self.passed
    }

    /// Counts tests as passed that had failed before.
    pub const fn redeem(&mut self, tests: u64) {
        self.failed -= tests;
        self.passed += tests;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// A test that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its program, as `cargo test --test` calls it; `None` for tests beside the code they test.
    pub program: Option<String>,
    /// Its name.
    pub test: String,
}

/// Reads the output of `cargo test` line by line.
#[derive(Default)]
pub struct Reader {
    target: String,
    /// The tests that failed.
    pub failures: Vec<Failure>,
    /// Test programs that cargo counts as failed, and those of them that came to their end.
    broken: [usize; 2],
    /// The sums over all test programs.
    pub sum: Summary,
    /// Test programs that have tests and ran none: a success that proves nothing.
    pub idle: Vec<String>,
}

impl Reader {
    /// Whether the tests that are named are all that failed: no program ended before its closing line.
    pub const fn is_whole(&self) -> bool {
        self.broken[0] == self.broken[1]
    }

    /// Takes one line.
    pub fn line(&mut self, line: &str) {
        let trimmed = line.trim_start();
        if trimmed.starts_with("Running ") || trimmed.starts_with("Doc-tests ") {
            self.target = trimmed.trim_end().to_owned();
        } else if let Some(test) = failed_test(trimmed) {
            self.failures.push(Failure { program: program(&self.target), test: test.to_owned() });
        } else if trimmed.starts_with("`-p ") {
            self.broken[0] += 1;
        } else if let Some((result, left_out)) = result(trimmed) {
            if result.passed + result.failed == 0 && result.skipped + left_out > 0 {
                self.idle.push(self.target.clone());
            }
            self.broken[1] += usize::from(result.failed > 0);
            self.sum.passed += result.passed;
            self.sum.failed += result.failed;
            self.sum.skipped += result.skipped + left_out;
        }
    }
}

/// The name in the line of a test that failed.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.trim_end().strip_suffix(" ... FAILED")
}

/// `traffic` for `Running tests/traffic/main.rs (...)` and for `Running tests/traffic.rs (...)`.
fn program(target: &str) -> Option<String> {
    let path = target.strip_prefix("Running tests/")?.split(' ').next()?;
    let name = path.strip_suffix("/main.rs").or_else(|| path.strip_suffix(".rs"))?;
    Some(name.to_owned())
}

/// The closing line of one test program, and how many tests a filter left out.
fn result(line: &str) -> Option<(Summary, u64)> {
    // test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        let part = counts.split("; ").find_map(|part| part.strip_suffix(word))?;
        part.trim().parse::<u64>().ok()
    };
    let summary = Summary { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? };
    Some((summary, count("filtered out")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Reader {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader
    }

    #[test]
    fn results_add_up() {
        let reader = read(
            "     Running unittests src/lib.rs (target/debug/deps/a-1)\n\
             test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             \x20  Doc-tests a\n\
             test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.01s\n",
        );
        assert_eq!(reader.sum.to_string(), "6 passed, 2 failed, 4 skipped");
        assert!(reader.idle.is_empty());
    }

    #[test]
    fn a_program_that_ran_none_of_its_tests_is_named() {
        let reader = read(
            "     Running tests/empty.rs (target/debug/deps/empty-1)\n\
             test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             \x20    Running tests/traffic.rs (target/debug/deps/traffic-1)\n\
             test result: ok. 0 passed; 0 failed; 7 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!(reader.idle, ["Running tests/traffic.rs (target/debug/deps/traffic-1)"]);
    }

    #[test]
    fn failures_are_named_with_their_programs() {
        let reader = read(
            "     Running unittests src/lib.rs (target/debug/deps/a-1)\n\
             test units::kilo ... FAILED\n\
             \x20    Running tests/traffic/main.rs (target/debug/deps/traffic-1)\n\
             test tcp::counts ... ok\n\
             test tun::counts ... FAILED\n\
             \x20    Running tests/rules.rs (target/debug/deps/rules-1)\n\
             test all_kinds ... FAILED\n",
        );
        let failed =
            |program: Option<&str>, test: &str| Failure { program: program.map(Into::into), test: test.into() };
        let expected =
            [failed(None, "units::kilo"), failed(Some("traffic"), "tun::counts"), failed(Some("rules"), "all_kinds")];
        assert_eq!(reader.failures, expected);
    }

    #[test]
    fn a_program_that_crashed_is_noticed() {
        let failed =
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n";
        let one = "error: 1 target failed:\n    `-p qosbpf-tests --test traffic`\n";
        let two = "error: 2 targets failed:\n    `-p a --test traffic`\n    `-p a --test rules`\n";
        assert!(read(&format!("{failed}{one}")).is_whole());
        assert!(!read(&format!("{failed}{two}")).is_whole());
    }

    #[test]
    fn other_lines_are_no_results() {
        assert_eq!(result("test result_of_x ... ok"), None);
        assert_eq!(result("test result: ok. many passed; 0 failed; 0 ignored"), None);
    }
}
