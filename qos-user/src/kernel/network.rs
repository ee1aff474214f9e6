//! What rtnetlink tells of interfaces, qdiscs and filters; reading it needs no privilege.

use std::future::Future;

use anyhow::Context as _;
use netlink_packet_route::{
    link::{LinkAttribute, LinkLayerType, LinkMessage, LinkXdp, XdpAttached},
    tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption, TcStats2},
};
use nix::sys::socket::SockProtocol;
use qos_common::locate::Link;
use tokio::runtime::Runtime;

use super::{netdev::kind_of, odd_names, raw_netlink::Socket, runtime, state::QdiscBaseline, tunnel::Tunnel};
use crate::{diagnosis::facts::XdpAt, error::Failure, hook::Direction, snapshot::Device};

/// A connection to the network namespace that this thread was in when it was made.
#[derive(Debug)]
pub struct Network {
    pub(super) socket: Socket,
    runtime: Runtime,
    pub(super) handle: rtnetlink::Handle,
}

/// An interface as it is now.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub ifindex: u32,
    /// The most bytes behind its link header.
    pub mtu: u32,
    /// What precedes the IP header; an error for a device type that nothing here understands.
    pub link: Result<Link, String>,
    /// Its kind, such as `veth` or `gre`; a driver's own device has none.
    pub kind: Option<String>,
    /// Whether TC sees something else there than its packets.
    pub tunnel: Tunnel,
    /// Counters of the device, received and sent.
    pub received: Device,
    /// Sent.
    pub sent: Device,
    /// The program in its XDP slot.
    pub xdp: Option<XdpSlot>,
}

/// What is in an interface's XDP slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpSlot {
    /// The program's id.
    pub program_id: u32,
    /// Where it runs.
    pub at: XdpAt,
}

/// A filter of the clsact qdisc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its priority.
    pub priority: u16,
    /// Its handle within the priority.
    pub handle: u32,
    /// The id of its program, if it is a BPF filter.
    pub program_id: Option<u32>,
}

/// The qdiscs of an interface, as far as they matter here.
#[derive(Clone, Debug, Default)]
pub struct Qdiscs {
    /// The root qdisc; none is `noqueue`.
    pub root: QdiscBaseline,
    /// Whether there is a clsact qdisc.
    pub clsact: bool,
    /// Whether there is an `ingress` qdisc, which has its place.
    pub ingress: bool,
}

