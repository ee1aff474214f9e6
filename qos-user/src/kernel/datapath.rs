//! A hook over its life: attached, observed, switched to another program, detached.
//!
//! The order of work survives a kill at any point. A change is written down (`next-state`), then made in one system
//! call, then promoted (`state`). Whoever comes next compares the program that runs with the two and finishes or undoes.

use std::{fs, io, path::Path, sync::Arc, time::SystemTime};

use anyhow::Context as _;

use super::{
    bpffs, counters, device_ref, document,
    mechanism::{self, Running},
    network::Network,
    object::{self, Loaded},
    pins::{HookPins, Pin, Store},
    state::HookState,
};
use crate::{
    error::Failure,
    hook::{Direction, Via},
    progress,
    rules::RuleTables,
    snapshot::Device,
};

/// A hook as it is found.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Its pins.
    pub pins: HookPins,
    /// What is remembered of it.
    pub state: HookState,
    /// What runs there.
    pub running: Observed,
    /// Where nothing does any more: whether its device is the one at which it was attached; `None` if that is not known.
    pub same_device: Option<bool>,
}

impl Hook {
    /// Whether it is this one.
    #[must_use]
    pub fn is_at(&self, ifindex: u32, direction: Direction) -> bool {
        (self.pins.ifindex, self.pins.direction) == (ifindex, direction)
    }

    /// Whether its program is known to run.
    #[must_use]
    pub const fn runs(&self) -> bool {
        matches!(self.running, Observed::Running(_))
    }

    /// Whether it runs at a device that is not noted as its own any more.
    #[must_use]
    pub fn has_lost_device(&self) -> bool {
        self.runs() && device_ref::is_same(&self.pins) == Some(false)
    }
}

/// What is known of the program at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The one that the state describes.
    Running(Running),
    /// None of ours: its interface is gone or in another network namespace, or somebody removed it.
    Gone,
    /// This process may not ask; the state is taken at its word.
    Unknown,
}

/// What a hook is to do next.
#[derive(Clone, Debug)]
pub struct Next {
    /// What will be remembered of it.
    pub state: HookState,
    /// The compiled rules of its binding, if that is to be enforced and has any.
    pub rules: Option<Arc<RuleTables>>,
}

/// A program that waits to take its place at a hook.
#[derive(Debug)]
pub struct Prepared {
    hook: Hook,
    next: HookState,
    loaded: Loaded,
}

/// A hook whose pins cannot be read, or are not ours; the others are none the worse for it.
#[derive(Debug)]
pub struct Broken {
    /// Its pins.
    pub pins: HookPins,
    /// What is wrong with them.
    pub error: anyhow::Error,
}

impl Broken {
    /// Its folder, if others may write to it and nothing else is wrong: to detach would be too much.
    #[must_use]
    pub fn open_folder(&self) -> Option<&Path> {
        Some(self.pins.folder()).filter(|folder| bpffs::is_only_open(folder))
    }

    /// What is wrong, for a command that is about this hook.
    #[must_use]
    pub fn refusal(&self) -> Failure {
        let cause = self.error.downcast_ref::<Failure>();
        let hint = cause.and_then(|cause| cause.hint.clone()).unwrap_or_else(|| self.pins.removal());
        Failure::new(cause.map_or("foreign-pin", |cause| cause.code), format!("{:#}", self.error)).hint(hint)
    }
}

impl Prepared {
    /// The hook as it was when this was prepared.
    #[must_use]
    pub const fn hook(&self) -> &Hook {
        &self.hook
    }

    /// What will be remembered of it.
    pub const fn next(&mut self) -> &mut HookState {
        &mut self.next
    }
}

/// Reads every hook of a network namespace, and changes nothing.
///
/// # Errors
///
/// That the folder of the namespace cannot be read.
pub fn observe_all(store: &Store, net: &Network) -> anyhow::Result<(Vec<Hook>, Vec<Broken>)> {
    let (mut hooks, mut broken) = (Vec::new(), Vec::new());
    for pins in store.hooks()? {
        match observe(pins.clone(), net) {
            Ok(hook) => hooks.extend(hook),
            Err(error) => broken.push(Broken { pins, error }),
        }
    }
    Ok((hooks, broken))
}

/// Reads one hook; `None` if nothing is attached there.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn observe(pins: HookPins, net: &Network) -> anyhow::Result<Option<Hook>> {
    match look(&pins, net) {
        // Somebody detached it meanwhile, or finished a switch.
        Err(_gone) if !pins.is_attached() => Ok(None),
        Err(error) if is_not_found(&error) => look(&pins, net),
        result => result,
    }
}

