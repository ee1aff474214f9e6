//! What somebody else has taken away, put back by the command that `doctor` prints.

use std::os::fd::AsFd as _;

use anyhow::Context as _;
use qosbpf::{
    kernel::{document, state::HookState, sys},
    lab::namespace::Namespace,
};
use qosbpf_tests::{
    bpf::{Kind, link_xdp, load_constant},
    features::Feature,
    router::{Router, run_in, spawn_in, wait_until_up, words},
    typed::{find, findings, has, shell, type_in},
};

#[test]
fn a_program_that_somebody_removed_is_attached_again_with_its_counters() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0 --egress")?;
    router.ping(false, 184, 10)?;
    let status = router.ok("status --json")?.json()?;
    let link = status["hooks"][0]["link_id"].as_u64().context("a link")?;
    sys::detach_link(sys::link_by_id(link.try_into()?)?.as_fd())?;
    let answer = router.ask("doctor --sample 0 --json")?.expect(3)?;
    type_in(&find(&answer, "wan0", "program-removed")?, None)?;
    assert!(!has(&router.ask("doctor --sample 0 --json")?.expect(0)?, "program-removed")?);
    router.ping(false, 184, 10)?;
    let counted = router.counted("wan0:egress")?;
    assert_eq!(counted.packets().get(&184), Some(&20), "what it had counted is kept");
    router.ask("stats wan0:ingress")?.expect(1)?;
    Ok(())
}

#[test]
fn a_bpf_file_system_that_can_only_be_read_is_made_writable() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --egress")?;
    assert_eq!(shell(&format!("mount -o remount,ro {}", router.bpffs.display()), None)?.code, 0);
    let answer = router.ask("doctor --sample 0 --json");
    let found = answer.and_then(|answer| find(&answer.expect(3)?, "host", "bpffs-read-only"));
    let refused = router.ask("attach wan0 --egress")?;
    let typed = found.and_then(|found| type_in(&found, None));
    if typed.is_err() {
        shell(&format!("mount -o remount,rw {}", router.bpffs.display()), None)?;
    }
    typed?;
    refused.expect(1)?;
    assert!(!has(&router.ask("doctor --sample 0 --json")?.expect(0)?, "bpffs-read-only")?);
    router.ok("attach wan0 --egress").map(drop)
}

/// `ip netns exec` has a /sys of its own, in which nothing is mounted. What it is called with there tells that, and so what it is
/// to be called with elsewhere.
#[test]
fn where_a_bpf_file_system_is_hidden_the_advice_works_outside() -> anyhow::Result<()> {
    let router = Router::start()?;
    let name = router.edge().name();
    let ask = "--bpffs /sys/fs/bpf doctor --sample 0 --json";
    let hidden = shell(&format!("ip netns exec {name} qosbpf {ask}"), None)?.expect(3)?;
    let found = find(&hidden, "host", "bpffs-hidden")?;
    let advice = found["advice"].as_str().context("advice")?;
    let (outside, with) = advice.split_once(", with ").context("what to call it with")?;
    assert!(found["cure"].is_null() && outside == "run it outside of `ip netns exec`", "{found:#}");
    assert!(!has(&shell(&format!("qosbpf {} {ask}", with.replace("NAME", name)), None)?, "bpffs-hidden")?);
    Ok(())
}

