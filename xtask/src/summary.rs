//! What all test programs said together.

use std::fmt;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Reads the output of `cargo test` line by line.
#[derive(Default)]
pub struct Reader {
    target: String,
    /// The sums over all test programs.
    pub sum: Summary,
    /// Test programs that have tests and ran none: a success that proves nothing.
    pub idle: Vec<String>,
}

impl Reader {
    /// Takes one line.
    pub fn line(&mut self, line: &str) {
        let trimmed = line.trim_start();
        if trimmed.starts_with("Running ") || trimmed.starts_with("Doc-tests ") {
            self.target = trimmed.trim_end().to_owned();
        } else if let Some((result, left_out)) = result(trimmed) {
            if result.passed + result.failed == 0 && result.skipped + left_out > 0 {
                self.idle.push(self.target.clone());
            }
            self.sum.passed += result.passed;
            self.sum.failed += result.failed;
            self.sum.skipped += result.skipped + left_out;
        }
    }
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
    fn other_lines_are_no_results() {
        assert_eq!(result("test result_of_x ... ok"), None);
        assert_eq!(result("test result: ok. many passed; 0 failed; 0 ignored"), None);
    }
}
