//! The three ways to attach a program, each with the same four verbs: attach, replace, ask what runs, detach.

use std::{io, mem::ManuallyDrop, os::fd::AsFd as _};

use anyhow::Context as _;
use aya::programs::{
    LinkOrder, ProgramInfo, TcAttachType, XdpMode,
    links::{FdLink, Link as _, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
    xdp::XdpLink,
};
use nix::net::if_::if_nametoindex;

use super::{
    filter_place,
    network::Network,
    object::Loaded,
    pins::{HookPins, Pin},
    rehearsal, shortage,
    state::HookState,
    sys::{self, InterfaceLink},
};
use crate::{
    command::Command,
    error::Failure,
    hook::{CLSACT_PRIORITY, Direction, Via},
};

/// The priority and handle of our clsact filter: fixed, so that a replacement hits it, and nobody else's by chance.
pub(super) const PRIORITY: u16 = CLSACT_PRIORITY;
pub(super) const HANDLE: TcHandle = TcHandle::new(0, 1);

/// What runs at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// The program.
    pub program_id: u32,
    /// Its link; clsact has none.
    pub link_id: Option<u32>,
}

/// Attaches a loaded program for the first time, and pins the link.
///
/// # Errors
///
/// What the kernel says; nothing stays attached then.
pub fn attach(via: Via, loaded: &mut Loaded, interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    match via {
        Via::XdpNative => attach_xdp(loaded, pins, XdpMode::Driver),
        Via::XdpGeneric => attach_xdp(loaded, pins, XdpMode::Skb),
        Via::Tcx => attach_tcx(loaded, interface, pins),
        Via::Clsact => attach_clsact(loaded, interface, pins, net),
    }
}

fn attach_xdp(loaded: &mut Loaded, pins: &HookPins, mode: XdpMode) -> anyhow::Result<()> {
    let xdp = loaded.xdp()?;
    let id = xdp.attach_to_if_index(pins.ifindex, mode)?;
    let link: FdLink = xdp.take_link(id)?.try_into().context("this kernel has no XDP links (Linux 5.9)")?;
    pin_link(link, pins).map(drop)
}

fn pin_link(link: FdLink, pins: &HookPins) -> anyhow::Result<PinnedLink> {
    let path = pins.path(Pin::Link);
    link.pin(&path).map_err(|error| shortage::named(format_args!("the pin {}", path.display()), error.into()))
}

fn attach_tcx(loaded: &mut Loaded, interface: &str, pins: &HookPins) -> anyhow::Result<()> {
    // As close to the wire as it gets: first to see what arrives, last to see what leaves.
    let order = match pins.direction {
        Direction::Ingress => LinkOrder::first(),
        Direction::Egress => LinkOrder::last(),
    };
    let tc = loaded.tc()?;
    let id = tc
        .attach_with_options(interface, side(pins.direction), TcAttachOptions::TcxOrder(order))
        .map_err(|error| without_tcx(pins.ifindex).unwrap_or_else(|| error.into()))?;
    let link: FdLink = tc.take_link(id)?.try_into()?;
    let pinned = pin_link(link, pins)?;
    if link_of(pins)?.is_some_and(|link| link.ifindex == pins.ifindex) {
        return Ok(());
    }
    // The kernel detaches it with its last descriptor.
    pins.remove(Pin::Link)?;
    drop(pinned);
    Err(device_changed(interface))
}

/// That the kernel has no TCX, if that is so: it says no more than "invalid argument" itself.
fn without_tcx(ifindex: u32) -> Option<anyhow::Error> {
    let lacks = sys::has_tcx(ifindex).is_ok_and(|here| !here);
    lacks.then(|| anyhow::anyhow!("this kernel has no TCX (Linux 6.6)"))
}

/// TC attaches by name, and a name may have gone to another device since it was looked up.
fn device_changed(interface: &str) -> anyhow::Error {
    Failure::new("device-changed", format!("{interface} became another device while qosbpf attached to it"))
        .hint("ip -d link show it; then repeat the command")
        .into()
}

/// Refuses a name that is another device's by now.
fn check_name(interface: &str, pins: &HookPins) -> anyhow::Result<()> {
    if if_nametoindex(interface).ok() == Some(pins.ifindex) { Ok(()) } else { Err(device_changed(interface)) }
}

fn attach_clsact(loaded: &mut Loaded, interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    let make = !net.qdiscs(pins.ifindex)?.clsact;
    check_name(interface, pins)?;
    if make {
        if rehearsal::is_wanted(pins) {
            rehearsal::rehearse(loaded, side(pins.direction))?;
        }
        make_clsact(interface, pins, net)?;
    }
    let added = add_filter(loaded, interface, pins, net);
    rehearsal::note(pins, added.is_ok());
    match added {
        Err(error) if make => remove_own_clsact(pins.ifindex, net).and(Err(error)),
        result => result,
    }
}

