//! Interfaces that are renamed, resized, deleted and made again; namespaces that go.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use qosbpf_tests::{
    binary::{Answer, command},
    router::{HOOKS, Router, run_in, wait_until_up, words},
};

use qosbpf_tests::left::{assert_nothing, pins};

#[test]
fn a_renamed_and_resized_interface_goes_on_counting() -> anyhow::Result<()> {
    let router = Router::start()?;
    for hook in ["auto", "clsact"] {
        router.ok(&format!("attach lan0 --hook {hook}"))?;
        router.ping(false, 184, 3)?;
        for line in [
            "ip link set lan0 down",
            "ip link set lan0 name lan0.832",
            "ip link set lan0.832 mtu 1400 up",
            "ip address add 2001:db8:1::1/64 dev lan0.832 nodad",
            "ip neighbour replace 192.0.2.2 lladdr 02:00:00:00:01:02 nud permanent dev lan0.832",
        ] {
            run_in(router.edge(), line)?;
        }
        wait_until_up(&[(router.edge(), "lan0.832"), (router.lab().lan(), "eth0")])?;
        router.ping(false, 104, 4)?;
        for name in ["lan0.832:ingress", "lan0.832:egress"] {
            let counted = router.counted(name)?.packets();
            assert_eq!((counted.get(&184), counted.get(&104)), (Some(&3), Some(&4)), "{hook}: {counted:?}");
        }
        router.ask("stats lan0")?.expect(1)?.complains(&["not attached at lan0", "lan0.832:ingress"])?;
        let policy = router.policy("p", "[interface.\"lan0.832\"]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
        router.ok(&format!("policy apply {policy}"))?.says(&["lan0.832:ingress", "changed"])?;
        router.ok("detach lan0.832")?;
        for line in ["ip link set lan0.832 down", "ip link set lan0.832 name lan0", "ip link set lan0 mtu 1500 up"] {
            run_in(router.edge(), line)?;
        }
        run_in(router.edge(), "ip neighbour replace 192.0.2.2 lladdr 02:00:00:00:01:02 nud permanent dev lan0")?;
        wait_until_up(&[(router.edge(), "lan0"), (router.lab().lan(), "eth0")])?;
        assert_nothing(&router, hook)?;
    }
    Ok(())
}

#[test]
fn jumbo_frames_take_xdp_with_frags() -> anyhow::Result<()> {
    let router = Router::start()?;
    for (namespace, device) in [(router.edge(), "lan0"), (router.lab().lan(), "eth0")] {
        run_in(namespace, &format!("ip link set {device} mtu 9000"))?;
    }
    router.ok("attach lan0 --ingress")?.says(&["xdp-native, the best there is"])?;
    run_in(router.lab().lan(), "ping -q -n -i 0.002 -W 2 -Q 184 -s 8000 -M do -c 5 192.0.2.1")?;
    let now = router.counted("lan0:ingress")?;
    assert_eq!(now.before, [(("ipv4".to_owned(), 184), [5, 5 * (14 + 20 + 8 + 8000)])].into());
    let policy = router.policy("p", "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"AF41\"\n")?;
    router.ok(&format!("policy apply {policy}"))?;
    run_in(router.lab().lan(), "ping -q -n -i 0.002 -W 2 -Q 184 -s 8000 -M do -c 5 192.0.2.1")?;
    assert_eq!(router.counted("lan0:ingress")?.remarked[&(46, 34)][0], 5);
    Ok(())
}

#[test]
fn a_deleted_interface_is_said_to_be_gone_and_cleaned() -> anyhow::Result<()> {
    for hook in ["auto", "tcx", "clsact"] {
        let router = Router::start()?;
        router.ok(&format!("attach lan0 --hook {hook}"))?;
        router.ok("attach wan0")?;
        run_in(router.edge(), "ip link del lan0")?;
        let status = router.ok("status")?.says(&["ingress: the interface is gone", " detach if-"])?;
        assert!(status.stdout.contains("wan0:egress"), "{status:?}");
        let stats = router.ok("stats --json")?.json()?;
        assert_eq!(stats["hooks"].as_array().map(Vec::len), Some(4), "what was counted is still there: {stats:#}");
        let gone = stats["hooks"][0]["interface"].as_str().unwrap_or_default().to_owned();
        router
            .ok(&format!("detach {gone}"))?
            .says(&[&format!("{gone}:ingress  detached"), &format!("{gone}:egress  detached")])?;
        router.ok("status")?;
        router.ok("detach --all")?;
        assert_eq!(pins(&router.bpffs)?, [""; 0], "{hook}");
        router.ok("status")?.says(&["nothing is attached"])?;
    }
    Ok(())
}

#[test]
fn what_a_deleted_interface_had_counted_can_be_read_until_it_is_detached() -> anyhow::Result<()> {
    for hook in ["auto", "clsact"] {
        let router = Router::start()?;
        router.ok(&format!("attach lan0 --hook {hook}"))?;
        router.ping(false, 184, 5)?;
        let before = |place: &str| {
            let document = router.ok(&format!("stats --json {place}:ingress"))?.json()?;
            anyhow::Ok(document["hooks"][0]["before"].clone())
        };
        let counted = before("lan0")?;
        assert_eq!((&counted[0]["ds"], &counted[0]["packets"]), (&184.into(), &5.into()), "{hook}: {counted:#}");
        let gone = router.ok("status --json")?.json()?["hooks"][0]["ifindex"].to_string();
        run_in(router.edge(), "ip link del lan0")?;
        let gone = format!("if-{gone}");
        let all = router.ok("stats")?.says(&[&format!("! {gone}:ingress"), &format!("! {gone}:egress")])?;
        let of_all = all.stdout.lines().find(|line| line.contains(&format!("{gone}:ingress"))).unwrap_or_default();
        assert_eq!(of_all.split_whitespace().nth(2), Some("5"), "{of_all}");
        let one = router.ok(&format!("stats {gone}:ingress"))?.says(&["MISSING", "AFTER = handed to the stack"])?;
        assert!(one.stdout.lines().any(|line| line.starts_with("EF ") && line.contains(" 5 ")), "{one:?}");
        assert_eq!(before(&gone)?, counted, "{hook}");
        router.ok("stats --csv")?.says(&[&format!("{gone},ingress,before,ipv4,184,46,EF,0,,,,,5,")])?;
        let left = format!("lan0 is gone, and what is left of it is {gone}");
        router.ask("stats lan0")?.expect(1)?.complains(&["not attached at lan0", &left, &format!("detach {gone}")])?;
        router.ok(&format!("detach {gone}"))?;
        router.ask(&format!("stats {gone}"))?.expect(1)?.complains(&[&format!("not attached at {gone}")])?;
    }
    Ok(())
}

/// A new device of the same name has another index: it is nobody's, until it is attached.
#[test]
fn an_interface_made_again_is_attached_anew() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    run_in(router.edge(), "ip link del lan0")?;
    run_in(router.edge(), "ip link add lan0 type veth peer name lan0peer")?;
    router.ok("status")?.says(&["the interface is gone"])?;
    router.ok("attach lan0")?.says(&["lan0:ingress  attached:", "lan0:egress  attached:"])?;
    let status = router.ok("status")?;
    assert!(!status.stdout.contains("gone"), "collected: {status:?}");
    let policy = router.policy("p", "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    router.ok(&format!("policy apply {policy}"))?;
    run_in(router.edge(), "ip link del lan0")?;
    router.ask("status")?.expect(3)?.says(&[
        "MISSING",
        "the interface is gone (it was lan0); to remove what is left:",
        " detach if-",
    ])?;
    router.ok("detach --all")?;
    assert_eq!(pins(&router.bpffs)?, [""; 0], "the old hooks and the new ones");
    Ok(())
}

/// The device that counts is the one that has the name once the change may begin.
#[test]
fn an_interface_made_again_meanwhile_is_the_one_attached() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0 --ingress")?;
    let pins = pins(&router.bpffs)?;
    let lock = fs::File::open(pins.iter().find(|path| path.ends_with("/lock")).expect("a lock"))?;
    for hook in ["tcx", "clsact"] {
        lock.lock()?;
        let attach = router.command(&format!("attach lan0 --hook {hook}"))?.stdout(Stdio::null()).spawn()?;
        thread::sleep(Duration::from_millis(500));
        run_in(router.edge(), "ip link del lan0")?;
        run_in(router.edge(), "ip link add lan0 type veth peer name lan0peer")?;
        lock.unlock()?;
        assert!(attach.wait_with_output()?.status.success(), "{hook}");
        router.ok("status")?.says(&["lan0:ingress", "lan0:egress"])?;
        router.ok("detach lan0")?;
    }
    router.ok("detach --all")?;
    assert_nothing(&router, "detach --all")
}