impl Network {
    /// Connects.
    ///
    /// # Errors
    ///
    /// That the kernel gives no netlink socket.
    pub fn open() -> anyhow::Result<Self> {
        let socket = Socket::open(SockProtocol::NetlinkRoute)?;
        let runtime = runtime::on_this_thread()?;
        let handle = runtime.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().context("netlink")?;
            tokio::spawn(connection);
            anyhow::Ok(handle)
        })?;
        Ok(Self { socket, runtime, handle })
    }

    pub(super) fn wait<T>(&self, request: impl Future<Output = Result<T, rtnetlink::Error>>) -> anyhow::Result<T> {
        self.runtime.block_on(request).context("netlink")
    }

    /// All interfaces.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn interfaces(&self) -> anyhow::Result<Vec<Interface>> {
        Ok(self.links()?.iter().map(Interface::from_message).collect())
    }

    /// One interface by its name.
    ///
    /// # Errors
    ///
    /// `no-such-interface`.
    pub fn interface(&self, name: &str) -> anyhow::Result<Interface> {
        let mut interfaces = self.interfaces()?;
        match interfaces.iter().position(|known| known.name == name) {
            Some(at) => Ok(interfaces.swap_remove(at)),
            None => Err(no_such(name, interfaces).into()),
        }
    }

    /// Whether there is an interface of this index.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn exists(&self, ifindex: u32) -> anyhow::Result<bool> {
        Ok(self.link_as_told(ifindex)?.is_some())
    }

    /// One interface by its index.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn interface_at(&self, ifindex: u32) -> anyhow::Result<Option<Interface>> {
        Ok(self.link(ifindex)?.as_ref().map(Interface::from_message))
    }

    /// The programs in the XDP slot of an interface; none if there is no such interface.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn xdp_programs(&self, ifindex: u32) -> anyhow::Result<Vec<u32>> {
        Ok(self.link(ifindex)?.iter().flat_map(xdp_programs).collect())
    }

    /// The qdiscs of an interface.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn qdiscs(&self, ifindex: u32) -> anyhow::Result<Qdiscs> {
        let index = i32::try_from(ifindex)?;
        let messages = self.qdisc_list(index)?;
        let ours = || messages.iter().filter(|message| message.header.index == index);
        let root = ours().find(|message| message.header.parent == TcHandle::ROOT);
        let has = |name| ours().any(|message| kind(message) == Some(name));
        Ok(Qdiscs { root: root.map_or_else(no_queue, root_qdisc), clsact: has("clsact"), ingress: has("ingress") })
    }

    /// The filters of an interface's clsact qdisc in one direction.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn filters(&self, ifindex: u32, direction: Direction) -> anyhow::Result<Vec<Filter>> {
        let minor = match direction {
            Direction::Ingress => TcHandle::MIN_INGRESS,
            Direction::Egress => TcHandle::MIN_EGRESS,
        };
        let messages = self.filter_list(i32::try_from(ifindex)?, TcHandle { major: u16::MAX, minor })?;
        // A filter's own line has a handle; the line of its priority has none.
        Ok(messages.iter().map(Filter::from_message).filter(|filter| filter.handle != 0).collect())
    }

    /// Removes the clsact qdisc of an interface.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn remove_clsact(&self, ifindex: u32) -> anyhow::Result<()> {
        let mut request = self.handle.qdisc().del(i32::try_from(ifindex)?);
        let header = &mut request.message_mut().header;
        header.parent = TcHandle::CLSACT;
        header.handle = TcHandle { major: u16::MAX, minor: 0 };
        self.wait(request.execute())
    }
}

impl Interface {
    fn from_message(message: &LinkMessage) -> Self {
        let mut interface = Self {
            name: String::new(),
            ifindex: message.header.index,
            mtu: 0,
            link: link_of(message.header.link_layer_type),
            kind: None,
            tunnel: Tunnel::of(message),
            received: Device::default(),
            sent: Device::default(),
            xdp: None,
        };
        for attribute in &message.attributes {
            interface.take(attribute);
        }
        interface
    }

    fn take(&mut self, attribute: &LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => self.mtu = *mtu,
            LinkAttribute::Stats64(stats) => {
                self.received = Device { packets: stats.rx_packets, bytes: stats.rx_bytes, drops: stats.rx_dropped };
                self.sent = Device { packets: stats.tx_packets, bytes: stats.tx_bytes, drops: stats.tx_dropped };
            }
            LinkAttribute::LinkInfo(infos) => self.kind = kind_of(infos),
            LinkAttribute::Xdp(attributes) => self.xdp = xdp_slot(attributes),
            _ => {}
        }
    }

    /// The device's counters in one direction.
    #[must_use]
    pub const fn device(&self, direction: Direction) -> Device {
        match direction {
            Direction::Ingress => self.received,
            Direction::Egress => self.sent,
        }
    }
}

fn no_such(name: &str, others: Vec<Interface>) -> Failure {
    let there: Vec<_> = others.into_iter().map(|known| known.name).chain(odd_names::names()).collect();
    Failure::new("no-such-interface", format!("no interface {name} in this network namespace"))
        .hint(format!("there are: {}; another namespace: --netns NAME", there.join(", ")))
}

/// Which parser a device type needs (`ARPHRD_*`): an Ethernet parser would misread a layer-3 device.
fn link_of(kind: LinkLayerType) -> Result<Link, String> {
    match kind {
        LinkLayerType::Ether | LinkLayerType::Loopback => Ok(Link::Ethernet),
        LinkLayerType::None | LinkLayerType::Ppp | LinkLayerType::Rawip => Ok(Link::Layer3),
        tunnel if is_tunnel(tunnel) => Ok(Link::Layer3),
        other => Err(format!("device type {other} is neither Ethernet nor a layer-3 device")),
    }
}

