//! Reading the counters for `stats`, once or again and again.

use super::{
    Context,
    site::{self, Site},
};
use crate::{
    cli::StatsFormat,
    hook::HookName,
    render::{csv, json, prometheus},
    snapshot::Snapshot,
};

/// The document of a machine format: always since attach.
///
/// # Errors
///
/// That it has no form in JSON, which none has.
pub fn machine(
    format: &StatsFormat,
    snapshot: &Snapshot,
    layout: json::Layout,
    context: &Context,
) -> anyhow::Result<String> {
    match format {
        StatsFormat { csv: true, .. } => Ok(csv::stats(snapshot)),
        StatsFormat { prometheus: true, .. } => Ok(prometheus::stats(snapshot, crate::REVISION)),
        _ => json::document(&json::stats(snapshot, &context.invocation()), layout),
    }
}

/// The counters as the terminal shows them: since `stats clear`, where that was given.
///
/// # Errors
///
/// `not-attached`, and pins that are foreign or not readable.
pub fn since_cleared(hooks: &[HookName], context: &Context) -> anyhow::Result<Snapshot> {
    let site = Site::read(context)?;
    let mut snapshot = site.snapshot(hooks, context)?;
    let selected = site.select(hooks)?;
    for shown in &mut snapshot.hooks {
        // One that was detached meanwhile is in one list and not in the other.
        let baseline = selected.iter().find(|hook| hook.is_at(shown.ifindex, shown.direction)).copied();
        if let Some(cleared) = baseline.and_then(site::baseline).and_then(|baseline| shown.since(&baseline)) {
            *shown = cleared;
        }
    }
    Ok(snapshot)
}
