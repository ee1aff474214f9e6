//! The switch itself: every program is prepared before the first takes its place.

use std::time::Instant;

use anyhow::Context as _;

use super::ahead::Ahead;
use crate::{
    cmd::{absent, conditioner, site::Site},
    kernel::{
        datapath::{self, Hook, Observed, Prepared},
        document,
        pins::Pin,
        returned,
        state::{Binding, HookState},
    },
};

/// A hook, and what it is to have.
pub type Target<'a> = (&'a Hook, Option<Binding>);

/// All that it takes to give hooks what a policy says of them.
#[derive(Debug, Default)]
pub struct Switch<'a> {
    programs: Vec<(&'a Hook, Prepared)>,
    /// Where the marks are the same, and names and lines perhaps not.
    labels: Vec<(&'a Hook, HookState)>,
}

/// Gives hooks their tables and rules, or none, also where the device is in another network namespace: a link knows it there.
/// Hooks at which nothing runs are left out.
///
/// # Errors
///
/// Those of [`prepare`] and [`Switch::make`].
pub fn switch_all(site: &Site, targets: Vec<Target<'_>>) -> anyhow::Result<()> {
    prepare(site, targets, &mut Ahead::default(), || false)?.map_or(Ok(()), |switch| switch.make(site))
}

/// Loads what has to be loaded; no hook is changed. `None` if it `gives_way` to somebody: what was loaded by then is kept in
/// `ahead`.
///
/// # Errors
///
/// What the verifier or the kernel says.
pub fn prepare<'a>(
    site: &Site,
    targets: Vec<Target<'a>>,
    ahead: &mut Ahead,
    gives_way: impl Fn() -> bool,
) -> anyhow::Result<Option<Switch<'a>>> {
    let (mut switch, start) = (Switch::default(), Instant::now());
    ahead.heed(site);
    for (hook, binding) in targets {
        let stays = hook.state.binding == binding && !binding.as_ref().is_some_and(Binding::names_interfaces);
        let runs = hook.running != Observed::Gone || absent::runs_elsewhere(hook);
        if !runs || stays && !conditioner::is_renamed(site, hook) {
            continue;
        }
        let is_new = switch.add(site, hook, binding, ahead).with_context(|| site.hook_name(hook))?;
        // Who comes back each time with one more program comes to an end.
        if is_new && gives_way() {
            ahead.keep(switch.programs.into_iter().map(|(_, program)| program));
            return Ok(None);
        }
    }
    tracing::info!(hooks = switch.programs.len(), us = start.elapsed().as_micros() as u64, "prepared");
    Ok(Some(switch))
}

impl<'a> Switch<'a> {
    /// Whether a program was loaded for it.
    fn add(
        &mut self,
        site: &Site,
        hook: &'a Hook,
        binding: Option<Binding>,
        ahead: &mut Ahead,
    ) -> anyhow::Result<bool> {
        let same = does_the_same(hook.state.binding.as_ref(), binding.as_ref());
        if !same && let Some(program) = ahead.take(hook, binding.as_ref()) {
            self.programs.push((hook, program));
            return Ok(false);
        }
        let mut next = HookState { binding, ..hook.state.clone() };
        if same {
            conditioner::remember_earlier(hook, &mut next)?;
            conditioner::name(site, hook, &mut next);
            self.labels.push((hook, next));
        } else {
            let next = conditioner::next(site, hook, next)?;
            self.programs.push((hook, datapath::prepare(hook, next)?));
        }
        Ok(!same)
    }

    /// Switches.
    ///
    /// # Errors
    ///
    /// What the kernel says; what was switched until then stays so, and the caller goes back.
    pub fn make(self, site: &Site) -> anyhow::Result<()> {
        let (hooks, start) = (self.programs.len(), Instant::now());
        for (hook, mut program) in self.programs {
            let name = || site.hook_name(hook);
            // Packets went on coming while the others were prepared.
            conditioner::remember_earlier(hook, program.next()).with_context(name)?;
            datapath::switch(program, &site.name_of(hook), &site.net).with_context(name)?;
        }
        tracing::info!(hooks, us = start.elapsed().as_micros() as u64, "switched");
        self.labels.into_iter().try_for_each(|(hook, next)| document::write(&hook.pins.path(Pin::State), &next))
    }
}

fn does_the_same(now: Option<&Binding>, next: Option<&Binding>) -> bool {
    // A rule that names interfaces is compiled for those that are there now.
    match (now, next) {
        (None, None) => true,
        (Some(now), Some(next)) => now.does_the_same_as(next) && !next.names_interfaces(),
        _ => false,
    }
}

/// Writes down of hooks at which nothing runs now, such as those of a device in another network namespace, that they have to
/// ask what the policy of then says of them once they are back.
///
/// # Errors
///
/// What the kernel says to a pin.
pub fn have_absent_ask<'a>(hooks: impl IntoIterator<Item = &'a Hook>) -> anyhow::Result<()> {
    hooks.into_iter().filter(|hook| hook.running == Observed::Gone).try_for_each(returned::have_ask)
}