/// The kernel has one place for both, and says no more than that something is there.
fn barred(interface: &str) -> anyhow::Error {
    let removal = Command::new("tc qdisc del dev").word(interface).words("ingress");
    anyhow::anyhow!(
        "{interface} has an `ingress` qdisc, in the place of clsact, which takes its filters too, at parent ffff:fff2. To \
         remove it with its filters: {removal}"
    )
}

fn make_clsact(interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    if net.qdiscs(pins.ifindex)?.ingress {
        return Err(barred(interface));
    }
    tc::qdisc_add_clsact(interface)?;
    if net.qdiscs(pins.ifindex)?.clsact {
        return Ok(());
    }
    // It went to a device that has just taken the name.
    remove_own_clsact(if_nametoindex(interface)?, net)?;
    Err(device_changed(interface))
}

fn add_filter(loaded: &mut Loaded, interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    filter_place::refuse_taken(interface, pins, net)?;
    let program_id = loaded.info()?.id();
    let tc = loaded.tc()?;
    let options = TcAttachOptions::Netlink(NlOptions { priority: PRIORITY, handle: HANDLE, classid: None });
    let id = tc.attach_with_options(interface, side(pins.direction), options)?;
    let filter = tc.take_link(id)?;
    if running(Via::Clsact, pins, net)?.is_some_and(|running| running.program_id == program_id) {
        keep(filter);
        return Ok(());
    }
    // It knows the device that it went to, and its end removes it there.
    drop(filter);
    Err(device_changed(interface))
}

/// A filter stays when its maker ends; aya would remove it with the value.
fn keep(filter: SchedClassifierLink) {
    let _for_ever = ManuallyDrop::new(filter);
}

const fn side(direction: Direction) -> TcAttachType {
    match direction {
        Direction::Ingress => TcAttachType::Ingress,
        Direction::Egress => TcAttachType::Egress,
    }
}

/// Puts another program in the place of the one that runs: each packet meets one of the two, whole.
///
/// # Errors
///
/// What the kernel says; the old program runs on then. `foreign-filter` if the one that `state` describes is gone.
pub fn replace(
    state: &HookState,
    loaded: &mut Loaded,
    interface: &str,
    pins: &HookPins,
    net: &Network,
) -> anyhow::Result<()> {
    match state.via {
        Via::XdpNative | Via::XdpGeneric => {
            let link = XdpLink::try_from(pinned_link(pins)?)?;
            let xdp = loaded.xdp()?;
            let id = xdp.attach_to_link(link)?;
            // The pin holds the link; this descriptor of it is not needed.
            drop(xdp.take_link(id)?);
        }
        Via::Tcx => {
            let link = SchedClassifierLink::try_from(pinned_link(pins)?)?;
            let tc = loaded.tc()?;
            let id = tc.attach_to_link(link)?;
            drop(tc.take_link(id)?);
        }
        Via::Clsact => {
            if !is_running(state, pins, net)? {
                return Err(foreign_filter(interface, pins));
            }
            let filter = our_filter(interface, pins)?;
            let tc = loaded.tc()?;
            let id = tc.attach_to_link(filter)?;
            keep(tc.take_link(id)?);
        }
    }
    Ok(())
}

fn pinned_link(pins: &HookPins) -> anyhow::Result<FdLink> {
    let path = pins.trusted(Pin::Link)?.with_context(|| format!("{} is not there", pins.path(Pin::Link).display()))?;
    Ok(PinnedLink::from_pin(path)?.into())
}

fn our_filter(interface: &str, pins: &HookPins) -> anyhow::Result<SchedClassifierLink> {
    check_name(interface, pins)?;
    Ok(SchedClassifierLink::attached(interface, side(pins.direction), PRIORITY, HANDLE, None)?)
}

/// Whether the program at the hook is the one that `state` describes: at our priority there may be another's by now.
fn is_running(state: &HookState, pins: &HookPins, net: &Network) -> anyhow::Result<bool> {
    Ok(running(state.via, pins, net)?.is_some_and(|running| running.program_id == state.program_id))
}

fn foreign_filter(interface: &str, pins: &HookPins) -> anyhow::Error {
    let direction = pins.direction;
    let look = Command::new("tc filter show dev").word(interface).word(direction);
    let detach = Command::new("qosbpf detach").operand(format_args!("{interface}:{direction}"));
    Failure::new("foreign-filter", format!("{interface}:{direction}: the filter at our priority is not ours any more"))
        .hint(format!("look: {look}; then {detach}"))
        .into()
}

/// What runs at the hook; `None` if nothing of ours does.
///
/// # Errors
///
/// That this process may not know.
pub fn running(via: Via, pins: &HookPins, net: &Network) -> anyhow::Result<Option<Running>> {
    if via == Via::Clsact {
        let filters = net.filters(pins.ifindex, pins.direction)?;
        let ours = filters.iter().find(|filter| filter.priority == PRIORITY && filter.handle == u32::from(HANDLE));
        let program_id = ours.and_then(|filter| filter.program_id);
        return Ok(program_id.map(|program_id| Running { program_id, link_id: None }));
    }
    let Some(link) = link_of(pins)? else { return Ok(None) };
    // The device's end leaves the link behind without a program at any hook, and a device that went to another network
    // namespace may have the same number there.
    let alive = link.ifindex == pins.ifindex && is_at(link.ifindex, via, pins.direction, link.program_id, net)?;
    Ok(alive.then_some(Running { program_id: link.program_id, link_id: Some(link.id) }))
}

