//! What an operator does with what `doctor` and `why` print: copies it, and believes it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
};

use qos_vectors::frame;
use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    binary::Answer,
    lab::Injector,
    router::{Router, run_in},
    typed::{find, findings, has, shell, type_in},
    udp,
};

/// A policy that remarks at the WAN's egress.
fn enforcing() -> anyhow::Result<Router> {
    let router = Router::start()?;
    router.ok("attach wan0 --egress")?;
    let policy = router.policy("p", "[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    router.ok(&format!("policy apply {policy}"))?;
    Ok(router)
}

/// Half of a command is another command.
#[test]
fn a_cure_is_one_line_however_long_it_is() -> anyhow::Result<()> {
    let router = enforcing()?;
    let comment = "a-comment-of-somebody-who-has-much-to-say-about-this-rule-and-says-it-all";
    let rule = format!(
        "-o wan0 -s 10.20.30.0/24 -p udp -m udp --dport 5060:5061 -m comment --comment {comment} -j DSCP --set-dscp 0x08"
    );
    run_in(router.edge(), &format!("iptables -t mangle -A FORWARD {rule}"))?;
    run_in(router.edge(), "iptables -t mangle -A FORWARD -o wan0 -j DSCP --set-dscp 0x0a")?;
    let documents = router.ask("doctor --sample 0 --json")?.expect(3)?;
    let found = findings(&documents)?;
    let cures: Vec<_> = found.iter().filter_map(|finding| finding["cure"].as_str()).collect();
    assert!(cures.iter().any(|cure| cure.len() > 200 && cure.contains(comment)), "{cures:#?}");
    for color in ["never", "always"] {
        let mut doctor = router.command(&format!("--color {color} doctor --sample 0"))?;
        let screen = Answer::of(doctor.env("COLUMNS", "80"))?.expect(3)?;
        for cure in &cures {
            let line = format!("cure: {cure}");
            assert!(screen.stdout.lines().any(|shown| shown.contains(&line)), "{line}\n{}", screen.stdout);
        }
    }
    Ok(())
}

/// The folder is root's, and so is all in it: what marks is not to be thrown away.
#[test]
fn a_folder_of_pins_that_others_may_write_to_is_closed_and_marking_goes_on() -> anyhow::Result<()> {
    let router = enforcing()?;
    router.ok("attach lan0")?;
    let mut folders = vec![router.bpffs.join("qosbpf"), router.namespace_folder()?];
    folders.push(router.hook_folder("wan0", "egress")?);
    for (at, folder) in folders.iter().enumerate() {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?;
        let close = format!("chmod go-w {}", folder.display());
        let answer = router.ask("doctor --sample 0 --json")?.expect(3)?;
        let code = if at < 2 { "bpffs-open" } else { "hook-unreadable" };
        let found = findings(&answer)?.into_iter().find(|finding| finding["code"] == code);
        let found = found.unwrap_or_default();
        assert_eq!(found["cure"], close.as_str(), "{}", answer.stdout);
        assert!(!has(&answer, "xdp-slot-taken")? && !answer.stdout.contains("rm -r"), "{}", answer.stdout);
        if at < 2 {
            find(&answer, "wan0", "own-unpinned")?;
            router.ask("attach wan0")?.expect(1)?.complains(&["look who did it", &close])?;
            router.ask("status")?.expect(1)?.complains(&["look who did it", &close])?;
        } else {
            router.ask("status")?.expect(3)?.says(&["look who did it", &close])?;
        }
        type_in(&found, None)?;
        let healed = router.ask("doctor --sample 0 --json")?;
        assert!(!has(&healed, code)? && !has(&healed, "own-unpinned")?, "{}", healed.stdout);
    }
    router.ping(false, 184, 10)?;
    let counted = router.counted("wan0:egress")?;
    let (came, left) = (counted.packets().get(&184).copied(), counted.packets_after().get(&46).copied());
    assert_eq!((came, left.unwrap_or_default()), (Some(10), 0), "the policy was never out of force");
    Ok(())
}

#[test]
fn a_packet_that_a_bridge_and_its_port_count_came_once() -> anyhow::Result<()> {
    let router = Router::start()?;
    for line in [
        "ip link add br0 address 02:00:00:00:01:01 up type bridge",
        "ip address flush dev lan0",
        "ip link set lan0 master br0",
        "ip address add 192.0.2.1/24 dev br0",
        "ip neigh replace 192.0.2.2 lladdr 02:00:00:00:01:02 dev br0",
    ] {
        run_in(router.edge(), line)?;
    }
    for interface in ["lan0", "br0", "wan0"] {
        router.ok(&format!("attach {interface}"))?;
    }
    router.ping(false, 184, 16)?;
    let answer = router.ask("why wan0:egress EF --sample 0")?.expect(0)?;
    answer.says(&["comes through: 16 from ", "16 at wan0:egress"])?;
    router.ask("why wan0:egress --sample 0")?.expect(0)?;
    Ok(())
}

#[test]
fn an_interface_that_is_down_or_has_no_carrier_is_said_first() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0")?;
    run_in(router.edge(), "ip link set wan0 down")?;
    let answer = router.ask("doctor --sample 0 --json")?.expect(3)?;
    let first = findings(&answer)?.into_iter().find(|finding| finding["subject"] == "wan0").unwrap_or_default();
    assert_eq!((first["code"].as_str(), first["level"].as_str()), (Some("link-down"), Some("warn")), "{first:#}");
    let asked = router.ask("why wan0:egress --sample 0 --json")?.expect(3)?;
    assert_eq!(findings(&asked)?[0]["code"], "link-down", "{}", asked.stdout);
    type_in(&first, None)?;
    assert!(!has(&router.ask("doctor --sample 0 --json")?, "link-down")?);
    run_in(router.lab().wan(), "ip link set eth0 down")?;
    let answer = router.ask("doctor wan0 --sample 0 --json")?.expect(3)?;
    let found = find(&answer, "wan0", "no-carrier")?;
    assert!(found["advice"].as_str().is_some_and(|advice| advice.contains("peer")), "{found:#}");
    find(&router.ask("why wan0:egress --sample 0 --json")?.expect(3)?, "wan0", "no-carrier")?;
    Ok(())
}