fn look(pins: &HookPins, net: &Network) -> anyhow::Result<Option<Hook>> {
    for pin in [Pin::NextState, Pin::State] {
        let Some(state) = remembered(pins, pin)? else { continue };
        let running = match mechanism::running(state.via, pins, net) {
            Ok(Some(running)) if running.program_id == state.program_id => Observed::Running(running),
            Ok(_) if pin == Pin::NextState => continue,
            Ok(_) => Observed::Gone,
            Err(error) if may_not_know(&error) && pin == Pin::NextState => continue,
            Err(error) if may_not_know(&error) => Observed::Unknown,
            Err(error) => return Err(error),
        };
        let same_device = if running == Observed::Gone { device_ref::is_same(pins) } else { None };
        return Ok(Some(Hook { pins: pins.clone(), state, running, same_device }));
    }
    Ok(None)
}

/// What is remembered of a hook, by one of its two pins for that.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn remembered(pins: &HookPins, pin: Pin) -> anyhow::Result<Option<HookState>> {
    match pins.trusted(pin)? {
        Some(path) => document::read(&path),
        None => Ok(None),
    }
}

/// Whether the kernel keeps to itself what runs: a link is opened for writing, also to be asked, and so needs rights and a
/// bpf file system that may be written.
fn may_not_know(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::EROFS)))
}

fn is_not_found(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether nothing can come back here: the interface is gone, and the link has no device any more.
///
/// # Errors
///
/// Foreign pins, or what bpf(2) says.
pub fn is_dead(hook: &Hook, net: &Network) -> anyhow::Result<bool> {
    Ok(is_orphaned(hook)? && !net.exists(hook.pins.ifindex)?)
}

/// The same for a device that is known to have gone, whatever has its number now. One that went to another namespace is told
/// of in the same way, and its link lives.
///
/// # Errors
///
/// Foreign pins, or what bpf(2) says.
pub fn is_orphaned(hook: &Hook) -> anyhow::Result<bool> {
    Ok(hook.running == Observed::Gone && mechanism::has_no_device(&hook.pins)?)
}

/// Finishes or undoes what a killed process left half done, then reads the hook. Needs the lock.
///
/// # Errors
///
/// Foreign or unreadable pins.
pub fn recover(pins: HookPins, net: &Network) -> anyhow::Result<Option<Hook>> {
    if pins.trusted(Pin::NextState)?.is_some() {
        let happened = has_happened(&pins, net)?;
        tracing::warn!(pins = %pins.path(Pin::NextState).display(), happened, "an earlier change was cut short");
        if happened { promote(&pins)? } else { undo(&pins, net)? }
    } else if pins.trusted(Pin::NextProgram)?.is_some() {
        // It was loaded and not yet announced: nobody else would ever ask for it.
        pins.remove(Pin::NextProgram)?;
    }
    let hook = observe(pins, net)?;
    // It was attached by an earlier version, or its device was in another network namespace meanwhile.
    hook.iter().filter(|hook| hook.runs()).for_each(|hook| device_ref::note_anew(&hook.pins));
    Ok(hook)
}

/// Whether the program runs that was to come, be it at a device that is in another network namespace by now.
fn has_happened(pins: &HookPins, net: &Network) -> anyhow::Result<bool> {
    let Some(next) = remembered(pins, Pin::NextState)? else { return Ok(false) };
    let here = mechanism::running(next.via, pins, net)?.map(|running| running.program_id);
    let anywhere = || anyhow::Ok(mechanism::whereabouts(pins)?.map(|link| link.program_id));
    Ok(here.map_or_else(anywhere, |here| Ok(Some(here)))? == Some(next.program_id))
}

pub(super) fn promote(pins: &HookPins) -> anyhow::Result<()> {
    for (next, now) in [(Pin::NextProgram, Pin::Program), (Pin::NextState, Pin::State)] {
        match fs::rename(pins.path(next), pins.path(now)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| pins.path(now).display().to_string());
            }
            _ => {}
        }
    }
    progress::step();
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

pub(super) fn forget(pins: &HookPins) -> anyhow::Result<()> {
    pins.remove(Pin::NextProgram)?;
    pins.remove(Pin::NextState)
}

/// Makes the folder of a hook where nothing runs, without what an earlier attempt may have left.
///
/// # Errors
///
/// Foreign pins.
pub fn make_room(pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    // Nobody else would know that the qdisc is ours.
    if remembered(pins, Pin::State)?.is_some_and(|state| state.made_clsact) {
        mechanism::remove_own_clsact(pins.ifindex, net)?;
    }
    pins.make()?;
    pins.remove_all()?;
    pins.make()
}

/// Writes down a program that is about to run at a hook; one that cannot be is not kept.
pub(super) fn announce(pins: &HookPins, next: &mut HookState, loaded: &mut Loaded) -> anyhow::Result<()> {
    next.program_id = loaded.info()?.id();
    forget(pins)?;
    let written =
        loaded.pin(&pins.path(Pin::NextProgram)).and_then(|()| document::write(&pins.path(Pin::NextState), next));
    written.or_else(|error| forget(pins).and(Err(error)))
}

