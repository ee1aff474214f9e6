//! Deadlines: a policy that nobody confirmed, a bypass that ends. Every command looks at them before its own work.

use std::time::Duration;

use super::{
    Context,
    recovery::{Recovered, recover},
};
use crate::{
    error::with_hint,
    kernel::{
        boottime::BootTime,
        datapath::{self, Observed},
        leftover::Leftover,
        network::Network,
        past,
        pending::{Pending, TakenBack},
        pins::{HookPins, Pin, Store},
        privilege, returned,
    },
    status::Why,
};

/// When deadlines that could not be read, or kept, are looked at again.
pub const AGAIN: Duration = Duration::from_secs(1);

/// Does what [`settle`] does for whoever keeps deadlines as they come, and says when to do so again.
pub fn keep(context: &Context) -> Option<BootTime> {
    let began = BootTime::now().ok()?;
    let _said = settle(context);
    let next = context.store().and_then(|store| next(&store)).unwrap_or_else(|error| {
        tracing::error!("deadlines cannot be read; they are looked at again soon: {error:#}");
        Some(began)
    });
    // What was due by then could not be kept, and is tried again, but not in haste.
    next.map(|next| if next > began { next } else { BootTime::now().unwrap_or(began).plus(AGAIN) })
}

/// Takes back what is overdue, or says that it is if this process may not. A failure keeps no command from its work. The
/// policy that was taken back, if one was.
pub fn settle(context: &Context) -> Option<TakenBack> {
    // What is wrong with the pins, a command that reads them says better.
    let store = context.store().ok()?;
    match is_due(&store) {
        Ok(false) => None,
        Ok(true) => context.afterwards(take_back).unwrap_or_else(|error| {
            tracing::error!("a rollback is due: {}", with_hint(&error));
            None
        }),
        Err(error) => {
            tracing::debug!("deadlines: {error:#}");
            None
        }
    }
}

fn take_back(context: &Context) -> anyhow::Result<Option<TakenBack>> {
    if privilege::missing().is_some() {
        context.warn("qosbpf: ! a rollback is due: run any qosbpf command as root\n");
        return Ok(None);
    }
    let waited = Pending::read(&context.store()?).unwrap_or_default().map(|change| change.to);
    let (store, _change) = Store::change(&context.bpffs)?;
    let Recovered { site, taken_back } = recover(store, context)?;
    if taken_back.is_some() {
        return Ok(taken_back);
    }
    // Who keeps the deadline may have been quicker, while this waited for the lock.
    Ok(match waited {
        Some(waited) if past::is_taken_back(&site.store, &waited)? => {
            Some(TakenBack { policy: waited, why: Why::Late })
        }
        _ => None,
    })
}

/// Whether there is something that [`settle`] would do.
pub fn is_past(context: &Context) -> bool {
    context.store().and_then(|store| is_due(&store)).unwrap_or(false)
}

/// Whether a deadline has passed, or could not be kept at every hook, or a process was killed in the middle of a change.
fn is_due(store: &Store) -> anyhow::Result<bool> {
    let now = BootTime::now()?;
    match Pending::read(store) {
        Ok(Some(change)) if change.expired(now) || !change.complete && !store.is_busy()? => return Ok(true),
        Ok(_) => {}
        // It keeps nobody from the deadlines of others.
        Err(error) => tracing::debug!("no deadline of a change is read: {error:#}"),
    }
    if Leftover::exists(store) {
        return Ok(true);
    }
    Ok(bypasses(store)?.into_iter().any(|until| until <= now))
}

/// The next deadline, passed or not.
///
/// # Errors
///
/// Foreign or unreadable pins, where no other deadline is known.
pub fn next(store: &Store) -> anyhow::Result<Option<BootTime>> {
    let (bypasses, again) = (bypasses(store)?, BootTime::now()?.plus(AGAIN));
    let change = match Pending::read(store) {
        Ok(change) => change.and_then(|change| change.until),
        Err(error) if bypasses.is_empty() => return Err(error),
        Err(_) => Some(again),
    };
    let leftover = Leftover::exists(store).then_some(again);
    Ok(change.into_iter().chain(leftover).chain(bypasses).min())
}

/// When the bypasses end that end by themselves. A hook that cannot be read keeps nobody from a deadline.
fn bypasses(store: &Store) -> anyhow::Result<Vec<BootTime>> {
    let now = BootTime::now()?;
    let ends = store.hooks()?.into_iter().filter_map(|pins| {
        let (ifindex, direction) = (pins.ifindex, pins.direction);
        let state = datapath::remembered(&pins, Pin::State).unwrap_or_else(|error| {
            tracing::debug!(ifindex, %direction, "no deadline is read: {error:#}");
            None
        });
        let until = state?.bypass?.until?;
        let waits = until <= now && is_idle(store, pins).unwrap_or(false);
        (!waits).then_some(until)
    });
    Ok(ends.collect())
}

/// Whether nothing runs at a hook that could be put into the policy's path. What is written down of it stays: where its device
/// is in another network namespace, the program that only counts runs on, and the bypass ends once it is back.
fn is_idle(store: &Store, pins: HookPins) -> anyhow::Result<bool> {
    let net = Network::open()?;
    let Some(hook) = datapath::observe(pins, &net)? else { return Ok(true) };
    let HookPins { ifindex, direction, .. } = hook.pins;
    let is_gone = || net.exists(ifindex).map(|exists| !exists);
    match hook.running {
        Observed::Running(_) => Ok(false),
        // Where it is back under another number, whoever ends the bypass takes it over.
        Observed::Gone => returned::number(&hook, &net).map_or_else(
            |_may_not_ask| is_gone(),
            |number| Ok(number.is_none_or(|ifindex| store.hook(ifindex, direction).exists())),
        ),
        Observed::Unknown => is_gone(),
    }
}
