//! System calls of commands, and the most memory that they have.

use super::{A, B, Desk, once, traced::follow};
use crate::report::Fact;

/// The name of a fact that a goal asks for.
pub const READS: &str =
    "system calls of `stats --json` that are too many or too few to read each entry of its counters once";

/// Follows `stats` of one hook, and other commands for their memory.
pub(super) fn measure(desk: &Desk<'_>) -> anyhow::Result<Vec<Fact>> {
    let (a, b) = (desk.file("a.toml", A)?, desk.file("b.toml", B)?);
    let mut facts = Vec::new();
    let mut memory = |name: &str, peak| facts.push(once(format!("memory: most of `{name}`"), "MiB", peak));
    memory("--version", follow(&desk.command(&["--version"]))?.peak);
    memory("attach", follow(&desk.command(&["attach", "lan0", "--ingress", "--policy", &a]))?.peak);
    let stats = follow(&desk.command(&["stats", "--json"]))?;
    memory("stats --json", stats.peak);
    memory("policy apply", follow(&desk.command(&["policy", "apply", &b]))?.peak);
    memory("detach", follow(&desk.command(&["detach", "--all"]))?.peak);
    let count = |name: String, calls: u32| once(name, "", f64::from(calls));
    facts.push(count("system calls of `stats --json`".to_owned(), stats.calls));
    facts.push(count("system calls of `stats --json` that are bpf(2)".to_owned(), stats.bpf));
    // A hook's state and the policy lie in maps of one value, which everybody has to read who wants to know of it.
    let read = |map: &str| stats.lookups.get(map).copied().unwrap_or(0);
    facts.push(count(READS.to_owned(), COUNTERS.iter().map(|(map, wanted)| read(map).abs_diff(*wanted)).sum()));
    let each = |(map, wanted): &(&str, u32)| {
        count(format!("system calls of `stats --json` that read map {map}, of {wanted} entries"), read(map))
    };
    facts.extend(COUNTERS.iter().map(each));
    Ok(facts)
}

/// The maps with counters, and how many entries each has: one system call reads one entry of all CPUs.
const COUNTERS: [(&str, u32); 4] = [("COUNTERS", 1), ("REMARKED", 2), ("RULES", 2), ("COLORS", 1)];
