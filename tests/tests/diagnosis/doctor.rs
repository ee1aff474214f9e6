//! `doctor` on a router as it is, and on faults.

use std::{
    fs,
    os::{fd::AsFd as _, unix::fs::PermissionsExt as _},
    path::Path,
};

use anyhow::Context as _;
use nix::{
    mount::{MntFlags, umount2},
    net::if_::if_nametoindex,
};
use qosbpf_tests::{
    binary::{self, Answer},
    bpf::{Kind, link_xdp, load_constant, pin},
    features,
    flow::Flow,
    router::{Router, run_in, spawn_in, words},
    service::eventually,
    typed::{find, findings, has, shell, type_in},
};

/// What it says of all; whatever is wrong has something that helps.
pub fn doctor(router: &Router) -> anyhow::Result<Answer> {
    let answer = router.ask("doctor --sample 0 --json")?;
    for found in findings(&answer)? {
        let said = |field: &str| found[field].as_str().is_some_and(|text| !text.is_empty());
        let wrong = found["level"] == "warn" || found["level"] == "fail";
        anyhow::ensure!(said("code") && said("text"), "{found:#}");
        let helps = ["cure", "look", "advice"].into_iter().filter(|field| said(field)).count();
        anyhow::ensure!(!wrong || helps == 1, "either a command or advice: {found:#}");
        anyhow::ensure!(wrong || !said("cure"), "nothing is to be cured: {found:#}");
    }
    Ok(answer)
}

#[test]
fn a_plain_router_is_well() -> anyhow::Result<()> {
    let router = Router::start()?;
    let screen = router.ok("doctor")?;
    screen.says(&[
        "host  OK    kernel ",
        "lan0  OK    driver veth, ether, ",
        "wan0  OK    ",
        "nothing is wrong: exit 0.",
    ])?;
    router.ok("attach lan0")?;
    let answer = doctor(&router)?.expect(0)?;
    assert!(findings(&answer)?.iter().all(|finding| finding["level"] == "info"), "{}", answer.stdout);
    router.ok("doctor lan0 --sample 0")?.says(&["xdp-native, egress "])?;
    router.ask("doctor nope --json")?.expect(1)?.complains(&["no interface nope"])?;
    Ok(())
}

#[test]
fn our_counters_are_compared_with_the_device() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    let mut ping = spawn_in(
        router.lab().lan(),
        words("ping -q -n -i 0.002 -Q 184 198.51.100.2").stdout(std::process::Stdio::null()),
    )?;
    let answer = router.ask("doctor lan0 --sample 1");
    ping.kill()?;
    ping.wait()?;
    let answer = answer?.expect(0)?;
    answer.says(&["lan0:ingress: we saw ", "lan0:egress: we saw ", " of the device's "])?;
    Ok(())
}

/// Two readings that are not one do not always agree.
#[test]
fn what_a_shaper_drops_behind_us_is_no_super_packet() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "tc qdisc add dev wan0 root tbf rate 300kbit burst 2kb limit 2kb")?;
    router.ok("attach wan0 --egress")?;
    let _flow = Flow::start(&router)?;
    // What it drops is told by itself.
    for (line, code) in [("doctor wan0 --sample 1 --json", 3), ("why wan0:egress --sample 0 --json", 0)] {
        let mut last = String::new();
        let agrees = eventually(|| {
            let answer = router.ask(line)?;
            last = answer.stdout;
            let dropped = last.split_once("; dropped between our count and the device's: ");
            Ok(answer.code == code && dropped.is_some_and(|(_, by)| by.contains(" by the qdisc")))
        });
        agrees.with_context(|| format!("{line}: {last}"))?;
    }
    Ok(())
}

#[test]
fn a_jumbo_veth_needs_frags() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "ip link set dev lan0 mtu 9000")?;
    let answer = doctor(&router)?.expect(0)?;
    let found = findings(&answer)?;
    let jumbo = found.iter().filter(|finding| finding["code"].as_str().is_some_and(|code| code.starts_with("jumbo")));
    let told: Vec<_> = jumbo.map(|finding| (finding["subject"].as_str(), finding["code"].as_str())).collect();
    assert_eq!(told, [(Some("lan0"), Some("jumbo-frags"))]);
    router.ok("attach lan0 --ingress")?.says(&["xdp-native"])?;
    Ok(())
}

