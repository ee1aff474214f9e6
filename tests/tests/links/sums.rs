//! A sum that the kernel keeps beside a packet (`CHECKSUM_COMPLETE`): where the receiver itself works out the checksum of an
//! outer header, it has one of all that is inside. A datagram over IPv6 that no longer fits it is dropped.

use qosbpf_tests::router::{Router, run_in};

use super::devices::{ETHERNET, Kind, exchange, with_device};

const OVER_V4: Kind = Kind {
    name: "vxlan with udpcsum",
    make: "link add t0 type vxlan id 7 dstport 4789 local {OWN} remote {PEER} dev {LOWER} udpcsum",
    ..ETHERNET
};

/// Over IPv6 there always is a checksum outside.
const OVER_V6: Kind = Kind {
    name: "vxlan over IPv6",
    make: "link add t0 type vxlan id 7 dstport 4789 local {OWN} remote {PEER} dev {LOWER}",
    over_v6: true,
    ..ETHERNET
};

/// On a cable whose cards leave checksums to the kernel: else no receiver works one out.
fn with_sums(kind: &Kind, work: impl Fn(&Router, &str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    with_device(kind, |router, hook| {
        for (namespace, device) in [(router.edge(), "wan0"), (router.lab().wan(), "eth0")] {
            run_in(namespace, &format!("ethtool -K {device} tx off"))?;
        }
        work(router, hook)
    })
}

#[test]
fn vxlan_with_udpcsum() -> anyhow::Result<()> {
    with_sums(&OVER_V4, |router, hook| exchange(&OVER_V4, router, hook))
}

#[test]
fn vxlan_over_ipv6() -> anyhow::Result<()> {
    with_sums(&OVER_V6, |router, hook| exchange(&OVER_V6, router, hook))
}
