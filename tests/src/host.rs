//! A hook on the host: the data path as plain Rust, with the same specialisation as a loaded program.

use qos_common::{abi::Counters, policy::Table};
use qos_vectors::hook::{Arrival, Hook, HookRules};
use qosbpf::{kernel::object::Specialisation, rules::RuleTables, snapshot::Counts};

/// The data path in memory.
#[derive(Clone, Debug)]
pub struct Host(Hook);

impl Host {
    /// A hook that has seen nothing yet.
    #[must_use]
    pub fn new(wanted: &Specialisation) -> Self {
        Self(hook(wanted))
    }

    /// Hands it a frame and returns it as it left.
    pub fn receive(&mut self, frame: &[u8], arrival: &Arrival) -> Vec<u8> {
        let mut frame = frame.to_vec();
        self.0.receive(&mut frame[..], arrival);
        frame
    }

    /// What it has counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let sums = self.0.counters.clone().unwrap_or_else(|| Box::new(Counters::ZERO));
        let mut counts = Counts { sums, ..Counts::zero() };
        for (rows, half) in counts.remarked.as_chunks_mut().0.iter_mut().zip(&self.0.remarked) {
            *rows = half.0;
        }
        timeless(counts)
    }
}

/// The same as a hook that can be looked into.
#[must_use]
pub fn hook(wanted: &Specialisation) -> Hook {
    let table = wanted.table.unwrap_or(Table::IDENTITY);
    let by_rules = wanted.rules.as_ref().is_some_and(|rules| rules.remarks);
    let remarks = by_rules || table.changes_anything() || wanted.outer.is_some();
    let hook = Hook::new(wanted.link, table);
    let rules = wanted.rules.as_deref().map_or_else(|| hook.rules.clone(), rules);
    Hook { local: wanted.local, inside: wanted.inside, outer: wanted.outer, remarks, rules, ..hook }
}

fn rules(tables: &RuleTables) -> HookRules {
    let RuleTables { plan, asked, pages, rows, records, meters, .. } = tables.clone();
    HookRules::new(plan, asked, pages, rows, records, meters)
}

/// Counters of which the time of the last frame is 1 if there was one: the one thing in which host and kernel differ.
#[must_use]
pub fn timeless(mut counts: Counts) -> Counts {
    counts.sums.last = u64::from(counts.sums.last != 0);
    counts
}
