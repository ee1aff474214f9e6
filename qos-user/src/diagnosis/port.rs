//! What an interface is and what its driver can do.

use super::{
    Command, Cure, Finding,
    facts::{Ground, Port},
    merging,
};
use crate::{
    hook::{Direction, Via},
    rules::model::Field,
};

/// What a packet in one piece may have behind its link header, on a page of 4 KiB with room for XDP and the kernel's own
/// record at its end: what a veth takes, and nearly what drivers do.
const ONE_PIECE: u32 = 3506;

/// Whether packets of a device have become too long for a hook's XDP program: what helps is the one for pieces, if the driver
/// takes that.
#[must_use]
pub const fn has_outgrown(via: Via, frags: bool, mtu: u32) -> bool {
    matches!(via, Via::XdpNative) && !frags && mtu > ONE_PIECE
}

/// Whether a driver gives XDP a packet in pieces of which the first is empty: mlx5 does with its striding receive queues,
/// which are the default of cards since ConnectX-5, and a program sees no header there.
#[must_use]
pub fn hides_headers(driver: Option<&str>, mtu: u32) -> bool {
    mtu > ONE_PIECE && driver == Some("mlx5_core")
}

/// What is found about the device itself.
pub(super) fn device(port: &Port, ground: &Ground) -> Vec<Finding> {
    let name = &port.device.name;
    if let Some(why) = &port.unreadable {
        return vec![Finding::fail(name, "link-type", format!("{why}: nothing can be attached"))];
    }
    let rest = [pieces(port), vlan_tags(port, ground), merging::found(port)];
    let mut findings = vec![Finding::ok(name, "device", description(port))];
    findings.extend(rest.into_iter().flatten());
    findings
}

fn description(port: &Port) -> String {
    let device = &port.device;
    let driver = port.driver.as_deref().or(device.kind.as_deref()).unwrap_or("not known");
    let queues = match (device.rx_queues, device.tx_queues) {
        (rx, tx) if rx == tx => format!("{rx} queue{}", if rx == 1 { "" } else { "s" }),
        (rx, tx) => format!("{rx} receive and {tx} transmit queues"),
    };
    let ours = port.hooks.iter().map(|hook| format!("{} {}", hook.direction, hook.via)).collect::<Vec<_>>();
    let ours = if ours.is_empty() { "not attached".to_owned() } else { format!("attached: {}", ours.join(", ")) };
    format!(
        "driver {driver}, {}, {}; MTU {}, {queues}; {ours}",
        device.link_type.to_ascii_lowercase(),
        native(port),
        device.mtu
    )
}

/// Whether native XDP is possible, and why not.
fn native(port: &Port) -> String {
    if port.device.link_type != "ETHER" && port.device.link_type != "LOOPBACK" {
        return "no native XDP: a layer-3 device".to_owned();
    }
    match port.xdp {
        _ if merging::is_refused(port) => "no native XDP with the hypervisor's offloads".to_owned(),
        Some(features) if !features.native => "no native XDP in this driver".to_owned(),
        Some(features) if features.frags => "native XDP possible, with frags".to_owned(),
        Some(_) => "native XDP possible, without frags".to_owned(),
        None => "native XDP not known (Linux 6.3 tells); attach tries it".to_owned(),
    }
}

/// A jumbo MTU, which XDP programs for one piece cannot have.
fn pieces(port: &Port) -> Option<Finding> {
    let name = &port.device.name;
    let features = merging::native(port).filter(|_| port.device.mtu > ONE_PIECE)?;
    let mtu = port.device.mtu;
    if hides_headers(port.driver.as_deref(), mtu) {
        let text = format!("MTU {mtu}: of packets in pieces this driver shows XDP no header: attach takes TC");
        let cure = Cure::There(one_piece(name));
        return Some(Finding::info(name, "jumbo-no-headers", text).cure(cure));
    }
    let ours = port.hook(Direction::Ingress);
    if features.frags && ours.is_some_and(|hook| has_outgrown(hook.via, hook.frags, mtu)) {
        let text = format!(
            "MTU {mtu}: {name}:ingress runs the XDP program for packets in one piece, which bars longer ones: attach loads the \
             one for pieces, and keeps its counters"
        );
        return Some(Finding::warn(name, "jumbo-one-piece", text).cure(Cure::attach(name, Direction::Ingress)));
    }
    if features.frags {
        let by = if ours.is_some_and(|hook| hook.frags) {
            "the program for them runs"
        } else {
            "attach loads the program for them"
        };
        let text = format!("MTU {mtu}: native XDP takes packets in pieces here; {by}");
        return Some(Finding::info(name, "jumbo-frags", text));
    }
    let text = format!("MTU {mtu} is more than this driver gives XDP in one piece: attach takes TC, a little slower");
    Some(Finding::info(name, "jumbo-no-xdp", text).cure(Cure::There(one_piece(name))))
}

