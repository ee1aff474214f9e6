//! Follows interfaces: after each look, every hook is as the policy in force wants it, or it has been said why not.

mod losses;

use std::{collections::HashSet, path::Path, sync::Arc};

use super::{
    failures::Failures,
    known::{Known, LinkChange, What},
    lost::{Ending, Lost},
    memory::Memory,
    pace::Pace,
    steps::{Place, Step, Wishes, Work, steps},
    tentative::{self, Trial},
};
use crate::{
    cmd::{Context, attaching, conditioner, deadline, recovery::recovered, site::Site},
    command::Command,
    error::with_hint,
    kernel::{
        boottime::BootTime,
        datapath::{self, Hook},
        document,
        network::{Interface, Network},
        pins::{Pin, Store},
        state::HookState,
    },
    policy::settings::Upgrade,
    snapshot::Missing,
};

/// What is remembered between two looks.
#[derive(Debug)]
pub struct Follower {
    /// What becomes of programs of another version.
    pub upgrade: Upgrade,
    pace: Arc<Pace>,
    known: Known,
    /// Interfaces that have gone, and whose pins may be there, perhaps under the number of another one.
    gone: HashSet<u32>,
    failures: Failures,
    /// What was in force at the last look.
    memory: Memory,
    /// Hooks whose pins somebody has removed, and that are not back.
    lost: Vec<Lost>,
    /// What was said of them, so that it is said once.
    told: Option<String>,
    /// Whether what is in force now is not remembered yet, since somebody was changing it.
    behind: bool,
    /// Why not everything could be looked at, so that it is said once.
    trouble: Option<String>,
}

/// What one look does, in as many rounds as it takes.
#[derive(Debug)]
struct Round {
    /// Whether the pins were gone.
    is_lost: bool,
    /// Hooks at which something was done, or could not be.
    tried: HashSet<Place>,
    /// What is attached for a policy that waits to be confirmed.
    trial: Option<Trial>,
    ending: Ending,
}

impl Follower {
    /// Knows nothing yet.
    pub fn new(upgrade: Upgrade, pace: Arc<Pace>) -> Self {
        Self {
            upgrade,
            pace,
            known: Known::default(),
            gone: HashSet::new(),
            failures: Failures::default(),
            memory: Memory::default(),
            lost: Vec::new(),
            told: None,
            behind: false,
            trouble: None,
        }
    }

    /// What is lost and not back, and why not.
    pub fn lost(&self) -> Vec<Missing> {
        let why = |lost: &Lost| self.failures.message(lost.place()).or(self.trouble.as_deref());
        self.lost.iter().map(|lost| lost.said(why(lost))).collect()
    }

    /// Why what is lost cannot be put back, or not yet.
    pub fn refusal(&self) -> Option<&str> {
        self.trouble.as_deref().filter(|_| !self.lost.is_empty())
    }

    /// Whether it is to look again soon.
    pub const fn is_behind(&self) -> bool {
        self.behind
    }

    /// Forgets hooks that somebody has detached by hand.
    pub fn forget(&mut self, is_meant: impl Fn(Place) -> bool) {
        self.lost.retain(|lost| !is_meant(lost.place()));
        self.memory.forget(is_meant);
    }

    /// Lets the next look try what has failed, too.
    pub fn wake(&mut self) {
        self.failures.wake();
    }

    /// Looks at everything as [`follow`](Self::follow) does, and says what kept it from that.
    pub fn look(&mut self, context: &Context, released: impl Fn(&Site) -> HashSet<Place>) {
        let trouble = self.follow(context, released).err().map(|error| with_hint(&error));
        if let Some(trouble) = trouble.as_ref().filter(|trouble| self.trouble.as_ref() != Some(trouble)) {
            tracing::error!("not everything could be looked at; it is tried again: {trouble}");
        }
        self.trouble = trouble;
    }

