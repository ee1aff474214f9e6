//! What drivers can do for XDP: the family `netdev` of generic netlink (Linux 6.3).

use std::collections::BTreeMap;

use anyhow::Context as _;
use nix::sys::socket::SockProtocol;

use super::super::raw_netlink::{Message, attribute, dump, find, get};
use crate::diagnosis::facts::XdpFeatures;

/// `GENL_ID_CTRL`, which names the other families.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

const DEV_GET: u8 = 1;
const DEV_IFINDEX: u16 = 1;
const DEV_XDP_FEATURES: u16 = 3;

const BASIC: u64 = 1;
const RX_SG: u64 = 1 << 5;

/// Bytes of the header of generic netlink.
const HEADER: usize = 4;

/// By interface; empty where the kernel does not tell.
pub fn xdp_features() -> BTreeMap<u32, XdpFeatures> {
    let asked = read();
    if let Err(error) = &asked {
        tracing::debug!("what drivers can do for XDP: {error:#}");
    }
    asked.unwrap_or_default()
}

fn read() -> anyhow::Result<BTreeMap<u32, XdpFeatures>> {
    let devices = dump(SockProtocol::NetlinkGeneric, family()?, &[DEV_GET, 1, 0, 0])?;
    Ok(devices.iter().filter_map(features).collect())
}

fn family() -> anyhow::Result<u16> {
    let body = [vec![GET_FAMILY, 1, 0, 0], attribute(FAMILY_NAME, b"netdev\0")].concat();
    let answer = get(SockProtocol::NetlinkGeneric, CONTROL, &body)?.context("no answer")?;
    let id = find(&answer.body, HEADER, FAMILY_ID).context("a family without an id")?;
    Ok(u16::from_ne_bytes(id.try_into()?))
}

fn features(device: &Message) -> Option<(u32, XdpFeatures)> {
    let ifindex = find(&device.body, HEADER, DEV_IFINDEX)?;
    let bits = u64::from_ne_bytes(find(&device.body, HEADER, DEV_XDP_FEATURES)?.try_into().ok()?);
    let features = XdpFeatures { native: bits & BASIC != 0, frags: bits & RX_SG != 0 };
    Some((u32::from_ne_bytes(ifindex.try_into().ok()?), features))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_bits() {
        let device = |bits: u64| Message {
            kind: 0,
            body: [
                vec![DEV_GET, 1, 0, 0],
                attribute(DEV_IFINDEX, &7u32.to_ne_bytes()),
                attribute(DEV_XDP_FEATURES, &bits.to_ne_bytes()),
            ]
            .concat(),
        };
        let of = |bits| features(&device(bits)).unwrap();
        assert_eq!(of(0), (7, XdpFeatures { native: false, frags: false }));
        assert_eq!(of(BASIC | RX_SG), (7, XdpFeatures { native: true, frags: true }));
    }

    /// Every kernel that tells says of the loopback device that it has no native XDP.
    #[test]
    fn this_kernel_tells_or_is_older() {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let tells = crate::diagnosis::version(&release) >= Some((6, 3));
        assert_eq!(xdp_features().get(&1).map(|features| features.native), tells.then_some(false));
    }
}