#[test]
fn a_foreign_program_in_the_slot_is_named_and_taken_off() -> anyhow::Result<()> {
    let router = Router::start()?;
    let program = load_constant(Kind::Xdp, c"foreign", 2)?;
    let path = router.bpffs.join("foreign");
    pin(program.as_fd(), &path)?;
    run_in(router.edge(), &format!("ip link set dev lan0 xdpdrv pinned {}", path.display()))?;
    let answer = doctor(&router)?.expect(3)?;
    let found = find(&answer, "lan0", "xdp-slot-taken")?;
    assert!(found["text"].as_str().is_some_and(|text| text.contains("\"foreign\" (native)")), "{found:#}");
    type_in(&found, None)?;
    assert!(!has(&doctor(&router)?.expect(0)?, "xdp-slot-taken")?);
    router.ok("attach lan0 --ingress")?.says(&["xdp-native"])?;
    fs::remove_file(path)?;
    Ok(())
}

/// The first link of the program is that of another interface.
#[test]
fn the_link_in_the_slot_is_detached_and_none_of_the_same_program_elsewhere() -> anyhow::Result<()> {
    let router = Router::start()?;
    let program = load_constant(Kind::Xdp, c"shared", 2)?;
    let link = |interface: &'static std::ffi::CStr| {
        router.edge().run(|| Ok(link_xdp(program.as_fd(), if_nametoindex(interface)?)?))
    };
    let links = [link(c"wan0")?, link(c"lan0")?];
    let found = find(&doctor(&router)?.expect(3)?, "lan0", "xdp-slot-taken")?;
    if !features::has_bpftool("the command that detaches a link of somebody else") {
        return Ok(());
    }
    type_in(&found, None)?;
    let taken = findings(&doctor(&router)?.expect(3)?)?;
    let taken = taken.iter().filter(|found| found["code"] == "xdp-slot-taken").map(|found| found["subject"].as_str());
    assert_eq!(taken.collect::<Vec<_>>(), [Some("wan0")]);
    drop(links);
    Ok(())
}

#[test]
fn a_missing_capability_is_named() -> anyhow::Result<()> {
    let router = Router::start()?;
    let ask = |how: &str| {
        router.edge().run(|| {
            let mut command = words(&format!("setpriv {how}"));
            command.arg(binary::path()?).arg("--bpffs").arg(&router.bpffs);
            Answer::of(command.args(["doctor", "lan0", "--sample", "0", "--json"]).env("LC_ALL", "C.UTF-8"))
        })
    };
    let answer = ask("--bounding-set=-all,+net_admin,+bpf --inh-caps=-all")?.expect(3)?;
    let found = find(&answer, "host", "capability")?;
    let text = found["text"].as_str().unwrap_or_default();
    assert!(text.contains("CAP_PERFMON") && !text.contains("CAP_BPF"), "{text}");
    // Nothing that is typed into that shell gives it back, so it says what to start it with; and that is enough.
    let advice = found["advice"].as_str().context("advice")?;
    assert!(found["cure"].is_null() && advice.contains("AmbientCapabilities=: CAP_PERFMON;"), "{found:#}");
    let (_, short) = advice.rsplit_once("--cap-add ").context("--cap-add")?;
    let added = format!("--bounding-set=-all,+net_admin,+bpf,+{} --inh-caps=-all", short.to_ascii_lowercase());
    assert!(!has(&ask(&added)?.expect(0)?, "capability")?);
    // Who is not root and may become it asks the same.
    let found = find(&ask("--reuid=65534 --clear-groups --inh-caps=-all")?, "host", "capability")?;
    assert!(
        found["cure"].as_str().is_some_and(|cure| cure.starts_with("sudo qosbpf ") && cure.ends_with(" doctor lan0"))
    );
    Ok(())
}