#[test]
fn a_host_that_does_not_forward_is_named_before_any_suspect() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    router.ok("attach wan0")?;
    for line in [
        "sysctl -q -w net.ipv4.ip_forward=0",
        "ip link add vpn0 type veth peer name far0",
        "ip link set far0 up",
        "ip link set vpn0 up",
        "ip route add 203.0.113.0/24 dev vpn0",
        "iptables -t mangle -A FORWARD -o wan0 -j DSCP --set-dscp 8",
    ] {
        run_in(router.edge(), line)?;
    }
    let [from, to] = [(LAN_HOST, 0), (WAN_HOST, 5060)].map(|(end, port)| SocketAddr::new(IpAddr::V4(end.v4), port));
    udp::send(router.lab().lan(), from, to, 184, 20)?;
    let answer = router.ask("why wan0:egress EF --sample 0 --json")?.expect(3)?;
    let found = find(&answer, "wan0:egress", "not-forwarded")?;
    assert!(found["text"].as_str().is_some_and(|text| text.contains("net/ipv4/ip_forward is 0")), "{found:#}");
    assert!(!has(&answer, "lost-inside")?, "{}", answer.stdout);
    router.ask("why lan0:ingress EF --sample 0")?.expect(4)?.says(&["net/ipv4/ip_forward is 0"])?;
    type_in(&found, None)?;
    router.ping(false, 0, 3)
}

/// Several routing rules may have one priority.
#[test]
fn the_cure_of_a_routing_rule_takes_that_one_away() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = router.policy("p", "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    router.ok("attach lan0 --ingress")?;
    router.ok(&format!("policy apply {policy}"))?;
    for line in [
        "ip rule add priority 100 from 10.9.0.0/16 lookup 77",
        "ip rule add priority 100 tos 0x10 lookup 78",
        "ip -6 rule add priority 100 tos 0xb8 lookup 79",
    ] {
        run_in(router.edge(), line)?;
    }
    let answer = router.ask("doctor --sample 0 --json")?.expect(3)?;
    let routed: Vec<_> = findings(&answer)?.into_iter().filter(|found| found["code"] == "routed-by-mark").collect();
    assert_eq!(routed.len(), 2, "{routed:#?}");
    for found in &routed {
        type_in(found, None)?;
    }
    let left = run_in(router.edge(), "ip rule")?.stdout + &run_in(router.edge(), "ip -6 rule")?.stdout;
    assert!(left.contains("lookup 77") && !left.contains("lookup 78") && !left.contains("lookup 79"), "{left}");
    Ok(())
}

#[test]
fn who_asks_by_the_old_name_of_an_interface_is_told_the_new_one() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress")?;
    router.ping(false, 184, 20)?;
    for line in ["ip link set lan0 down", "ip link set lan0 name house0", "ip link set house0 up"] {
        run_in(router.edge(), line)?;
    }
    for (asked, command) in [
        ("why lan0:ingress EF --sample 0", "why house0:ingress EF"),
        ("why lan0:ingress --sample 0", "why house0:ingress"),
        ("doctor lan0 --sample 0", "doctor house0"),
    ] {
        let refused = router.ask(asked)?.expect(1)?;
        let refused = refused.complains(&["no interface lan0", "it is called house0 now: qosbpf "])?;
        let (_, typed) = refused.stderr.split_once(" now: ").unwrap_or_default();
        assert!(typed.trim_end().ends_with(command), "{refused:?}");
        let answer = shell(&format!("{} --sample 0", typed.replace("\n", " ")), None)?;
        assert!([0, 4].contains(&answer.code), "{answer:?}");
    }
    router.ask("stats lan0:ingress")?.expect(1)?.complains(&["lan0 is called house0 now"])?;
    router.ask("why lan9:ingress")?.expect(1)?.complains(&["there are: "])?;
    Ok(())
}

/// A tag that is in the frame is seen at XDP, whatever the offload takes off others.
#[test]
fn a_rule_on_tags_that_has_matched_is_no_fault() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress --hook xdp")?;
    let rule = "[[rule]]\nname = \"tagged\"\non = \"lan0:ingress\"\nmatch = { vlan = 5 }\nset = \"AF41\"\n";
    router.ok(&format!("policy apply {}", router.policy("p", rule)?))?;
    let ask = || router.ask("why lan0:ingress tagged --sample 0 --json");
    assert_eq!(find(&ask()?.expect(3)?, "lan0:ingress", "rxvlan")?["level"], "fail");
    let tagged = frame::ethernet(&[(0x8100, 5)], 0x0800, &frame::Ipv4::default().packet(&frame::udp(b"tagged")));
    router.lab().lan().run(|| Ok(Injector::open("eth0")?.send(&tagged)?))?;
    let answer = ask()?.expect(0)?;
    let found = find(&answer, "lan0:ingress", "rxvlan")?;
    assert!(found["level"] == "info" && answer.stdout.contains("it has decided or counted 1 packets"), "{answer:?}");
    Ok(())
}
