//! Programs of others behind our hooks: what they take or change is not on the wire as we have counted it.

use std::{net::SocketAddr, os::fd::AsFd as _, path::PathBuf};

use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType,
    tc::{SchedClassifierLinkId, TcAttachOptions},
};
use aya_obj::generated::bpf_insn;
use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    binary::Answer,
    bpf::{Kind, instruction, load_classifier, load_constant, pin},
    features::Feature,
    router::{Router, run_in},
    typed::{find, findings, has},
    udp,
};
use serde_json::Value;

const TC_ACT_UNSPEC: i32 = -1;
const TC_ACT_SHOT: i32 = 2;

/// As it is attached; it goes with this.
type Attached = (SchedClassifier, SchedClassifierLinkId);

/// A router that counts where packets come in from the LAN and where they leave.
fn router(by: &str) -> anyhow::Result<Router> {
    let router = Router::start()?;
    router.ok(&format!("attach lan0 --ingress --hook {by}"))?;
    router.ok(&format!("attach wan0 --egress --hook {by}"))?;
    Ok(router)
}

/// A program that returns a verdict, pinned.
fn constant(router: &Router, verdict: i32) -> anyhow::Result<PathBuf> {
    let path = router.bpffs.join("stranger");
    pin(load_constant(Kind::Classifier, c"stranger", verdict)?.as_fd(), &path)?;
    Ok(path)
}

/// Behind all that is in the list of TCX.
fn tcx(router: &Router, path: &PathBuf, interface: &str, side: TcAttachType) -> anyhow::Result<Attached> {
    router.edge().run(|| {
        let mut program = SchedClassifier::from_pin(path)?;
        let link = program.attach_with_options(interface, side, TcAttachOptions::TcxOrder(LinkOrder::last()))?;
        Ok((program, link))
    })
}

fn send(router: &Router, ipv6: bool, count: usize) -> anyhow::Result<()> {
    let [from, to] = match ipv6 {
        true => [LAN_HOST.v6, WAN_HOST.v6].map(|address| SocketAddr::new(address.into(), 5060)),
        false => [LAN_HOST.v4, WAN_HOST.v4].map(|address| SocketAddr::new(address.into(), 5060)),
    };
    udp::send(router.lab().lan(), from, to, 184, count)
}

fn why(router: &Router, what: &str) -> anyhow::Result<Answer> {
    router.ask(&format!("why {what} --sample 0 --json"))
}

/// The id in the command that shows more of a program; it is no cure, and advice where there is no such tool.
fn shown(found: &Value) -> &str {
    let command = found["look"].as_str().or(found["advice"].as_str()).unwrap_or_default();
    command.split_once("bpftool prog show id ").map_or("", |(_, id)| id)
}

/// The id of the stranger, as the only suspect.
fn suspected(found: &Value, place: &str) -> anyhow::Result<()> {
    let (detail, id) = (found["details"][0].as_str().unwrap_or_default(), shown(found));
    let words = format!("suspect 1: program {id} \"stranger\" at {place}");
    anyhow::ensure!(!id.is_empty() && detail == words && found["level"] == "fail", "{words}: {found:#}");
    Ok(())
}

#[test]
fn one_that_drops_behind_egress_is_suspected_by_what_the_device_did_not_get() -> anyhow::Result<()> {
    if !Feature::Tcx.is_here()? {
        return Ok(());
    }
    let router = router("auto")?;
    let stranger = tcx(&router, &constant(&router, TC_ACT_SHOT)?, "wan0", TcAttachType::Egress)?;
    send(&router, false, 40)?;
    for asked in ["wan0:egress", "wan0:egress EF"] {
        let lost = find(&why(&router, asked)?.expect(3)?, "wan0:egress", "lost-behind")?;
        assert!(lost["text"].as_str().is_some_and(|text| text.contains("did not come to the device")), "{lost:#}");
        suspected(&lost, "wan0 egress")?;
    }
    drop(stranger);
    send(&router, false, 400)?;
    assert!(!has(&why(&router, "wan0:egress EF")?.expect(0)?, "program-behind")?);
    Ok(())
}