#[test]
fn a_missing_bpf_file_system_is_mounted_by_the_cure() -> anyhow::Result<()> {
    let router = Router::start()?;
    let path = router.folder().join("absent");
    let ask = || {
        let mut command = binary::command(&["--netns", router.edge().name(), "--bpffs"])?;
        Answer::of(command.arg(&path).args(["doctor", "--sample", "0", "--json"]))
    };
    let found = find(&ask()?.expect(3)?, "host", "bpffs-absent")?;
    let typed = type_in(&found, None);
    let after = ask();
    let mounted = fs::read_to_string("/proc/self/mounts")?;
    let _not_mounted = umount2(&path, MntFlags::MNT_DETACH);
    typed?;
    let there = format!(" {} bpf rw,", path.display());
    assert!(mounted.lines().any(|mount| mount.contains(&there)), "{there}: {mounted}");
    assert!(!has(&after?.expect(0)?, "bpffs-absent")?);
    Ok(())
}

#[test]
fn others_that_mark_translate_and_route_are_named() -> anyhow::Result<()> {
    let router = Router::start()?;
    for line in [
        "nft add table inet qos",
        "nft add chain inet qos post { type filter hook postrouting priority 0 ; }",
        "nft add rule inet qos post oifname wan0 ip dscp ef ip dscp set cs0",
        "nft add chain inet qos nat { type nat hook postrouting priority srcnat ; }",
        "nft add rule inet qos nat oifname wan0 masquerade",
        "iptables -t mangle -A FORWARD -o wan0 -j DSCP --set-dscp 8",
        "ip rule add tos 0x10 table main priority 77",
        // Beside them, what is to stay.
        "nft add rule inet qos post oifname wan0 ip dscp ef counter",
        "iptables -t mangle -A FORWARD -o wan0 -j ACCEPT",
        "ip rule add to 10.9.0.0/16 table main priority 77",
    ] {
        run_in(router.edge(), line)?;
    }
    assert!(doctor(&router)?.expect(0)?.stdout.contains("marked-by-others"), "told, and no fault where nobody remarks");
    let policy = router.policy(
        "p",
        "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n\
         [[rule]]\nname = \"by source\"\non = \"wan0:egress\"\nmatch = { src = \"192.0.2.0/24\" }\nset = \"EF\"\n",
    )?;
    router.ok("attach wan0")?;
    router.ok("attach lan0")?;
    router.ok(&format!("policy apply {policy}"))?;
    let answer = doctor(&router)?.expect(3)?;
    let found = findings(&answer)?;
    let markers = found.iter().filter(|finding| finding["code"] == "marked-by-others");
    let markers: Vec<_> = markers.map(|finding| finding["text"].as_str().unwrap_or_default()).collect();
    assert_eq!(markers.len(), 2, "{markers:#?}");
    assert!(markers[0].contains("table inet qos chain post handle ") && markers[0].contains("ip dscp set cs0"));
    assert!(markers[1].contains("iptables -t mangle FORWARD 1: -o wan0 -j DSCP --set-dscp 0x08"));
    let translated = find(&answer, "wan0", "translated-address")?;
    assert!(translated["details"][0].as_str().is_some_and(|by| by.contains("chain nat handle ")), "{translated:#}");
    assert!(translated["advice"].is_string());
    let routed = find(&answer, "host", "routed-by-mark")?;
    assert!(routed["text"].as_str().is_some_and(|text| text.contains("lan0:ingress remarks")), "{routed:#}");
    for finding in found.iter().filter(|finding| finding["cure"].is_string() && finding["level"] == "warn") {
        type_in(finding, None)?;
    }
    let left = doctor(&router)?.expect(3)?;
    assert!(!has(&left, "marked-by-others")? && !has(&left, "routed-by-mark")?, "{}", left.stdout);
    let tools = ["nft list ruleset", "iptables -t mangle -S FORWARD", "ip rule"];
    let kept = tools.map(|line| run_in(router.edge(), line).map(|answer| answer.stdout));
    let kept = kept.into_iter().collect::<anyhow::Result<String>>()?;
    for stays in ["masquerade", "ip dscp ef counter", "-A FORWARD -o wan0 -j ACCEPT", "to 10.9.0.0/16 lookup main"] {
        assert!(kept.contains(stays), "{stays}: {kept}");
    }
    Ok(())
}

