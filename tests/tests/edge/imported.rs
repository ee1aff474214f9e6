//! What iptables and nft make of packets, and what the policy makes of them that is imported from the same rules.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
};

use anyhow::Context as _;
use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    binary::Answer,
    router::{run_in, words},
    tcp, udp,
    wire::Tcpdump,
};

use crate::masquerade::{Masquerade, ds};

const IPTABLES: &str = include_str!("../../../qos-user/src/policy/import/tests/data/edge.rules");
const IP6TABLES: &str = include_str!("../../../qos-user/src/policy/import/tests/data/edge.rules6");
const NFT: &str = include_str!("../../../qos-user/src/policy/import/tests/data/edge.nft");

/// The DS byte with which each packet arrives, by its source port.
type Arrived = BTreeMap<u16, String>;

/// A packet from the LAN to the WAN.
#[derive(Clone, Copy, Debug)]
struct Sent {
    tcp: bool,
    v6: bool,
    port: u16,
    ds: u8,
    /// Tells it from the others, where masquerade keeps it.
    source: u16,
}

/// Ports on both sides of every edge in the samples, with codepoints that their rules ask for, and with ECN.
fn packets() -> Vec<Sent> {
    let udp = [52, 53, 123, 3074, 3478, 5059, 5060, 5061, 5062, 16383, 16384, 32767].map(|port| (false, port));
    let tcp = [22, 23, 80, 443, 6880, 6881, 6889, 6890].map(|port| (true, port));
    let mut packets = Vec::new();
    for (tcp, port) in udp.into_iter().chain(tcp) {
        for ds in [0, 0x20, 0xa0, 0xb8, 0xc0, 0xb9] {
            // A TCP socket keeps ECN to itself.
            for v6 in [false, true].into_iter().filter(|_| !tcp || ds & 3 == 0) {
                packets.push(Sent { tcp, v6, port, ds, source: 0 });
            }
        }
    }
    packets.iter_mut().zip(40_000..).for_each(|(packet, source)| packet.source = source);
    packets
}

/// Sends all of them through the router.
fn arrive(lab: &Masquerade) -> anyhow::Result<Arrived> {
    let packets = packets();
    let filter = "(udp or tcp) and src portrange 40000-40999";
    let wire = Tcpdump::start(lab.router.lab().wan(), "eth0", u32::try_from(packets.len())?, filter)?;
    for Sent { tcp, v6, port, ds, source } in &packets {
        let ends: [IpAddr; 2] =
            if *v6 { [LAN_HOST.v6.into(), WAN_HOST.v6.into()] } else { [LAN_HOST.v4.into(), WAN_HOST.v4.into()] };
        let (from, to) = (SocketAddr::new(ends[0], *source), SocketAddr::new(ends[1], *port));
        match tcp {
            true => tcp::syn(lab.router.lab().lan(), from, to, *ds)?,
            false => udp::send(lab.router.lab().lan(), from, to, *ds, 1)?,
        }
    }
    let lines = wire.packets()?;
    let arrived = lines.iter().map(|line| Ok((source(line)?, ds(line)))).collect::<anyhow::Result<Arrived>>()?;
    anyhow::ensure!(arrived.len() == packets.len(), "{} of {} arrived", arrived.len(), packets.len());
    Ok(arrived)
}

/// `40000` of `... 198.51.100.1.40000 > 198.51.100.2.53: ...`
fn source(line: &str) -> anyhow::Result<u16> {
    let before = line.split_once(" > ").map(|(before, _)| before);
    let port = before.and_then(|before| before.rsplit('.').next());
    port.and_then(|port| port.parse().ok()).with_context(|| format!("no source port in {line}"))
}

/// With the policy that comes of these files.
fn by_policy(files: &[(&str, &str)]) -> anyhow::Result<Arrived> {
    let lab = Masquerade::start()?;
    let mut line = "policy import".to_owned();
    for (name, text) in files {
        let path = lab.router.folder().join(name);
        fs::write(&path, text)?;
        line += &format!(" {}", path.display());
    }
    let policy = lab.router.folder().join("imported.toml");
    fs::write(&policy, lab.router.ask(&line)?.expect(3)?.stdout)?;
    lab.router.ok("attach lan0 --ingress")?;
    lab.router.ok("attach ppp0")?;
    lab.router.ok(&format!("policy apply {}", policy.display()))?;
    arrive(&lab)
}

fn feed(lab: &Masquerade, tool: &str, text: &str) -> anyhow::Result<()> {
    lab.router.edge().run(|| Answer::with_input(&mut words(tool), text.as_bytes())?.expect(0)).map(drop)
}

/// Every packet arrives the same, and many of them not as they were sent.
fn agree(tool: &Arrived, policy: &Arrived, fewest_changed: usize) {
    let sent = packets();
    let changed = sent.iter().filter(|packet| tool[&packet.source] != format!("{:#x}", packet.ds)).count();
    assert!(changed >= fewest_changed, "only {changed} packets were marked: this says little");
    let differ = sent.iter().filter(|packet| tool[&packet.source] != policy[&packet.source]);
    let differ = differ.map(|packet| format!("{packet:?}: {} / {}", tool[&packet.source], policy[&packet.source]));
    assert_eq!(differ.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_policy_from_iptables_marks_as_iptables_does() -> anyhow::Result<()> {
    let lab = Masquerade::start()?;
    feed(&lab, "iptables-restore", IPTABLES)?;
    feed(&lab, "ip6tables-restore", IP6TABLES)?;
    let tool = arrive(&lab)?;
    agree(&tool, &by_policy(&[("edge.rules", IPTABLES), ("edge.rules6", IP6TABLES)])?, 30);
    Ok(())
}

#[test]
fn a_policy_from_nft_marks_as_nft_does() -> anyhow::Result<()> {
    let lab = Masquerade::start()?;
    // What is not carried over is not asked of nft either: to it, each of these packets begins a connection.
    let document = {
        let mut command = lab.router.command("policy import - --json")?;
        Answer::with_input(&mut command, NFT.as_bytes())?.expect(3)?.json()?
    };
    let left = document["left"].as_array().into_iter().flatten().filter_map(|left| left["line"].as_u64());
    let left = left.collect::<Vec<_>>();
    let kept = (1..).zip(NFT.lines()).filter(|(number, _)| !left.contains(number)).map(|(_, line)| line);
    feed(&lab, "nft -f -", &kept.collect::<Vec<_>>().join("\n"))?;
    let tool = arrive(&lab)?;
    agree(&tool, &by_policy(&[("edge.nft", NFT)])?, 30);
    Ok(())
}

/// The samples are texts as the tools take them, not only as we read them.
#[test]
fn the_tools_themselves_read_the_samples() -> anyhow::Result<()> {
    let lab = Masquerade::start()?;
    feed(&lab, "iptables-restore -t", IPTABLES)?;
    feed(&lab, "ip6tables-restore -t", IP6TABLES)?;
    feed(&lab, "nft -c -f -", NFT)?;
    // And what they print of them is read as well.
    feed(&lab, "iptables-restore", IPTABLES)?;
    feed(&lab, "nft -f -", NFT)?;
    for (tool, wanted) in [("iptables-save -t mangle", 3), ("nft list table inet mangle", 2)] {
        let printed = run_in(lab.router.edge(), tool)?.stdout;
        let mut command = lab.router.command("policy import - --json")?;
        let document = Answer::with_input(&mut command, printed.as_bytes())?.expect(3)?.json()?;
        let left = document["left"].as_array().context("left")?.len();
        assert_eq!(left, wanted, "{printed}\n{:#}", document["left"]);
    }
    Ok(())
}
