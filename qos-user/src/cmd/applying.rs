//! The command that puts a policy in force from a file, as it is accepted: `policy apply` leaves no hook out in silence.

use std::{fmt, path::Path};

use super::{
    policy::plan::{self, Effect},
    site::Site,
};
use crate::{
    cli::ApplyOptions,
    command::Command,
    diagnosis::Cure,
    kernel::{
        datapath::Hook,
        past::{self, Past},
    },
    policy::Policy,
};

/// A command, and what it takes away beside what it is for.
#[derive(Clone, Debug)]
pub struct Applying {
    /// Without the name of the program.
    command: Command,
    /// The hooks that would lose their policies.
    losing: Option<String>,
}

impl Applying {
    /// What puts the policy in force at hooks that run without it; `None` if neither a file that is known here nor the history
    /// has it.
    fn again(site: &Site) -> Option<Self> {
        let in_force = site.policy.as_ref()?;
        let remembered = || Self::remembered(site, &in_force.policy);
        site.file_of(in_force).map(|file| Self::of(site, &in_force.policy, &file, "")).or_else(remembered)
    }

    /// The same of a policy that came from stdin, or from a file that says something else by now.
    fn remembered(site: &Site, policy: &Policy) -> Option<Self> {
        let past = past::all(&site.store).ok()?;
        let Past { number, .. } = past.into_iter().rfind(|past| past.policy.hash == policy.hash())?;
        let items = plan::plan(&ApplyOptions::default(), site, policy);
        let command = Command::new("policy rollback").operand(number);
        Some(Self { command, losing: plan::with(&items, Effect::Lost) })
    }

    /// The same of a policy that is in no hook yet, which is attached where it binds hooks.
    #[must_use]
    pub fn attaching(site: &Site, policy: &Policy, file: &Path) -> Self {
        Self::of(site, policy, file, "--attach")
    }

    fn of(site: &Site, policy: &Policy, file: &Path, option: &'static str) -> Self {
        let items = plan::plan(&ApplyOptions::default(), site, policy);
        let prune = if plan::needs_prune(&items) { "--prune" } else { "" };
        let command = Command::new("policy apply").words(option).words(prune).operand(file.display());
        Self { command, losing: plan::with(&items, Effect::Lost) }
    }

    /// The same as a finding has it: whoever asks decides whether hooks are to lose their policies.
    #[must_use]
    pub fn cure(self) -> Cure {
        match self.losing {
            None => Cure::Own(self.command),
            Some(_) => Cure::Advice(self.to_string()),
        }
    }
}

impl fmt::Display for Applying {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hooks) = &self.losing {
            write!(out, "the policy leaves out {hooks}, and what it leaves out loses its policy: ")?;
        }
        Command::new("qosbpf").followed_by(self.command.clone()).fmt(out)
    }
}

/// What puts the policy in force at a hook that runs without it, in words; where none is, what ends the one that runs there.
#[must_use]
pub fn again(site: &Site, hook: &Hook) -> String {
    match Applying::again(site) {
        Some(applying) => applying.to_string(),
        None if site.has_policy() => "apply it again".to_owned(),
        None => Command::new("qosbpf detach").operand(site.hook_name(hook)).to_string(),
    }
}

/// The same as findings have it; `None` if no policy is in force.
#[must_use]
pub fn cure(site: &Site) -> Option<Cure> {
    let in_force = site.policy.as_ref()?;
    let (name, file) = (in_force.policy.name(), &in_force.record.file);
    let advice = || Cure::Advice(format!("apply policy {name} again, which came from {file}"));
    Some(Applying::again(site).map_or_else(advice, Applying::cure))
}
