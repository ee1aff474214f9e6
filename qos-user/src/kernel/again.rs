//! Puts back what somebody has removed from a device that is still there: what was remembered of the hook holds, and its
//! counters go on.

use super::{
    choice::{self, Wanted},
    counters,
    datapath::{self, Hook, Next},
    mechanism,
    network::{Interface, Network},
    object,
    pins::Pin,
    state::HookState,
};
use crate::hook::{Direction, Via};

/// A hook at which nothing runs any more, and what it is to do.
#[derive(Debug)]
pub struct Removed<'a> {
    /// What is left of it.
    pub hook: &'a Hook,
    /// Its interface.
    pub interface: &'a Interface,
    /// By what; the best is what it was attached by, if that works.
    pub wanted: Wanted,
    /// What it is to do.
    pub next: Next,
    /// Why not by XDP.
    pub needs_tc: Option<String>,
}

/// Attaches once more.
///
/// # Errors
///
/// `usage`, `link-type`; `attach`, with what each mechanism said; what is left of the hook stays as it is then.
pub fn attach(lost: &Removed<'_>, net: &Network) -> anyhow::Result<Hook> {
    let Removed { hook, interface, next, .. } = lost;
    choice::refuse(lost.wanted, interface, hook.pins.direction)?;
    let mut refusals: Vec<(Via, String)> = Vec::new();
    for (via, reason) in mechanisms(lost.wanted, &hook.state, hook.pins.direction) {
        let (layer, needs_tc) = (next.state.link(), lost.needs_tc.as_ref());
        if let Some(why) = choice::unfit(via, layer, interface, lost.wanted, needs_tc) {
            refusals.push((via, why));
            continue;
        }
        let reason = reason.unwrap_or_else(|| choice::reason(via, lost.wanted, &refusals));
        let frags = hook.state.frags && via == hook.state.via;
        let state = HookState { via, frags, reason, ..next.state.clone() };
        match attempt(hook, Next { state, rules: next.rules.clone() }, interface, net) {
            Ok(hook) => return Ok(hook),
            Err(error) if choice::is_final(&error) => return Err(error),
            Err(error) => refusals.push((via, format!("{error:#}"))),
        }
    }
    Err(choice::nothing_worked(interface, hook.pins.direction, lost.wanted, &refusals))
}

/// By what somebody wanted the hook to be attached.
#[must_use]
pub fn told(was: &HookState) -> Wanted {
    let exactly = Wanted::Exactly(was.via);
    if choice::reason(was.via, exactly, &[]) == was.reason { exactly } else { Wanted::Best }
}

/// What to try, the one that it was attached by before all others, for the reason that was given then.
fn mechanisms(wanted: Wanted, was: &HookState, direction: Direction) -> Vec<(Via, Option<String>)> {
    let known = |via: Via| (via, (via == was.via).then(|| was.reason.clone()));
    match wanted {
        Wanted::Exactly(via) => vec![(via, None)],
        Wanted::Best if told(was) != Wanted::Best => vec![known(was.via)],
        Wanted::Best => {
            let others = wanted.candidates(direction).into_iter().filter(|via| *via != was.via);
            std::iter::once(was.via).chain(others).map(known).collect()
        }
    }
}

/// What an XDP program was loaded for is tried first; the driver may have changed its mind about packets in pieces.
fn attempt(hook: &Hook, next: Next, interface: &Interface, net: &Network) -> anyhow::Result<Hook> {
    match once(hook, next.clone(), interface, net) {
        Err(error) if next.state.via == Via::XdpNative && !choice::is_final(&error) => {
            let state = HookState { frags: !next.state.frags, ..next.state };
            once(hook, Next { state, ..next }, interface, net).map_err(|_also| error)
        }
        result => result,
    }
}

fn once(hook: &Hook, next: Next, interface: &Interface, net: &Network) -> anyhow::Result<Hook> {
    let (Next { mut state, rules }, pins) = (next, &hook.pins);
    let mut loaded = object::load(state.program(pins.direction), &state.specialisation(rules)?, Some(pins))?;
    counters::publish(pins)?;
    state.made_clsact = datapath::claims_clsact(&state, pins, net)?;
    // A link that was detached by force leads nowhere, and is where the new one has to be.
    pins.remove(Pin::Link)?;
    datapath::announce(pins, &mut state, &mut loaded)?;
    let attached = mechanism::attach(state.via, &mut loaded, &interface.name, pins, net);
    attached.or_else(|error| datapath::forget(pins).and(Err(error)))?;
    datapath::promote(pins)?;
    datapath::found(pins, net)
}
