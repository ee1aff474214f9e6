//! The same packets at both ends: those of the sample, or all of them if the hooks are of the same age.

use std::time::Duration;

use qos_common::ds::Dscp;

use super::{
    Family, Way,
    balance::{Balance, Bounds, packets},
};
use crate::{
    diagnosis::{
        facts::Port,
        share::{BETWEEN, NOISE},
        why::{
            Scene, bridged,
            family::{self, Families, after, before, others},
            hook_name, tunnels,
        },
    },
    hook::Direction,
    netdev::{Passed, Stack},
    snapshot::Hook,
};

/// Hooks that were attached within this many seconds of each other are taken to have counted the same packets.
const TOGETHER: u64 = 30;

/// So are those that were attached within one part in so many of the time since.
const SMALL_PART: u64 = 20;

type Count = fn(&Hook, &[Dscp], Families) -> u64;

/// What came in by some hooks with these codepoints while we looked, and what of it reached those at egress; `None` if none did.
pub(super) fn meanwhile<'a>(
    scene: &Scene<'_>,
    from: &[&Hook],
    to: Option<&Hook>,
    dscps: &'a [Dscp],
) -> Option<Way<'a>> {
    let reading = Reading { scene, dscps, families: family::BOTH, sampled: true };
    let came = from.iter().any(|hook| reading.amount(hook, after) > 0);
    came.then(|| reading.way(from, to))
}

/// The same since the hooks were attached.
pub(super) fn whole<'a>(scene: &Scene<'_>, from: &[&Hook], to: Option<&Hook>, dscps: &'a [Dscp]) -> Way<'a> {
    Reading { scene, dscps, families: family::BOTH, sampled: false }.way(from, to)
}

/// The same of one family; `None` where the counters do not tell the two apart: what our policy makes of others at ingress, and
/// what is inside of packets of the other one.
pub(super) fn of_family<'a>(
    scene: &Scene<'_>,
    from: &[&Hook],
    to: Option<&Hook>,
    way: &Way<'a>,
    family: usize,
) -> Option<Way<'a>> {
    let is_tunnel = |port: &Port| port.device.encapsulates() && !port.device.down;
    let are_told = scene.hooks(Direction::Ingress).all(|hook| family::made(hook, way.dscps) == 0);
    let reading = Reading { scene, dscps: way.dscps, families: family::only(family), sampled: way.sampled };
    (are_told && !scene.ground.ports.iter().any(is_tunnel)).then(|| reading.way(from, to))
}

/// What may be missing of so many though nothing was taken: some under way between two readings, or dropped for reasons that
/// every network has.
const fn allowed(came: u64) -> u64 {
    let noise = came * NOISE / 1000;
    if noise > BETWEEN { noise } else { BETWEEN }
}

/// Whether what came in by one hook was counted by the other, if it came there: one that is older has seen it all.
fn saw_the_same(scene: &Scene<'_>, from: &Hook, exit: &Hook) -> bool {
    let Ok(later) = exit.since.duration_since(from.since) else { return true };
    let age = scene.later.time.duration_since(exit.since).unwrap_or_default();
    later.as_secs() <= TOGETHER || later.as_secs() * SMALL_PART <= age.as_secs()
}

/// How the hooks have counted these codepoints: in the sample, or since they were attached.
#[derive(Clone, Copy)]
struct Reading<'s, 'a> {
    scene: &'s Scene<'s>,
    dscps: &'a [Dscp],
    families: Families,
    sampled: bool,
}

