//! `doctor` and `why` on what a kernel has as modules: VLAN devices, bonds, CAKE, flowtables of nft. A kernel without them
//! leaves these tests out, and says so; guests have them (`cargo xtask vm`).

use std::{env, fs, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, ensure};
use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    binary::Answer,
    features::{Feature, left_out},
    router::{Router, run_in},
    typed::{find, findings, has, type_in},
    udp,
};

const EF: u8 = 46 << 2;
const FROM: u16 = 7310;
const TO: u16 = 7311;

/// Whatever else a guest lacks, such as iptables, is told beside it.
fn doctor(router: &Router) -> anyhow::Result<Answer> {
    router.ask("doctor --sample 0 --json")
}

/// Runs lines in the router; whether the kernel has what they need, else it has been said.
fn made(router: &Router, what: &str, lines: &[&str]) -> anyhow::Result<bool> {
    // Never what is also said of a name that is not there: a typo would leave the test out.
    const LACKS: [&str; 5] = [
        "Unknown device type",
        "Specified qdisc kind is unknown",
        "Operation not supported",
        "TC classifier not found",
        "Failed to load TC action module",
    ];
    for line in lines {
        if let Err(error) = run_in(router.edge(), line) {
            let text = format!("{error:#}");
            // A tool that is not there is no kernel's fault.
            ensure!(LACKS.iter().any(|lack| text.contains(lack)) && !text.contains("os error"), "{line}: {text}");
            left_out(what, &format!("this kernel does not take `{line}`"));
            return Ok(false);
        }
    }
    Ok(true)
}

/// Two devices of which one is on top: both attached, that is told, and the cure ends it.
fn counted_twice(router: &Router, upper: &str, lower: &str, said: &str) -> anyhow::Result<()> {
    router.ok(&format!("attach {lower} --egress"))?;
    ensure!(!has(&doctor(router)?, "counted-twice")?, "one hook counts once");
    router.ok(&format!("attach {upper} --egress"))?;
    let found = find(&doctor(router)?, upper, "counted-twice")?;
    ensure!(found["text"].as_str().is_some_and(|text| text.contains(said)), "{found:#}");
    let asked = find(&router.ask(&format!("why {upper}:egress --sample 0 --json"))?, upper, "counted-twice")?;
    ensure!(asked["text"] == found["text"], "{asked:#}");
    type_in(&found, None)?;
    ensure!(!has(&doctor(router)?, "counted-twice")?, "the cure has not helped");
    Ok(())
}

#[test]
fn a_vlan_and_its_parent() -> anyhow::Result<()> {
    let router = Router::start()?;
    if !made(&router, "doctor on a VLAN device", &["ip link add link wan0 name wan0.7 type vlan id 7"])? {
        return Ok(());
    }
    counted_twice(&router, "wan0.7", "wan0", "wan0.7 is a VLAN of wan0")
}

#[test]
fn a_bond_and_its_member() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "ip link add b0 type veth peer name b1")?;
    if !made(&router, "doctor on a bond", &["ip link add bond0 type bond", "ip link set b0 master bond0"])? {
        return Ok(());
    }
    counted_twice(&router, "bond0", "b0", "bond0 is the bond of b0")
}

fn lan(port: u16) -> SocketAddr {
    SocketAddr::new(LAN_HOST.v4.into(), port)
}

fn wan(port: u16) -> SocketAddr {
    SocketAddr::new(WAN_HOST.v4.into(), port)
}

/// The DS byte with which an EF datagram from the LAN arrives on the WAN.
fn arrives_as(router: &Router) -> anyhow::Result<u8> {
    let listener = udp::Listener::bind(router.lab().wan(), wan(TO))?;
    udp::send(router.lab().lan(), lan(0), wan(TO), EF, 1)?;
    listener.receive()
}