/// A veth takes no tag off: its peer hands it over beside the packet, where XDP does not see it.
#[test]
fn tags_from_a_veth_are_seen_at_xdp_after_the_advice() -> anyhow::Result<()> {
    if Feature::Vlan.leaves_out("tags at XDP")? {
        return Ok(());
    }
    let router = Router::start()?;
    let (edge, lan) = (router.edge(), router.lab().lan());
    for (namespace, device, address) in [(edge, "lan0", 1), (lan, "eth0", 2)] {
        run_in(namespace, &format!("ip link add link {device} name tagged type vlan id 5"))?;
        run_in(namespace, "ip link set tagged up")?;
        run_in(namespace, &format!("ip address add 203.0.113.{address}/24 dev tagged"))?;
    }
    let policy = router
        .policy("p", "[[rule]]\nname = \"tagged\"\non = \"lan0:ingress\"\nmatch = { vlan = 5 }\nset = \"EF\"\n")?;
    router.ok("attach lan0 --ingress --hook xdp")?;
    router.ok(&format!("policy apply {policy}"))?;
    let tagged = || {
        wait_until_up(&[(edge, "tagged"), (lan, "tagged")])?;
        run_in(lan, "ping -q -n -i 0.002 -W 2 -c 3 203.0.113.1")?;
        let stats = router.ok("stats lan0:ingress --json")?.json()?;
        stats["hooks"][0]["rules"][0]["packets"].as_u64().context("a rule")
    };
    assert_eq!(tagged()?, 0);
    let why = router.ask("why lan0:ingress tagged --sample 0 --json")?;
    let doctor = router.ask("doctor lan0 --sample 0 --json")?.expect(3)?;
    for found in [find(&why, "lan0:ingress", "rxvlan")?, find(&doctor, "lan0", "rxvlan")?] {
        let advice = found["advice"].as_str().context("advice")?;
        let (at, typed) = advice.split_once(": ").context("a command")?;
        assert_eq!(at, "at its peer, in the namespace where that is", "{found:#}");
        run_in(lan, &typed.replace("PEER", "eth0"))?;
    }
    assert_eq!(tagged()?, 3);
    Ok(())
}

/// Interfaces of two network namespaces with the same number, and a link of the same program at each.
#[test]
fn of_two_links_that_may_hold_the_slot_neither_is_detached() -> anyhow::Result<()> {
    let router = Router::start()?;
    let program = load_constant(Kind::Xdp, c"shared", 2)?;
    let link = |namespace: &Namespace| {
        run_in(namespace, "ip link add slot index 4711 type veth peer name slot1")?;
        namespace.run(|| Ok(link_xdp(program.as_fd(), 4711)?))
    };
    let _links = [link(router.edge())?, link(router.lab().lan())?];
    let found = find(&router.ask("doctor slot --sample 0 --json")?.expect(3)?, "slot", "xdp-slot-taken")?;
    let advice = found["advice"].as_str().unwrap_or_default();
    assert!(found["cure"].is_null() && advice.contains("bpftool link detach takes one off"), "{found:#}");
    Ok(())
}

/// As every shaper of what comes in makes it. Where there is TCX it is in nobody's way.
#[test]
fn an_ingress_qdisc_in_the_place_of_clsact_is_named_with_its_cure() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "tc qdisc add dev wan0 ingress")?;
    let refused = router.ask("attach wan0 --egress --hook clsact")?.expect(1)?;
    let cure = "tc qdisc del dev wan0 ingress";
    let there = format!("ip netns exec {} {cure}", router.edge().name());
    refused.complains(&["wan0 has an `ingress` qdisc, in the place of clsact, ", &there])?;
    let tcx = Feature::Tcx.is_here()?;
    let answer = router.ask("doctor wan0 --sample 0 --json")?.expect(if tcx { 0 } else { 3 })?;
    let found = find(&answer, "wan0", "ingress-qdisc")?;
    if tcx {
        assert_eq!(found["level"], "info", "{found:#}");
        router.ok("attach wan0 --ingress --hook tcx")?;
        run_in(router.edge(), cure)?;
    } else {
        type_in(&found, None)?;
    }
    router.ok("attach wan0 --egress --hook clsact")?;
    assert!(!has(&router.ask("doctor wan0 --sample 0 --json")?.expect(0)?, "ingress-qdisc")?);
    Ok(())
}

#[test]
fn a_policy_out_of_the_path_is_put_back() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = router.policy("p", "[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {policy}"))?;
    router.ok("doctor --sample 0")?;
    router.ok("policy bypass")?;
    let found = find(&router.ask("doctor --sample 0 --json")?.expect(3)?, "wan0", "bypassed")?;
    type_in(&found, None)?;
    assert!(!has(&router.ask("doctor --sample 0 --json")?.expect(0)?, "bypassed")?);
    Ok(())
}

