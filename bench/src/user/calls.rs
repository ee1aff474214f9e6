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
    let metered = desk.file("metered.toml", METERED)?;
    desk.time(&["attach", "lan0", "--ingress", "--policy", &metered])?;
    let ruled = follow(&desk.command(&["stats", "--json"]))?;
    desk.time(&["detach", "--all"])?;
    let count = |name: String, calls: u32| once(name, "", f64::from(calls));
    facts.push(count("system calls of `stats --json`".to_owned(), stats.calls));
    facts.push(count("system calls of `stats --json` that are bpf(2)".to_owned(), stats.bpf));
    // A hook's state and the policy lie in maps of one value, which everybody has to read who wants to know of it.
    let mut amiss = 0;
    for (what, trace, wanted) in [("a table", &stats, TABLE), ("a meter", &ruled, METER)] {
        for (map, wanted) in wanted {
            let calls = trace.lookups.get(map).copied().unwrap_or(0);
            amiss += calls.abs_diff(wanted);
            facts
                .push(count(format!("of these, of a hook with {what}, that read map {map} of {wanted} values"), calls));
        }
    }
    facts.push(count(READS.to_owned(), amiss));
    Ok(facts)
}

/// A policy whose hook has all maps with counters.
const METERED: &str = "version = 1\nname = \"m\"\n[[rule]]\nname = \"metered\"\non = \"lan0:ingress\"\n\
                       meter = { type = \"trtcm\", cir = \"8mbit\", cbs = \"10kB\", pir = \"16mbit\", pbs = \"10kB\" }\n";

/// The maps with counters, by how many values a hook has of each: one system call reads one value of all CPUs. A hook that
/// never had rules has none for them.
const TABLE: [(&str, u32); 4] = [("COUNTERS", 1), ("REMARKED", 2), ("RULES", 0), ("COLORS", 0)];
const METER: [(&str, u32); 4] = [("COUNTERS", 1), ("REMARKED", 2), ("RULES", 2), ("COLORS", 1)];