#[test]
fn cake_that_washes() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0 --egress")?;
    let cake = "tc qdisc replace dev wan0 root cake bandwidth 100mbit besteffort wash";
    if !made(&router, "doctor on CAKE that washes", &[cake])? {
        return Ok(());
    }
    ensure!(arrives_as(&router)? == 0, "CAKE has not washed");
    let found = find(&doctor(&router)?, "wan0", "wash")?;
    let asked = find(&router.ask("why wan0:egress EF --sample 0 --json")?, "wan0", "wash")?;
    ensure!(asked["text"] == found["text"], "{asked:#}");
    type_in(&found, None)?;
    ensure!(!has(&doctor(&router)?, "wash")?, "the cure has not helped");
    ensure!(arrives_as(&router)? == EF, "the cure has not helped");
    Ok(())
}

/// The real tc, but that it says `ctinfo` of what mirrors: an action that this kernel may not have.
fn tc_that_says_ctinfo(folder: &Path) -> anyhow::Result<()> {
    let path = format!("{}:/usr/sbin:/sbin", env::var("PATH")?);
    let tc = env::split_paths(&path).map(|part| part.join("tc")).find(|tc| tc.exists()).context("tc")?;
    let tc = tc.display();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n\"-j filter show \"*) {tc} \"$@\" | \
         sed 's/\"kind\":\"mirred\"/\"kind\":\"ctinfo\",\"dscp\":\"0xfc000000\"/g' ;;\n*) exec {tc} \"$@\" ;;\nesac\n"
    );
    let wrapper = folder.join("tc");
    fs::write(&wrapper, script)?;
    Ok(fs::set_permissions(wrapper, fs::Permissions::from_mode(0o755))?)
}

/// Where filters can be: the list of `ingress`, a classful qdisc, a class of it, the list of clsact; and a priority and
/// chain. Filters of u32 of one priority are listed at each class of a qdisc, wherever they are.
const PLACES: [(&str, &str, &str); 4] = [
    ("lan0", "ingress", "pref 5 chain 3"),
    ("wan0", "parent 1:", "pref 5"),
    ("wan0", "parent 1:1", "pref 6"),
    ("wan0", "egress", "pref 7"),
];

/// At each place one filter that rewrites, and beside it one of the same priority that does not.
#[test]
fn filters_of_tc_are_found_at_every_place_and_their_neighbours_stay() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress")?;
    router.ok("attach wan0 --egress")?;
    let mut lines = vec![
        "tc qdisc add dev lan0 ingress".to_owned(),
        // There already, where the program is attached by clsact.
        "tc qdisc replace dev wan0 clsact".to_owned(),
        "tc qdisc add dev wan0 root handle 1: htb default 10".to_owned(),
        "tc class add dev wan0 parent 1: classid 1:1 htb rate 100mbit quantum 1514".to_owned(),
        "tc class add dev wan0 parent 1:1 classid 1:10 htb rate 100mbit quantum 1514".to_owned(),
    ];
    for (device, place, which) in PLACES {
        for does in ["action mirred egress mirror dev lo", "flowid 1:10"] {
            let matches = "u32 match ip dsfield 0xb8 0xfc";
            lines.push(format!("tc filter add dev {device} {place} protocol ip {which} {matches} {does}"));
        }
    }
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    if !made(&router, "doctor on filters of tc", &lines)? {
        return Ok(());
    }
    let tools = tempfile::tempdir()?;
    tc_that_says_ctinfo(tools.path())?;
    let ask = |line: &str| {
        let path = format!("{}:{}", tools.path().display(), env::var("PATH")?);
        Answer::of(router.command(line)?.env("PATH", path))
    };
    let rewriting = || {
        let found = findings(&ask("doctor --sample 0 --json")?)?;
        Ok::<_, anyhow::Error>(found.into_iter().filter(|found| found["code"] == "tc-rewrites").collect::<Vec<_>>())
    };
    let found = rewriting()?;
    ensure!(found.len() == PLACES.len(), "{found:#?}");
    find(&ask("why wan0:egress --sample 0 --json")?, "wan0", "tc-rewrites")?;
    for finding in &found {
        type_in(finding, Some(tools.path()))?;
    }
    ensure!(rewriting()?.is_empty(), "the cures have not helped");
    let left = |(device, place, _)| {
        let said = run_in(router.edge(), &format!("tc filter show dev {device} {place}"))?.stdout;
        Ok::<_, anyhow::Error>(said.matches("flowid 1:10").count())
    };
    let left = PLACES.into_iter().map(left).collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(left == [1; 4], "neighbours went too: {left:?}");
    Ok(())
}

