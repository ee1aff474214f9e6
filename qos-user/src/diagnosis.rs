//! What hinders qosbpf on this host, as findings: pure functions of what was read of kernel, devices and other tools.
//!
//! `doctor` asks about the host and its interfaces, `why` about one hook; both use the same knowledge. Who reads is
//! `kernel/`; how it looks is in `render/`.

mod address;
mod barred;
mod bypass;
mod cure;
pub mod facts;
mod host;
pub mod iptables;
mod link;
mod marks;
mod merging;
pub mod nft;
pub mod outside;
mod port;
mod programs;
mod share;
mod strays;
pub mod tc;
#[cfg(test)]
mod testing;
mod twice;
mod unseen;
mod wash;
pub mod why;

use std::{collections::BTreeSet, time::SystemTime};

use serde::Serialize;

use self::{facts::Ground, outside::Outside};
use crate::{error::Exit, hook::Direction};

pub use crate::command::Command;

pub use self::{
    cure::Shell,
    host::{host, version},
    merging::obstacle,
    port::{has_outgrown, hides_headers},
    share::{Sample, dropped, share},
};

/// A rule of ours that looks at an address which is another one at its hook, if it is one.
#[must_use]
pub fn translated_address(
    interface: &str,
    direction: Direction,
    rule: &crate::rules::model::Rule,
    outside: &Outside,
) -> Option<Finding> {
    address::translated_rule(interface, direction, rule, outside)
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// To know.
    Info,
    /// It could not be asked.
    Unknown,
    /// Something counts or marks otherwise than one would think.
    Warn,
    /// Something does not work.
    Fail,
}

/// What helps, and where it is typed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// A command of another tool, in the network namespace that was asked about.
    There(Command),
    /// A command of another tool, about the whole host.
    Host(Command),
    /// A command of qosbpf, without its name and global options.
    Own(Command),
    /// The same, for whoever is not root and may become it.
    Privileged(Command),
    /// A command that changes nothing and shows more.
    Look(Box<Self>),
    /// No command: what to change in a policy or a setting.
    Advice(String),
}

impl Cure {
    /// A command of another tool that only shows more, in the network namespace that was asked about.
    #[must_use]
    pub fn look(command: Command) -> Self {
        Self::Look(Box::new(Self::There(command)))
    }

    /// A command of ours that only shows more.
    #[must_use]
    pub fn ask(command: Command) -> Self {
        Self::Look(Box::new(Self::Own(command)))
    }

    /// Our hook at an interface.
    #[must_use]
    pub fn attach(interface: &str, direction: Direction) -> Self {
        Self::Own(Command::new("attach").word(format_args!("--{direction}")).operand(interface))
    }
}

/// What belongs to a finding, a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// What is so.
    pub text: String,
    /// What helps if this is it; nothing where the finding's own cure does.
    pub cure: Option<Cure>,
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self { text, cure: None }
    }
}

/// Before the command that changes what is no fault.
pub const TO_CHANGE: &str = "to change that: ";

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `host`, an interface, or a hook.
    pub subject: String,
    /// How much it matters.
    pub level: Level,
    /// A stable word for scripts.
    pub code: &'static str,
    /// What is so, and what it means.
    pub text: String,
    /// What belongs to it, a line each: suspects, numbers.
    pub details: Vec<Detail>,
    /// What helps.
    pub cure: Option<Cure>,
}

impl Finding {
    fn new(level: Level, subject: &str, code: &'static str, text: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), level, code, text: text.into(), details: Vec::new(), cure: None }
    }

    fn ok(subject: &str, code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Ok, subject, code, text)
    }

    /// Something to know.
    #[must_use]
    pub fn info(subject: &str, code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Info, subject, code, text)
    }

    /// Something that could not be asked.
    #[must_use]
    pub fn unknown(subject: &str, code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Unknown, subject, code, text)
    }

    /// Something counts or marks otherwise than one would think.
    #[must_use]
    pub fn warn(subject: &str, code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Warn, subject, code, text)
    }

    /// Something that does not work.
    #[must_use]
    pub fn fail(subject: &str, code: &'static str, text: impl Into<String>) -> Self {
        Self::new(Level::Fail, subject, code, text)
    }

    /// The same with what helps.
    #[must_use]
    pub fn cure(mut self, cure: Cure) -> Self {
        self.cure = Some(cure);
        self
    }

    /// The same with what helps, if anything does.
    fn cures(self, cure: Option<Cure>) -> Self {
        Self { cure, ..self }
    }

    /// The same with what belongs to it.
    #[must_use]
    pub fn details(mut self, details: impl IntoIterator<Item = impl Into<Detail>>) -> Self {
        self.details.extend(details.into_iter().map(Into::into));
        self
    }
}

