//! `doctor` and `why`: a line for each finding, and what helps.

use std::{collections::BTreeSet, fmt::Write as _};

use crate::{
    diagnosis::{Cure, Detail, Finding, Level, Remedy, Report, Shell, TO_CHANGE, exit},
    render::{
        Look,
        screen::Screen,
        text::{self, rfc3339, width},
    },
};

/// Before the command that helps if one of several things is it.
const IF_THAT_IS_IT: &str = "if so: ";

/// Before a command that changes nothing.
const TO_LOOK: &str = "look: ";

/// The screen of `doctor`.
#[must_use]
pub fn doctor(report: &Report, look: &Look) -> String {
    let mut screen = Screen::default();
    let shown: Vec<_> = report.findings.iter().filter(|finding| !look.quiet || finding.level > Level::Ok).collect();
    let widest = shown.iter().map(|finding| width(&subject(finding))).max().unwrap_or_default();
    for finding in shown {
        let lead = format!("{:widest$}  {:4}  ", subject(finding), word(finding.level));
        told(&mut screen, finding, &lead, &report.shell);
    }
    screen.line(&summary(report));
    let foot = "--json for machines; --fix-script prints the cures as a shell script.";
    screen.footnote(look, foot);
    screen.finish(look)
}

/// The screen of `why`.
#[must_use]
pub fn why(report: &Report, look: &Look) -> String {
    let mut screen = Screen::default();
    report.heading.iter().for_each(|heading| screen.heading(heading));
    for finding in report.findings.iter().filter(|finding| !look.quiet || finding.level > Level::Ok) {
        let lead = format!(" {:5} ", fault_word(finding.level));
        told(&mut screen, finding, &lead, &report.shell);
    }
    if !look.quiet {
        let further = report.further.iter().filter_map(|cure| report.shell.command(cure));
        further.for_each(|command| screen.command(false, " try   ", &command));
    }
    screen.finish(look)
}

fn told(screen: &mut Screen, finding: &Finding, lead: &str, shell: &Shell) {
    let urgent = finding.level >= Level::Warn;
    screen.told(urgent, lead, &finding.text);
    let margin = " ".repeat(width(lead));
    for Detail { text, cure } in &finding.details {
        screen.told(urgent, &margin, text);
        match cure {
            // No command, and not to be pasted.
            Some(Cure::Advice(advice)) => screen.told(urgent, &format!("{margin}  advice: "), advice),
            Some(cure) => {
                let lead = if matches!(cure, Cure::Look(_)) { TO_LOOK } else { IF_THAT_IS_IT };
                typed(screen, urgent, &format!("{margin}  {lead}"), cure, shell);
            }
            None => {}
        }
    }
    match finding.remedy() {
        Some(Remedy::Advice(advice)) => screen.told(urgent, &format!("{margin}advice: "), advice),
        Some(Remedy::Change(cure)) => typed(screen, urgent, &format!("{margin}advice: {TO_CHANGE}"), cure, shell),
        Some(Remedy::Look(cure)) => typed(screen, urgent, &format!("{margin}{TO_LOOK}"), cure, shell),
        Some(Remedy::Cure(cure)) => typed(screen, urgent, &format!("{margin}cure: "), cure, shell),
        None => {}
    }
}

fn typed(screen: &mut Screen, urgent: bool, lead: &str, cure: &Cure, shell: &Shell) {
    shell.command(cure).iter().for_each(|command| screen.command(urgent, lead, command));
}

fn subject(finding: &Finding) -> String {
    text::shorten(&finding.subject, 23)
}

const fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "OK",
        Level::Info => "INFO",
        Level::Unknown => "?",
        Level::Warn => "WARN",
        Level::Fail => "FAIL",
    }
}

const fn fault_word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Info => "note",
        Level::Unknown => "?",
        Level::Warn | Level::Fail => "FAULT",
    }
}

fn summary(report: &Report) -> String {
    let counted = [Level::Fail, Level::Warn, Level::Unknown].map(|level| (report.count(level), level));
    let words: Vec<_> = counted
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, level)| match level {
            Level::Unknown => format!("{count} not known"),
            level => format!("{count} {}", word(*level)),
        })
        .collect();
    let words = if words.is_empty() { "nothing is wrong".to_owned() } else { words.join(", ") };
    format!("{words}: exit {}.", exit(&report.findings).code())
}

