//! The three ways to attach a program, each with the same four verbs: attach, replace, ask what runs, detach.

use std::{mem::ManuallyDrop, os::fd::AsFd as _};

use anyhow::Context as _;
use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType, XdpMode,
    links::{FdLink, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
    xdp::XdpLink,
};

use super::{
    network::Network,
    object::Loaded,
    pins::{HookPins, Pin},
    sys,
};
use crate::hook::{Direction, Via};

/// The priority and handle of our clsact filter: fixed, so that a replacement hits it, and nobody else's by chance.
const PRIORITY: u16 = 0x5153;
const HANDLE: TcHandle = TcHandle::new(0, 1);

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
/// Returns whether a clsact qdisc had to be made.
///
/// # Errors
///
/// What the kernel says; nothing stays attached then.
pub fn attach(via: Via, loaded: &mut Loaded, interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<bool> {
    match via {
        Via::XdpNative => attach_xdp(loaded, pins, XdpMode::Driver).map(|()| false),
        Via::XdpGeneric => attach_xdp(loaded, pins, XdpMode::Skb).map(|()| false),
        Via::Tcx => attach_tcx(loaded, interface, pins).map(|()| false),
        Via::Clsact => attach_clsact(loaded, interface, pins, net),
    }
}

fn attach_xdp(loaded: &mut Loaded, pins: &HookPins, mode: XdpMode) -> anyhow::Result<()> {
    let xdp = loaded.xdp()?;
    let id = xdp.attach_to_if_index(pins.ifindex, mode)?;
    let link: FdLink = xdp.take_link(id)?.try_into().context("this kernel has no XDP links (Linux 5.9)")?;
    link.pin(pins.path(Pin::Link))?;
    Ok(())
}

fn attach_tcx(loaded: &mut Loaded, interface: &str, pins: &HookPins) -> anyhow::Result<()> {
    // As close to the wire as it gets: first to see what arrives, last to see what leaves.
    let order = match pins.direction {
        Direction::Ingress => LinkOrder::first(),
        Direction::Egress => LinkOrder::last(),
    };
    let tc = loaded.tc()?;
    let id = tc.attach_with_options(interface, side(pins.direction), TcAttachOptions::TcxOrder(order))?;
    let link: FdLink = tc.take_link(id)?.try_into()?;
    link.pin(pins.path(Pin::Link))?;
    Ok(())
}

fn attach_clsact(loaded: &mut Loaded, interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<bool> {
    let make = !net.qdiscs(pins.ifindex)?.clsact;
    if make {
        tc::qdisc_add_clsact(interface)?;
    }
    let tc = loaded.tc()?;
    let options = TcAttachOptions::Netlink(NlOptions { priority: PRIORITY, handle: HANDLE, classid: None });
    match tc.attach_with_options(interface, side(pins.direction), options) {
        Ok(id) => keep(tc.take_link(id)?),
        Err(error) => {
            if make {
                remove_own_clsact(pins.ifindex, net)?;
            }
            return Err(error.into());
        }
    }
    Ok(make)
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
/// What the kernel says; the old program runs on then.
pub fn replace(via: Via, loaded: &mut Loaded, interface: &str, pins: &HookPins) -> anyhow::Result<()> {
    match via {
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
            let filter = our_filter(interface, pins.direction)?;
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

fn our_filter(interface: &str, direction: Direction) -> anyhow::Result<SchedClassifierLink> {
    Ok(SchedClassifierLink::attached(interface, side(direction), PRIORITY, HANDLE, None)?)
}

/// What runs at the hook; `None` if nothing of ours does.
///
/// # Errors
///
/// That this process may not know.
pub fn running(via: Via, pins: &HookPins, net: &Network) -> anyhow::Result<Option<Running>> {
    if via == Via::Clsact {
        let filters = net.filters(pins.ifindex, pins.direction).unwrap_or_default();
        let ours = filters.iter().find(|filter| filter.priority == PRIORITY && filter.handle == u32::from(HANDLE));
        let program_id = ours.and_then(|filter| filter.program_id);
        return Ok(program_id.map(|program_id| Running { program_id, link_id: None }));
    }
    if pins.trusted(Pin::Link)?.is_none() {
        return Ok(None);
    }
    let info = pinned_link(pins)?.info()?;
    // The device's end leaves the link behind without a program at any hook; the kernel then says interface 0.
    let alive = link_interface(pins)? == pins.ifindex;
    Ok(alive.then(|| Running { program_id: info.program_id(), link_id: Some(info.id()) }))
}

fn link_interface(pins: &HookPins) -> anyhow::Result<u32> {
    let path = pins.path(Pin::Link);
    let link = sys::open_pin(&path, false).with_context(|| path.display().to_string())?;
    Ok(sys::link_interface(link.as_fd())?)
}

/// Detaches what we attached; nothing being there is no error.
///
/// # Errors
///
/// What the kernel says.
pub fn detach(
    via: Via,
    made_clsact: bool,
    interface: Option<&str>,
    pins: &HookPins,
    net: &Network,
) -> anyhow::Result<()> {
    match (via, interface) {
        (Via::Clsact, Some(interface)) => {
            if running(via, pins, net)?.is_some() {
                drop(our_filter(interface, pins.direction)?);
            }
            if made_clsact { remove_own_clsact(pins.ifindex, net) } else { Ok(()) }
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

/// The programs at an interface's TCX hook, ours among them.
///
/// # Errors
///
/// That the kernel has no TCX, or that this process may not ask.
pub fn tcx_programs(interface: &str, direction: Direction) -> anyhow::Result<Vec<(u32, String)>> {
    let (_, programs) = SchedClassifier::query_tcx(interface, side(direction))?;
    Ok(programs.iter().map(|info| (info.id(), info.name_as_str().unwrap_or("?").to_owned())).collect())
}
