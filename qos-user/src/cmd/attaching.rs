//! One hook attached: anew, put back with its counters, or given this version's program.

use std::time::SystemTime;

use anyhow::Context as _;
use qos_common::locate::Link;

use super::{conditioner, site::Site};
use crate::{
    VERSION,
    command::Command,
    diagnosis,
    error::Failure,
    hook::{Direction, Layer, Via},
    kernel::{
        again::{self, Removed},
        boottime::BootTime,
        choice::{self, Request, Wanted},
        datapath::{self, Hook},
        needs::Needs,
        network::Interface,
        object,
        state::{Binding, Bypass, HookState},
        survey,
    },
    policy::Policy,
};

/// What somebody wants of a hook beside the policy.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By which mechanism.
    pub wanted: Wanted,
    /// Into what to look, if not as the policy says.
    pub inside: Option<Vec<Layer>>,
    /// Whether decisions are logged.
    pub log: bool,
    /// That the policy is out of the path from the first packet.
    pub bypass: Option<Bypass>,
    /// The change of policy that it is for, by its beginning; `None` for what stays whatever becomes of that.
    pub attached_for: Option<SystemTime>,
}

impl Asked {
    /// What the policy says, or was so before.
    #[must_use]
    pub const fn nothing() -> Self {
        Self { wanted: Wanted::Best, inside: None, log: false, bypass: None, attached_for: None }
    }
}

/// Why what is left of a hook is another device's, though the number is the same: that one had another name, or has gone. Where
/// that is not known, its counters were further on than they are now.
#[must_use]
pub fn begins_anew(hook: &Hook, interface: &Interface) -> Option<String> {
    let (before, direction) = (&hook.state, hook.pins.direction);
    let why = if !before.interface.is_empty() && before.interface != interface.name {
        format!("was that of {}", before.interface)
    } else if hook.same_device.map_or_else(|| interface.device(direction).packets < before.device.packets, |same| !same)
    {
        // A filter goes with the device's qdisc in both cases, and a link lives on elsewhere.
        let or = if before.via == Via::Clsact { ", or has been in another network namespace" } else { "" };
        format!("was that of a device that is gone{or}")
    } else {
        return None;
    };
    Some(format!("{}:{direction} begins at zero: what was left there {why}", interface.name))
}

/// Puts back what somebody has removed from a device that lives, as it was if nobody asks otherwise: by the same mechanism,
/// with what the policy in force says of it by now. Its counters go on, unless it [`begins_anew`].
///
/// # Errors
///
/// `rules`, `attach`, counters that cannot be read; what is left of the hook stays then, unless it was another device's.
pub fn attach_again(
    site: &Site,
    hook: &Hook,
    interface: &Interface,
    policy: Option<&Policy>,
    asked: Asked,
) -> anyhow::Result<Hook> {
    let direction = hook.pins.direction;
    if begins_anew(hook, interface).is_some() {
        return attach_anew(site, interface, direction, policy, asked);
    }
    let binding = bound_again(site, hook, interface, policy);
    refuse_to_differ(asked.inside.as_deref(), binding.as_ref(), &interface.name)?;
    let needs = Needs::of(binding.as_ref());
    let now = BootTime::now()?;
    let state = HookState {
        log: asked.log,
        version: VERSION.to_owned(),
        object: object::fingerprint(),
        layer3: choice::layer(interface)? == Link::Layer3,
        inside: asked.inside.or_else(|| hook.state.inside.clone()),
        // Its time may have come while nothing ran that could have been switched.
        bypass: hook.state.bypass.clone().filter(|bypass| binding.is_some() && !bypass.has_expired(now)),
        attached_for: asked.attached_for,
        binding,
        ..hook.state.clone()
    };
    let next = conditioner::following(site, hook, state).with_context(|| {
        let detach = Command::new("qosbpf detach").operand(format_args!("{}:{direction}", interface.name));
        format!("{detach} would give its counters up")
    })?;
    let wanted = conditioner::wanted(asked.wanted, policy, &interface.name, direction);
    again::attach(&Removed { hook, interface, wanted, next, needs }, &site.net)
}

/// What a hook is to do that is attached again. A policy may have been taken back while nothing ran there, and the hook's own
/// word for it counts only where one is in force that this version cannot read.
#[must_use]
pub fn bound_again(site: &Site, hook: &Hook, interface: &Interface, policy: Option<&Policy>) -> Option<Binding> {
    match policy {
        Some(policy) => conditioner::binding(policy, &interface.name, hook.pins.direction),
        None if site.has_policy() => hook.state.binding.clone(),
        None => None,
    }
}

/// Attaches where nothing runs, with what the policy says of the hook.
///
/// # Errors
///
/// `rules`, `attach`, and what the kernel says; nothing is attached then.
pub fn attach_anew(
    site: &Site,
    interface: &Interface,
    direction: Direction,
    policy: Option<&Policy>,
    asked: Asked,
) -> anyhow::Result<Hook> {
    let binding = policy.and_then(|policy| conditioner::binding(policy, &interface.name, direction));
    refuse_to_differ(asked.inside.as_deref(), binding.as_ref(), &interface.name)?;
    let bypass = asked.bypass.filter(|_| binding.as_ref().is_some_and(Binding::decides));
    let bound = conditioner::first(binding, &site.interfaces)?;
    let wanted = conditioner::wanted(asked.wanted, policy, &interface.name, direction);
    let pins = site.store.hook(interface.ifindex, direction);
    let Asked { inside, log, attached_for, .. } = asked;
    let request = Request { interface, pins, wanted, bound, inside, log, bypass, attached_for };
    choice::attach(&request, &site.net)
}

