//! Routes by interface, and rules that choose a table by the DS field.

use std::net::{Ipv4Addr, Ipv6Addr};

use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
    rule::{RuleAttribute, RuleMessage},
};
use rtnetlink::{
    RouteMessageBuilder,
    packet_core::{DefaultNla, Nla as _},
};

use super::super::network::Network;
use crate::diagnosis::facts::{Route, RoutingRule};

/// `RT_TABLE_LOCAL`: addresses of this host.
const LOCAL: u32 = 255;
/// `FRA_DSCP` (Linux 6.13): the six bits.
const DSCP: u16 = 25;

impl Network {
    /// The routing rules that look at the DS field.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn rules_by_mark(&self) -> anyhow::Result<Vec<RoutingRule>> {
        let mut found = Vec::new();
        for (family, of_family) in [(4, AddressFamily::Inet), (6, AddressFamily::Inet6)] {
            found.extend(self.rule_list(of_family)?.iter().filter_map(|rule| by_mark(family, rule)));
        }
        Ok(found)
    }

    /// The unicast routes of both families, but those to this host.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn routes(&self) -> anyhow::Result<Vec<Route>> {
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let mut found = Vec::new();
        for all in [v4, v6] {
            found.extend(self.route_list(all)?.iter().flat_map(by_interface));
        }
        Ok(found)
    }
}

fn by_mark(family: u8, rule: &RuleMessage) -> Option<RoutingRule> {
    let (mut priority, mut table, mut by_dscp) = (0, u32::from(rule.header.table), None);
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = *number,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Other(other) => by_dscp = dscp(other).or(by_dscp),
            _ => {}
        }
    }
    let tos = by_dscp.unwrap_or(rule.header.tos);
    (tos != 0).then_some(RoutingRule { family, priority, tos, by_dscp: by_dscp.is_some(), table })
}

/// The DS byte of the newer attribute.
fn dscp(attribute: &DefaultNla) -> Option<u8> {
    let mut value = [0];
    (attribute.kind() == DSCP && attribute.value_len() == value.len()).then(|| {
        attribute.emit_value(&mut value);
        value[0] << 2
    })
}

/// One for each of its next hops.
fn by_interface(message: &RouteMessage) -> Vec<Route> {
    let (mut table, mut to, mut interfaces) = (u32::from(message.header.table), None, Vec::new());
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Oif(ifindex) => interfaces.push(*ifindex),
            RouteAttribute::MultiPath(hops) => interfaces.extend(hops.iter().map(|hop| hop.interface_index)),
            RouteAttribute::Destination(address) => to = destination(address),
            _ => {}
        }
    }
    if message.header.kind != RouteType::Unicast || table == LOCAL || to.as_ref().is_some_and(|to| is_link_local(to)) {
        return Vec::new();
    }
    let length = message.header.destination_prefix_length;
    let to = to.map_or_else(|| "default".to_owned(), |to| format!("{to}/{length}"));
    interfaces.into_iter().map(|ifindex| Route { ifindex, to: to.clone(), table }).collect()
}

fn destination(address: &RouteAddress) -> Option<String> {
    match address {
        RouteAddress::Inet(address) => Some(address.to_string()),
        RouteAddress::Inet6(address) => Some(address.to_string()),
        _ => None,
    }
}

/// Every IPv6 device has routes to its own link and to multicast groups.
fn is_link_local(address: &str) -> bool {
    address.starts_with("fe80:") || address.starts_with("ff00:")
}