impl<'a> Reading<'_, 'a> {
    fn amount(&self, hook: &Hook, count: Count) -> u64 {
        let packets = |hook: &Hook| count(hook, self.dscps, self.families);
        packets(hook).saturating_sub(self.scene.before(hook).filter(|_| self.sampled).map_or(0, packets))
    }

    fn way(&self, from: &[&Hook], to: Option<&Hook>) -> Way<'a> {
        let (balance, exits) = (self.balance(from), self.ways_out(from));
        let tunnels = tunnels::counted(self.scene, |hook| self.amount(hook, before));
        // Whichever it is of the two: the worse.
        let bounds = [balance.bounds(), balance.without_outer(&tunnels).bounds()];
        let came = packets(&balance.ours);
        let worst = Bounds::worst(bounds);
        let Bounds { lost, surely_lost, surplus } = worst;
        let left = came.saturating_sub(lost) + surplus;
        let late = self.late(from, &exits, lost);
        Way {
            dscps: self.dscps,
            came,
            left,
            lost,
            surely_lost,
            surplus,
            all: [came + packets(&balance.others), packets(&balance.exits) + packets(&balance.back)],
            here: to.map_or(left, |to| self.amount(to, before)),
            allowed: allowed(came),
            unseen: self.unseen(from, &late, came),
            younger: self.younger(from, &late),
            sampled: self.sampled,
            of: self.by_family(from, &exits, worst),
            came_of: [0, 1].map(|family| from.iter().any(|hook| before(hook, self.dscps, self.only(family)) > 0)),
            tunnels,
        }
    }

    /// The hooks by which packets may leave that came in by these: where they came from only if that is several interfaces.
    fn ways_out(&self, from: &[&Hook]) -> Vec<&Hook> {
        let leads_on = |exit: &&Hook| from.iter().any(|from| !bridged::is_way_back(self.scene, from, exit));
        self.scene.hooks(Direction::Egress).filter(leads_on).collect()
    }

    /// How many left each stack by some of its hooks.
    fn exits(&self, is_asked: impl Fn(&Hook) -> bool) -> Vec<Stack> {
        let amount = |hook: &Hook| if is_asked(hook) { self.amount(hook, before) } else { 0 };
        let exits = self.scene.hooks(Direction::Egress).map(|hook| (hook.ifindex, amount(hook)));
        self.scene.stacks(Direction::Egress).each_down(exits)
    }

    fn balance(&self, from: &[&Hook]) -> Balance {
        let is_asked = |hook: &Hook| from.iter().any(|from| from.ifindex == hook.ifindex);
        let (ours, all) = (self.came(is_asked), self.came(|_| true));
        let all_exits = self.exits(|_| true);
        // A bridge and its ports are one stack, by which what came in by one port may leave.
        let bridges = self.scene.ground.bridges();
        let is_way_back = |from: &Hook, exit: &Hook| {
            bridges.contains(&from.interface) && bridged::is_way_back(self.scene, from, exit)
        };
        let exits = self.exits(|exit| !from.iter().all(|from| is_way_back(from, exit)));
        let unknown = self.unknown(is_asked);
        let others = ours.iter().zip(all).map(|(ours, all)| {
            // What came in there before our hook was attached may be all that left.
            let is_unknown = all.devices.iter().any(|device| unknown.contains(device));
            let known = all.packets.saturating_sub(ours.packets);
            let packets = if is_unknown { known.max(packets(&all_exits)) } else { known };
            Stack { packets, ..all }
        });
        let others = others.collect();
        let ours = ours.into_iter().filter(|stack| stack.packets > 0).collect();
        let back = all_exits.into_iter().zip(&exits);
        let back = back.map(|(all, open)| Stack { packets: all.packets.saturating_sub(open.packets), ..all });
        Balance { ours, others, back: back.collect(), exits }
    }

    /// What left the hooks at ingress that are asked about, without what those of ours took that stand on them.
    fn came(&self, is_asked: impl Fn(&Hook) -> bool) -> Vec<Stack> {
        let passed = self.scene.hooks(Direction::Ingress).map(|hook| {
            let after = self.amount(hook, after);
            let taken = self.amount(hook, before).saturating_sub(after);
            (hook.ifindex, Passed { packets: if is_asked(hook) { after } else { 0 }, taken })
        });
        self.scene.stacks(Direction::Ingress).each_up(passed)
    }

    /// Other devices whose hook at ingress has not counted all that those at egress have.
    fn unknown(&self, is_asked: impl Fn(&Hook) -> bool) -> Vec<u32> {
        let hooks = |direction| self.scene.hooks(direction);
        let is_younger = |hook: &&Hook| hooks(Direction::Egress).any(|exit| !saw_the_same(self.scene, exit, hook));
        let others = hooks(Direction::Ingress).filter(|hook| !self.sampled && !is_asked(hook));
        others.filter(is_younger).map(|hook| hook.ifindex).collect()
    }

    fn down(&self, exits: &[&Hook], count: Count) -> u64 {
        let packets = exits.iter().map(|hook| (hook.ifindex, self.amount(hook, count)));
        self.scene.stacks(Direction::Egress).down(packets)
    }

    /// The hooks at egress that were attached later than the first at ingress, but those that have counted none, if their devices
    /// had sent too little before to be the way of all that is missing.
    fn late<'h>(&self, from: &[&Hook], exits: &[&'h Hook], lost: u64) -> Vec<&'h Hook> {
        let first = from.iter().map(|hook| hook.since).min().filter(|_| !self.sampled);
        let late: Vec<_> = exits.iter().copied().filter(|exit| first.is_some_and(|first| exit.since > first)).collect();
        let sent_before = |exit: &Hook| {
            let ever = self.scene.sent_ever.get(&exit.ifindex).filter(|_| self.amount(exit, before) == 0)?;
            ever.checked_sub(exit.device?.packets)
        };
        let mut idle: Vec<_> = late.iter().filter_map(|exit| Some((sent_before(exit)?, exit.ifindex))).collect();
        idle.sort_unstable();
        let all_of_them = idle.into_iter().scan(0, |sum, (sent, ifindex)| {
            *sum += sent;
            Some((*sum, ifindex))
        });
        let too_little = lost.saturating_sub(allowed(lost));
        let left_out: Vec<u32> =
            all_of_them.take_while(|(sum, _)| *sum < too_little).map(|(_, ifindex)| ifindex).collect();
        late.into_iter().filter(|exit| !left_out.contains(&exit.ifindex)).collect()
    }

    /// Those of which the numbers cannot be compared with what came in.
    fn younger(&self, from: &[&Hook], late: &[&Hook]) -> Vec<String> {
        let is_younger = |exit: &&&Hook| from.iter().any(|from| !saw_the_same(self.scene, from, exit));
        late.iter().filter(is_younger).map(|exit| hook_name(exit)).collect()
    }

    /// How many may have come before the last hook at egress was there, if they came evenly.
    fn unseen(&self, from: &[&Hook], late: &[&Hook], came: u64) -> u64 {
        let now = self.scene.later.time;
        let first = from.iter().map(|hook| hook.since).min().unwrap_or(now);
        let last = late.iter().map(|hook| hook.since).max().unwrap_or(first);
        let [age, unseen] =
            [now, last].map(|until| until.duration_since(first).unwrap_or(Duration::ZERO).as_secs_f64());
        if age > 0.0 { (came as f64 * (unseen / age).min(1.0)).ceil() as u64 } else { 0 }
    }

    /// What came of each family and did not leave. A packet that two hooks count on its way in is missing once too often: then a
    /// family is suspected too many, and none too few. So it is where others may stand for what is missing.
    fn by_family(&self, from: &[&Hook], exits: &[&Hook], bounds: Bounds) -> [Family; 2] {
        let all = [0, 1].map(|family| self.family(family, from, exits));
        let is_missing = |of: &Family| of.missing > allowed(of.came);
        let are_told = bounds.surely_lost == bounds.lost && all.iter().any(is_missing);
        all.map(|of| {
            let missing = match (are_told, is_missing(&of)) {
                (true, true) => of.missing,
                (true, false) => 0,
                (false, _) => of.came,
            };
            Family { missing: missing.min(bounds.lost), ..of }
        })
    }

    fn family(&self, family: usize, from: &[&Hook], exits: &[&Hook]) -> Family {
        let one = Self { families: self.only(family), ..*self };
        let came: u64 = from.iter().map(|hook| one.amount(hook, after)).sum();
        Family { came, missing: came.saturating_sub(one.down(exits, before)), others: one.down(exits, others) }
    }

    fn only(&self, family: usize) -> Families {
        [0, 1].map(|one| self.families[one] && one == family)
    }
}