#[test]
fn a_filter_of_clsact_behind_ours_is_suspected_of_what_is_lost_behind_it() -> anyhow::Result<()> {
    let router = router("clsact")?;
    let path = constant(&router, TC_ACT_SHOT)?;
    let path = path.display();
    run_in(router.edge(), &format!("tc filter add dev lan0 ingress bpf da object-pinned {path}"))?;
    send(&router, false, 40)?;
    for asked in ["wan0:egress", "wan0:egress EF", "lan0:ingress", "lan0:ingress EF"] {
        let answer = why(&router, asked)?.expect(3)?;
        let hook = asked.split(' ').next().unwrap_or_default();
        suspected(&find(&answer, hook, "lost-inside")?, "lan0 ingress")?;
    }
    run_in(router.edge(), "tc filter del dev lan0 ingress pref 49152")?;
    run_in(router.edge(), &format!("tc filter add dev wan0 egress bpf da object-pinned {path}"))?;
    send(&router, false, 400)?;
    suspected(&find(&why(&router, "wan0:egress EF")?.expect(3)?, "wan0:egress", "lost-behind")?, "wan0 egress")
}

/// What it does to what is not lost, nobody can tell.
#[test]
fn one_that_is_behind_and_takes_nothing_is_named_and_no_fault() -> anyhow::Result<()> {
    if !Feature::Tcx.is_here()? {
        return Ok(());
    }
    let router = router("auto")?;
    let path = constant(&router, TC_ACT_UNSPEC)?;
    let _strangers = [("wan0", TcAttachType::Egress), ("lan0", TcAttachType::Ingress)]
        .map(|(interface, side)| tcx(&router, &path, interface, side));
    send(&router, false, 40)?;
    for asked in ["wan0:egress EF", "wan0:egress", "lan0:ingress EF", "lan0:ingress"] {
        let answer = why(&router, asked)?.expect(0)?;
        let hook = asked.split(' ').next().unwrap_or_default();
        let named = find(&answer, hook, "program-behind")?;
        assert!(named["text"].as_str().is_some_and(|text| text.contains("\"stranger\" is behind us")), "{named:#}");
        assert!(named["cure"].is_null() && shown(&named).parse::<u32>().is_ok(), "{named:#}");
        let told = findings(&answer)?.iter().filter(|found| found.to_string().contains("stranger")).count();
        assert_eq!(told, 1, "{}", answer.stdout);
    }
    Ok(())
}

/// Clears the traffic class and the first bits of the flow label of IPv6.
fn washer() -> Vec<bpf_insn> {
    const IPV6: i32 = 0xdd86;
    const PROTOCOL: i16 = 16;
    const STORE_BYTES: i32 = 9;
    vec![
        instruction(0x61, [2, 1], PROTOCOL, 0),      // r2 = context.protocol
        instruction(0x55, [2, 0], 7, IPV6),          // if r2 != IPV6: to the end
        instruction(0x6a, [10, 0], -2, 0x60),        // *(u16 *)(r10 - 2) = 60 00
        instruction(0xb7, [2, 0], 0, 14),            // r2 = behind the Ethernet header
        instruction(0xbf, [3, 10], 0, 0),            // r3 = r10
        instruction(0x07, [3, 0], 0, -2),            // r3 -= 2
        instruction(0xb7, [4, 0], 0, 2),             // r4 = two bytes
        instruction(0xb7, [5, 0], 0, 0),             // r5 = no flags
        instruction(0x85, [0, 0], 0, STORE_BYTES),   // skb_store_bytes(r1, r2, r3, r4, r5)
        instruction(0xb7, [0, 0], 0, TC_ACT_UNSPEC), // r0 = TC_ACT_UNSPEC
        instruction(0x95, [0, 0], 0, 0),             // exit
    ]
}

#[test]
fn one_that_clears_marks_behind_ingress_is_suspected_of_them() -> anyhow::Result<()> {
    let router = router("clsact")?;
    let path = router.bpffs.join("stranger");
    pin(load_classifier(c"stranger", &washer())?.as_fd(), &path)?;
    run_in(router.edge(), &format!("tc filter add dev lan0 ingress bpf da object-pinned {}", path.display()))?;
    send(&router, true, 40)?;
    let counted = router.counted("wan0:egress")?.packets();
    assert!(counted.get(&0) >= Some(&40) && !counted.contains_key(&184), "{counted:?}");
    for asked in ["wan0:egress EF", "lan0:ingress"] {
        let hook = asked.split(' ').next().unwrap_or_default();
        suspected(&find(&why(&router, asked)?.expect(3)?, hook, "lost-inside")?, "lan0 ingress")?;
    }
    Ok(())
}
