//! The packets of one family. Those that came are told apart by the counters, and so is what left, but for what our policy
//! made of others.

use qos_common::{abi::Counter, ds::Dscp};

use crate::snapshot::Hook;

/// What they are called.
pub(super) const NAMES: [&str; 2] = ["IPv4", "IPv6"];

/// Which of the two are meant.
pub(super) type Families = [bool; 2];

/// Both.
pub(super) const BOTH: Families = [true; 2];

/// One of them.
pub(super) const fn only(family: usize) -> Families {
    [family == 0, family == 1]
}

/// How many packets came with these codepoints.
pub(super) fn before(hook: &Hook, dscps: &[Dscp], families: Families) -> u64 {
    let Ok(counts) = &hook.counts else { return 0 };
    let of = |family: usize| [&counts.sums.kept, &counts.sums.changed].map(|sums| with(&sums[family], dscps));
    meant(families).flat_map(of).sum()
}

/// How many left with them: of one family no more.
pub(super) fn after(hook: &Hook, dscps: &[Dscp], families: Families) -> u64 {
    let Ok(counts) = &hook.counts else { return 0 };
    let kept: u64 = meant(families).map(|family| with(&counts.sums.kept[family], dscps)).sum();
    kept + made(hook, dscps)
}

/// How many came with other codepoints.
pub(super) fn others(hook: &Hook, dscps: &[Dscp], families: Families) -> u64 {
    let others: Vec<Dscp> = Dscp::all().filter(|dscp| !dscps.contains(dscp)).collect();
    before(hook, &others, families)
}

/// How many our policy made of others, of whichever family.
pub(super) fn made(hook: &Hook, dscps: &[Dscp]) -> u64 {
    let Ok(counts) = &hook.counts else { return 0 };
    counts.changes().filter(|(_, to, _)| dscps.contains(to)).map(|(_, _, amount)| amount.packets).sum()
}

fn meant(families: Families) -> impl Iterator<Item = usize> {
    [0, 1].into_iter().filter(move |family: &usize| families[*family])
}

/// Those of some codepoints, with any ECN.
fn with(by_ds: &[Counter], dscps: &[Dscp]) -> u64 {
    let bytes = dscps.iter().flat_map(|dscp| (0..4).map(move |ecn| usize::from(dscp.value() << 2 | ecn)));
    bytes.filter_map(|ds| by_ds.get(ds)).map(|counter| counter.packets).sum()
}