fn one_piece(interface: &str) -> Command {
    Command::new("ip link set dev").word(interface).words("mtu").word(ONE_PIECE)
}

/// Tags that the NIC has taken off are beside the packet at TC, and lost at XDP.
fn vlan_tags(port: &Port, ground: &Ground) -> Option<Finding> {
    if !takes_tags_off(port) {
        return None;
    }
    let ours = port.hook(Direction::Ingress);
    let may_be_xdp = match ours {
        Some(hook) => hook.via.is_xdp(),
        None => merging::native(port).is_some(),
    };
    if !may_be_xdp {
        return None;
    }
    let name = &port.device.name;
    let who = if is_veth(port) { "the peer's txvlan, if that is on" } else { "rxvlan on" };
    let text = format!("{who}: at XDP no VLAN tag is seen; bytes lack 4 a tag, and rules on vlan or pcp match nothing");
    let matters = has_vlans(port, ground) || looks_at_tags(port);
    matters.then(|| Finding::warn(name, "rxvlan", text).cure(tags_in_frames(port)))
}

/// Whether the NIC takes tags off the frame.
pub(super) fn takes_tags_off(port: &Port) -> bool {
    port.offloads.rx_vlan.is_some_and(|feature| feature.on)
}

fn is_veth(port: &Port) -> bool {
    port.device.kind.as_deref() == Some("veth")
}

/// What makes tags visible to XDP. A veth takes none off: its peer hands them over beside the packet.
pub(super) fn tags_in_frames(port: &Port) -> Cure {
    if is_veth(port) {
        return Cure::Advice("at its peer, in the namespace where that is: ethtool -K PEER txvlan off".to_owned());
    }
    if port.offloads.rx_vlan.is_some_and(|feature| feature.fixed) {
        return Cure::Advice("the driver does not let it be switched off: TC sees tags, attach --hook tcx".to_owned());
    }
    Cure::There(Command::new("ethtool -K").word(&port.device.name).words("rxvlan off"))
}

fn has_vlans(port: &Port, ground: &Ground) -> bool {
    let is_vlan = |other: &&Port| other.device.kind.as_deref() == Some("vlan");
    ground.ports.iter().filter(is_vlan).any(|vlan| vlan.device.parent == Some(port.device.ifindex))
}

