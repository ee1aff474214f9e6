//! What `doctor` and `why` have found, and its cure typed into a shell.

use std::{env, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::binary::{self, Answer};

/// The findings of a document, but those that all is well.
///
/// # Errors
///
/// That it is no such document, or says another exit code than it ended with.
pub fn findings(answer: &Answer) -> anyhow::Result<Vec<Value>> {
    let document = answer.json()?;
    ensure!(document["schema"] == 1 && document["exit"] == answer.code, "{document:#}");
    let findings = document["findings"].as_array().context("findings")?;
    Ok(findings.iter().filter(|finding| finding["level"] != "ok").cloned().collect())
}

/// The finding of a code at a subject.
///
/// # Errors
///
/// That there is none.
pub fn find(answer: &Answer, subject: &str, code: &str) -> anyhow::Result<Value> {
    let found = findings(answer)?;
    let found = found.into_iter().find(|finding| finding["subject"] == subject && finding["code"] == code);
    found.with_context(|| format!("no {code} at {subject} in {}", answer.stdout))
}

/// Whether a document has a finding of a code.
///
/// # Errors
///
/// Those of [`findings`].
pub fn has(answer: &Answer, code: &str) -> anyhow::Result<bool> {
    Ok(findings(answer)?.iter().any(|finding| finding["code"] == code))
}

/// Types the cure of a finding in, or what changes what is no fault, or shows more, with `tools` before everything else in the path.
///
/// # Errors
///
/// That there is none, or it does not work.
pub fn type_in(finding: &Value, tools: Option<&Path>) -> anyhow::Result<Answer> {
    let change = finding["advice"].as_str().and_then(|advice| advice.strip_prefix("to change that: "));
    let cure = finding["cure"].as_str().or(finding["look"].as_str()).or(change);
    let cure = cure.with_context(|| format!("no command in {finding:#}"))?;
    let answer = shell(cure, tools)?;
    ensure!(answer.code == 0, "{cure}: {answer:?}");
    Ok(answer)
}

/// Types the command of ours in at which a text ends; it has to work.
///
/// # Errors
///
/// That there is none, or it does not work.
pub fn last_command(text: &str) -> anyhow::Result<Answer> {
    let command =
        text.rsplit(": ").find(|part| part.starts_with("qosbpf ") && text.trim_end().ends_with(part.trim_end()));
    let command = command.with_context(|| format!("no command at the end of: {text}"))?;
    let answer = shell(command.trim_end(), None)?;
    ensure!(answer.code == 0, "{command}: {answer:?}");
    Ok(answer)
}

/// A line typed into a shell in which `qosbpf` is the binary of the tests.
///
/// # Errors
///
/// That there is no binary or no shell.
pub fn shell(line: &str, tools: Option<&Path>) -> anyhow::Result<Answer> {
    let binary = binary::path()?;
    let ours = binary.parent().context("a folder")?.display().to_string();
    let path = [tools.map(|tools| tools.display().to_string()), Some(ours), Some(env::var("PATH")?)];
    let path: Vec<_> = path.into_iter().flatten().collect();
    // The shell of busybox takes its own `ip` for any other.
    let shell = if Path::new("/bin/bash").exists() { "bash" } else { "sh" };
    Answer::of(Command::new(shell).args(["-c", line]).env("PATH", path.join(":")).env("LC_ALL", "C.UTF-8"))
}