/// A tenth of what is sent to it passes this shaper.
#[test]
fn what_a_shaper_drops_behind_our_count_is_told_while_it_drops() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "tc qdisc add dev wan0 root tbf rate 200kbit burst 2000 limit 3000")?;
    router.ok("attach wan0 --egress")?;
    let mut ping = spawn_in(
        router.lab().lan(),
        words("ping -q -n -s 1000 -i 0.002 -Q 184 198.51.100.2").stdout(std::process::Stdio::null()),
    )?;
    let answer = router.ask("doctor wan0 --sample 2 --json");
    ping.kill()?;
    ping.wait()?;
    let found = find(&answer?.expect(3)?, "wan0", "dropped-behind")?;
    assert!(found["text"].as_str().is_some_and(|text| text.contains("by the qdisc")), "{found:#}");
    assert!(type_in(&found, None)?.stdout.contains("qdisc tbf"), "{found:#}");
    assert!(!has(&router.ask("doctor wan0 --sample 1 --json")?, "dropped-behind")?);
    Ok(())
}

/// It matches at both, and there is one to take away.
#[test]
fn a_rule_of_two_interfaces_is_told_once_and_names_both() -> anyhow::Result<()> {
    let router = Router::start()?;
    for line in [
        "nft add table inet q",
        "nft add chain inet q post { type filter hook postrouting priority 0 ; }",
        "nft add rule inet q post ip dscp set cs1",
    ] {
        run_in(router.edge(), line)?;
    }
    let answer = router.ask("doctor --sample 0 --json")?.expect(0)?;
    let told = findings(&answer)?.into_iter().filter(|found| found["code"] == "marked-by-others");
    let told: Vec<_> = told.collect();
    let [found] = told.as_slice() else { panic!("{told:#?}") };
    assert_eq!(found["subject"], "host");
    assert!(found["text"].as_str().is_some_and(|text| text.contains(", at lan0, wan0")), "{found:#}");
    type_in(found, None)?;
    assert!(!has(&router.ask("doctor --sample 0 --json")?, "marked-by-others")?);
    Ok(())
}

/// The program of another version, as its state says: `attach` puts this one's in its place, and the counters go on.
#[test]
fn the_program_of_another_version_is_exchanged() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0 --egress")?;
    router.ping(false, 184, 10)?;
    let state = router.hook_folder("wan0", "egress")?.join("state");
    let mut written: HookState = document::read(&state)?.context("a state")?;
    "0.0.9".clone_into(&mut written.version);
    document::write(&state, &written)?;
    let found = find(&router.ask("doctor --sample 0 --json")?.expect(3)?, "wan0", "other-version")?;
    type_in(&found, None)?;
    assert!(!has(&router.ask("doctor --sample 0 --json")?.expect(0)?, "other-version")?);
    assert_eq!(router.counted("wan0:egress")?.packets(), [(184, 10)].into());
    Ok(())
}

/// A veth takes a jumbo MTU of its own, and its peer does not, while the XDP program for packets in one piece is there.
#[test]
fn what_bars_a_jumbo_mtu_is_named_and_attach_ends_it() -> anyhow::Result<()> {
    let router = Router::start()?;
    let lan = router.lab().lan();
    let wash = router.policy("wash", "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    router.ok(&format!("attach lan0 --ingress --hook xdp --policy {wash}"))?;
    router.ping(false, 184, 5)?;
    assert!(!has(&router.ask("doctor lan0 --sample 0 --json")?.expect(0)?, "jumbo-one-piece")?);
    run_in(router.edge(), "ip link set dev lan0 mtu 9000")?;
    assert!(run_in(lan, "ip link set dev eth0 mtu 9000").is_err(), "the kernel took it beside XDP in one piece");
    let found = find(&router.ask("doctor lan0 --sample 0 --json")?.expect(3)?, "lan0", "jumbo-one-piece")?;
    type_in(&found, None)?.says(&["lan0:ingress  loaded anew: xdp-native, as asked", "table t"])?;
    run_in(lan, "ip link set dev eth0 mtu 9000")?;
    wait_until_up(&[(router.edge(), "lan0"), (lan, "eth0")])?;
    run_in(lan, "ping -q -n -M do -s 8000 -Q 184 -W 2 -i 0.01 -c 3 192.0.2.1")?;
    assert_eq!(router.counted("lan0:ingress")?.packets().get(&184), Some(&8), "what it had counted is kept");
    router.ok("attach lan0 --ingress")?.says(&["lan0:ingress  already attached"])?;
    let jumbo = find(&router.ask("doctor lan0 --sample 0 --json")?.expect(0)?, "lan0", "jumbo-frags")?;
    assert!(jumbo["text"].as_str().is_some_and(|text| text.ends_with("the program for them runs")), "{jumbo:#}");
    Ok(())
}