/// What is said to help, by what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy<'a> {
    /// It ends what is wrong.
    Cure(&'a Cure),
    /// It changes what is no fault, and may be meant.
    Change(&'a Cure),
    /// It shows more.
    Look(&'a Cure),
    /// No command.
    Advice(&'a str),
}

impl Finding {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy<'_>> {
        Some(match self.cure.as_ref()? {
            Cure::Advice(advice) => Remedy::Advice(advice),
            Cure::Look(cure) => Remedy::Look(cure),
            cure if self.level <= Level::Info => Remedy::Change(cure),
            cure => Remedy::Cure(cure),
        })
    }
}

/// Everything that `doctor` or `why` says.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it was asked.
    pub time: SystemTime,
    /// This host's name.
    pub host: String,
    /// What was asked about: an interface, a hook, and a codepoint or rule there.
    pub about: Option<String>,
    /// What is to be said above the findings.
    pub heading: Option<String>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Commands that show more.
    pub further: Vec<Cure>,
    /// Where cures are typed in.
    pub shell: Shell,
}

impl Report {
    /// The same on a host that may lack tools.
    #[must_use]
    pub fn with_tools(mut self, is_installed: &dyn Fn(&str) -> bool) -> Self {
        let shell = &self.shell;
        for finding in &mut self.findings {
            let cures = finding.details.iter_mut().map(|detail| &mut detail.cure).chain([&mut finding.cure]);
            cures.for_each(|cure| *cure = cure.take().map(|cure| shell.with_tools(cure, is_installed)));
        }
        self
    }

    /// How many findings are of a level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }
}

/// 3 if something is wrong, else 4 if something could not be asked.
#[must_use]
pub fn exit(findings: &[Finding]) -> Exit {
    match findings.iter().map(|finding| finding.level).max() {
        Some(Level::Fail | Level::Warn) => Exit::No,
        Some(Level::Unknown) => Exit::Unknown,
        _ => Exit::Done,
    }
}

/// What is found at some interfaces, by interface.
#[must_use]
pub fn interfaces(ground: &Ground, names: &BTreeSet<String>, outside: &Outside) -> Vec<Finding> {
    let mut findings = Vec::new();
    for port in ground.ports.iter().filter(|port| names.contains(&port.device.name)) {
        findings.extend(link::state(port, link::weight(port, names.len() == 1)));
        findings.extend(port::device(port, ground));
        findings.extend(programs::foreign(port));
        findings.extend(strays::found(port, ground));
        findings.extend(programs::other_version(port));
        findings.extend(programs::interpreted(port));
        findings.extend(barred::clsact(port, ground));
        findings.extend(bypass::policies(port));
        findings.extend(bypass::flowtables(&port.device.name, outside));
        findings.extend(bypass::hardware(port));
        findings.extend(twice::counted_twice(port, ground));
        findings.extend(marks::on_the_wire(port, ground));
        findings.extend(marks::run_by_tc(port));
        findings.extend(address::translated(port, outside));
    }
    let ports = ground.ports.iter().map(|port| port.device.name.as_str());
    let chosen: Vec<&str> = ports.filter(|name| names.contains(*name)).collect();
    findings.extend(marks::inside(&chosen, ground, outside));
    findings
}

/// What is found about the whole network namespace.
#[must_use]
pub fn namespace(ground: &Ground, outside: &Outside) -> Vec<Finding> {
    let mut findings = outside.unanswered();
    findings.extend(marks::routed_by_mark(ground));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_counts_more_than_what_is_not_known() {
        let [ok, unknown, warn] = [Level::Ok, Level::Unknown, Level::Warn].map(|level| Finding::new(level, "", "", ""));
        assert_eq!(exit(&[]), Exit::Done);
        assert_eq!(exit(std::slice::from_ref(&ok)), Exit::Done);
        assert_eq!(exit(&[ok.clone(), unknown.clone()]), Exit::Unknown);
        assert_eq!(exit(&[warn, unknown, ok]), Exit::No);
    }
}
