//! `doctor --json` and `why --json`.

use serde::Serialize;

use super::SCHEMA;
use crate::{
    VERSION,
    diagnosis::{Cure, Finding, Level, Report, Shell, exit},
    render::text::rfc3339,
};

/// The document of `doctor --json` and `why --json`.
#[must_use]
pub fn diagnosis(report: &Report) -> impl Serialize + '_ {
    Document {
        schema: SCHEMA,
        time: rfc3339(report.time),
        host: &report.host,
        netns: report.shell.invocation.netns.as_deref(),
        version: VERSION,
        about: report.about.as_deref(),
        summary: report.heading.as_deref(),
        fail: report.count(Level::Fail),
        warn: report.count(Level::Warn),
        unknown: report.count(Level::Unknown),
        exit: exit(&report.findings).code(),
        findings: report.findings.iter().map(|finding| FindingDocument::new(finding, &report.shell)).collect(),
        further: report.further.iter().filter_map(|cure| report.shell.command(cure)).collect(),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    time: String,
    host: &'a str,
    netns: Option<&'a str>,
    version: &'static str,
    about: Option<&'a str>,
    summary: Option<&'a str>,
    fail: usize,
    warn: usize,
    unknown: usize,
    exit: u8,
    findings: Vec<FindingDocument<'a>>,
    further: Vec<String>,
}

#[derive(Serialize)]
struct FindingDocument<'a> {
    subject: &'a str,
    level: Level,
    code: &'static str,
    text: &'a str,
    details: &'a [String],
    /// A command that works when typed in.
    cure: Option<String>,
    /// What helps where no command does.
    advice: Option<&'a str>,
}

impl<'a> FindingDocument<'a> {
    fn new(finding: &'a Finding, shell: &Shell) -> Self {
        Self {
            subject: &finding.subject,
            level: finding.level,
            code: finding.code,
            text: &finding.text,
            details: &finding.details,
            cure: finding.cure.as_ref().and_then(|cure| shell.command(cure)),
            advice: match &finding.cure {
                Some(Cure::Advice(advice)) => Some(advice),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{
        json::{Layout, document},
        sample,
    };

    #[test]
    fn the_document_is_as_promised() {
        insta::assert_snapshot!(document(&diagnosis(&sample::diagnosis()), Layout::Pretty).unwrap());
    }
}