/// Attaches at a hook where nothing runs, by the mechanism that `state` names.
///
/// # Errors
///
/// What the kernel says; nothing is attached then, but the folder is still there.
pub fn attach_new(pins: &HookPins, next: Next, interface: &str, net: &Network) -> anyhow::Result<Hook> {
    let Next { mut state, rules } = next;
    let program = state.program(pins.direction);
    let mut loaded = object::load(program, &state.specialisation(rules)?, Some(pins))?;
    counters::publish(pins)?;
    device_ref::note(pins)?;
    state.made_clsact = claims_clsact(&state, pins, net)?;
    // For whoever finds this cut short; `settle` knows better.
    state.since = SystemTime::now();
    (state.device, state.qdisc) = (device(pins, net)?, net.qdiscs(pins.ifindex)?.root);
    announce(pins, &mut state, &mut loaded)?;
    mechanism::attach(state.via, &mut loaded, interface, pins, net)?;
    settle(pins, &mut state, net).or_else(|error| {
        mechanism::detach(&state, Some(interface), pins, net)?;
        Err(error)
    })
}

/// What is attached begins to count, and is found to do so.
fn settle(pins: &HookPins, state: &mut HookState, net: &Network) -> anyhow::Result<Hook> {
    begin(pins, state, net)?;
    promote(pins)?;
    found(pins, net)
}

/// What was just attached, if it is still there.
pub(super) fn found(pins: &HookPins, net: &Network) -> anyhow::Result<Hook> {
    let hook = observe(pins.clone(), net)?;
    hook.filter(|hook| hook.running != Observed::Gone).ok_or_else(|| {
        let message = format!("what was just attached at interface {} is not there any more", pins.ifindex);
        Failure::new("device-changed", message).hint("ip -d link show it; then repeat the command").into()
    })
}

/// Notes what the device and its qdisc had counted when the hook began: what they say now, less what the hook has
/// counted itself by now. Packets go on coming meanwhile: of some tries that counts in which the fewest came.
fn begin(pins: &HookPins, state: &mut HookState, net: &Network) -> anyhow::Result<()> {
    const TRIES: usize = 10;
    let frames = || anyhow::Ok(counters::read(pins)?.totals().frames());
    state.qdisc = net.qdiscs(pins.ifindex)?.root;
    let (mut earlier, mut fewest) = (frames()?, u64::MAX);
    for _ in 0..TRIES {
        let device = device(pins, net)?;
        let counted = frames()?;
        let meanwhile = counted.packets.saturating_sub(earlier.packets);
        if meanwhile < fewest {
            fewest = meanwhile;
            state.device.packets = device.packets.saturating_sub(counted.packets);
            state.device.bytes = device.bytes.saturating_sub(counted.bytes);
            state.device.drops = device.drops;
        }
        if meanwhile == 0 {
            break;
        }
        earlier = counted;
    }
    document::write(&pins.path(Pin::NextState), state)
}

fn device(pins: &HookPins, net: &Network) -> anyhow::Result<Device> {
    Ok(net.interface_at(pins.ifindex)?.context("the interface went away")?.device(pins.direction))
}

/// Whether the clsact qdisc is ours to remove once it is empty. Said before it is so: after a kill in between, whoever finds
/// it empty may remove it. One that we made may have outlived a detach that was killed: whose an empty one is nobody can tell.
pub(super) fn claims_clsact(state: &HookState, pins: &HookPins, net: &Network) -> anyhow::Result<bool> {
    let is_new = || anyhow::Ok(!net.qdiscs(pins.ifindex)?.clsact);
    Ok(state.via == Via::Clsact && (state.made_clsact || is_new()? || made_for_the_other(pins)?))
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
pub fn prepare(hook: &Hook, next: Next) -> anyhow::Result<Prepared> {
    let Next { state, rules } = next;
    let program = state.program(hook.pins.direction);
    let loaded = object::load(program, &state.specialisation(rules)?, Some(&hook.pins))?;
    // A map that the earlier version did not have is new.
    counters::publish(&hook.pins)?;
    let next = HookState { version: crate::VERSION.to_owned(), object: object::fingerprint(), ..state };
    Ok(Prepared { hook: hook.clone(), next, loaded })
}

/// Puts a prepared program in its place: one system call, and every packet meets the old one or the new one, whole.
///
/// # Errors
///
/// What the kernel says; the old program runs on then.
pub fn switch(prepared: Prepared, interface: &str, net: &Network) -> anyhow::Result<()> {
    let Prepared { hook, mut next, mut loaded } = prepared;
    announce(&hook.pins, &mut next, &mut loaded)?;
    match mechanism::replace(&hook.state, &mut loaded, interface, &hook.pins, net) {
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
    mechanism::detach(&hook.state, interface, &hook.pins, net)?;
    progress::step();
    hook.pins.remove_all()
}

/// Removes a hook of which nothing is known but what is pinned.
///
/// # Errors
///
/// What the kernel says.
pub fn detach_broken(pins: &HookPins, interface: Option<&str>, net: &Network) -> anyhow::Result<()> {
    if let Some(interface) = interface
        && let Err(error) = mechanism::detach_unknown(interface, pins, net)
    {
        tracing::warn!(interface, direction = %pins.direction, "perhaps a filter is left: {error:#}");
    }
    pins.remove_all()
}
