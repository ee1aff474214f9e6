//! Back to what ran before a change: the policy, and every hook's table, also `none`.

use std::time::SystemTime;

use super::switch::{Target, have_absent_ask, switch_all};
use crate::{
    cmd::{
        conditioner,
        site::{self, Site},
    },
    kernel::{
        datapath::{self, Broken, Hook, Observed},
        leftover::Leftover,
        past,
        pending::{Identity, Pending},
        pins::{self, Place},
        state::Binding,
    },
    policy::Policy,
    status::{Undone, Why},
};

/// What has to be done so that a change is taken back.
#[derive(Debug)]
struct Work<'a> {
    /// What was attached for it.
    detach: Vec<&'a Hook>,
    /// What ran before it, or was attached by somebody else since.
    switch: Vec<Target<'a>>,
}

/// Goes back, wherever the devices are by now; the names of hooks at which that could not be done, which are kept as a
/// [`Leftover`]. The change is forgotten last, so that whoever finds it after a kill goes back once more.
///
/// # Errors
///
/// What the kernel says to pins; the change is still written down then.
pub fn run(site: &Site, change: &Pending, why: Why) -> anyhow::Result<Vec<String>> {
    let back = change.back.as_ref().and_then(site::parse);
    let unread = site.broken.iter().filter(|broken| may_have_changed(site, broken, change));
    let mut left: Vec<Place> = unread.map(|broken| broken.pins.place()).collect();
    left.extend(Work::of(site, &site.hooks, change, back.as_ref()).take(site)?);
    if site.hooks.iter().any(|hook| hook.running == Observed::Gone) {
        // They are not what they were: some have been switched where they are.
        have_absent_ask(&site.again()?.hooks)?;
    }
    match &change.back {
        Some(record) => site.remember(record)?,
        None => pins::remove(&site.store.policy())?,
    }
    remember(site, change, back.as_ref(), why)?;
    let names = left.iter().map(|place| site.name_there(*place)).collect();
    keep(site, change, left)?;
    pins::remove(&site.store.pending_pin())?;
    Ok(names)
}

/// Does what could not be done when a change was taken back, if it can be done now; the policy, and the hooks at which it no
/// longer is.
///
/// # Errors
///
/// What the kernel says to pins.
pub fn finish(site: &Site) -> anyhow::Result<Option<(Identity, Vec<String>)>> {
    let Some(leftover) = Leftover::read(&site.store)?.filter(|_| site.knows_policy()) else {
        return Ok(None);
    };
    let hooks = site.hooks.iter().filter(|hook| leftover.has(&hook.pins) && runs_on(hook, &leftover.change));
    let tried: Vec<&Hook> = hooks.collect();
    let not_done = Work::of_now(site, &tried, &leftover.change).take(site)?;
    let done = tried.iter().map(|hook| hook.pins.place()).filter(|place| !not_done.contains(place));
    let done: Vec<String> = done.map(|place| site.name_there(place)).collect();
    let unread = site.broken.iter().filter(|broken| leftover.has(&broken.pins)).map(|broken| broken.pins.place());
    let left = Leftover::new(&leftover.change, unread.chain(not_done));
    if left.hooks.is_empty() || left.hooks != leftover.hooks {
        left.keep(&site.store)?;
    }
    Ok((!done.is_empty()).then_some((leftover.change.to, done)))
}

impl<'a> Work<'a> {
    fn of(site: &Site, hooks: impl IntoIterator<Item = &'a Hook>, change: &Pending, back: Option<&Policy>) -> Self {
        let (detach, others): (Vec<_>, Vec<_>) = hooks.into_iter().partition(|hook| change.has_attached(&hook.state));
        let switch = others.into_iter().map(|hook| (hook, before(site, hook, change, back))).collect();
        Self { detach, switch }
    }