#[test]
fn a_program_that_somebody_removed_is_missing_and_comes_back() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --hook clsact")?;
    router.ping(false, 184, 3)?;
    run_in(router.edge(), "tc qdisc del dev lan0 clsact")?;
    router.ask("status")?.expect(3)?.says(&[
        "MISSING",
        "removed by someone else: qosbpf --netns",
        " attach lan0:ingress",
    ])?;
    router.ok("attach lan0")?.says(&["lan0:ingress  attached: clsact, as asked", "its counters go on"])?;
    router.ping(false, 184, 2)?;
    assert_eq!(router.counted("lan0:ingress")?.packets()[&184], 5);
    // By another mechanism, which somebody asks for: what was counted is the hook's, whatever it is attached by.
    run_in(router.edge(), "tc qdisc del dev lan0 clsact")?;
    router.ok("attach lan0 --hook tcx")?.says(&["lan0:ingress  attached: tcx, as asked"])?;
    router.ping(false, 184, 1)?;
    assert_eq!(router.counted("lan0:ingress")?.packets()[&184], 6);
    router.ok("status")?;
    router.ok("detach lan0")?;
    assert_nothing(&router, "detach")
}

/// XDP has no egress, also where something was attached before.
#[test]
fn a_lost_egress_does_not_come_back_by_xdp() -> anyhow::Result<()> {
    let router = Router::start()?;
    for hook in ["xdp", "xdp-generic"] {
        router.ok("attach wan0 --egress --hook clsact")?;
        run_in(router.edge(), "tc qdisc del dev wan0 clsact")?;
        let refused = router.ask(&format!("attach wan0 --egress --hook {hook}"))?.expect(2)?;
        refused.complains(&["XDP sees packets at ingress alone"])?;
        let links = run_in(router.edge(), "ip -d link show wan0")?;
        assert!(!links.stdout.contains("prog/xdp"), "{hook}: {links:?}");
        router.ask("status")?.expect(3)?.says(&["MISSING"])?;
        router.ok("attach wan0 --egress")?.says(&["wan0:egress  attached: clsact", "its counters go on"])?;
        router.ok("detach wan0")?;
        assert_nothing(&router, hook)?;
    }
    Ok(())
}

