//! The skb mark goes into a tunnel and out of it: what a packet was is known to the rules on the other side.

use anyhow::ensure;
use qosbpf_tests::{
    tagged::Tagged,
    udp::{self, Listener},
};

use super::devices::{ETHERNET, Kind, V4, place, with_device};

/// Into the tunnel by the DSCP inside, out of it by the one outside: RFC 2983's uniform model, through two tables.
const RULES: &str = "[[rule]]\nname = \"into it\"\non = \"t0:egress\"\nmatch = { dscp = \"EF\" }\n\
    mark = \"0x2e00/0xff00\"\n\
    [[rule]]\nname = \"in it\"\non = \"wan0:egress\"\nmatch = { mark = \"0x2e00/0xff00\" }\nset = \"AF41\"\n\
    [[rule]]\nname = \"it comes\"\non = \"wan0:ingress\"\nmatch = { dscp = \"AF21\", proto = \"udp\" }\n\
    mark = \"0x1200/0xff00\"\n\
    [[rule]]\nname = \"out of it\"\non = \"t0:ingress\"\nmatch = { mark = \"0x1200/0xff00\" }\nset = \"CS5\"\n";

const EF: u8 = 0xb8;
const CS5: u8 = 0xa0;

/// AF21 outside of what comes back.
const VXLAN: &str = "link add t0 type vxlan id 7 dstport 4789 tos 0x48 local {OWN} remote {PEER} dev {LOWER}";

#[test]
fn a_mark_tells_the_outer_header_and_the_inner_one() -> anyhow::Result<()> {
    with_device(&Kind { name: "vxlan with marks", make: VXLAN, ..ETHERNET }, |router, hook| {
        router.ok(&format!("attach t0 --hook {hook} --egress"))?;
        router.ok(&format!("attach wan0 --hook {hook} --egress"))?;
        let policy = router.policy("marks", RULES)?;
        router.ok(&format!("policy apply --attach {policy}"))?;
        let wire = router.lab().wan().run(|| Tagged::start("eth0"))?;
        let (own, peer) = (place(V4[0], 7000)?, place(V4[1], 7001)?);
        let (here, there) = (Listener::bind(router.edge(), own)?, Listener::bind(router.lab().wan(), peer)?);
        udp::send(router.edge(), place(V4[0], 7002)?, peer, EF, 1)?;
        ensure!(there.receive()? == EF, "the inner header stays");
        let mut outer = wire.receive()?.frame;
        while outer.get(15) == Some(&0x48) {
            // The question for a neighbour goes through the tunnel too.
            outer = wire.receive()?.frame;
        }
        ensure!(outer[12..14] == [0x08, 0x00] && outer[15] == 0x88, "AF41 outside: {outer:02x?}");
        udp::send(router.lab().wan(), place(V4[1], 7002)?, own, 0, 1)?;
        ensure!(here.receive()? == CS5, "what came in AF21 is CS5 inside");
        Ok(())
    })
}
