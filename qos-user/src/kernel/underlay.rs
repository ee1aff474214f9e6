//! By which device the outer headers of a tunnel leave, as the routes are now.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_route::link::{
    InfoData, InfoGeneve, InfoGre, InfoGre6, InfoIpTunnel, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage,
};

use super::network::Network;

impl Network {
    /// The device below each tunnel that has a fixed remote end.
    ///
    /// # Errors
    ///
    /// What netlink reports.
    pub fn underlays(&self) -> anyhow::Result<BTreeMap<u32, u32>> {
        let links = self.links()?;
        let below = links.iter().filter_map(|link| {
            let (local, remote) = ends(link)?;
            Some((link.header.index, self.leaves_by(local, remote)?))
        });
        Ok(below.collect())
    }
}

/// Local and remote end; the local one is all zeros where any will do.
fn ends(message: &LinkMessage) -> Option<(IpAddr, IpAddr)> {
    let infos = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    })?;
    let ends = infos.iter().find_map(|info| match info {
        LinkInfo::Data(data) => Some(of(data)),
        _ => None,
    })?;
    let remote = ends.iter().find_map(|end| end.remote()).filter(|remote| !remote.is_unspecified())?;
    let local = ends.iter().find_map(|end| end.local()).filter(|local| local.is_ipv4() == remote.is_ipv4());
    let any = || if remote.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    Some((local.unwrap_or_else(any), remote))
}

/// One of the two.
#[derive(Clone, Copy, Debug)]
enum End {
    Local(IpAddr),
    Remote(IpAddr),
}

impl End {
    const fn local(&self) -> Option<IpAddr> {
        if let Self::Local(address) = *self { Some(address) } else { None }
    }

    const fn remote(&self) -> Option<IpAddr> {
        if let Self::Remote(address) = *self { Some(address) } else { None }
    }
}

fn of(data: &InfoData) -> Vec<End> {
    match data {
        InfoData::Vxlan(infos) => infos.iter().filter_map(vxlan).collect(),
        InfoData::Geneve(infos) => infos.iter().filter_map(geneve).collect(),
        InfoData::IpTunnel(infos) => infos.iter().filter_map(ip_tunnel).collect(),
        InfoData::GreTun(infos) | InfoData::GreTap(infos) | InfoData::ErSpan(infos) => {
            infos.iter().filter_map(gre).collect()
        }
        InfoData::GreTun6(infos) | InfoData::GreTap6(infos) | InfoData::Ip6ErSpan(infos) => {
            infos.iter().filter_map(gre6).collect()
        }
        _ => Vec::new(),
    }
}

const fn vxlan(info: &InfoVxlan) -> Option<End> {
    Some(match *info {
        InfoVxlan::Local(address) => End::Local(IpAddr::V4(address)),
        InfoVxlan::Local6(address) => End::Local(IpAddr::V6(address)),
        InfoVxlan::Group(address) => End::Remote(IpAddr::V4(address)),
        InfoVxlan::Group6(address) => End::Remote(IpAddr::V6(address)),
        _ => return None,
    })
}

const fn geneve(info: &InfoGeneve) -> Option<End> {
    Some(match *info {
        InfoGeneve::Local(address) => End::Local(IpAddr::V4(address)),
        InfoGeneve::Local6(address) => End::Local(IpAddr::V6(address)),
        InfoGeneve::Remote(address) => End::Remote(IpAddr::V4(address)),
        InfoGeneve::Remote6(address) => End::Remote(IpAddr::V6(address)),
        _ => return None,
    })
}

const fn ip_tunnel(info: &InfoIpTunnel) -> Option<End> {
    Some(match *info {
        InfoIpTunnel::Local(address) => End::Local(address),
        InfoIpTunnel::Remote(address) => End::Remote(address),
        _ => return None,
    })
}

const fn gre(info: &InfoGre) -> Option<End> {
    Some(match *info {
        InfoGre::Local(address) => End::Local(IpAddr::V4(address)),
        InfoGre::Remote(address) => End::Remote(IpAddr::V4(address)),
        _ => return None,
    })
}

const fn gre6(info: &InfoGre6) -> Option<End> {
    Some(match *info {
        InfoGre6::Local(address) => End::Local(IpAddr::V6(address)),
        InfoGre6::Remote(address) => End::Remote(IpAddr::V6(address)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_device(data: InfoData) -> Option<(String, String)> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::LinkInfo(vec![LinkInfo::Data(data)])];
        ends(&message).map(|(local, remote)| (local.to_string(), remote.to_string()))
    }

    #[test]
    fn the_ends_of_a_tunnel_are_read_and_one_without_a_remote_end_has_none() {
        let [near, far] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        let ends = |local: &str, remote: &str| Some((local.to_owned(), remote.to_owned()));
        let vxlan = of_device(InfoData::Vxlan(vec![InfoVxlan::Group(far), InfoVxlan::Id(7), InfoVxlan::Local(near)]));
        assert_eq!(vxlan, ends("192.0.2.1", "192.0.2.2"));
        assert_eq!(of_device(InfoData::GreTun(vec![InfoGre::Remote(far)])), ends("0.0.0.0", "192.0.2.2"));
        assert_eq!(of_device(InfoData::GreTun(vec![InfoGre::Remote(Ipv4Addr::UNSPECIFIED)])), None);
        let over6 = vec![InfoGre6::Remote(Ipv6Addr::LOCALHOST)];
        assert_eq!(of_device(InfoData::GreTun6(over6)), ends("::", "::1"));
        assert_eq!(of_device(InfoData::Vlan(Vec::new())), None);
    }
}