/// A policy binds names: what another name had, table and counters, is not what this one gets.
#[test]
fn what_is_left_of_another_name_is_not_put_back() -> anyhow::Result<()> {
    const POLICY: &str = "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n";
    let router = Router::start()?;
    router.ok("attach lan0 --hook clsact")?;
    router.ok(&format!("policy apply {}", router.policy("p", POLICY)?))?.says(&["lan0:ingress", "changed"])?;
    router.ping(false, 184, 3)?;
    run_in(router.edge(), "tc qdisc del dev lan0 clsact")?;
    for line in ["ip link set lan0 down", "ip link set lan0 name guest0", "ip link set guest0 up"] {
        run_in(router.edge(), line)?;
    }
    let attached = router.ok("attach guest0 --ingress --hook clsact")?;
    attached
        .says(&["guest0:ingress  attached: clsact, as asked; counting, no policy is bound to it"])?
        .complains(&["guest0:ingress begins at zero: what was left there was that of lan0"])?;
    assert_eq!(router.counted("guest0:ingress")?.packets().get(&184), None);
    let policy = router.policy("q", &POLICY.replace("lan0", "guest0"))?;
    router.ok("detach guest0:ingress")?;
    router.ok(&format!("policy apply {policy} --attach --prune"))?.says(&["guest0:ingress", "attached"])?;
    router.ok("detach --all")?;
    for line in ["ip link set guest0 down", "ip link set guest0 name lan0", "ip link set lan0 up"] {
        run_in(router.edge(), line)?;
    }
    assert_nothing(&router, "detach --all")
}

/// The kernel gives the inode of a namespace that is gone to the next one.
#[test]
fn a_namespace_made_again_has_no_ghosts() -> anyhow::Result<()> {
    let router = Router::start()?;
    let name = format!("qosbpf-again-{}", std::process::id());
    let bpffs = router.bpffs.display().to_string();
    let ask = |line: &str| {
        let mut command = command(&["--netns", &name, "--bpffs", &bpffs])?;
        Answer::of(command.args(line.split(' ')))?.expect(0)
    };
    let mut inodes = Vec::new();
    for _ in 0..4 {
        let made = Answer::of(&mut words(&format!("ip netns add {name}")))?.expect(0)?;
        inodes.push(fs::metadata(format!("/run/netns/{name}"))?.ino());
        let result = ask("status")
            .and_then(|status| status.says(&["nothing is attached"]))
            .and_then(|_| {
                Answer::of(&mut words(&format!("ip -n {name} link add v0 type veth peer name v1")))?.expect(0)
            })
            .and_then(|_| ask("attach v0"))
            .and_then(|attached| attached.says(&["v0:ingress  attached:", "v0:egress  attached:"]));
        Answer::of(&mut words(&format!("ip netns del {name}")))?.expect(0)?;
        result.map_err(|error| error.context(format!("{made:?}, inodes {inodes:?}")))?;
    }
    // The kernel takes a namespace apart when it has time.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) && !pins(&router.bpffs)?.is_empty() {
        router.ok("attach lan0 --ingress")?;
        router.ok("detach lan0")?;
    }
    assert_eq!(pins(&router.bpffs)?, [""; 0], "the pins of namespaces that are gone go with the next change");
    Ok(())
}

#[test]
fn every_hook_of_the_namespace_goes_with_all() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --hook clsact")?;
    router.ok("attach wan0")?;
    let answer = router.ok("detach --all --json")?.json()?;
    assert_eq!(
        answer["detached"].as_array().map(|hooks| hooks.iter().filter_map(|hook| hook.as_str()).collect()),
        Some(HOOKS.to_vec())
    );
    assert_nothing(&router, "detach --all")?;
    router.ok("detach --all")?.says(&["nothing was attached"])?;
    router.ask("detach lan0")?.expect(1)?.complains(&["not attached at lan0"])?;
    Ok(())
}
