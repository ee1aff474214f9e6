//! `qosbpf policy test`, and the same before a policy is put in force: each `[[test]]` in a twin of its hook's program.

use std::path::Path;

use super::read_policy;
use crate::{
    cmd::{
        Context,
        site::Site,
        twin::{By, Double},
    },
    command::Command,
    error::{Exit, Failure, Place},
    explain::{Leaves, TestRun},
    kernel::privilege,
    policy::{Policy, PolicyTest},
    render::{json, table},
    snapshot::diff::Tests,
};

/// Runs the tests of a file; 3 if one fails.
///
/// # Errors
///
/// [`super::WrongPolicy`], `privilege`, and those of `all`.
pub fn run(file: &Path, json: bool, context: &Context) -> anyhow::Result<Exit> {
    let (_, policy) = read_policy(file)?;
    let tests = if policy.tests().is_empty() {
        Vec::new()
    } else {
        privilege::missing().map_or(Ok(()), Err)?;
        all(&Site::read(context)?, &policy)?
    };
    if json {
        let document = json::test_runs((policy.name(), policy.hash(), policy.file()), &tests);
        context.document(&json::document(&document, json::Layout::Pretty)?)?;
    } else {
        context.screen(&table::test_runs(policy.file(), &tests, &context.look()))?;
    }
    Ok(if tests.iter().all(TestRun::passes) { Exit::Done } else { Exit::No })
}

/// Runs them for whoever only asks what would be.
pub fn tried(site: &Site, policy: &Policy) -> Tests {
    if policy.tests().is_empty() {
        return Tests::Run(Vec::new());
    }
    if let Some(missing) = privilege::missing() {
        return Tests::Left(missing.to_string());
    }
    all(site, policy).map_or_else(|error| Tests::Failed(format!("{error:#}")), Tests::Run)
}

/// Runs all tests of a policy, in the order of the file.
///
/// # Errors
///
/// `load`, `rules`, `test-run`, `link-type`, each with the test that it happened to.
fn all(site: &Site, policy: &Policy) -> anyhow::Result<Vec<TestRun>> {
    let mut doubles: Vec<(&PolicyTest, Double)> = Vec::new();
    let same =
        |one: &PolicyTest, other: &PolicyTest| (&one.interface, one.direction) == (&other.interface, other.direction);
    let mut runs = Vec::new();
    for test in policy.tests() {
        let at = match doubles.iter().position(|(first, _)| same(first, test)) {
            Some(at) => at,
            None => {
                let mut double = Double::of(site, &test.interface, test.direction, By::Policy(policy))?;
                let from = policy.tests().iter().filter(|other| same(other, test));
                from.filter_map(|other| other.packet.from.as_ref()).for_each(|from| double.know(from));
                doubles.push((test, double));
                doubles.len() - 1
            }
        };
        let (_, double) = &mut doubles[at];
        let explained = double.try_packet(&test.packet).map_err(|error| in_test(test, policy, &error))?;
        runs.push(TestRun {
            name: test.name.clone(),
            line: test.line,
            hook: format!("{}:{}", test.interface, test.direction),
            packet: test.text.clone(),
            expected: test.expected().map_or(Leaves::Dropped, Leaves::As),
            got: explained.decision,
        });
    }
    Ok(runs)
}

/// The same failure, with the test that it happened to.
fn in_test(test: &PolicyTest, policy: &Policy, error: &anyhow::Error) -> anyhow::Error {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    let message = format!("test \"{}\" ({}:{}): {error:#}", test.name, policy.text_name(), test.line);
    let failure = Failure::new(cause.map_or("test-run", |cause| cause.code), message);
    let failure = failure.exit(cause.map_or(Exit::Failed, |cause| cause.exit));
    let hint = cause.and_then(|cause| cause.hint.clone());
    failure.hint(hint.unwrap_or_else(|| "policy apply --force goes on without the tests".to_owned())).into()
}

/// Refuses a policy of which a test fails; with `force` that is what there is to say.
///
/// # Errors
///
/// `test-failed`, with the first test that fails; `test-run`.
pub fn refuse_failing(site: &Site, policy: &Policy, force: bool) -> anyhow::Result<Option<String>> {
    let refusal = match all(site, policy) {
        Ok(runs) => failed(policy, &runs),
        Err(error) => Some(error),
    };
    match refusal {
        None => Ok(None),
        Some(error) if force => Ok(Some(format!("! {error:#}: applied all the same (--force)\n"))),
        Some(error) => Err(error),
    }
}

fn failed(policy: &Policy, runs: &[TestRun]) -> Option<anyhow::Error> {
    let (file, text) = (policy.file(), policy.text_name());
    let mut failing = runs.iter().filter(|run| !run.passes());
    let first = failing.next()?;
    let more = match failing.count() {
        0 => String::new(),
        more => format!("; {more} more fail"),
    };
    let TestRun { name, line, hook, expected, got, .. } = first;
    let message = format!(
        "test \"{name}\" ({text}:{line}) fails at {hook}: expected {}, got {}, decided by {}{more}",
        expected.word(),
        got.leaves.word(),
        got.by.words(text),
    );
    let failure = Failure::new("test-failed", message).exit(Exit::No);
    let failure = failure.at(Place { file: file.to_owned(), line: *line, column: 1 });
    let all = Command::new("qosbpf policy test").operand(file);
    // The file may have another text by now, with other tests.
    let all = if text == file { format!("{all} runs them all; ") } else { String::new() };
    Some(failure.hint(format!("nothing is changed; {all}--force goes on without them")).into())
}
