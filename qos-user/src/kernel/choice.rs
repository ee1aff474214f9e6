//! Which mechanism to attach by: the best that this interface and this kernel allow, with the reason said aloud.

use std::{fs, sync::Arc, time::SystemTime};

use qos_common::locate::Link;

use super::{
    datapath::{self, Hook, Next},
    needs::Needs,
    network::{Interface, Network, XdpSlot},
    object,
    pins::HookPins,
    shortage,
    slots::Slots,
    state::{Binding, Bypass, HookState, QdiscBaseline},
    survey, sys,
    turns::{self, Attempt, Candidate, Place, cannot_attach},
};
use crate::{
    command::Command,
    diagnosis::{self, hides_headers, version},
    error::{Exit, Failure},
    hook::{Direction, Layer, Via},
    rules::{RuleTables, from::Named},
    snapshot::{Device, asked::Asked, made::Earlier, tabled::Tabled},
};

const SLOT_IS_TAKEN: &str = "the XDP slot is taken by";

/// The same in the reason that is remembered of a hook: by now it may be free.
pub const SLOT_WAS_TAKEN: &str = "the XDP slot was taken by";

/// What somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The best.
    Best,
    /// This one or none.
    Exactly(Via),
}

impl Wanted {
    /// The mechanisms to try, the best first.
    ///
    /// Generic XDP is never among them unless asked for by name: it copies packets, and counts a super-packet as one.
    pub(super) fn candidates(self, direction: Direction) -> Vec<Via> {
        match (self, direction) {
            (Self::Exactly(via), _) => vec![via],
            (Self::Best, Direction::Ingress) => vec![Via::XdpNative, Via::Tcx, Via::Clsact],
            (Self::Best, Direction::Egress) => vec![Via::Tcx, Via::Clsact],
        }
    }
}

/// What a policy says of a hook where nothing is attached yet.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// Table and rules.
    pub binding: Option<Binding>,
    /// The counters of the rules.
    pub slots: Slots,
    /// The buckets and counters of the meters.
    pub meters: Slots,
    /// The compiled rules.
    pub rules: Option<Arc<RuleTables>>,
    /// The interfaces that they name by `from`.
    pub named: Vec<Named>,
    /// What not every mechanism can do.
    pub needs: Needs,
}

/// What to attach, and where.
#[derive(Debug)]
pub struct Request<'a> {
    /// The interface.
    pub interface: &'a Interface,
    /// The hook's pins.
    pub pins: HookPins,
    /// By what.
    pub wanted: Wanted,
    /// What the policy in force says of this hook.
    pub bound: Bound,
    /// Behind which headers to look for IP, unless the policy says so.
    pub inside: Option<Vec<Layer>>,
    /// Whether decisions are logged.
    pub log: bool,
    /// That the policy is out of the path from the first packet.
    pub bypass: Option<Bypass>,
    /// The change of policy that it is for, by its beginning: if that is taken back, it is detached.
    pub attached_for: Option<SystemTime>,
}

/// Attaches at one hook by the first mechanism that works.
///
/// # Errors
///
/// `attach`, with what each mechanism said.
pub fn attach(request: &Request<'_>, net: &Network) -> anyhow::Result<Hook> {
    let Request { interface, pins, wanted, .. } = request;
    let layer = layer(interface)?;
    refuse(*wanted, interface, pins.direction)?;
    datapath::make_room(pins, net)?;
    let place = Place { interface, pins, wanted: *wanted, layer, needs: &request.bound.needs };
    let candidates = wanted.candidates(pins.direction).into_iter();
    let candidates = candidates.map(|via| Candidate { via, reason: None, frags: false });
    let once = |Attempt { via, reason, frags }| {
        let state = HookState { frags, ..request.first_state(via, layer, reason) };
        datapath::attach_new(pins, Next { state, rules: request.bound.rules.clone() }, &interface.name, net)
    };
    turns::take(&place, candidates, net, once).or_else(|error| abandon(pins, error))
}

/// What precedes the IP header at an interface.
///
/// # Errors
///
/// `link-type`.
pub fn layer(interface: &Interface) -> Result<Link, Failure> {
    interface.link.clone().map_err(|why| Failure::new("link-type", format!("{}: {why}", interface.name)))
}

/// Refuses what a mechanism would take, and what would not see what it is there for.
///
/// # Errors
///
/// `usage`, `link-type`.
pub(super) fn refuse(wanted: Wanted, interface: &Interface, direction: Direction) -> anyhow::Result<()> {
    refuse_xdp_at_egress(wanted, direction)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let refusal = interface.tunnel.refuses(&interface.name, direction, version(&release));
    refusal.map_or(Ok(()), |failure| Err(failure.into()))
}

fn refuse_xdp_at_egress(wanted: Wanted, direction: Direction) -> anyhow::Result<()> {
    match wanted {
        Wanted::Exactly(via) if via.is_xdp() && direction == Direction::Egress => {
            let message = "XDP sees packets at ingress alone: --ingress, or --hook tcx";
            Err(Failure::new("usage", message).exit(Exit::Usage).into())
        }
        _ => Ok(()),
    }
}

/// Whether no other mechanism would fare better; a program that the verifier refuses is one refusal among others.
pub(super) fn is_final(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(|failure| {
        ["privilege", "foreign-pin", "foreign-filter", "layout", "device-changed", shortage::CODE]
            .contains(&failure.code)
    })
}

fn abandon(pins: &HookPins, error: anyhow::Error) -> anyhow::Result<Hook> {
    pins.remove_all()?;
    Err(error)
}

