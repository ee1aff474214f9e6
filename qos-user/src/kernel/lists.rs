//! What rtnetlink lists of interfaces, qdiscs, filters, rules and routes: whole, or not at all.

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::LinkMessage,
    route::RouteMessage,
    rule::{RuleAction, RuleMessage},
    tc::{TcHandle, TcMessage},
};
use nix::errno::Errno;
use rtnetlink::packet_core::{NetlinkDeserializable as _, NetlinkHeader, NetlinkSerializable as _};

use super::{network::Network, raw_netlink::Message};

impl Network {
    pub(super) fn links(&self) -> anyhow::Result<Vec<LinkMessage>> {
        self.list(&RouteNetlinkMessage::GetLink(LinkMessage::default()), |message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
    }

    /// One interface; `None` if there is none of this index.
    pub(super) fn link(&self, ifindex: u32) -> anyhow::Result<Option<LinkMessage>> {
        Ok(self.link_as_told(ifindex)?.and_then(|message| match understood(&message)? {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        }))
    }

    /// The same, be it one that the parser does not understand.
    pub(super) fn link_as_told(&self, ifindex: u32) -> anyhow::Result<Option<Message>> {
        let mut link = LinkMessage::default();
        link.header.index = ifindex;
        let (kind, body) = request(&RouteNetlinkMessage::GetLink(link));
        match self.socket.get(kind, &body) {
            Err(error) if error.downcast_ref() == Some(&Errno::ENODEV) => Ok(None),
            answer => answer,
        }
    }

    pub(super) fn qdisc_list(&self, ifindex: i32) -> anyhow::Result<Vec<TcMessage>> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(of_interface(ifindex, TcHandle::UNSPEC));
        self.list(&request, |message| match message {
            RouteNetlinkMessage::NewQueueDiscipline(qdisc) => Some(qdisc),
            _ => None,
        })
    }

    pub(super) fn class_list(&self, ifindex: i32) -> anyhow::Result<Vec<TcMessage>> {
        let request = RouteNetlinkMessage::GetTrafficClass(of_interface(ifindex, TcHandle::UNSPEC));
        self.list(&request, |message| match message {
            RouteNetlinkMessage::NewTrafficClass(class) => Some(class),
            _ => None,
        })
    }

    pub(super) fn filter_list(&self, ifindex: i32, parent: TcHandle) -> anyhow::Result<Vec<TcMessage>> {
        self.list(&RouteNetlinkMessage::GetTrafficFilter(of_interface(ifindex, parent)), |message| match message {
            RouteNetlinkMessage::NewTrafficFilter(filter) => Some(filter),
            _ => None,
        })
    }

    pub(super) fn rule_list(&self, family: AddressFamily) -> anyhow::Result<Vec<RuleMessage>> {
        let mut all = RuleMessage::default();
        (all.header.family, all.header.action) = (family, RuleAction::Unspec);
        self.list(&RouteNetlinkMessage::GetRule(all), |message| match message {
            RouteNetlinkMessage::NewRule(rule) => Some(rule),
            _ => None,
        })
    }

    pub(super) fn route_list(&self, all: RouteMessage) -> anyhow::Result<Vec<RouteMessage>> {
        self.list(&RouteNetlinkMessage::GetRoute(all), |message| match message {
            RouteNetlinkMessage::NewRoute(route) => Some(route),
            _ => None,
        })
    }

    fn list<T>(
        &self,
        all: &RouteNetlinkMessage,
        meant: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> anyhow::Result<Vec<T>> {
        let (kind, body) = request(all);
        Ok(self.socket.dump(kind, &body)?.iter().filter_map(understood).filter_map(meant).collect())
    }
}

fn request(asked: &RouteNetlinkMessage) -> (u16, Vec<u8>) {
    let mut body = vec![0; asked.buffer_len()];
    asked.serialize(&mut body);
    (asked.message_type(), body)
}

/// What the parser does not understand, such as a name that is not UTF-8, is not among the answers.
fn understood(message: &Message) -> Option<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = message.kind;
    let parsed = RouteNetlinkMessage::deserialize(&header, &message.body);
    parsed.inspect_err(|error| tracing::debug!("netlink: {error}")).ok()
}

fn of_interface(ifindex: i32, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::default();
    (message.header.index, message.header.parent) = (ifindex, parent);
    message
}
