//! Who is where in the lab: devices, addresses, routes, and what keeps the wire quiet.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use qos_common::locate::Family;

use super::{iproute, namespace::Namespace, settle};

/// One end of a veth pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The device's name in its namespace.
    pub device: &'static str,
    /// Its address, with a prefix of 24 bits (RFC 5737).
    pub v4: Ipv4Addr,
    /// Its address, with a prefix of 64 bits (RFC 3849).
    pub v6: Ipv6Addr,
    /// Its link-layer address, locally administered.
    pub mac: &'static str,
}

/// The LAN host.
pub const LAN_HOST: End = End {
    device: "eth0",
    v4: Ipv4Addr::new(192, 0, 2, 2),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2),
    mac: "02:00:00:00:01:02",
};
/// The router, towards the LAN.
pub const EDGE_LAN: End = End {
    device: "lan0",
    v4: Ipv4Addr::new(192, 0, 2, 1),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1),
    mac: "02:00:00:00:01:01",
};
/// The router, towards the WAN.
pub const EDGE_WAN: End = End {
    device: "wan0",
    v4: Ipv4Addr::new(198, 51, 100, 1),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1),
    mac: "02:00:00:00:02:01",
};
/// The WAN host.
pub const WAN_HOST: End = End {
    device: "eth0",
    v4: Ipv4Addr::new(198, 51, 100, 2),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2),
    mac: "02:00:00:00:02:02",
};

impl End {
    /// Its address in one family.
    #[must_use]
    pub const fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(self.v4),
            Family::V6 => IpAddr::V6(self.v6),
        }
    }
}

/// What the kernel would send or drop of its own accord, before there are devices that inherit these settings.
const QUIET: [(&str, &str); 12] = [
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/igmp_link_local_mcast_reports", "0"),
    ("ipv6/conf/default/disable_ipv6", "0"),
    ("ipv6/conf/default/accept_ra", "0"),
    ("ipv6/conf/default/autoconf", "0"),
    ("ipv6/conf/default/router_solicitations", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/default/dad_transmits", "0"),
    // 1: no link-local address, hence nothing that announces it.
    ("ipv6/conf/default/addr_gen_mode", "1"),
    // MLD cannot be switched off; its reports follow the join by milliseconds, and are over before anybody counts.
    ("ipv6/conf/default/mldv1_unsolicited_report_interval", "1"),
    ("ipv6/conf/default/mldv2_unsolicited_report_interval", "1"),
];

const FORWARDING: [(&str, &str); 2] = [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")];

/// Keeps a namespace quiet that has no devices yet.
///
/// # Errors
///
/// Which setting this kernel does not have, IPv6 for one.
pub fn quieten(namespace: &Namespace) -> anyhow::Result<()> {
    namespace.set(&QUIET)
}

/// Joins the three namespaces.
///
/// # Errors
///
/// What `ip` or the kernel says.
pub fn build(lan: &Namespace, edge: &Namespace, wan: &Namespace) -> anyhow::Result<()> {
    edge.set(&FORWARDING)?;
    iproute::batch(edge.name(), &(pair(&EDGE_LAN, &LAN_HOST, lan) + &pair(&EDGE_WAN, &WAN_HOST, wan)))?;
    let ends = [(lan, LAN_HOST), (edge, EDGE_LAN), (edge, EDGE_WAN), (wan, WAN_HOST)];
    iproute::batch(edge.name(), &(device(&EDGE_LAN, &LAN_HOST) + &device(&EDGE_WAN, &WAN_HOST)))?;
    iproute::batch(lan.name(), &(device(&LAN_HOST, &EDGE_LAN) + &route(&EDGE_LAN)))?;
    iproute::batch(wan.name(), &(device(&WAN_HOST, &EDGE_WAN) + &route(&EDGE_WAN)))?;
    settle::wait(&ends)
}

fn pair(here: &End, there: &End, namespace: &Namespace) -> String {
    format!(
        "link add {} address {} type veth peer name {} address {} netns {}\n",
        here.device,
        here.mac,
        there.device,
        there.mac,
        namespace.name()
    )
}

/// Permanent neighbours: the first probe need not wait for an answer, and ARP is not counted.
fn device(here: &End, there: &End) -> String {
    let mut script = String::from("link set lo up\n");
    let device = here.device;
    let _infallible = writeln!(script, "address add {}/24 dev {device}", here.v4);
    let _infallible = writeln!(script, "address add {}/64 dev {device} nodad", here.v6);
    let _infallible = writeln!(script, "link set {device} up");
    for address in [IpAddr::V4(there.v4), IpAddr::V6(there.v6)] {
        let _infallible = writeln!(script, "neighbour add {address} lladdr {} nud permanent dev {device}", there.mac);
    }
    script
}

/// Everything that is not next door is behind the router.
fn route(router: &End) -> String {
    format!("route add 0.0.0.0/0 via {}\nroute add ::/0 via {}\n", router.v4, router.v6)
}
