//! What the hooks of a network namespace have counted, beside what their devices and qdiscs have.

use std::time::SystemTime;

use super::{
    Context,
    earlier::{qdisc_since, since},
    site::{Site, counted, host},
    wanted,
};
use crate::{
    error::with_hint,
    hook::{Direction, HookName, Via},
    kernel::{
        boottime::BootTime,
        datapath::{Broken, Hook},
        pending::Pending,
    },
    snapshot::{self, Missing, Snapshot, State},
};

impl Site {
    /// What the hooks that are meant have counted.
    ///
    /// # Errors
    ///
    /// `not-attached`; what cannot be read of one hook stands in its place.
    pub fn snapshot(&self, names: &[HookName], context: &Context) -> anyhow::Result<Snapshot> {
        Ok(self.read_in_order(self.select_readable(names)?, names, context))
    }

    /// The same of all hooks; those of one direction are read before the others.
    ///
    /// # Errors
    ///
    /// Those of [`snapshot`](Self::snapshot).
    pub fn snapshot_from(&self, first: Direction, context: &Context) -> anyhow::Result<Snapshot> {
        let mut hooks = self.select_readable(&[])?;
        hooks.sort_by_key(|hook| hook.pins.direction != first);
        let mut snapshot = self.read_in_order(hooks, &[], context);
        snapshot.hooks.sort_by_key(|hook| (hook.ifindex, hook.direction));
        Ok(snapshot)
    }

    fn read_in_order(&self, hooks: Vec<&Hook>, names: &[HookName], context: &Context) -> Snapshot {
        let hooks = hooks.into_iter().map(|hook| (hook, self.snapshot_of(hook)));
        // What somebody detached meanwhile is not there any more.
        let there = hooks.filter(|(hook, shown)| shown.counts.is_ok() || hook.pins.is_attached());
        let broken = self.select_broken(names).map(|broken| self.snapshot_of_broken(broken));
        let meant = |missing: &Missing| {
            names.is_empty() || names.iter().any(|name| name.covers(&missing.interface, missing.direction))
        };
        let (hooks, time) = (there.map(|(_, shown)| shown).chain(broken).collect(), SystemTime::now());
        Snapshot {
            hooks,
            time,
            host: host(),
            netns: context.netns.clone(),
            policy: self.label(),
            missing: wanted::missing_here(self).into_iter().filter(meant).collect(),
            unapplied: wanted::unapplied(self).is_some(),
            confirm_deadline: self.confirm_deadline(time),
        }
    }

    /// When the policy in force is taken back unless it is confirmed, by the clock that says `now`.
    fn confirm_deadline(&self, now: SystemTime) -> Option<SystemTime> {
        let until = Pending::read(&self.store).ok()??.until?;
        BootTime::now().ok().map(|boot| now + until.left(boot))
    }

    fn snapshot_of(&self, hook: &Hook) -> snapshot::Hook {
        let direction = hook.pins.direction;
        let counted = counted(hook, self.name_of(hook));
        let interface = self.interface_of(hook);
        let sending = interface.filter(|_| direction == Direction::Egress);
        let qdisc = sending.and_then(|interface| self.net.qdiscs(interface.ifindex).ok());
        snapshot::Hook {
            device: interface.map(|now| since(now.device(direction), hook.state.device)),
            qdisc: qdisc.map(|now| qdisc_since(now.root, &hook.state.qdisc)),
            ..counted
        }
    }

    /// What is wrong stands in the place of the counters; by which mechanism, and since when, nobody knows.
    fn snapshot_of_broken(&self, broken: &Broken) -> snapshot::Hook {
        snapshot::Hook {
            interface: self.name_at(&broken.pins),
            ifindex: broken.pins.ifindex,
            direction: broken.pins.direction,
            via: Via::Tcx,
            state: State::Error,
            since: SystemTime::UNIX_EPOCH,
            cleared: false,
            began: None,
            asked: None,
            table: None,
            outer: None,
            policy: None,
            local: None,
            rules: Vec::new(),
            resting: Vec::new(),
            program_id: 0,
            counts: Err(with_hint(&broken.refusal().into())),
            device: None,
            qdisc: None,
            trend: None,
        }
    }
}