pub(super) const fn is_tunnel(kind: LinkLayerType) -> bool {
    matches!(
        kind,
        LinkLayerType::Tunnel
            | LinkLayerType::Tunnel6
            | LinkLayerType::Sit
            | LinkLayerType::Ipgre
            | LinkLayerType::Ip6gre
    )
}

/// One, or one in the card and one in the driver.
fn xdp_programs(message: &LinkMessage) -> impl Iterator<Item = u32> {
    let slots = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::Xdp(attributes) => Some(attributes),
        _ => None,
    });
    slots.flatten().filter_map(program_id)
}

const fn program_id(attribute: &LinkXdp) -> Option<u32> {
    match attribute {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    }
}

/// Where a device has one in several places, the one beside ours: the driver's, else the one behind it.
fn xdp_slot(attributes: &[LinkXdp]) -> Option<XdpSlot> {
    let known = attributes.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(XdpAt::Generic),
        LinkXdp::Attached(XdpAttached::Hardware) => Some(XdpAt::Offloaded),
        _ => None,
    });
    let at = |attribute: &LinkXdp| match attribute {
        LinkXdp::DrvProgId(_) => XdpAt::Native,
        LinkXdp::SkbProgId(_) => XdpAt::Generic,
        LinkXdp::HwProgId(_) => XdpAt::Offloaded,
        _ => known.unwrap_or(XdpAt::Native),
    };
    let slots = attributes.iter().filter_map(|it| Some(XdpSlot { program_id: program_id(it)?, at: at(it) }));
    slots.min_by_key(|slot| (slot.at == XdpAt::Offloaded, slot.at == XdpAt::Generic))
}

impl Filter {
    fn from_message(message: &TcMessage) -> Self {
        let options = message.attributes.iter().find_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options.as_slice()),
            _ => None,
        });
        let program_id = options.unwrap_or_default().iter().find_map(|option| match option {
            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(*id),
            _ => None,
        });
        Self { priority: (message.header.info >> 16) as u16, handle: u32::from(message.header.handle), program_id }
    }
}

fn kind(message: &TcMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    })
}

fn root_qdisc(message: &TcMessage) -> QdiscBaseline {
    let stats = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Stats2(stats) => Some(stats.as_slice()),
        _ => None,
    });
    let drops = stats.unwrap_or_default().iter().find_map(|stats| match stats {
        TcStats2::Queue(queue) => Some(queue.drops),
        _ => None,
    });
    QdiscBaseline {
        kind: kind(message).unwrap_or("unknown").to_owned(),
        handle: u32::from(message.header.handle),
        drops: u64::from(drops.unwrap_or(0)),
    }
}

fn no_queue() -> QdiscBaseline {
    QdiscBaseline { kind: "noqueue".to_owned(), ..QdiscBaseline::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel writes of one program, and of two.
    #[test]
    fn a_slot_is_told_by_where_its_program_runs() {
        let one = |attached, id| xdp_slot(&[id, LinkXdp::Attached(attached), LinkXdp::ProgId(7)]);
        let at = |at| Some(XdpSlot { program_id: 7, at });
        assert_eq!(one(XdpAttached::Driver, LinkXdp::DrvProgId(7)), at(XdpAt::Native));
        assert_eq!(one(XdpAttached::SocketBuffer, LinkXdp::SkbProgId(7)), at(XdpAt::Generic));
        assert_eq!(one(XdpAttached::Hardware, LinkXdp::HwProgId(7)), at(XdpAt::Offloaded));
        let older = |attached| xdp_slot(&[LinkXdp::Attached(attached), LinkXdp::ProgId(7)]);
        assert_eq!(older(XdpAttached::SocketBuffer), at(XdpAt::Generic));
        assert_eq!(older(XdpAttached::Hardware), at(XdpAt::Offloaded));
        assert_eq!(older(XdpAttached::Driver), at(XdpAt::Native));
        let both = [LinkXdp::HwProgId(8), LinkXdp::DrvProgId(7), LinkXdp::Attached(XdpAttached::Multiple)];
        assert_eq!(xdp_slot(&both), at(XdpAt::Native));
        assert_eq!(xdp_slot(&[LinkXdp::Attached(XdpAttached::None)]), None);
    }
}