/// Replaces the program of another version of qosbpf by this one's; counters and policy stay.
///
/// # Errors
///
/// What the verifier or the kernel says; the other program runs on then.
pub fn upgrade(hook: &Hook, interface: &str, site: &Site) -> anyhow::Result<()> {
    reload(hook, HookState { version: VERSION.to_owned(), ..hook.state.clone() }, interface, site)
}

/// Replaces a program by this version's, which does what `next` says; counters stay.
///
/// # Errors
///
/// What the verifier or the kernel says; the other program runs on then.
pub fn reload(hook: &Hook, next: HookState, interface: &str, site: &Site) -> anyhow::Result<()> {
    let next = conditioner::as_bound(site, hook, next)?;
    datapath::switch(datapath::prepare(hook, next)?, interface, &site.net)
}

/// Whether packets of its device have become too long for a hook's XDP program, and the driver takes the one for pieces.
#[must_use]
pub fn has_outgrown(hook: &Hook, interface: &Interface) -> bool {
    let takes_pieces = || survey::xdp(interface.ifindex).is_some_and(|driver| driver.native && driver.frags);
    diagnosis::has_outgrown(hook.state.via, hook.state.frags, interface.mtu) && takes_pieces()
}

/// Loads the XDP program for packets in pieces; counters and policy stay.
///
/// # Errors
///
/// What the verifier or the kernel says; attached again, the hook goes on with its counters.
pub fn in_pieces(hook: &Hook, interface: &Interface, site: &Site) -> anyhow::Result<Hook> {
    let next = conditioner::as_bound(site, hook, HookState { version: VERSION.to_owned(), ..hook.state.clone() })?;
    let needs = Needs::of(next.state.binding.as_ref());
    again::in_pieces(Removed { hook, interface, wanted: Wanted::Best, next, needs }, &site.net)
}

/// The error that a hook is attached by another mechanism, with the command that moves it if that is any use.
#[must_use]
pub fn stays(site: &Site, hook: &Hook, other: Via, interface: &Interface) -> Failure {
    let (via, direction, name) = (hook.state.via, hook.pins.direction, &interface.name);
    let failure = Failure::new("attached", format!("{name}:{direction} is attached by {via}, not by {other}"));
    if other.is_xdp() && direction == Direction::Egress {
        return failure.hint(format!("XDP sees packets at ingress alone: it stays at {via}"));
    }
    if other == Via::XdpNative && matches!(interface.link, Ok(Link::Layer3)) {
        return failure.hint(format!("a layer-3 device does not give its packets to native XDP: it stays at {via}"));
    }
    failure.hint(moving(site, hook, other))
}

/// What moves a hook to another mechanism, as it is said.
#[must_use]
pub fn moving(site: &Site, hook: &Hook, via: Via) -> String {
    format!("to move it, losing its counters: {}", moved(site, hook, via))
}

/// The commands that attach a hook by another mechanism. The policy in force goes with the last of its hooks, and comes back
/// with it, from a folder of its own if no file has it: the saved policy stays what it is.
#[must_use]
pub fn moved(site: &Site, hook: &Hook, via: Via) -> Command {
    let name = site.hook_name(hook);
    let detach = Command::new("qosbpf detach").operand(&name);
    let attach =
        looking_inside(Command::new("qosbpf attach --hook").word(via.as_option()), hook.state.inside.as_deref());
    let is_last = site.hooks.len() + site.broken.len() == 1;
    match site.policy.as_ref().filter(|_| is_last) {
        None => detach.then(attach.operand(name)),
        Some(in_force) => match site.file_of(in_force) {
            Some(file) => detach.then(attach.words("--policy").word(file.display()).operand(name)),
            None => {
                let kept = site.saved_file().with_file_name("in-force");
                let again = attach.words("--policy").word(kept.join("policy.toml").display()).operand(name);
                Command::new("qosbpf policy save --etc").word(kept.display()).then(detach).then(again)
            }
        },
    }
}

/// With the option for what `attach` was told of where to look.
#[must_use]
pub fn looking_inside(command: Command, inside: Option<&[Layer]>) -> Command {
    match inside.filter(|inside| !inside.is_empty()) {
        Some(inside) => {
            let words: Vec<_> = inside.iter().map(|layer| layer.as_str()).collect();
            command.words("--inside").word(words.join(","))
        }
        None => command,
    }
}

/// A policy is the whole statement: where it says into what to look, nobody else does.
///
/// # Errors
///
/// `other-policy`.
pub fn refuse_to_differ(asked: Option<&[Layer]>, binding: Option<&Binding>, interface: &str) -> anyhow::Result<()> {
    let by_policy = binding.and_then(|binding| Some((binding, binding.inside.as_deref()?)));
    match (asked, by_policy) {
        (Some(asked), Some((binding, inside))) if asked != inside => {
            let name = &binding.policy.name;
            let message = format!("policy {name} says into what to look at {interface}: {}", said(inside));
            let hint = format!("leave --inside out, or write `inside` in {} and apply it", binding.policy.file);
            Err(Failure::new("other-policy", message).hint(hint).into())
        }
        _ => Ok(()),
    }
}

fn said(inside: &[Layer]) -> String {
    if inside.is_empty() { "nothing".to_owned() } else { Layer::words(inside) }
}
