//! Where on an interface filters of tc are: asked of the kernel, so that tc is started only for what there is.

use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use nix::sys::socket::SockProtocol;

use super::super::{network::Network, raw_netlink};
use crate::{
    diagnosis::tc::{self, Place},
    hook::Direction,
};

/// `RTM_GETTFILTER`.
const GET_FILTER: u16 = 46;

/// The minor numbers of clsact's two lists; the qdisc `ingress` has the first.
const INGRESS: u16 = 0xfff2;
const EGRESS: u16 = 0xfff3;

/// What of the qdiscs of an interface a diagnosis asks tc about.
#[derive(Debug, Default)]
pub struct Queueing {
    /// Whether one of them may change marks.
    pub may_wash: bool,
    /// Whether one is `ingress`.
    pub ingress: bool,
    /// Where filters are.
    pub places: Vec<Place>,
}

impl Network {
    /// The qdiscs of an interface, and where filters are in them.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn queueing(&self, ifindex: u32) -> anyhow::Result<Queueing> {
        let index = i32::try_from(ifindex)?;
        let qdiscs: Vec<_> = self.qdisc_list(index)?.into_iter().filter(|qdisc| qdisc.header.index == index).collect();
        let classes = self.class_list(index)?;
        let mut inner: Vec<_> = classes.iter().map(|class| class.header.parent).filter(is_class).collect();
        inner.sort_unstable_by_key(|parent| u32::from(*parent));
        inner.dedup();
        let mut asked: Vec<_> = qdiscs.iter().flat_map(lists).collect();
        asked.extend(inner.into_iter().map(|class| (class, Place::Parent(named(class)))));
        let there = asked.into_iter().filter(|(parent, _)| has_filters(index, *parent)).map(|(_, place)| place);
        Ok(Queueing {
            ingress: qdiscs.iter().any(|qdisc| kind(qdisc) == "ingress"),
            may_wash: qdiscs.iter().any(|qdisc| tc::WASHING.contains(&kind(qdisc))),
            places: there.collect(),
        })
    }
}

/// The filters of a class are asked only if it has classes below it.
fn is_class(parent: &TcHandle) -> bool {
    parent.minor != 0 && *parent != TcHandle::ROOT
}

/// The lists of filters of a qdisc itself.
fn lists(qdisc: &TcMessage) -> Vec<(TcHandle, Place)> {
    let handle = qdisc.header.handle;
    let list = |minor, direction| (TcHandle { major: u16::MAX, minor }, Place::List(direction));
    match kind(qdisc) {
        "clsact" => vec![list(INGRESS, Direction::Ingress), list(EGRESS, Direction::Egress)],
        "ingress" => vec![list(INGRESS, Direction::Ingress)],
        _ if handle.major != 0 => vec![(handle, Place::Parent(named(handle)))],
        // The kernel's own has no number, and is meant where none is given.
        _ if qdisc.header.parent == TcHandle::ROOT => vec![(TcHandle::UNSPEC, Place::Root)],
        _ => Vec::new(),
    }
}

fn kind(qdisc: &TcMessage) -> &str {
    let kind = qdisc.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    });
    kind.unwrap_or_default()
}

/// As tc writes it: `1:`, `1:a`.
fn named(handle: TcHandle) -> String {
    match handle.minor {
        0 => format!("{:x}:", handle.major),
        minor => format!("{:x}:{minor:x}", handle.major),
    }
}

/// A kernel that does not answer leaves it to tc to ask.
fn has_filters(index: i32, parent: TcHandle) -> bool {
    let words = [0, index as u32, 0, u32::from(parent), 0];
    let header: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    raw_netlink::dump(SockProtocol::NetlinkRoute, GET_FILTER, &header).map_or(true, |filters| !filters.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_written_as_tc_reads_them() {
        let handle = |major, minor| named(TcHandle { major, minor });
        assert_eq!([handle(1, 0), handle(0x8001, 0), handle(0x10, 0x1a)], ["1:", "8001:", "10:1a"]);
    }
}