    /// The same some time later: where another policy is in force by then, that one counts.
    fn of_now(site: &Site, hooks: &[&'a Hook], change: &Pending) -> Self {
        let back = change.back.as_ref().and_then(site::parse);
        let now = site.policy.as_ref().map(|in_force| &in_force.policy);
        if now.map(Policy::hash) == back.as_ref().map(Policy::hash) {
            return Self::of(site, hooks.iter().copied(), change, back.as_ref());
        }
        let switch = hooks.iter().map(|hook| (*hook, now.and_then(|now| bound(now, site, hook))));
        Self { detach: Vec::new(), switch: switch.collect() }
    }

    /// Does it; the hooks at which it could not be done. What cannot be detached counts without a policy until it can.
    fn take(mut self, site: &Site) -> anyhow::Result<Vec<Place>> {
        let mut left = Vec::new();
        for hook in self.detach {
            let interface = site.interface_of(hook).map(|interface| interface.name.as_str());
            if let Err(error) = datapath::detach(hook, interface, &site.net) {
                tracing::error!(hook = site.hook_name(hook), "cannot be detached: {error:#}");
                left.push(hook.pins.place());
                self.switch.push((hook, None));
            }
        }
        for place in go_back(site, self.switch)? {
            if !left.contains(&place) {
                left.push(place);
            }
        }
        Ok(left)
    }
}

/// All at once if that works; else hook by hook: no hook keeps another one from going back. Those that go on as they are.
fn go_back(site: &Site, targets: Vec<Target<'_>>) -> anyhow::Result<Vec<Place>> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let Err(error) = switch_all(site, targets.clone()) else { return Ok(Vec::new()) };
    tracing::warn!("not all hooks can go back: {error:#}");
    let again = Site::again(site)?;
    let mut left = Vec::new();
    for (hook, binding) in targets {
        let Some(hook) = again.hooks.iter().find(|now| now.pins == hook.pins) else { continue };
        if !goes_back_alone(&again, hook, binding) {
            left.push(hook.pins.place());
        }
    }
    Ok(left)
}

/// One that cannot go back counts without a policy; whether at least this works.
fn goes_back_alone(site: &Site, hook: &Hook, binding: Option<Binding>) -> bool {
    let Err(error) = switch_all(site, vec![(hook, binding)]) else { return true };
    let name = site.hook_name(hook);
    tracing::error!(hook = name, "cannot go back, and is to count without a policy: {error:#}");
    let counts = switch_all(site, vec![(hook, None)]).inspect_err(|error| {
        tracing::error!(hook = name, "goes on with the policy that is taken back: {error:#}");
    });
    counts.is_ok()
}

/// What a hook did before the change; for one that was attached since, what the policy of then says of it.
fn before(site: &Site, hook: &Hook, change: &Pending, back: Option<&Policy>) -> Option<Binding> {
    match change.before(hook.pins.place()) {
        Some(before) => before.binding.clone(),
        None => bound(back?, site, hook),
    }
}

/// What a policy says of a hook, by the name that its device has, or had when it was here.
fn bound(policy: &Policy, site: &Site, hook: &Hook) -> Option<Binding> {
    let name = site.interface_of(hook).map_or(&hook.state.interface, |interface| &interface.name);
    conditioner::binding(policy, name, hook.pins.direction)
}

/// Whether a hook that cannot be read by now may do what it did not do before the change: nobody had to read it to know that
/// the policy says nothing of it.
fn may_have_changed(site: &Site, broken: &Broken, change: &Pending) -> bool {
    let place = broken.pins.place();
    if change.unread.contains(&place) {
        return false;
    }
    let to = site.policy.as_ref().map(|in_force| &in_force.policy).filter(|now| now.hash() == change.to.hash);
    let is_bound = |to: &Policy| conditioner::binding(to, &site.name_at(&broken.pins), place.1).is_some();
    change.before(place).is_some_and(|before| before.binding.is_some()) || to.is_none_or(is_bound)
}

/// Whether a hook is as the change has left it, and nobody has given it another policy since.
fn runs_on(hook: &Hook, change: &Pending) -> bool {
    hook.state.binding.as_ref().is_none_or(|binding| binding.policy.hash == change.to.hash)
}

/// Writes down what is left, beside what was left of an earlier change.
fn keep(site: &Site, change: &Pending, left: Vec<Place>) -> anyhow::Result<()> {
    // One that cannot be read is of no use to anybody.
    let earlier = Leftover::read(&site.store).unwrap_or_default().map_or_else(Vec::new, |earlier| earlier.hooks);
    let unread = earlier.into_iter().filter(|place| site.broken.iter().any(|broken| broken.pins.place() == *place));
    Leftover::new(change, left.into_iter().chain(unread)).keep(&site.store)
}

/// The policy is in force again, if it was not all the time: the new one may never have come that far.
fn remember(site: &Site, change: &Pending, back: Option<&Policy>, why: Why) -> anyhow::Result<()> {
    let before = back.map(site::identity);
    let Identity { name, hash } = &change.to;
    let by = format!("qosbpf: {name} {hash} {why}");
    let is_another = before.as_ref() != Some(&change.to);
    let at = SystemTime::now();
    let taken_back = if is_another { past::take_back(&site.store, &change.to, Undone { at, why })? } else { None };
    let (Some(record), Some(identity)) = (&change.back, before) else { return Ok(()) };
    past::add_again(&site.store, identity, (at, &by), record, taken_back)
}

/// Where that leads, in words, and which hooks are `left` behind.
pub fn back_to(change: &Pending, left: &[String]) -> String {
    let to = match change.back.as_ref().and_then(site::parse) {
        Some(policy) => format!("back to {} {}", policy.name(), policy.hash()),
        None => "back to no policy".to_owned(),
    };
    if left.is_empty() { to } else { format!("{to}, but for {}, where that is tried again", left.join(", ")) }
}
