//! Which way a packet of this host would take.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::RouteMessageBuilder;

use super::network::Network;

impl Network {
    /// The index of the interface by which packets from `from`, an address of this host, leave for `to`; `None` if
    /// there is no route.
    #[must_use]
    pub fn leaves_by(&self, from: IpAddr, to: IpAddr) -> Option<u32> {
        let answers = self.handle.route().get(question(from, to)?).execute().try_collect::<Vec<_>>();
        // An error is the kernel's way to say that it cannot be reached.
        let routes = self.wait(answers).ok()?;
        routes.first()?.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
    }
}

fn question(from: IpAddr, to: IpAddr) -> Option<RouteMessage> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let route = RouteMessageBuilder::<std::net::Ipv4Addr>::new();
            Some(route.source_prefix(from, 32).destination_prefix(to, 32).build())
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let route = RouteMessageBuilder::<std::net::Ipv6Addr>::new();
            Some(route.source_prefix(from, 128).destination_prefix(to, 128).build())
        }
        _ => None,
    }
}