/// The cures of what is wrong, as a shell script.
#[must_use]
pub fn fix_script(report: &Report) -> String {
    let mut script = format!(
        "#!/bin/sh\n# What qosbpf doctor found on {} at {}. Read each line before you run it: some take away\n\
         # what others have set up.\n",
        text::one_line(&report.host),
        rfc3339(report.time)
    );
    let mut written = BTreeSet::new();
    for finding in report.findings.iter().filter(|finding| finding.level >= Level::Warn) {
        let said = format!("{} {}: {}", finding.subject, word(finding.level), finding.text);
        let _infallible = writeln!(script, "\n# {}", text::one_line(&report.shell.told(&said)));
        let cure = finding.cure.as_ref().and_then(|cure| line(cure, &report.shell));
        let cure = cure.unwrap_or_else(|| "# no command helps".to_owned());
        // A rule that is about two interfaces is found at both, and there is only one to take away.
        let is_new = cure.starts_with('#') || written.insert(cure.clone());
        let line = if is_new { cure } else { "# as above".to_owned() };
        let _infallible = writeln!(script, "{line}");
    }
    script
}

/// Advice, what only shows more, and what another shell has to run, are comments.
fn line(cure: &Cure, shell: &Shell) -> Option<String> {
    match cure {
        Cure::Look(cure) => shell.command(cure).map(|command| format!("# {TO_LOOK}{command}")),
        Cure::Advice(advice) => Some(format!("# {}", text::one_line(&shell.told(advice)))),
        Cure::Privileged(_) => shell.command(cure).map(|command| format!("# in another shell: {command}")),
        cure => shell.command(cure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::Command,
        error::Exit,
        render::{sample, screen::WIDTH},
    };

    #[test]
    fn the_screens() {
        let look = sample::look();
        insta::assert_snapshot!("doctor", doctor(&sample::diagnosis(), &look));
        insta::assert_snapshot!("why", why(&sample::diagnosis(), &look));
        insta::assert_snapshot!("fix_script", fix_script(&sample::diagnosis()));
    }

    #[test]
    fn lines_fit_and_quiet_leaves_out_what_is_well() {
        let mut report = sample::diagnosis();
        report.findings.iter_mut().for_each(|finding| finding.text = "word ".repeat(60));
        let text = doctor(&report, &sample::look());
        let explained = || text.lines().filter(|line| !line.contains("cure: "));
        assert!(explained().count() > 10 && explained().all(|line| width(line) <= WIDTH), "{text}");
        let quiet = Look { quiet: true, ..sample::look() };
        assert!(!doctor(&report, &quiet).contains("OK  "));
        assert_eq!(exit(&report.findings), Exit::No);
    }

    #[test]
    fn a_command_is_one_line_however_long_it_is() {
        let mut report = sample::diagnosis();
        let rule = Command::new("iptables -t mangle -D FORWARD");
        let long = (0..20).fold(rule, |rule, _| rule.words("-m comment --comment x")).words("-j DSCP");
        report.findings.iter_mut().for_each(|finding| finding.cure = Some(Cure::Host(long.clone())));
        report.findings.iter_mut().for_each(|finding| finding.level = Level::Warn);
        report.further = vec![Cure::Host(long.clone())];
        let (doctor, why) = (doctor(&report, &sample::look()), why(&report, &sample::look()));
        let lines =
            |text: &str, lead: &str| text.lines().filter(|line| line.ends_with(&format!("{lead}{long}"))).count();
        assert_eq!(lines(&doctor, "cure: "), report.findings.len());
        assert_eq!((lines(&why, "cure: "), lines(&why, " try   ")), (report.findings.len(), 1));
    }

    #[test]
    fn what_is_found_twice_is_taken_away_once() {
        let mut report = sample::diagnosis();
        let found = report.findings.last().cloned().unwrap();
        report.findings.push(Finding { subject: "lan0".to_owned(), ..found });
        let script = fix_script(&report);
        assert_eq!(script.matches("nft delete rule inet q p handle 4").count(), 1, "{script}");
        assert!(script.contains("# lan0 WARN: EF is lost inside this router\n# as above\n"), "{script}");
    }
}
