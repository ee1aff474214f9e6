//! A hook over its life: attached, observed, switched to another program, detached.
//!
//! The order of work survives a kill at any point. A change is written down (`next-state`), then made in one system
//! call, then promoted (`state`). Whoever comes next compares the program that runs with the two and finishes or undoes.

use std::{fs, time::SystemTime};

use anyhow::Context as _;

use super::{
    counters, document,
    mechanism::{self, Running},
    network::Network,
    object::{self, Loaded},
    pins::{HookPins, Pin, Store},
    state::HookState,
};
use crate::hook::Via;

/// A hook as it is found.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Its pins.
    pub pins: HookPins,
    /// What is remembered of it.
    pub state: HookState,
    /// What runs there.
    pub running: Observed,
}

/// What is known of the program at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The one that the state describes.
    Running(Running),
    /// None of ours: its interface is gone, or somebody removed it.
    Gone,
    /// This process may not ask; the state is taken at its word.
    Unknown,
}

/// A program that waits to take its place at a hook.
#[derive(Debug)]
pub struct Prepared {
    hook: Hook,
    next: HookState,
    loaded: Loaded,
}

/// Reads every hook of a network namespace, and changes nothing.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn observe_all(store: &Store, net: &Network) -> anyhow::Result<Vec<Hook>> {
    let hooks = store.hooks()?.into_iter().filter_map(|pins| observe(pins, net).transpose());
    hooks.collect()
}

/// Reads one hook; `None` if nothing is attached there.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn observe(pins: HookPins, net: &Network) -> anyhow::Result<Option<Hook>> {
    for pin in [Pin::NextState, Pin::State] {
        let Some(state) = remembered(&pins, pin)? else { continue };
        let running = match mechanism::running(state.via, &pins, net) {
            Ok(Some(running)) if running.program_id == state.program_id => Observed::Running(running),
            Ok(_) if pin == Pin::NextState => continue,
            Ok(_) => Observed::Gone,
            Err(error) if is_permission(&error) && pin == Pin::NextState => continue,
            Err(error) if is_permission(&error) => Observed::Unknown,
            Err(error) => return Err(error),
        };
        return Ok(Some(Hook { pins, state, running }));
    }
    Ok(None)
}

fn remembered(pins: &HookPins, pin: Pin) -> anyhow::Result<Option<HookState>> {
    match pins.trusted(pin)? {
        Some(path) => document::read(&path),
        None => Ok(None),
    }
}

fn is_permission(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)))
}

/// Finishes or undoes what a killed process left half done, then reads the hook. Needs the lock.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn recover(pins: HookPins, net: &Network) -> anyhow::Result<Option<Hook>> {
    if pins.trusted(Pin::NextState)?.is_some() {
        let happened = observe(pins.clone(), net)?
            .filter(|hook| matches!(hook.running, Observed::Running(_)))
            .zip(remembered(&pins, Pin::NextState)?)
            .is_some_and(|(hook, next)| hook.state.program_id == next.program_id);
        tracing::warn!(pins = %pins.path(Pin::NextState).display(), happened, "an earlier change was cut short");
        if happened { promote(&pins)? } else { undo(&pins, net)? }
    }
    observe(pins, net)
}

fn promote(pins: &HookPins) -> anyhow::Result<()> {
    for (next, now) in [(Pin::NextProgram, Pin::Program), (Pin::NextState, Pin::State)] {
        if pins.path(next).exists() {
            fs::rename(pins.path(next), pins.path(now)).with_context(|| pins.path(now).display().to_string())?;
        }
    }
    Ok(())
}

/// A qdisc may have been made for a filter that never came.
fn undo(pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    let next = remembered(pins, Pin::NextState)?;
    if next.is_some_and(|next| next.made_clsact) && net.exists(pins.ifindex)? {
        mechanism::remove_own_clsact(pins.ifindex, net)?;
    }
    forget(pins)
}

