//! The lines under `stats HOOK`: what is not in the table, what others counted, and what the numbers mean.

use crate::{
    hook::Direction,
    render::{Look, screen::Screen, text::count},
    snapshot::{Counts, Device, Hook},
};

/// Adds them.
pub fn foot(screen: &mut Screen, hook: &Hook, counts: &Counts, look: &Look) {
    let [not_ip, malformed] = counts.sums.uncounted.map(|counter| count(counter.packets));
    let [fragments, chains] = counts.sums.limited.map(|counter| count(counter.packets));
    screen.line(&format!(
        "not IP {not_ip}   malformed {malformed}   limits: later fragments {fragments}, header chain too long {chains}"
    ));
    let protected = counts.sums.protected.packets;
    if protected > 0 {
        screen.line(&format!("protected {} (made by this host, kept from the policy)", count(protected)));
    }
    others(screen, hook, counts);
    screen.footnote(look, meaning(hook));
    let sees = hook.via.tcpdump_sees(hook.direction).to_uppercase();
    screen.footnote(look, &format!("tcpdump on this host sees {sees}."));
}

/// The device's and the qdisc's own counters, and how much of it we have seen.
fn others(screen: &mut Screen, hook: &Hook, counts: &Counts) {
    let mut parts = Vec::new();
    if let Some(device) = &hook.device {
        let verb = if hook.direction == Direction::Egress { "sent" } else { "received" };
        let dropped = if device.drops > 0 { format!(", {} dropped", count(device.drops)) } else { String::new() };
        parts.push(format!("device: {} {verb}{dropped}", count(device.packets)));
    }
    if let Some(qdisc) = &hook.qdisc {
        parts.push(format!("qdisc {}: {} dropped after our count", qdisc.kind, count(qdisc.drops)));
    }
    parts.extend(hook.device.as_ref().and_then(|device| seen_by_us(hook, device, counts)));
    if !parts.is_empty() {
        screen.line(&parts.join("   "));
    }
}

/// Our frames in percent of the device's and those that the qdisc dropped between us and it. What we drop at egress comes
/// to neither.
fn seen_by_us(hook: &Hook, device: &Device, counts: &Counts) -> Option<String> {
    let totals = counts.totals();
    let kept_back = if hook.direction == Direction::Egress { totals.dropped.packets } else { 0 };
    let ours = totals.frames().packets.saturating_sub(kept_back);
    let dropped = hook.qdisc.as_ref().map_or(0, |qdisc| qdisc.drops);
    let theirs = device.packets.saturating_add(dropped);
    (theirs > 0).then(|| format!("seen by us: {:.1} %", ours as f64 * 100.0 / theirs as f64))
}

const fn meaning(hook: &Hook) -> &'static str {
    match (hook.direction, hook.via.is_xdp()) {
        (Direction::Egress, _) => {
            "BEFORE = as it came to this hook (after nft and SNAT).  AFTER = handed to the qdisc."
        }
        (Direction::Ingress, true) => "BEFORE = as the driver received it.  AFTER = handed to the stack.",
        (Direction::Ingress, false) => "BEFORE = as it came in (before nft and DNAT).  AFTER = handed to the stack.",
    }
}