    /// Whether interfaces are not what they were at the last look.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn has_news(&self, net: &Network) -> anyhow::Result<bool> {
        Ok(self.known.differs(&net.interfaces()?))
    }

    /// Notes interfaces that have gone: what has their numbers by now is another one.
    pub fn note_gone(&mut self, gone: HashSet<u32>) {
        gone.iter().for_each(|ifindex| self.failures.wake_at(*ifindex));
        self.memory.forget_gone(&gone);
        self.gone.extend(gone);
    }

    /// Looks at everything, and does what there is to do. One hook that cannot be done keeps no other from it.
    /// `released` are the hooks that are not attached again; they are asked for once more under the lock, since whoever
    /// detaches names them before.
    ///
    /// # Errors
    ///
    /// Pins that are foreign or not readable, and `busy`.
    pub fn follow(&mut self, context: &Context, released: impl Fn(&Site) -> HashSet<Place>) -> anyhow::Result<()> {
        let store = context.store()?;
        let quiet = store.quiet()?;
        let site = Site::of(store, context)?;
        site.refuse_spoiled()?;
        self.heed(&site);
        self.behind = quiet.is_none() && (site.has_policy() || !site.hooks.is_empty());
        // Nobody who changes something waits until the kernel has ended what is lost: with the lock it is read again.
        let quiet = quiet.filter(|_| !self.memory.is_lost(&site, &released(&site), &context.bpffs));
        let lost = self.heed_lost(&site, &released(&site), &context.bpffs);
        // What runs on may be about to end: packets are not left unmarked until the next look of all.
        let is_lost = lost.inspect_err(|_held| self.behind = true)?;
        let whole =
            self.memory.missing_alone(&site, &released(&site), &context.bpffs).iter().all(|lost| self.knows_lost(lost));
        if !is_lost && whole && self.due(&site, &released(&site))?.is_empty() {
            self.gone.clear();
            if quiet.is_some() {
                self.memory.take(&site, &released(&site), &context.bpffs);
            }
            return Ok(());
        }
        let store = site.store;
        drop(quiet);
        self.behind = true;
        let mut round = Round { is_lost, tried: HashSet::new(), trial: None, ending: Ending::new() };
        while self.go_round(context, &released, &mut round)? {
            store.give_way();
        }
        self.gone.clear();
        self.behind = false;
        Ok(())
    }

    /// Takes steps under the lock until there is none left, or somebody waits for it; whether there are more. Each step stands
    /// by itself, and what is there is read anew in each round.
    fn go_round(
        &mut self,
        context: &Context,
        released: impl Fn(&Site) -> HashSet<Place>,
        round: &mut Round,
    ) -> anyhow::Result<bool> {
        let (store, change) = Store::change(&context.bpffs)?;
        let mut site = recovered(store, context)?;
        site.collect_dead(&self.gone)?.iter().for_each(|hook| losses::tell_unbound(&site, hook));
        if round.is_lost && self.memory.is_lost(&site, &released(&site), &context.bpffs) {
            // Somebody may have been about to remove them when they were read.
            self.lose(&site, &released(&site), &context.bpffs)?;
            self.memory.put_back(&site)?;
            site = Site::of(site.store, context)?;
        }
        self.lose_alone(&site, &released(&site), &context.bpffs);
        self.heed(&site);
        let deadline = coming(&site.store)?;
        let mut due = self.due(&site, &released(&site))?;
        due.retain(|step| !round.tried.contains(&step.place));
        round.trial = Trial::of(&site);
        let gives_way = || change.is_waited_for() || has_come(deadline);
        let more = self.take_all(&due, &site, &context.bpffs, round, gives_way);
        drop(due);
        if more {
            return Ok(true);
        }
        let site = Site::of(site.store, context)?;
        self.lost.retain(|lost| lost.is_missing(&site, &released(&site)));
        self.memory.take(&site, &released(&site), &context.bpffs);
        Ok(false)
    }

    /// Takes one step after the other; whether there are more, which somebody is not to wait for.
    fn take_all(
        &mut self,
        due: &[Step<'_>],
        site: &Site,
        bpffs: &Path,
        round: &mut Round,
        gives_way: impl Fn() -> bool,
    ) -> bool {
        for (at, step) in due.iter().enumerate() {
            if !self.pace.goes_on() {
                break;
            }
            if at > 0 && gives_way() {
                return true;
            }
            round.tried.insert(step.place);
            let taken = self.take(step, site, bpffs, round);
            self.note(step, site, taken);
        }
        false
    }

    fn wishes<'a>(&'a self, released: &'a HashSet<Place>) -> Wishes<'a> {
        let Self { gone, lost, upgrade, .. } = self;
        Wishes { upgrade: *upgrade, gone, released, lost }
    }

    /// What there is to do, and has not just failed.
    fn due<'a>(&mut self, site: &'a Site, released: &HashSet<Place>) -> anyhow::Result<Vec<Step<'a>>> {
        let mut all = steps(site, &self.wishes(released))?;
        self.failures.keep(|place| all.iter().any(|step| step.place == place));
        all.retain(|step| !self.failures.rests(step.place, hash(site)));
        Ok(all)
    }

    fn take(&self, step: &Step<'_>, site: &Site, bpffs: &Path, round: &Round) -> anyhow::Result<()> {
        let Round { trial, ending, .. } = round;
        match &step.work {
            Work::Attach(interface) => {
                self.memory.refuse_unseen(step.place, bpffs, *ending)?;
                let lost = self.lost.iter().find(|lost| lost.place() == step.place);
                lost.map_or(Ok(()), |lost| lost.refuse_held(*ending))?;
                attach(step, interface, lost, trial.as_ref(), site)
            }
            Work::PutBack(hook, interface) => put_back(step, hook, interface, trial.as_ref(), site),
            // Has been done with those that were dead, or elsewhere, when the lock was taken.
            Work::Collect => Ok(()),
            Work::Upgrade(hook) => {
                attaching::upgrade(hook, &site.name_of(hook), site)?;
                tracing::info!(hook = step.name, from = hook.state.version, to = crate::VERSION, "upgraded");
                Ok(())
            }
            Work::Change(hook, next, why) => change(step, hook, next, why, site),
            Work::Rename(hook, interface) => {
                let state = HookState { interface: interface.name.clone(), bound_as: None, ..hook.state.clone() };
                document::write(&hook.pins.path(Pin::State), &state)
            }
        }
    }

    /// Notes what has changed of interfaces, and says it of those that matter.
    fn heed(&mut self, site: &Site) {
        for change in self.known.update(&site.interfaces) {
            self.failures.wake_at(change.ifindex);
            if matters(&change, site) { tracing::info!("{change}") } else { tracing::debug!("{change}") }
        }
    }

    /// Notes what came of a step. What could not be done is said, unless it has just been said.
    fn note(&mut self, step: &Step<'_>, site: &Site, taken: anyhow::Result<()>) {
        let Err(error) = taken else { return self.failures.keep(|place| place != step.place) };
        let is_new = self.failures.note(step.place, hash(site), &error);
        if is_new && !matches!(site.net.exists(step.place.0), Ok(false)) {
            tracing::error!(hook = step.name, "{}; it is tried again", with_hint(&error));
        }
    }
}