#[test]
fn a_bridge_and_its_port_count_twice() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "ip link add br0 up type bridge")?;
    run_in(router.edge(), "ip link set lan0 master br0")?;
    router.ok("attach lan0 --egress")?;
    assert!(!has(&doctor(&router)?.expect(0)?, "counted-twice")?);
    router.ok("attach br0")?.complains(&["br0 is the bridge of lan0: a packet that passes both counts at both"])?;
    let found = find(&doctor(&router)?.expect(3)?, "br0", "counted-twice")?;
    assert!(found["text"].as_str().is_some_and(|text| text.contains("br0 is the bridge of lan0")), "{found:#}");
    type_in(&found, None)?;
    assert!(!has(&doctor(&router)?.expect(0)?, "counted-twice")?);
    let again = router.ok("attach br0 --ingress")?;
    assert!(!again.stderr.contains("counts at both"), "a packet goes one way: {again:?}");
    router.ok("stats br0:ingress")?;
    router.ask("stats br0:egress")?.expect(1)?;
    Ok(())
}

/// What libnftables-json(5) says that nft lists; the kernel that these tests mostly run on has no flowtables. The rule
/// that feeds it is deleted once.
const NFT: &str = r#"#!/bin/sh
state="$(dirname "$0")/deleted"
case "$*" in
"delete rule inet fw fwd handle 5") touch "$state" ;;
"-j -a list ruleset")
    rule='{"rule": {"family": "inet", "table": "fw", "chain": "fwd", "handle": 5, "expr": [{"flow": {"op": "add", "flowtable": "@ft"}}]}},'
    [ -e "$state" ] && rule=
    echo '{"nftables": [{"table": {"family": "inet", "name": "fw", "handle": 1}},'"$rule"'
    {"flowtable": {"family": "inet", "name": "ft", "table": "fw", "handle": 2, "hook": "ingress", "prio": 0, "dev": ["lan0", "wan0"]}}]}' ;;
esac
"#;

/// An `nft` that lists a flowtable.
pub fn flowtable(folder: &Path) -> anyhow::Result<()> {
    let nft = folder.join("nft");
    fs::write(&nft, NFT)?;
    fs::set_permissions(&nft, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

#[test]
fn a_flowtable_is_named() -> anyhow::Result<()> {
    let router = Router::start()?;
    let tools = tempfile::tempdir()?;
    flowtable(tools.path())?;
    let ask = || {
        let path = format!("{}:{}", tools.path().display(), std::env::var("PATH")?);
        Answer::of(router.command("doctor wan0 --sample 0 --json")?.env("PATH", path))
    };
    let found = find(&ask()?.expect(3)?, "wan0", "flowtable")?;
    assert!(found["text"].as_str().is_some_and(|text| text.contains("flowtable inet fw ft")), "{found:#}");
    type_in(&found, Some(tools.path()))?;
    assert!(!has(&ask()?.expect(0)?, "flowtable")?);
    Ok(())
}

#[test]
fn the_cures_are_a_script() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "ip link add br0 up type bridge")?;
    run_in(router.edge(), "ip link set lan0 master br0")?;
    router.ok("attach lan0 --egress")?;
    router.ok("attach br0 --egress")?;
    let script = router.ask("doctor --sample 0 --fix-script")?.expect(3)?;
    let answer = shell(&script.stdout, None)?;
    assert_eq!(answer.code, 0, "{script:?} {answer:?}");
    doctor(&router)?.expect(0)?;
    router.ok("stats lan0:egress")?;
    router.ask("stats br0:egress")?.expect(1)?;
    Ok(())
}
