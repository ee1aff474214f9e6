//! 20 MB of TCP: a super-packet counts as its segments, so TC at one end counts what native XDP counts at the other.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::sys::socket::{setsockopt, sockopt::RcvBuf};
use qosbpf::lab::topology::{EDGE_LAN, LAN_HOST};
use qosbpf_tests::{
    counted::Counted,
    mib,
    router::{Router, run_in},
};

const BYTES: usize = 20_000_000;
const PORT: u16 = 5001;
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn tc_and_native_xdp_count_the_same_packets_and_bytes() -> anyhow::Result<()> {
    let router = Router::start()?;
    let (lan, edge) = (router.lab().lan(), router.edge());
    // The lab has no offloads; here super-packets are wanted.
    for (namespace, device) in [(lan, LAN_HOST.device), (edge, EDGE_LAN.device)] {
        run_in(namespace, &format!("ethtool -K {device} tx on sg on gso on tso on"))?;
    }
    let host = |line: &str| qosbpf_tests::binary::Answer::of(&mut router.command_in(lan, line)?)?.expect(0);
    host("attach eth0")?;
    router.ok("attach lan0")?;
    router.ok("status")?.says(&["xdp-native", "tcx"])?;
    // Super-packets are one each.
    let earlier = mib::ipv4(lan, "OutRequests")?;
    transfer(&router)?;
    let handed_down = mib::ipv4(lan, "OutRequests")? - earlier;
    assert!(handed_down < BYTES / 1500 / 2, "{handed_down} packets: hardly a super-packet, this test tests nothing");

    let start = Instant::now();
    loop {
        let document = host("stats --json")?.json()?;
        let [sent, heard] = ["eth0:egress", "eth0:ingress"].map(|hook| Counted::read(&document, hook));
        let (sent, heard) = (sent?, heard?);
        let (arrived, answered) = (router.counted("lan0:ingress")?, router.counted("lan0:egress")?);
        let same = (&sent.before, &answered.before) == (&arrived.before, &heard.before);
        if same {
            let [packets, bytes] = sent.frames();
            assert!(bytes > BYTES as u64 && packets > BYTES as u64 / 1500, "{sent:?}");
            assert!(answered.frames()[0] > 0);
            return Ok(());
        }
        assert!(start.elapsed() < PATIENCE, "data {sent:?}\n  -> {arrived:?}\nACKs {answered:?}\n  -> {heard:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// RFC 791's length is that of one packet, and on the cable a super-packet is many: a rule sees the length of each segment.
#[test]
fn a_rule_asks_for_the_length_of_each_segment() -> anyhow::Result<()> {
    let router = Router::start()?;
    let (lan, edge) = (router.lab().lan(), router.edge());
    for (namespace, device) in [(lan, LAN_HOST.device), (edge, EDGE_LAN.device)] {
        run_in(namespace, &format!("ethtool -K {device} tx on sg on gso on tso on"))?;
    }
    let rules = |hook: &str| {
        let rule = |name: &str, length: &str, mark: &str| {
            format!("[[rule]]\nname = \"{name}\"\non = \"{hook}\"\nmatch = {{ length = {length} }}\nset = \"{mark}\"\n")
        };
        rule("longer than the link", "\"1501-65535\"", "CS1") + &rule("full", "1500", "AF41")
    };
    let (sender, receiver) =
        (router.policy("sender", &rules("eth0:egress"))?, router.policy("receiver", &rules("lan0:ingress"))?);
    let host = |line: &str| qosbpf_tests::binary::Answer::of(&mut router.command_in(lan, line)?)?.expect(0);
    host(&format!("attach eth0 --egress --hook tcx --policy {sender}"))?;
    router.ok(&format!("attach lan0 --ingress --hook tcx --policy {receiver}"))?;
    transfer(&router)?;
    for document in [host("stats eth0:egress --json")?.json()?, router.ok("stats lan0:ingress --json")?.json()?] {
        let hook = &document["hooks"][0];
        let rules: Vec<_> = hook["rules"].as_array().context("rules")?.iter().map(|rule| &rule["packets"]).collect();
        let (full, device) = (rules[1].as_u64().context("packets")?, &hook["device"]["packets"]);
        assert_eq!(rules[0], 0, "a super-packet is no longer than its segments: {hook:#}");
        assert!(full > BYTES as u64 / 1500, "{hook:#}");
        let device = device.as_u64().context("device")?;
        assert!(device < full / 2, "{device} packets of the device: hardly a super-packet, this test tests nothing");
    }
    Ok(())
}

/// What may be under way at once. A veth device with native XDP holds 256 packets for a CPU that is busy, and drops the next;
/// a window of less than that loses none, however late the other end comes to run.
const WINDOW: usize = 64 * 1024;

fn listen() -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    setsockopt(&listener, RcvBuf, &WINDOW)?;
    Ok(listener)
}

fn transfer(router: &Router) -> anyhow::Result<()> {
    let listener = router.edge().run(listen)?;
    let sink = thread::spawn(move || -> std::io::Result<u64> {
        let (mut stream, _) = listener.accept()?;
        std::io::copy(&mut stream, &mut std::io::sink())
    });
    router.lab().lan().run(|| {
        let mut stream = TcpStream::connect((EDGE_LAN.v4, PORT))?;
        for _ in 0..BYTES / 100_000 {
            stream.write_all(&[7; 100_000])?;
        }
        stream.shutdown(std::net::Shutdown::Write)?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    })?;
    assert_eq!(sink.join().unwrap()?, BYTES as u64);
    Ok(())
}
