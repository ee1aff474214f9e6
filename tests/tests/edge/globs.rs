//! A glob stands for many interfaces, and each has meters of its own (design of one bucket for each hook).

use std::net::SocketAddr;

use anyhow::Context as _;
use qosbpf_tests::{
    router::{Router, run_in},
    udp,
};

/// Bytes of payload; with 28 of headers these are what a meter charges.
const PAYLOAD: usize = 972;
const COUNT: usize = 30;

/// A bucket for all that is sent to one device; what comes back within half a minute is less than the rest.
const RULE: &str = "[[rule]]\nname = \"limit\"\non = \"lan*:egress\"\nmatch = { dst-port = 7301 }\n\
    meter = { type = \"srtcm\", cir = \"8kbit\", cbs = \"31kB\", ebs = \"0B\" }\n\
    green = \"AF41\"\nyellow = \"AF42\"\nred = \"AF43\"\n";

/// Green and red packets of a hook.
fn colors(router: &Router, hook: &str) -> anyhow::Result<[u64; 2]> {
    let document = router.ok(&format!("stats {hook} --json"))?.json()?;
    let meter = &document["hooks"][0]["meters"][0];
    let of = |color: &str| meter[color]["packets"].as_u64().with_context(|| format!("{color}: {document:#}"));
    Ok([of("green")?, of("red")?])
}

fn send(router: &Router, network: u8) -> anyhow::Result<()> {
    let at = |host: u8, port: u16| SocketAddr::from(([10, 73, network, host], port));
    udp::send_long(router.edge(), at(1, 0), at(2, 7301), 0, COUNT, PAYLOAD)
}

#[test]
fn each_interface_of_a_glob_has_a_bucket_of_its_own() -> anyhow::Result<()> {
    let router = Router::start()?;
    for network in [1, 2] {
        for line in [
            format!("ip link add lan{network} type veth peer name far{network}"),
            format!("ip addr add 10.73.{network}.1/24 dev lan{network}"),
            format!("ip link set lan{network} up"),
            format!("ip link set far{network} up"),
            format!("ip neigh add 10.73.{network}.2 lladdr 02:00:00:00:09:0{network} dev lan{network}"),
        ] {
            run_in(router.edge(), &line)?;
        }
        router.ok(&format!("attach lan{network} --egress"))?;
    }
    router.ok(&format!("policy apply {}", router.policy("globs", RULE)?))?;
    send(&router, 1)?;
    assert_eq!(colors(&router, "lan1:egress")?, [COUNT as u64, 0]);
    assert_eq!(colors(&router, "lan2:egress")?, [0, 0]);
    send(&router, 2)?;
    assert_eq!(colors(&router, "lan2:egress")?, [COUNT as u64, 0], "lan1 has not emptied its bucket");
    send(&router, 1)?;
    let [green, red] = colors(&router, "lan1:egress")?;
    assert!(red > 0 && green + red == 2 * COUNT as u64, "green {green}, red {red}: its own was nearly empty");
    assert_eq!(colors(&router, "lan2:egress")?, [COUNT as u64, 0]);
    Ok(())
}