fn forget(pins: &HookPins) -> anyhow::Result<()> {
    pins.remove(Pin::NextProgram)?;
    pins.remove(Pin::NextState)
}

/// Makes the folder of a hook where nothing runs, without what an earlier attempt may have left.
///
/// # Errors
///
/// Foreign pins.
pub fn make_room(pins: &HookPins) -> anyhow::Result<()> {
    pins.make()?;
    pins.remove_all()?;
    pins.make()
}

/// Writes down a program that is about to run at a hook.
fn announce(pins: &HookPins, next: &mut HookState, loaded: &mut Loaded) -> anyhow::Result<()> {
    next.program_id = loaded.info()?.id();
    forget(pins)?;
    loaded.pin(&pins.path(Pin::NextProgram))?;
    document::write(&pins.path(Pin::NextState), next)
}

/// Attaches at a hook where nothing runs, by the mechanism that `state` names.
///
/// # Errors
///
/// What the kernel says; nothing is attached then, but the folder is still there.
pub fn attach_new(pins: &HookPins, mut state: HookState, interface: &str, net: &Network) -> anyhow::Result<Hook> {
    let program = state.program(pins.direction);
    let mut loaded = object::load(program, &state.specialisation()?, Some(pins))?;
    counters::publish(pins)?;
    // Said before it is so: after a kill in between, whoever finds the qdisc empty may remove it.
    state.made_clsact = state.via == Via::Clsact && (!net.qdiscs(pins.ifindex)?.clsact || made_for_the_other(pins)?);
    announce(pins, &mut state, &mut loaded)?;
    mechanism::attach(state.via, &mut loaded, interface, pins, net)?;
    begin(pins, &mut state, net)?;
    promote(pins)?;
    observe(pins.clone(), net)?.context("attached, and not found afterwards")
}

/// Notes from when on the hook counts, and what the device and its qdisc had counted by then.
fn begin(pins: &HookPins, state: &mut HookState, net: &Network) -> anyhow::Result<()> {
    state.since = SystemTime::now();
    let now = net.interfaces()?.into_iter().find(|interface| interface.ifindex == pins.ifindex);
    state.device = now.context("the interface went away")?.device(pins.direction);
    state.qdisc = net.qdiscs(pins.ifindex)?.root;
    document::write(&pins.path(Pin::NextState), state)
}

/// Whether the clsact qdisc is there because we made it for the other direction: it goes with the last of the two.
fn made_for_the_other(pins: &HookPins) -> anyhow::Result<bool> {
    Ok(remembered(&pins.other_direction(), Pin::State)?.is_some_and(|other| other.made_clsact))
}

/// Loads the program that `next` describes for a hook; nothing changes there yet.
///
/// # Errors
///
/// What the verifier says, or foreign pins.
pub fn prepare(hook: &Hook, next: HookState) -> anyhow::Result<Prepared> {
    let program = next.program(hook.pins.direction);
    let loaded = object::load(program, &next.specialisation()?, Some(&hook.pins))?;
    Ok(Prepared { hook: hook.clone(), next, loaded })
}

/// Puts a prepared program in its place: one system call, and every packet meets the old one or the new one, whole.
///
/// # Errors
///
/// What the kernel says; the old program runs on then.
pub fn switch(prepared: Prepared, interface: &str) -> anyhow::Result<()> {
    let Prepared { hook, mut next, mut loaded } = prepared;
    announce(&hook.pins, &mut next, &mut loaded)?;
    match mechanism::replace(hook.state.via, &mut loaded, interface, &hook.pins) {
        Ok(()) => promote(&hook.pins),
        Err(error) => {
            forget(&hook.pins)?;
            Err(error)
        }
    }
}

/// Detaches a hook and removes its pins.
///
/// # Errors
///
/// What the kernel says.
pub fn detach(hook: &Hook, interface: Option<&str>, net: &Network) -> anyhow::Result<()> {
    mechanism::detach(hook.state.via, hook.state.made_clsact, interface, &hook.pins, net)?;
    hook.pins.remove_all()
}