fn looks_at_tags(port: &Port) -> bool {
    let rules = port.hook(Direction::Ingress).into_iter().flat_map(|hook| &hook.rules);
    let mut conditions = rules.flat_map(|rule| &rule.conditions);
    conditions.any(|condition| matches!(condition.field, Field::Vlan(_) | Field::Pcp(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::{
            Level,
            facts::{Feature, Offloads, XdpFeatures},
            testing::{ground, own, port},
        },
        netdev::Netdev,
    };

    fn codes(port: &Port, ground: &Ground) -> Vec<(Level, &'static str)> {
        device(port, ground).iter().skip(1).map(|finding| (finding.level, finding.code)).collect()
    }

    #[test]
    fn a_plain_device_is_one_line() {
        let port = port("wan0");
        assert!(codes(&port, &ground(vec![port.clone()])).is_empty());
        assert_eq!(
            device(&port, &Ground::default())[0].text,
            "driver igc, ether, native XDP possible, with frags; MTU 1500, 4 queues; not attached"
        );
    }

    #[test]
    fn a_device_type_that_nothing_understands_is_a_fault() {
        let odd = Port { unreadable: Some("device type CAN".to_owned()), ..port("can0") };
        assert_eq!(device(&odd, &Ground::default())[0].code, "link-type");
    }

    #[test]
    fn why_native_xdp_is_not_possible_is_said() {
        let mut ppp = port("ppp0");
        ppp.device.link_type = "PPP".to_owned();
        assert!(description(&ppp).contains("no native XDP: a layer-3 device"));
        let xdp = |xdp| description(&Port { xdp, ..port("wan0") });
        assert!(xdp(Some(XdpFeatures { native: false, frags: false })).contains("no native XDP in this driver"));
        assert!(xdp(None).contains("not known"));
    }

    #[test]
    fn what_the_driver_could_do_is_not_said_of_a_card_that_it_refuses() {
        let gro_hw = Some(Feature { on: true, fixed: true });
        let offloads = Offloads { gro_hw, ..Offloads::default() };
        let mut card = Port { driver: Some("virtio_net".to_owned()), offloads, ..port("wan0") };
        card.device.mtu = 9000;
        assert!(description(&card).contains("no native XDP with the hypervisor's offloads"), "{}", description(&card));
        assert_eq!(codes(&card, &Ground::default()), [(Level::Info, "merging-fixed")], "nor of pieces for XDP");
    }

    #[test]
    fn a_jumbo_mtu_needs_frags() {
        let mut jumbo = port("wan0");
        jumbo.device.mtu = 9000;
        assert_eq!(codes(&jumbo, &Ground::default()), [(Level::Info, "jumbo-frags")]);
        let mut ours = own(Direction::Ingress, Via::XdpNative);
        jumbo.hooks = vec![ours.clone()];
        assert_eq!(codes(&jumbo, &Ground::default()), [(Level::Warn, "jumbo-one-piece")]);
        ours.frags = true;
        jumbo.hooks = vec![ours];
        assert_eq!(codes(&jumbo, &Ground::default()), [(Level::Info, "jumbo-frags")]);
        jumbo.hooks = vec![own(Direction::Ingress, Via::Tcx)];
        assert_eq!(codes(&jumbo, &Ground::default()), [(Level::Info, "jumbo-frags")]);
        jumbo.xdp = Some(XdpFeatures { native: true, frags: false });
        assert_eq!(codes(&jumbo, &Ground::default()), [(Level::Info, "jumbo-no-xdp")]);
    }

    #[test]
    fn a_driver_that_puts_headers_behind_the_first_piece_is_known() {
        let mut jumbo = Port { driver: Some("mlx5_core".to_owned()), ..port("wan0") };
        assert!(codes(&jumbo, &Ground::default()).is_empty());
        jumbo.device.mtu = 9000;
        assert_eq!(codes(&jumbo, &Ground::default()), [(Level::Info, "jumbo-no-headers")]);
    }

    #[test]
    fn stripped_tags_matter_where_there_are_vlans_and_xdp() {
        let with = |fixed| {
            let rx_vlan = Some(Feature { on: true, fixed });
            Port { offloads: Offloads { rx_vlan, ..Offloads::default() }, ..port("wan0") }
        };
        let stripping = with(false);
        let vlan = Port {
            device: Netdev { kind: Some("vlan".to_owned()), parent: Some(1), ifindex: 2, ..Netdev::default() },
            ..port("wan0.7")
        };
        let with_vlan = ground(vec![stripping.clone(), vlan]);
        assert!(codes(&stripping, &Ground::default()).is_empty(), "no VLAN, no word of it");
        assert_eq!(codes(&stripping, &with_vlan), [(Level::Warn, "rxvlan")]);
        let by = |via| Port { hooks: vec![own(Direction::Ingress, via)], ..stripping.clone() };
        assert_eq!(codes(&by(Via::XdpNative), &with_vlan), [(Level::Warn, "rxvlan")]);
        assert!(codes(&by(Via::Tcx), &with_vlan).is_empty());
        assert!(matches!(tags_in_frames(&stripping), Cure::There(_)));
        assert!(matches!(tags_in_frames(&with(true)), Cure::Advice(advice) if advice.ends_with("--hook tcx")));
        let mut veth = stripping;
        veth.device.kind = Some("veth".to_owned());
        assert!(matches!(tags_in_frames(&veth), Cure::Advice(advice) if advice.ends_with("txvlan off")));
    }
}
