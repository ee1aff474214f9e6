//! The lab as an edge router has it: `ppp0` towards the WAN with masquerade, and the VLAN device below it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    router::{Router, run_in},
    udp,
    wire::Tcpdump,
};
use serde_json::Value;

/// The other addresses of the LAN host: those of the set `pbx`.
pub const PBX: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(192, 0, 2, 20), Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x20));

/// A router of which the WAN device is called `ppp0`.
pub struct Masquerade {
    pub router: Router,
}

impl Masquerade {
    pub fn start() -> anyhow::Result<Self> {
        let router = Router::start()?;
        let (lan, edge, wan) = (router.lab().lan(), router.edge(), router.lab().wan());
        for (namespace, line) in [
            (lan, format!("ip addr add {}/24 dev eth0", PBX.0)),
            (lan, format!("ip addr add {}/64 dev eth0 nodad", PBX.1)),
            (edge, format!("ip neigh replace {} lladdr {} dev lan0", PBX.0, LAN_HOST.mac)),
            (edge, format!("ip neigh replace {} lladdr {} dev lan0", PBX.1, LAN_HOST.mac)),
            (edge, "ip link set wan0 name ppp0".to_owned()),
            (edge, format!("ip link add wan0.832 type veth peer name access netns {}", wan.name())),
            (edge, "ip link set wan0.832 up".to_owned()),
            (wan, "ip link set access up".to_owned()),
            (edge, "nft add table inet nat".to_owned()),
            (edge, "nft add chain inet nat post { type nat hook postrouting priority srcnat ; }".to_owned()),
            (edge, "nft add rule inet nat post oifname ppp0 masquerade".to_owned()),
        ] {
            run_in(namespace, &line)?;
        }
        Ok(Self { router })
    }

    /// Sends datagrams from the LAN host, by one of its addresses, to the WAN host.
    pub fn send(&self, from: IpAddr, port: u16, ds: u8, count: usize) -> anyhow::Result<()> {
        let to: IpAddr = if from.is_ipv4() { WAN_HOST.v4.into() } else { WAN_HOST.v6.into() };
        udp::send(self.router.lab().lan(), SocketAddr::new(from, 0), SocketAddr::new(to, port), ds, count)
    }

    /// The DS bytes of so many datagrams to a port as they arrive on the WAN, sent by `send`.
    pub fn arrive(
        &self,
        port: u16,
        count: u32,
        send: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<String>> {
        let wire = Tcpdump::start(self.router.lab().wan(), "eth0", count, &format!("udp dst port {port}"))?;
        send()?;
        Ok(wire.packets()?.iter().map(|packet| ds(packet)).collect())
    }

    /// What `stats --json` says of a hook.
    pub fn stats(&self, hook: &str) -> anyhow::Result<Value> {
        Ok(self.router.ok(&format!("stats {hook} --json"))?.json()?["hooks"][0].clone())
    }

    /// How many packets a rule has.
    pub fn hits(&self, hook: &str, rule: &str) -> anyhow::Result<Option<u64>> {
        let stats = self.stats(hook)?;
        let rules = stats["rules"].as_array().into_iter().flatten();
        Ok(rules.clone().find(|found| found["rule"] == rule).and_then(|found| found["packets"].as_u64()))
    }
}

/// The DS byte in a line of tcpdump: `tos 0xb8,` or `class 0x02,`; IPv6 leaves out a zero.
pub fn ds(line: &str) -> String {
    let after = line.split_once("tos ").or_else(|| line.split_once("class ")).map(|(_, rest)| rest);
    let hex = after.and_then(|rest| rest.split([',', ')']).next()?.strip_prefix("0x"));
    format!("{:#x}", hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(0))
}