/// Why a mechanism is not even tried.
pub(super) fn unfit(via: Via, layer: Link, interface: &Interface, wanted: Wanted, needs: &Needs) -> Option<String> {
    if !via.is_xdp() {
        return None;
    }
    if let Some(why) = needs.forbid(via, Some(interface)) {
        return Some(why);
    }
    if let Some(slot) = interface.xdp {
        return Some(format!("{SLOT_IS_TAKEN} {}", describe(slot)));
    }
    if wanted != Wanted::Best {
        return None;
    }
    if layer == Link::Layer3 {
        return Some("a layer-3 device does not give its packets to native XDP".to_owned());
    }
    hides_headers(survey::driver(&interface.name).as_deref(), interface.mtu)
        .then(|| "this driver shows XDP no header of packets in pieces".to_owned())
}

/// What the kernel said to a mechanism, and why: of native XDP it says no more than that it is not supported.
pub(super) fn refusal(via: Via, interface: &Interface, error: &anyhow::Error) -> String {
    let what = match via {
        Via::XdpNative => "a link, or for what the driver needs with XDP",
        Via::XdpGeneric | Via::Tcx => "a link",
        Via::Clsact => "a filter",
    };
    let said = match shortage::said(error) {
        Some(said) => format!("no room for {what}: {said}"),
        None => format!("{error:#}"),
    };
    let obstacle =
        || diagnosis::obstacle(survey::driver(&interface.name).as_deref(), &survey::offloads(&interface.name));
    match (via == Via::XdpNative).then(obstacle).flatten() {
        Some(obstacle) => format!("{said}: {}", obstacle.words(&interface.name)),
        None => said,
    }
}

fn describe(slot: XdpSlot) -> String {
    let name = program_name(slot.program_id).map_or_else(String::new, |name| format!(" \"{name}\""));
    format!("program {}{name} ({})", slot.program_id, slot.at.word())
}

/// The name of a program; telling it needs privileges.
pub(super) fn program_name(id: u32) -> Option<String> {
    sys::program_by_id(id)?.name_as_str().map(str::to_owned)
}

/// Whether a program of this name is one of our object, whoever loaded it.
pub(super) fn is_our_name(name: &str) -> bool {
    ["qosbpf_xdp", "qosbpf_ingress", "qosbpf_egress"].iter().any(|ours| name.starts_with(ours))
}

pub(super) fn reason(via: Via, wanted: Wanted, refusals: &[(Via, String)]) -> String {
    match (wanted, refusals) {
        (Wanted::Exactly(_), _) => format!("{via}, as asked"),
        (Wanted::Best, []) => format!("{via}, the best there is"),
        (Wanted::Best, refusals) => {
            let refusals: Vec<_> = refusals.iter().map(|(via, why)| format!("not {via}: {why}")).collect();
            format!("{via}; {}", refusals.join("; ")).replacen(SLOT_IS_TAKEN, SLOT_WAS_TAKEN, 1)
        }
    }
}

impl Request<'_> {
    /// What is known before it counts.
    fn first_state(&self, via: Via, layer: Link, reason: String) -> HookState {
        HookState {
            program_id: 0,
            interface: self.interface.name.clone(),
            bound_as: None,
            via,
            frags: false,
            log: self.log,
            reason,
            since: SystemTime::now(),
            version: crate::VERSION.to_owned(),
            object: object::fingerprint(),
            layer3: layer == Link::Layer3,
            inside: self.inside.clone(),
            binding: self.bound.binding.clone(),
            slots: self.bound.slots.clone(),
            meters: self.bound.meters.clone(),
            tabled: Tabled::first(self.bypass.is_some(), SystemTime::now()),
            earlier: Some(Earlier::default()),
            asked: Some(Asked::first(SystemTime::now())),
            named: Some(self.bound.named.clone()),
            bypass: self.bypass.clone(),
            attached_for: self.attached_for,
            device: Device::default(),
            qdisc: QdiscBaseline::default(),
            made_clsact: false,
        }
    }
}

/// The best mechanism of TC that this kernel has.
#[must_use]
pub fn best_at_tc(ifindex: u32) -> Via {
    if sys::has_tcx(ifindex).unwrap_or(true) { Via::Tcx } else { Via::Clsact }
}

/// What to say where each mechanism was refused; `is_short`: one of them for want of room.
pub(super) fn nothing_worked(place: &Place<'_>, refusals: &[(Via, String)], is_short: bool) -> anyhow::Error {
    let (interface, direction) = (place.interface, place.pins.direction);
    let refusals: Vec<_> = refusals.iter().map(|(via, why)| format!("{via}: {why}")).collect();
    let failure = Failure::new("attach", format!("{}: {}", cannot_attach(place), refusals.join("; ")));
    let (name, attach) = (&interface.name, || Command::new("qosbpf attach"));
    let failure = match place.wanted {
        Wanted::Exactly(via) if via.is_xdp() && interface.xdp.is_some() => {
            let here = attach().word(format_args!("--{direction}")).operand(name);
            let doctor = Command::new("qosbpf doctor").operand(name);
            failure.hint(format!("{here} takes TC beside it; {doctor} says how to free the slot"))
        }
        Wanted::Exactly(via) if via.is_xdp() => {
            let tc = attach().words("--hook").word(best_at_tc(interface.ifindex).as_option());
            failure.hint(format!("{} takes TC", tc.word(format_args!("--{direction}")).operand(name)))
        }
        _ if is_short => failure.hint(shortage::HINT),
        _ => failure,
    };
    failure.into()
}
