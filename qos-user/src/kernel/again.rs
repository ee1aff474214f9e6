//! Puts back what somebody has removed from a device that is still there: what was remembered of the hook holds, and its
//! counters go on.

use super::{
    choice::{self, Wanted},
    counters,
    datapath::{self, Hook, Next, Observed},
    device_ref, mechanism,
    needs::Needs,
    network::{Interface, Network},
    object,
    pins::Pin,
    state::HookState,
    turns::{self, Attempt, Candidate, Place},
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
    /// What not every mechanism can do.
    pub needs: Needs,
}

/// Attaches once more.
///
/// # Errors
///
/// `usage`, `link-type`; `attach`, with what each mechanism said; what is left of the hook stays as it is then.
pub fn attach(lost: &Removed<'_>, net: &Network) -> anyhow::Result<Hook> {
    let Removed { hook, interface, next, .. } = lost;
    choice::refuse(lost.wanted, interface, hook.pins.direction)?;
    let (layer, needs) = (next.state.link(), &lost.needs);
    let place = Place { interface, pins: &hook.pins, wanted: lost.wanted, layer, needs };
    let candidates = mechanisms(lost.wanted, &hook.state, hook.pins.direction).into_iter();
    // What an XDP program was loaded for is tried first; the driver may have changed its mind about packets in pieces.
    let frags = |via| hook.state.frags && via == hook.state.via;
    let candidates = candidates.map(|(via, reason)| Candidate { via, reason, frags: frags(via) });
    turns::take(&place, candidates, net, |Attempt { via, reason, frags }| {
        let state = HookState { via, frags, reason, ..next.state.clone() };
        once(hook, Next { state, rules: next.rules.clone() }, interface, net)
    })
}

/// Puts the XDP program for packets in pieces in the place of the one for a single piece, which bars longer packets. The
/// kernel looks at the limits of a program when it comes to a device where none is: for a moment none runs.
///
/// # Errors
///
/// Those of [`attach`]; nothing runs at the hook then, and its counters are kept.
pub fn in_pieces(runs: Removed<'_>, net: &Network) -> anyhow::Result<Hook> {
    let Removed { hook, interface, .. } = runs;
    mechanism::detach(&hook.state, Some(&interface.name), &hook.pins, net)?;
    let state = HookState { frags: true, ..hook.state.clone() };
    let hook = &Hook { state, running: Observed::Gone, ..hook.clone() };
    let interface = &Interface { xdp: None, ..interface.clone() };
    attach(&Removed { hook, interface, ..runs }, net)
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

fn once(hook: &Hook, next: Next, interface: &Interface, net: &Network) -> anyhow::Result<Hook> {
    let (Next { mut state, rules }, pins) = (next, &hook.pins);
    let mut loaded = object::load(state.program(pins.direction), &state.specialisation(rules)?, Some(pins))?;
    counters::publish(pins)?;
    device_ref::note(pins)?;
    state.made_clsact = datapath::claims_clsact(&state, pins, net)?;
    // A link that was detached by force leads nowhere, and is where the new one has to be.
    pins.remove(Pin::Link)?;
    datapath::announce(pins, &mut state, &mut loaded)?;
    let attached = mechanism::attach(state.via, &mut loaded, &interface.name, pins, net);
    attached.or_else(|error| datapath::forget(pins).and(Err(error)))?;
    datapath::promote(pins)?;
    datapath::found(pins, net)
}
