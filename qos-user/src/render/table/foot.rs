//! The lines under `stats HOOK`: what is not in the table, what others counted, and what the numbers mean.

use crate::{
    hook::Direction,
    render::{Look, screen::Screen, text::count},
    snapshot::{Counts, Device, Hook, Qdisc},
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
        parts.push(queue(qdisc));
    }
    parts.extend(hook.device.as_ref().and_then(|device| seen_by_us(hook, device, counts)));
    if !parts.is_empty() {
        screen.line(&parts.join("   "));
    }
}

/// What the root qdisc dropped.
pub fn queue(qdisc: &Qdisc) -> String {
    format!("qdisc {}: {} dropped after our count", qdisc.kind, count(qdisc.drops))
}

/// By how many percent we may be ahead of the device: two counters are not read at the same moment.
const AHEAD: u64 = 110;

/// Our frames in percent of the device's and those that were dropped between us and it. What we drop at egress comes to
/// neither, and a device may count what it drops as sent all the same.
fn seen_by_us(hook: &Hook, device: &Device, counts: &Counts) -> Option<String> {
    let totals = counts.totals();
    let is_out = hook.direction == Direction::Egress;
    let kept_back = if is_out { totals.dropped.packets } else { 0 };
    let ours = totals.frames().packets.saturating_sub(kept_back);
    let came = device.packets.saturating_add(hook.qdisc.as_ref().map_or(0, |qdisc| qdisc.drops));
    let dropped = if is_out { device.drops } else { 0 };
    let theirs = came.max(ours.min(came.saturating_add(dropped)));
    if ours.saturating_mul(100) > theirs.saturating_mul(AHEAD) {
        let hidden = "super-packets are one packet to the device";
        let why = if is_out { "super-packets, or drops of a qdisc that is gone" } else { hidden };
        return (theirs > 0).then(|| format!("seen by us: cannot be told ({why})"));
    }
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

#[cfg(test)]
mod tests {
    use qos_common::abi::Counter;

    use super::*;
    use crate::snapshot::sample;

    /// At egress, of a device that sent and dropped so many for 10,000 frames of ours and 100 drops of the qdisc.
    fn seen(sent: u64, drops: u64) -> Option<String> {
        let mut hook = sample::snapshot().hooks.into_iter().find(|hook| hook.direction == Direction::Egress).unwrap();
        hook.qdisc = Some(Qdisc { kind: "htb".to_owned(), drops: 100 });
        let mut counts = Counts::zero();
        counts.sums.kept[0][184] = Counter { packets: 10_000, bytes: 0 };
        seen_by_us(&hook, &Device { packets: sent, bytes: 0, drops }, &counts)
    }

    #[test]
    fn what_the_device_drops_is_not_more_than_it_sent() {
        let percent = |text: &str| Some(format!("seen by us: {text} %"));
        assert_eq!(seen(9_900, 0), percent("100.0"));
        assert_eq!(seen(9_000, 900), percent("100.0"), "sent, or dropped");
        assert_eq!(seen(9_900, 900), percent("100.0"), "counted as sent and as dropped");
        assert_eq!(seen(9_700, 0), percent("102.0"), "not read at the same moment");
        assert_eq!(seen(19_900, 0), percent("50.0"), "past us");
        let hidden = "seen by us: cannot be told (super-packets, or drops of a qdisc that is gone)";
        assert_eq!(seen(400, 0).as_deref(), Some(hidden));
    }
}
