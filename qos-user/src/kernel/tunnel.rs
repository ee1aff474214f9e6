//! Devices at which TC sees something else in front of a packet than the packet, and which way that is.

use netlink_packet_route::link::{
    InfoData, InfoGre, InfoGre6, InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage,
};

use super::network::is_tunnel;
use crate::{command::Command, error::Failure, hook::Direction};

/// A device whose packets are in other ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tunnel {
    /// None, or one that has taken off all that was around a packet.
    #[default]
    Clean,
    /// What came in had an IP header more, which the device has taken off.
    Plain,
    /// GRE over IPv4 without a fixed remote end: the header outside stands where others have a link header.
    Multipoint {
        /// Whether its DS field is that of the packet inside, which it gets behind TC.
        inherits: bool,
    },
    /// The same over IPv6, which takes the header off whole, and puts the final one on behind TC.
    Multipoint6,
    /// IPsec: what it decrypts keeps the link header of the device below in front of it.
    Decrypted,
}

impl Tunnel {
    /// What a device is.
    pub(super) fn of(message: &LinkMessage) -> Self {
        let infos = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos.as_slice()),
            _ => None,
        });
        let known = infos.unwrap_or_default().iter().find_map(|info| match info {
            LinkInfo::Kind(InfoKind::Xfrm | InfoKind::Vti | InfoKind::Vti6) => Some(Self::Decrypted),
            LinkInfo::Data(InfoData::GreTun(data)) => multipoint(data),
            LinkInfo::Data(InfoData::GreTun6(data)) => multipoint6(data),
            _ => None,
        });
        known.unwrap_or_else(|| Self::by_type(message.header.link_layer_type))
    }

    const fn by_type(kind: LinkLayerType) -> Self {
        if is_tunnel(kind) { Self::Plain } else { Self::Clean }
    }

    /// What TC sees there that is not the packet, on a kernel of this version.
    #[must_use]
    pub fn hides(self, direction: Direction, kernel: Option<(u32, u32)>) -> Option<&'static str> {
        let old = kernel.is_some_and(|kernel| kernel < (5, 14));
        match (self, direction) {
            (Self::Multipoint { .. }, Direction::Ingress) => {
                Some("at the ingress of GRE without a fixed remote end is the header outside, not the packet")
            }
            (Self::Multipoint { inherits: true } | Self::Multipoint6, Direction::Egress) => Some(
                "at the egress of GRE without a fixed remote end is a header outside that is not the one that is sent",
            ),
            (Self::Decrypted, Direction::Ingress) => {
                Some("at the ingress of an IPsec device may be the link header of the device below, not the packet")
            }
            (Self::Plain | Self::Multipoint6, Direction::Ingress) if old => {
                Some("before Linux 5.14 the ingress of a tunnel shows the header outside, not the packet")
            }
            _ => None,
        }
    }

    /// Why a hook there would count and mark what is not the packet.
    #[must_use]
    pub fn refuses(self, name: &str, direction: Direction, kernel: Option<(u32, u32)>) -> Option<Failure> {
        let why = self.hides(direction, kernel)?;
        let (other, elsewhere) = match direction {
            Direction::Ingress => (Direction::Egress, "what comes in is seen at the egress of where it leaves"),
            Direction::Egress => (Direction::Ingress, "what leaves is seen at the ingress of where it came in"),
        };
        let attach = Command::new("qosbpf attach").word(format_args!("--{other}")).operand(name);
        let here = self.hides(other, kernel).is_none().then(|| format!("{attach}; "));
        let remote = match self {
            Self::Multipoint { .. } | Self::Multipoint6 => {
                ", and both at a device that is made with `remote` or `external`"
            }
            Self::Clean | Self::Plain | Self::Decrypted => "",
        };
        let hint = format!("{}{elsewhere}{remote}", here.unwrap_or_default());
        Some(Failure::new("link-type", format!("{name}: {why}")).hint(hint))
    }
}

/// A device made with `external` gets its remote ends from routes, and is like one with a fixed end to TC.
fn multipoint(data: &[InfoGre]) -> Option<Tunnel> {
    let external = data.iter().any(|info| matches!(info, InfoGre::CollectMetadata));
    let fixed = data.iter().any(|info| match info {
        InfoGre::Remote(remote) => !remote.is_unspecified() && !remote.is_multicast(),
        _ => false,
    });
    let inherits = data.iter().any(|info| matches!(info, InfoGre::Tos(tos) if tos & 1 != 0));
    (!external && !fixed).then_some(Tunnel::Multipoint { inherits })
}

