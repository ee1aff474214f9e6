//! Which rules were hit meanwhile, and which of them can have done something.

use qos_common::ds::Dscp;

use crate::{kernel::datapath::Hook, rules::model::Rule, snapshot::RuleCount};

/// The rules of a hook that were hit, and the file that they are in.
#[derive(Clone, Debug, Default)]
pub struct Hit<'a> {
    rules: Vec<&'a Rule>,
    file: &'a str,
}

impl<'a> Hit<'a> {
    /// Those that have counted between two readings of one attachment.
    #[must_use]
    pub fn between(hook: &'a Hook, earlier: &'a [RuleCount], later: &[RuleCount]) -> Self {
        let both = earlier.iter().zip(later);
        let hit = both.filter(|(then, now)| now.counted.packets > then.counted.packets);
        Self { rules: hit.map(|(then, _)| &then.rule).collect(), file: file_of(hook) }
    }

    /// The first that can have done it.
    #[must_use]
    pub fn by(&self, can: impl Fn(&Rule) -> bool) -> Option<String> {
        let rule = self.rules.iter().find(|rule| can(rule))?;
        Some(format!("rule \"{}\" ({}:{})", rule.name, self.file, rule.line))
    }

    /// What has dropped packets of a codepoint: only a rule drops.
    #[must_use]
    pub fn dropper(&self, dscp: Dscp) -> String {
        self.by(|rule| rule.may_drop(dscp)).unwrap_or_else(|| "by a rule that is no longer in force".to_owned())
    }
}

/// The file of the policy that a hook runs.
#[must_use]
pub fn file_of(hook: &Hook) -> &str {
    hook.state.binding.as_ref().map_or("policy", |binding| binding.policy.file.as_str())
}