/// What a filter of flower may do with EF at the LAN device, behind the hook there, and what doctor calls it.
const TAKEN: [(&str, &str); 3] = [
    ("drop", "tc-takes"),
    ("police rate 8kbit burst 1600 conform-exceed drop", "tc-takes"),
    ("pedit ex munge ip dsfield set 0x0 retain 0xfc", "tc-rewrites"),
];

#[test]
fn filters_of_flower_are_found_and_suspected() -> anyhow::Result<()> {
    for (action, code) in TAKEN {
        let router = Router::start()?;
        router.ok("attach lan0 --ingress --hook xdp")?;
        router.ok("attach wan0 --egress")?;
        let filter = "tc filter add dev lan0 ingress protocol ip pref 5 flower ip_tos 0xb8/0xfc action";
        let lines = ["tc qdisc add dev lan0 ingress".to_owned(), format!("{filter} {action}")];
        let lines = lines.each_ref().map(String::as_str);
        if !made(&router, &format!("doctor on a filter of flower that does `{action}`"), &lines)? {
            continue;
        }
        // More than the bucket of the policer holds.
        udp::send(router.lab().lan(), lan(FROM), wan(TO), EF, 200)?;
        let found = find(&doctor(&router)?, "lan0", code)?;
        let asked = router.ask("why wan0:egress EF --sample 0 --json")?;
        let lost = find(&asked, "wan0:egress", "lost-inside")?;
        let mut suspects = lost["details"].as_array().into_iter().flatten().filter_map(|detail| detail.as_str());
        ensure!(suspects.any(|suspect| suspect.contains("flower protocol ip pref 5")), "{action}: {lost:#}");
        type_in(&found, None)?;
        ensure!(!has(&doctor(&router)?, code)?, "{action}: the cure has not helped");
    }
    Ok(())
}

/// Both ways so often: the kernel moves a flow into the flowtable once it has seen an answer.
const ROUNDS: usize = 20;

/// A flow in a flowtable passes our hooks, and not the rules of nft behind them.
#[test]
fn a_flowtable_that_takes_flows() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress")?;
    router.ok("attach wan0 --egress")?;
    let lines = [
        "nft add table inet fw",
        "nft add flowtable inet fw ft { hook ingress priority 0 ; devices = { lan0, wan0 } ; }",
        "nft add chain inet fw through { type filter hook forward priority 0 ; }",
        "nft add rule inet fw through udp dport 7311 counter",
        "nft add rule inet fw through ip protocol udp flow add @ft",
    ];
    if Feature::Flowtable.leaves_out("doctor on a flowtable of nft")? {
        return Ok(());
    }
    for line in lines {
        run_in(router.edge(), line)?;
    }
    for _ in 0..ROUNDS {
        udp::send(router.lab().lan(), lan(FROM), wan(TO), EF, 1)?;
        udp::send(router.lab().wan(), wan(TO), lan(FROM), 0, 1)?;
    }
    let counter = run_in(router.edge(), "nft list chain inet fw through")?.stdout;
    let words: Vec<_> = counter.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "packets").context("a counter")?;
    let passed: usize = words.get(at + 1).context("packets")?.parse()?;
    ensure!(passed < ROUNDS, "no flow was moved into the flowtable: {counter}");
    for hook in ["lan0:ingress", "wan0:egress"] {
        let counted = router.counted(hook)?.packets();
        ensure!(counted.get(&EF) == Some(&(ROUNDS as u64)), "{hook} sees every packet of the flow: {counted:?}");
    }
    let found = find(&doctor(&router)?, "wan0", "flowtable")?;
    ensure!(found["text"].as_str().is_some_and(|text| text.contains("flowtable inet fw ft")), "{found:#}");
    find(&router.ask("why wan0:egress EF --sample 0 --json")?, "wan0", "flowtable")?;
    type_in(&found, None)?;
    ensure!(!has(&doctor(&router)?, "flowtable")?, "the cure has not helped");
    Ok(())
}
