//! The mechanisms tried in turn until one works, at a hook where nothing runs: at first, and once more.

use std::cell::Cell;

use qos_common::locate::Link;

use super::{
    choice::{self, Wanted},
    datapath::Hook,
    filter_place,
    needs::Needs,
    network::{Interface, Network},
    pins::HookPins,
    shortage, unpinned,
};
use crate::hook::Via;

/// Where it is tried, and what for.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The interface.
    pub interface: &'a Interface,
    /// The hook's pins.
    pub pins: &'a HookPins,
    /// By what it is wanted.
    pub wanted: Wanted,
    /// What precedes the IP header there.
    pub layer: Link,
    /// What not every mechanism can do.
    pub needs: &'a Needs,
}

/// A mechanism to try.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Which.
    pub via: Via,
    /// Why it is taken if it works, if that is known already.
    pub reason: Option<String>,
    /// Whether the XDP program for packets in several pieces is tried first.
    pub frags: bool,
}

/// One attempt.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// By which mechanism.
    pub via: Via,
    /// Why by this one.
    pub reason: String,
    /// Whether with the XDP program for packets in several pieces.
    pub frags: bool,
}

/// Attaches by the first that works; `once` is a single attempt.
///
/// # Errors
///
/// `foreign-filter`, `own-unpinned`; what no other mechanism would fare better with; `attach`, with what each mechanism said.
pub(super) fn take(
    place: &Place<'_>,
    candidates: impl IntoIterator<Item = Candidate>,
    net: &Network,
    once: impl Fn(Attempt) -> anyhow::Result<Hook>,
) -> anyhow::Result<Hook> {
    let Place { interface, pins, wanted, layer, needs } = *place;
    filter_place::refuse_without_pins(&interface.name, pins, net)?;
    unpinned::refuse(interface, pins, net)?;
    let is_short = Cell::new(false);
    let once =
        |attempt| once(attempt).inspect_err(|error| is_short.set(is_short.get() || shortage::said(error).is_some()));
    let mut refusals: Vec<(Via, String)> = Vec::new();
    for Candidate { via, reason, frags } in candidates {
        if let Some(why) = choice::unfit(via, layer, interface, wanted, needs) {
            refusals.push((via, why));
            continue;
        }
        let reason = reason.unwrap_or_else(|| choice::reason(via, wanted, &refusals));
        match either(Attempt { via, reason, frags }, once) {
            Ok(hook) => return Ok(hook),
            Err(error) if choice::is_final(&error) => return Err(shortage::at(|| cannot_attach(place), error)),
            Err(error) => refusals.push((via, choice::refusal(via, interface, &error))),
        }
    }
    Err(choice::nothing_worked(place, &refusals, is_short.get()))
}

/// What could not be done.
pub(super) fn cannot_attach(place: &Place<'_>) -> String {
    format!("{}:{}: cannot attach", place.interface.name, place.pins.direction)
}

/// Drivers that cut packets into pieces take only the XDP program for that, and others perhaps only the plain one.
fn either(first: Attempt, once: impl Fn(Attempt) -> anyhow::Result<Hook>) -> anyhow::Result<Hook> {
    let (via, frags) = (first.via, first.frags);
    let other = Attempt { frags: !frags, ..first.clone() };
    match once(first) {
        Err(error) if via == Via::XdpNative && !choice::is_final(&error) => once(other).map_err(|also| {
            if choice::is_final(&also) {
                return also;
            }
            let (plain, pieces) = if frags { (also, error) } else { (error, also) };
            both(&format!("{plain:#}"), &format!("{pieces:#}"))
        }),
        result => result,
    }
}

/// What the kernel said to each of the two programs.
fn both(plain: &str, pieces: &str) -> anyhow::Error {
    if plain == pieces {
        anyhow::anyhow!("{plain}")
    } else {
        anyhow::anyhow!("{plain}, and to the program for packets in several pieces: {pieces}")
    }
}
