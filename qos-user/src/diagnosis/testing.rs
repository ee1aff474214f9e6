//! Interfaces and hooks for the tests of this folder.

use super::{
    facts::{Ground, OwnHook, Port, XdpFeatures},
    outside::Packets,
    tc::{Filter, Place},
};
use crate::{
    hook::{Direction, Via},
    netdev::Netdev,
};

pub(super) fn port(name: &str) -> Port {
    let device = Netdev {
        name: name.to_owned(),
        ifindex: 1,
        link_type: "ETHER".to_owned(),
        mtu: 1500,
        rx_queues: 4,
        tx_queues: 4,
        ..Netdev::default()
    };
    let xdp = Some(XdpFeatures { native: true, frags: true });
    Port { device, driver: Some("igc".to_owned()), xdp, ..Port::default() }
}

pub(super) fn filter(place: Place, pref: u16, action: Option<&str>) -> Filter {
    Filter {
        kind: "flower".to_owned(),
        place,
        block: None,
        protocol: "ip".to_owned(),
        packets: Packets { families: [true, false], ..Packets::ALL },
        pref,
        chain: 0,
        handle: Some("0x1".to_owned()),
        action: action.map(str::to_owned),
        to: None,
    }
}

pub(super) fn ground(ports: Vec<Port>) -> Ground {
    Ground { ports, tcx: true, ..Ground::default() }
}

pub(super) fn own(direction: Direction, via: Via) -> OwnHook {
    OwnHook {
        direction,
        via,
        frags: false,
        interpreted: false,
        version: crate::VERSION.to_owned(),
        enforces: true,
        bound: true,
        bypassed: false,
        spared: None,
        rules: Vec::new(),
        inside_pppoe: false,
    }
}

pub(super) fn enforcing(name: &str, direction: Direction) -> Port {
    Port { hooks: vec![own(direction, Via::Tcx)], ..port(name) }
}
