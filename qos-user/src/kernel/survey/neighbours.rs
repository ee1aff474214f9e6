//! Programs of others at the hooks of an interface.

use std::os::fd::AsFd as _;

use aya::programs::{
    links::{LinkInfo, LinkType},
    loaded_links,
};

use super::super::{
    choice::{is_our_name, program_name},
    datapath::Hook,
    network::{Interface, Network},
    sys,
};
use crate::{
    diagnosis::facts::{Linked, Program, ProgramAt},
    hook::{CLSACT_PRIORITY, Direction, Via},
};

/// The programs that are not ours, and why they could not all be asked for.
pub fn foreign(net: &Network, interface: Option<&Interface>, own: &[&Hook]) -> (Vec<Program>, Option<String>) {
    let Some(interface) = interface else { return (Vec::new(), None) };
    let mut found: Vec<Program> = slot(interface, own).into_iter().collect();
    let mut unknown = None;
    for direction in Direction::BOTH {
        let ours = own.iter().find(|hook| hook.pins.direction == direction).copied();
        match tcx(interface.ifindex, direction, ours) {
            Ok(programs) => found.extend(programs),
            Err(error) => unknown = Some(format!("{error:#}")),
        }
        match clsact(net, interface.ifindex, direction, ours) {
            Ok(programs) => found.extend(programs),
            Err(error) => unknown = Some(format!("{error:#}")),
        }
    }
    (found, unknown)
}

fn named(id: u32) -> String {
    program_name(id).filter(|name| !name.is_empty()).unwrap_or_else(|| "?".to_owned())
}

fn slot(interface: &Interface, own: &[&Hook]) -> Option<Program> {
    let slot = interface.xdp?;
    let ours = own.iter().any(|hook| hook.state.via.is_xdp() && hook.state.program_id == slot.program_id);
    (!ours).then(|| Program {
        id: slot.program_id,
        name: named(slot.program_id),
        at: ProgramAt::Xdp(slot.at),
        before_us: None,
        link: link_at(interface.ifindex, slot.program_id, LinkType::Xdp),
    })
}

/// The link by which a program is at an interface. The same program may be at others by links of their own; and interfaces
/// of other network namespaces may have the same number: then which it is cannot be told.
fn link_at(ifindex: u32, program_id: u32, kind: LinkType) -> Linked {
    let of_program =
        |link: &LinkInfo| link.program_id() == program_id && link.link_type().is_ok_and(|other| other == kind);
    let is_here = |id: &u32| {
        let link = sys::link_by_id(*id);
        link.and_then(|link| sys::interface_link(link.as_fd())).is_ok_and(|link| link.ifindex == ifindex)
    };
    let Ok(links) = loaded_links().collect::<Result<Vec<_>, _>>() else { return Linked::Unknown };
    let here: Vec<_> = links.iter().filter(|link| of_program(link)).map(LinkInfo::id).filter(is_here).collect();
    match *here {
        [] => Linked::No,
        [link] => Linked::By(link),
        _ => Linked::Unknown,
    }
}

fn tcx(ifindex: u32, direction: Direction, ours: Option<&Hook>) -> anyhow::Result<Vec<Program>> {
    if !sys::has_tcx(ifindex)? {
        return Ok(Vec::new());
    }
    let ids = sys::tcx_programs(ifindex, direction)?;
    let is_ours = |id: u32| ours.is_some_and(|hook| hook.state.via == Via::Tcx && hook.state.program_id == id);
    let place = ids.iter().position(|id| is_ours(*id));
    let order = |at: usize| match (ours.map(|hook| hook.state.via), place) {
        (Some(Via::Tcx), Some(ours)) => Some(at < ours),
        (Some(Via::Clsact), _) => Some(true),
        (Some(Via::XdpNative | Via::XdpGeneric), _) => Some(false),
        _ => None,
    };
    let others = ids.iter().enumerate().filter(|(_, id)| !is_ours(**id));
    let program = |(at, id): (usize, &u32)| {
        let name = named(*id);
        let is_stray = is_our_name(&name);
        let link = if is_stray { link_at(ifindex, *id, LinkType::Tcx) } else { Linked::Unknown };
        Program { id: *id, name, at: ProgramAt::Tcx(direction), before_us: order(at), link }
    };
    Ok(others.map(program).collect())
}

fn clsact(net: &Network, ifindex: u32, direction: Direction, ours: Option<&Hook>) -> anyhow::Result<Vec<Program>> {
    let filters = net.filters(ifindex, direction)?;
    let others = filters.iter().filter_map(|filter| Some((filter.priority, filter.program_id?)));
    let others = others.filter(|(_, id)| ours.is_none_or(|hook| hook.state.program_id != *id));
    let program = |(priority, id)| Program {
        id,
        name: named(id),
        at: ProgramAt::Clsact(direction, priority),
        // TCX and XDP come before clsact; in it the smaller number comes first.
        before_us: ours.map(|hook| hook.state.via == Via::Clsact && priority < CLSACT_PRIORITY),
        link: Linked::Unknown,
    };
    Ok(others.map(program).collect())
}
