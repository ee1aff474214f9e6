//! `doctor --json` and `why --json`.

use serde::Serialize;

use super::SCHEMA;
use crate::{
    VERSION,
    diagnosis::{Cure, Detail, Finding, Level, Remedy, Report, Shell, TO_CHANGE, exit},
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
        summary: report.heading.as_deref().map(|heading| report.shell.told(heading)),
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
    summary: Option<String>,
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
    text: String,
    details: Vec<String>,
    /// A command that works when typed in, and ends what is wrong.
    cure: Option<String>,
    /// One that shows more.
    look: Option<String>,
    /// What helps where no command does.
    advice: Option<String>,
}

/// With what helps if that is it.
fn detail(Detail { text, cure }: &Detail, shell: &Shell) -> String {
    let text = shell.told(text);
    let Some(cure) = cure else { return text };
    match (cure, shell.command(cure)) {
        (Cure::Advice(advice), _) => format!("{text}; {}", shell.told(advice)),
        (Cure::Look(_), Some(command)) => format!("{text}; look: {command}"),
        (_, Some(command)) => format!("{text}; if so: {command}"),
        (_, None) => text,
    }
}

impl<'a> FindingDocument<'a> {
    fn new(finding: &'a Finding, shell: &Shell) -> Self {
        let remedy = finding.remedy();
        Self {
            subject: &finding.subject,
            level: finding.level,
            code: finding.code,
            text: shell.told(&finding.text),
            details: finding.details.iter().map(|detail| self::detail(detail, shell)).collect(),
            cure: match remedy {
                Some(Remedy::Cure(cure)) => shell.command(cure),
                _ => None,
            },
            look: match remedy {
                Some(Remedy::Look(cure)) => shell.command(cure),
                _ => None,
            },
            advice: match remedy {
                Some(Remedy::Advice(advice)) => Some(shell.told(advice)),
                Some(Remedy::Change(cure)) => shell.command(cure).map(|command| format!("{TO_CHANGE}{command}")),
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

    #[test]
    fn commands_in_its_texts_have_the_options_that_were_given() {
        let mut report = sample::diagnosis();
        report.shell.invocation.bpffs = Some("/b pf".to_owned());
        report.findings.truncate(1);
        report.findings[0].text = "qosbpf status shows it".to_owned();
        report.findings[0].details = vec!["or qosbpf doctor".to_owned().into()];
        report.findings[0].cure = Some(Cure::Advice("qosbpf policy explain lan0:ingress 'PACKET' says it".to_owned()));
        let found = &serde_json::to_value(diagnosis(&report)).unwrap()["findings"][0];
        let ours = "qosbpf --netns edge --bpffs '/b pf'";
        assert_eq!(found["text"], format!("{ours} status shows it"));
        assert_eq!(found["details"][0], format!("or {ours} doctor"));
        assert_eq!(found["advice"], format!("{ours} policy explain lan0:ingress 'PACKET' says it"));
    }
}