/// That of the policy in force.
fn hash(site: &Site) -> Option<&str> {
    site.policy.as_ref().map(|in_force| in_force.policy.hash())
}

/// The next deadline. One that has passed by now could not be kept, and is not waited for.
fn coming(store: &Store) -> anyhow::Result<Option<BootTime>> {
    let now = BootTime::now()?;
    // Whoever keeps deadlines says why one cannot be read.
    Ok(deadline::next(store).unwrap_or_default().filter(|until| *until > now))
}

fn has_come(deadline: Option<BootTime>) -> bool {
    deadline.is_some_and(|until| BootTime::now().is_ok_and(|now| until <= now))
}

/// Whether a hook or the policy has to do with the interface.
fn matters(change: &LinkChange, site: &Site) -> bool {
    let attached = site.hooks.iter().any(|hook| hook.pins.ifindex == change.ifindex);
    let named = |name: &str| {
        let policy = site.policy.iter().map(|in_force| &in_force.policy);
        policy.into_iter().any(|policy| {
            crate::hook::Direction::BOTH.into_iter().any(|direction| policy.names(name, direction).is_some())
        })
    };
    attached || named(&change.name) || matches!(&change.what, What::Renamed(before) if named(before))
}

fn attach(
    step: &Step<'_>,
    interface: &Interface,
    lost: Option<&Lost>,
    trial: Option<&Trial>,
    site: &Site,
) -> anyhow::Result<()> {
    let policy = site.policy.as_ref().map(|in_force| &in_force.policy);
    let asked = tentative::anew(trial, interface, step.place);
    let anew = || attaching::attach_anew(site, interface, step.place.1, policy, asked);
    let hook = lost.map_or_else(anew, |lost| lost.attach(site, interface))?;
    tracing::info!(
        hook = step.name,
        does = hook.state.words(),
        "attached: {}{}",
        hook.state.reason,
        bypassed(step, &hook)
    );
    Ok(())
}

/// That the policy is out of the path as it was before, if it is.
fn bypassed(step: &Step<'_>, hook: &Hook) -> String {
    let resume = Command::new("qosbpf policy resume").operand(&step.name);
    let bypass = hook.state.bypass.as_ref();
    bypass.map(|bypass| format!("; BYPASSED by {}: {resume}", bypass.by)).unwrap_or_default()
}

/// Somebody has removed the program. What cannot be put back with its counters is not made anew, unless they are another
/// device's: it is said, and tried again.
fn put_back(
    step: &Step<'_>,
    hook: &Hook,
    interface: &Interface,
    trial: Option<&Trial>,
    site: &Site,
) -> anyhow::Result<()> {
    let policy = site.policy.as_ref().map(|in_force| &in_force.policy);
    let asked = tentative::again(trial, hook, interface);
    let now = attaching::attach_again(site, hook, interface, policy, asked)?;
    let does = now.state.words();
    match attaching::begins_anew(hook, interface) {
        Some(why) => tracing::warn!(hook = step.name, does, "attached: {}; {why}", now.state.reason),
        None => {
            let bypassed = bypassed(step, &now);
            tracing::info!(hook = step.name, does, "put back, its counters go on: {}{bypassed}", now.state.reason);
        }
    }
    Ok(())
}

fn change(step: &Step<'_>, hook: &Hook, next: &HookState, why: &str, site: &Site) -> anyhow::Result<()> {
    let next = conditioner::next(site, hook, next.clone())?;
    datapath::switch(datapath::prepare(hook, next)?, &site.name_of(hook), &site.net)?;
    tracing::info!(hook = step.name, "changed: {why}");
    Ok(())
}