/// Whether a program is at an interface of this network namespace, by XDP or TCX.
///
/// # Errors
///
/// What bpf(2) or netlink says; that this process may not know.
pub fn is_at(ifindex: u32, via: Via, direction: Direction, program_id: u32, net: &Network) -> anyhow::Result<bool> {
    if via.is_xdp() {
        return Ok(net.xdp_programs(ifindex)?.contains(&program_id));
    }
    match sys::tcx_programs(ifindex, direction) {
        Ok(programs) => Ok(programs.contains(&program_id)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether the link, if there is one, has outlived its device; one that moved to another namespace has not. A filter of clsact
/// goes with its qdisc in both cases, and nobody can tell them apart.
///
/// # Errors
///
/// Foreign pins, or what bpf(2) says.
pub fn has_no_device(pins: &HookPins) -> anyhow::Result<bool> {
    Ok(whereabouts(pins)?.is_none())
}

/// The link by its device, wherever that is, and its program there; `None` if there is no link or it has outlived its device.
///
/// # Errors
///
/// Foreign pins, or what bpf(2) says.
pub fn whereabouts(pins: &HookPins) -> anyhow::Result<Option<InterfaceLink>> {
    Ok(link_of(pins)?.filter(|link| link.ifindex != 0))
}

fn link_of(pins: &HookPins) -> anyhow::Result<Option<InterfaceLink>> {
    let Some(path) = pins.trusted(Pin::Link)? else { return Ok(None) };
    let link = sys::open_pin(&path, false).and_then(|link| sys::interface_link(link.as_fd()));
    Ok(Some(link.with_context(|| path.display().to_string())?))
}

/// Detaches what we attached; nothing being there is no error.
///
/// # Errors
///
/// What the kernel says.
pub fn detach(state: &HookState, interface: Option<&str>, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    match (state.via, interface) {
        (Via::Clsact, Some(interface)) => {
            if is_running(state, pins, net)? {
                let removed = our_filter(interface, pins)?.detach();
                // Somebody else may have been quicker.
                if is_running(state, pins, net)? {
                    removed?;
                }
            }
            if state.made_clsact { remove_own_clsact(pins.ifindex, net) } else { Ok(()) }
        }
        (Via::Clsact, None) => Ok(()),
        _ => match pins.trusted(Pin::Link)? {
            None => Ok(()),
            Some(path) => {
                let link = sys::open_pin(&path, false)?;
                // A link whose device is gone is detached already.
                let _already_detached = sys::detach_link(link.as_fd());
                pins.remove(Pin::Link)
            }
        },
    }
}

/// Whether what ran by a link runs on, though its pin cannot be seen: it is held by another one, or by a process.
///
/// # Errors
///
/// That it cannot be said; the kernel tells it to CAP_SYS_ADMIN alone.
pub fn is_held(link_id: u32, ifindex: u32) -> io::Result<bool> {
    match sys::link_by_id(link_id) {
        Ok(link) => Ok(sys::interface_link(link.as_fd())?.ifindex == ifindex),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the filter that is left of a hook whose pins are gone, if it has this program.
///
/// # Errors
///
/// What the kernel says.
pub fn detach_left(program_id: u32, interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    if running(Via::Clsact, pins, net)?.is_some_and(|left| left.program_id == program_id) {
        drop(our_filter(interface, pins)?);
    }
    Ok(())
}

/// Removes our filter, known by the program that is pinned; a link goes with its pin.
///
/// # Errors
///
/// What the kernel says, or foreign pins.
pub fn detach_unknown(interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    let Some(filter) = running(Via::Clsact, pins, net)? else { return Ok(()) };
    for pin in [Pin::Program, Pin::NextProgram] {
        let Some(path) = pins.trusted(pin)? else { continue };
        if ProgramInfo::from_pin(path)?.id() == filter.program_id {
            drop(our_filter(interface, pins)?);
            return Ok(());
        }
    }
    Ok(())
}

/// Removes a clsact qdisc that we made, unless somebody uses it: others may have come to rely on it.
///
/// # Errors
///
/// What netlink reports.
pub fn remove_own_clsact(ifindex: u32, net: &Network) -> anyhow::Result<()> {
    let unused = || {
        anyhow::Ok(
            Direction::BOTH
                .into_iter()
                .all(|direction| net.filters(ifindex, direction).is_ok_and(|filters| filters.is_empty())),
        )
    };
    if net.qdiscs(ifindex)?.clsact && unused()? {
        net.remove_clsact(ifindex)?;
    }
    Ok(())
}
