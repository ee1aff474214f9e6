//! What the other hooks of this router have counted meanwhile, where a verdict is no.

use super::{
    expectation::Expectation,
    moved::{Moved, Side},
    rules::Hit,
};
use crate::{
    cmd::site::{self, Site},
    command::Command,
    kernel::{
        counters,
        datapath::{Hook, Observed},
    },
    snapshot::{Counts, RuleCount},
};

/// The other hooks with what they, and their rules, had counted.
#[derive(Debug)]
pub struct Earlier<'a>(Vec<(&'a Hook, String, Counts, Vec<RuleCount>)>);

impl<'a> Earlier<'a> {
    /// Reads them; one that cannot be read has nothing to say.
    #[must_use]
    pub fn read(site: &'a Site, asked: &Hook) -> Self {
        let others = site.hooks.iter().filter(|hook| hook.pins != asked.pins && hook.running != Observed::Gone);
        let read = others.filter_map(|hook| {
            let name = site.hook_name(hook);
            Some((hook, name, counters::read(&hook.pins).ok()?, site::rules_of(hook).unwrap_or_default()))
        });
        Self(read.collect())
    }

    /// What they have counted since.
    #[must_use]
    pub fn moved(&self) -> Vec<Elsewhere<'_>> {
        let moved = self.0.iter().filter_map(|(hook, name, earlier, hits)| {
            let moved = Moved::between(earlier, &counters::read(&hook.pins).ok()?)?;
            let rules = Hit::between(hook, hits, &site::rules_of(hook).unwrap_or_default());
            Some(Elsewhere { hook: name.clone(), moved, rules, bypassed: hook.state.bypass.is_some() })
        });
        moved.collect()
    }
}

/// Another hook.
#[derive(Debug)]
pub struct Elsewhere<'a> {
    /// As `IFACE:DIR`.
    pub hook: String,
    /// What moved there.
    pub moved: Moved,
    /// The rules that were hit there.
    pub rules: Hit<'a>,
    /// Whether its policy is out of the path.
    pub bypassed: bool,
}

impl Elsewhere<'_> {
    /// What it says of expectations that are not met.
    #[must_use]
    pub fn hints<'e>(&self, unmet: impl Iterator<Item = &'e Expectation>) -> Vec<String> {
        let Self { hook, .. } = self;
        // Of all codepoints that nobody names it would say what is the same everywhere.
        let named = unmet.filter(|expectation| expectation.name != "other");
        let mut hints: Vec<_> = named.filter_map(|expectation| self.hint(expectation)).collect();
        if self.bypassed && self.moved.any() {
            hints.push(format!("{hook} is BYPASSED: {}", Command::new("qosbpf policy resume").operand(hook)));
        }
        hints
    }

    /// How many packets of an expectation were dropped there, if any were.
    #[must_use]
    pub fn dropped(&self, expectation: &Expectation) -> Option<String> {
        let packets: u64 = self.moved.dropped_of(expectation).map(|(_, packets)| packets).sum();
        (packets > 0).then(|| format!("{packets} were dropped at {}", self.hook))
    }

    fn hint(&self, expectation: &Expectation) -> Option<String> {
        let [before, after] = [Side::Before, Side::After].map(|side| self.moved.packets(expectation, side));
        let became = self.moved.away(expectation).map(|(to, packets)| format!(", {packets} became {to}"));
        let gone = self.moved.dropped_of(expectation);
        let gone = gone.map(|(dscp, packets)| format!(", {packets} dropped: {}", self.rules.dropper(dscp)));
        let (hook, name, went) = (&self.hook, &expectation.name, became.chain(gone).collect::<String>());
        (before > 0 || after > 0).then(|| format!("{hook} meanwhile: {name} before +{before}  after +{after}{went}"))
    }
}