fn multipoint6(data: &[InfoGre6]) -> Option<Tunnel> {
    let external = data.iter().any(|info| matches!(info, InfoGre6::CollectMetadata));
    let fixed = data.iter().any(|info| matches!(info, InfoGre6::Remote(remote) if !remote.is_unspecified()));
    (!external && !fixed).then_some(Tunnel::Multipoint6)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn device(link_layer_type: LinkLayerType, infos: Vec<LinkInfo>) -> Tunnel {
        let mut message = LinkMessage::default();
        message.header.link_layer_type = link_layer_type;
        message.attributes.push(LinkAttribute::LinkInfo(infos));
        Tunnel::of(&message)
    }

    fn gre(data: Vec<InfoGre>) -> Tunnel {
        device(LinkLayerType::Ipgre, vec![LinkInfo::Kind(InfoKind::GreTun), LinkInfo::Data(InfoData::GreTun(data))])
    }

    fn gre6(data: Vec<InfoGre6>) -> Tunnel {
        device(LinkLayerType::Ip6gre, vec![LinkInfo::Kind(InfoKind::GreTun6), LinkInfo::Data(InfoData::GreTun6(data))])
    }

    #[test]
    fn a_gre_device_is_multipoint_without_one_end_that_is_fixed() {
        let remote = |address: [u8; 4]| InfoGre::Remote(Ipv4Addr::from(address));
        assert_eq!(gre(vec![remote([198, 51, 100, 2]), InfoGre::Tos(1)]), Tunnel::Plain);
        assert_eq!(gre(vec![remote([0; 4]), InfoGre::Tos(1)]), Tunnel::Multipoint { inherits: true });
        assert_eq!(gre(vec![remote([239, 1, 1, 1]), InfoGre::Tos(0xb8)]), Tunnel::Multipoint { inherits: false });
        assert_eq!(gre(vec![remote([0; 4]), InfoGre::CollectMetadata]), Tunnel::Plain);
        assert_eq!(gre6(vec![InfoGre6::Remote(Ipv6Addr::LOCALHOST)]), Tunnel::Plain);
        assert_eq!(gre6(vec![InfoGre6::Remote(Ipv6Addr::UNSPECIFIED)]), Tunnel::Multipoint6);
        assert_eq!(gre6(vec![InfoGre6::Remote(Ipv6Addr::UNSPECIFIED), InfoGre6::CollectMetadata]), Tunnel::Plain);
    }

    #[test]
    fn a_kind_without_addresses_is_told_by_its_name_or_its_type() {
        let of = |kind, link_layer_type| device(link_layer_type, vec![LinkInfo::Kind(kind)]);
        assert_eq!(of(InfoKind::Xfrm, LinkLayerType::None), Tunnel::Decrypted);
        assert_eq!(of(InfoKind::Vti, LinkLayerType::Tunnel), Tunnel::Decrypted);
        assert_eq!(of(InfoKind::Vti6, LinkLayerType::Tunnel6), Tunnel::Decrypted);
        assert_eq!(of(InfoKind::Wireguard, LinkLayerType::None), Tunnel::Clean);
        assert_eq!(of(InfoKind::IpIp, LinkLayerType::Tunnel), Tunnel::Plain);
    }

    #[test]
    fn what_is_refused_and_where_to_attach_instead() {
        let (ingress, egress) = (Direction::Ingress, Direction::Egress);
        let (old, new) = (Some((5, 10)), Some((6, 18)));
        let refused = |tunnel: Tunnel, kernel| Direction::BOTH.map(|way| tunnel.refuses("t0", way, kernel).is_some());
        assert_eq!(refused(Tunnel::Clean, old), [false, false]);
        assert_eq!([refused(Tunnel::Plain, old), refused(Tunnel::Plain, new)], [[true, false], [false, false]]);
        assert_eq!(refused(Tunnel::Multipoint { inherits: true }, new), [true, true]);
        assert_eq!(refused(Tunnel::Multipoint { inherits: false }, new), [true, false]);
        assert_eq!(
            [refused(Tunnel::Multipoint6, old), refused(Tunnel::Multipoint6, new)],
            [[true, true], [false, true]]
        );
        assert_eq!(refused(Tunnel::Decrypted, new), [true, false]);
        assert_eq!(refused(Tunnel::Plain, None), [false, false], "a kernel that does not say how old it is");
        let hint = |tunnel: Tunnel, way| tunnel.refuses("t0", way, new).unwrap().hint.unwrap();
        assert!(hint(Tunnel::Decrypted, ingress).starts_with("qosbpf attach --egress t0; what comes in"));
        assert!(hint(Tunnel::Multipoint { inherits: true }, ingress).starts_with("what comes in is seen"));
        assert!(hint(Tunnel::Multipoint6, egress).starts_with("qosbpf attach --ingress t0; what leaves is seen"));
    }
}
