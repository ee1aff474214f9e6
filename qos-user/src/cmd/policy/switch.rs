//! The switch itself: every program is prepared before the first takes its place.

use std::time::Instant;

use anyhow::Context as _;

use crate::{
    cmd::{conditioner, site::Site},
    kernel::{
        datapath::{self, Hook, Observed},
        document,
        pins::Pin,
        state::{Binding, HookState},
    },
};

/// Gives hooks their tables and rules, or none. Hooks at which nothing runs are left out.
///
/// # Errors
///
/// What the verifier or the kernel says; what was switched until then stays so, and the caller goes back.
pub fn switch_all(site: &Site, targets: Vec<(&Hook, Option<Binding>)>) -> anyhow::Result<()> {
    let name = |hook: &Hook| format!("{}:{}", site.name_of(hook), hook.pins.direction);
    let (mut prepared, mut labels) = (Vec::new(), Vec::new());
    let start = Instant::now();
    for (hook, binding) in targets {
        let stays = hook.state.binding == binding && !binding.as_ref().is_some_and(Binding::names_interfaces);
        if hook.running == Observed::Gone || stays && !conditioner::is_renamed(site, hook) {
            continue;
        }
        let same = does_the_same(hook.state.binding.as_ref(), binding.as_ref());
        let mut next = HookState { binding, ..hook.state.clone() };
        if same {
            conditioner::remember_earlier(hook, &mut next).with_context(|| name(hook))?;
            conditioner::name(site, hook, &mut next);
            labels.push((hook, next));
        } else {
            let next = conditioner::next(site, hook, next).with_context(|| name(hook))?;
            prepared.push((hook, datapath::prepare(hook, next).with_context(|| name(hook))?));
        }
    }
    let hooks = prepared.len();
    tracing::info!(hooks, us = start.elapsed().as_micros() as u64, "prepared");
    let start = Instant::now();
    for (hook, program) in prepared {
        datapath::switch(program, &site.name_of(hook), &site.net).with_context(|| name(hook))?;
    }
    tracing::info!(hooks, us = start.elapsed().as_micros() as u64, "switched");
    // The marks are the same, names and lines perhaps not.
    labels.into_iter().try_for_each(|(hook, next)| document::write(&hook.pins.path(Pin::State), &next))
}

fn does_the_same(now: Option<&Binding>, next: Option<&Binding>) -> bool {
    // A rule that names interfaces is compiled for those that are there now.
    match (now, next) {
        (None, None) => true,
        (Some(now), Some(next)) => now.does_the_same_as(next) && !next.names_interfaces(),
        _ => false,
    }
}
