//! Interfaces that are renamed, resized, changed in type; programs that somebody removes.

use std::{
    os::fd::AsFd as _,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::Context as _;
use aya::programs::TcAttachType;
use nix::sys::signal::Signal;
use qosbpf::kernel::sys;
use qosbpf_tests::{features::Feature, left::tcx, numbered, router::run_in};
use serde_json::Value;

use qosbpf_tests::service::{Lab, MARK, eventually};

const PPP: &str = "[interface.\"ppp*\"]\negress = \"wash\"\n[interface.wan9]\negress = \"sold\"\n\
    [remark.wash]\nother = \"DF\"\n[remark.sold]\nEF = \"AF41\"\nother = \"keep\"\n";

#[test]
fn a_device_has_what_the_policy_says_of_its_name() -> anyhow::Result<()> {
    let lab = Lab::serving(PPP)?;
    let edge = lab.router.edge();
    run_in(edge, "ip link add ppp0 type veth peer name peer0")?;
    lab.becomes("ppp0:egress", "active")?;
    for (from, to, table) in
        [("ppp0", "wan9", Some("sold")), ("wan9", "spare0", None), ("spare0", "ppp7", Some("wash"))]
    {
        run_in(edge, &format!("ip link set {from} name {to}"))?;
        let hook = format!("{to}:egress");
        eventually(|| Ok(lab.hook(&hook)?.is_some_and(|hook| hook["table"].as_str() == table)))
            .with_context(|| format!("{hook}: {:?}\n{}", lab.hook(&hook), lab.log().unwrap_or_default()))?;
    }
    lab.says(&["ppp0 is called wan9 now", "spare0 is called ppp7 now"])?;
    lab.ask("status")?.says(&["run: active"])?;
    Ok(())
}

#[test]
fn another_mtu_changes_nothing() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    assert!(lab.five_become(34)?);
    let program =
        |lab: &Lab| Ok::<_, anyhow::Error>(lab.hook("lan0:ingress")?.context("a hook")?["program_id"].clone());
    let before = program(&lab)?;
    run_in(lab.router.edge(), "ip link set lan0 mtu 1400")?;
    lab.says(&["lan0: MTU 1500 is 1400 now"])?;
    assert_eq!(program(&lab)?, before);
    assert!(lab.five_become(34)?);
    Ok(())
}

/// All that a hook has counted of EF.
fn counted(lab: &Lab) -> anyhow::Result<u64> {
    Ok(lab.router.counted("lan0:ingress")?.packets().get(&184).copied().unwrap_or_default())
}

/// By the mechanism that `attach` was told, looking where it was told, with what it had counted.
#[test]
fn a_program_that_somebody_removes_is_put_back_and_counts_on() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    lab.ok("attach lan0 --ingress --hook clsact --inside pppoe")?;
    lab.serve()?;
    assert!(lab.five_become(34)?);
    let before = lab.hook("lan0:ingress")?.context("a hook")?;
    for round in 1..=3 {
        run_in(lab.router.edge(), "tc qdisc del dev lan0 clsact")?;
        eventually(|| {
            assert!(counted(&lab)? >= 5 * round, "a counter went back");
            Ok(lab.hook("lan0:ingress")?.is_some_and(|hook| hook["state"] == "active"))
        })?;
        assert!(lab.five_become(34)?);
        assert_eq!(counted(&lab)?, 5 * (round + 1));
    }
    let after = lab.hook("lan0:ingress")?.context("a hook")?;
    for same in ["hook", "inside", "table", "policy_hash", "since", "reason"] {
        assert!(!before[same].is_null() && before[same] == after[same], "{same}: {before:#} {after:#}");
    }
    lab.says(&["put back, its counters go on"])
}

/// Where the link is what somebody has removed, and a bypass is in force.
#[test]
fn a_link_that_somebody_detaches_is_made_again_and_a_bypass_stays() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    assert!(lab.five_become(34)?);
    lab.ok("policy bypass")?;
    assert!(lab.five_become(46)?);
    let link = lab.router.hook_folder("lan0", "ingress")?.join("link");
    sys::detach_link(sys::open_pin(&link, false)?.as_fd())?;
    assert_eq!(lab.hook("lan0:ingress")?.context("a hook")?["state"], "missing");
    // Nobody tells of a link that goes: the next look finds it.
    run_in(lab.router.edge(), "ip link set wan0 mtu 1400")?;
    lab.becomes("lan0:ingress", "bypassed")?;
    lab.says(&[
        "put back, its counters go on",
        "BYPASSED by ",
        &format!(": {}", lab.typed("policy resume lan0:ingress")),
    ])?;
    assert!(lab.five_become(46)?);
    assert_eq!(counted(&lab)?, 15);
    lab.ok("policy resume")?;
    assert!(lab.five_become(34)?);
    assert_eq!(counted(&lab)?, 20);
    Ok(())
}

/// The kernel tells of a device that goes to another namespace as of one that is deleted; its program runs on there.
#[test]
fn the_pins_of_a_device_that_went_to_another_namespace_stay() -> anyhow::Result<()> {
    let lab = Lab::serving(
        "[interface.dyn0]\negress = \"t\"\n[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"DF\"\n",
    )?;
    let (edge, lan) = (lab.router.edge(), lab.router.lab().lan());
    // It keeps its number there.
    run_in(edge, "ip link add dyn0 index 77 type veth peer name peer0")?;
    lab.becomes("dyn0:egress", "active")?;
    let pins = lab.router.hook_folder("dyn0", "egress")?;
    run_in(edge, &format!("ip link set dyn0 netns {}", lan.name()))?;
    lab.says(&["dyn0 is gone"])?;
    // Looks come one after the other.
    run_in(edge, "ip link set wan0 mtu 1400")?;
    lab.says(&["wan0: MTU 1500 is 1400 now"])?;
    assert!(pins.join("link").exists(), "{}", lab.log()?);
    run_in(lan, "ip link del dyn0")?;
    run_in(edge, "ip link set wan0 mtu 1300")?;
    eventually(|| Ok(!pins.exists())).with_context(|| lab.log().unwrap_or_default())
}

/// It is the same device also when its program is removed some time after that.
#[test]
fn a_device_that_was_away_is_still_the_hooks_own() -> anyhow::Result<()> {
    if Feature::Tcx.leaves_out("a device that takes its program along")? {
        return Ok(());
    }
    let lab = Lab::serving(&format!("{MARK}[interface.dyn0]\negress = \"mark\"\n"))?;
    let (edge, lan) = (lab.router.edge(), lab.router.lab().lan());
    numbered::make(edge)?;
    lab.becomes("dyn0:egress", "active")?;
    numbered::send(edge, 3)?;
    run_in(edge, &format!("ip link set dyn0 netns {}", lan.name()))?;
    lab.says(&["dyn0 is gone"])?;
    run_in(lan, &format!("ip link set dyn0 netns {}", edge.name()))?;
    lab.becomes("dyn0:egress", "active")?;
    look(&lab)?;
    look(&lab)?;
    let link = lab.router.hook_folder("dyn0", "egress")?.join("link");
    sys::detach_link(sys::open_pin(&link, false)?.as_fd())?;
    look(&lab)?;
    lab.becomes("dyn0:egress", "active")?;
    assert_eq!(lab.router.counted("dyn0:egress")?.packets().get(&184), Some(&3), "{}", lab.log()?);
    lab.says(&["put back, its counters go on"])
}

/// It is the same device: its program has run on, its counters go on, and it gets what the policy of now says.
#[test]
fn a_device_that_comes_back_under_another_number_goes_on() -> anyhow::Result<()> {
    let policy = |table: &str, mark: &str| {
        format!("[interface.dyn0]\negress = \"{table}\"\n[remark.{table}]\nother = \"{mark}\"\n{MARK}")
    };
    let lab = Lab::serving(&policy("first", "DF"))?;
    let (edge, lan) = (lab.router.edge(), lab.router.lab().lan());
    run_in(lan, "ip link add taken0 index 77 type veth peer name other0")?;
    run_in(edge, "ip link add dyn0 index 77 type veth peer name peer0")?;
    lab.becomes("dyn0:egress", "active")?;
    let since = lab.hook("dyn0:egress")?.context("a hook")?["since"].clone();
    run_in(edge, &format!("ip link set dyn0 netns {}", lan.name()))?;
    lab.says(&["dyn0 is gone"])?;
    lab.save("edge", &policy("second", "CS1"))?;
    lab.ok("run --reload")?;
    run_in(lan, &format!("ip link set dyn0 netns {}", edge.name()))?;
    let is_so = |hook: Value| hook["table"] == "second" && hook["state"] == "active";
    let goes_on = || Ok(lab.hook("dyn0:egress")?.is_some_and(is_so));
    eventually(goes_on).with_context(|| lab.log().unwrap_or_default())?;
    let hook = lab.hook("dyn0:egress")?.context("a hook")?;
    assert!(hook["ifindex"] != 77 && hook["since"] == since, "{hook:#}");
    assert_eq!(tcx(edge, "dyn0", TcAttachType::Egress)?.len(), 1);
    lab.says(&["a device is back under another number"])?;
    lab.ask("status")?.expect(0).map(drop)
}

#[test]
fn what_somebody_detaches_by_hand_stays_so_until_a_reload() -> anyhow::Result<()> {
    let marked = MARK.replace("ingress =", "hook = \"clsact\"\ningress =");
    // The policy goes with the last of its hooks; here is another one.
    let lab = Lab::serving(&format!("{marked}[interface.wan0]\negress = \"mark\"\n"))?;
    lab.ok("detach lan0")?;
    lab.says(&["detached by hand"])?;
    // Something else to look at, after which it would be back.
    run_in(lab.router.edge(), "ip link set wan0 mtu 1400")?;
    lab.says(&["wan0: MTU 1500 is 1400 now"])?;
    assert_eq!(lab.hook("lan0:ingress")?.context("bound")?["state"], "missing");
    lab.signal(Signal::SIGHUP)?;
    lab.becomes("lan0:ingress", "active")
}

/// Has it look at everything, as an event of another link does.
pub fn look(lab: &Lab) -> anyhow::Result<()> {
    static MTU: AtomicU32 = AtomicU32::new(1400);
    let mtu = MTU.fetch_sub(1, Ordering::Relaxed);
    run_in(lab.router.edge(), &format!("ip link set lan0 mtu {mtu}"))?;
    lab.says(&[&format!("is {mtu} now")])
}

/// Whoever attaches again is no reason to wait: at the next removal `run` puts it back.
#[test]
fn what_somebody_attaches_again_by_hand_is_put_back_like_any_other() -> anyhow::Result<()> {
    let mut lab = Lab::serving(&format!("{MARK}[interface.wan0]\negress = \"mark\"\n"))?;
    for again in ["attach lan0 --ingress", &format!("policy apply --attach {}", lab.etc("policy.toml").display())] {
        lab.ok("detach lan0")?;
        lab.says(&["detached by hand: not attached again until a reload hook=\"lan0:ingress\""])?;
        lab.ok(again)?;
        let said = "attached by hand: attached again if it is removed hook=\"lan0:ingress\"";
        lab.says(&[said]).context(again.to_owned())?;
        let link = lab.router.hook_folder("lan0", "ingress")?.join("link");
        sys::detach_link(sys::open_pin(&link, false)?.as_fd())?;
        assert_eq!(lab.hook("lan0:ingress")?.context("bound")?["state"], "missing");
        look(&lab)?;
        lab.becomes("lan0:ingress", "active")?;
        lab.stop()?;
        lab.serve()?;
    }
    Ok(())
}

/// No policy binds it, and somebody wanted it all the same.
#[test]
fn what_somebody_has_attached_by_hand_is_put_back_though_no_policy_binds_it() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    for (hook, removal) in [("clsact", "tc qdisc del dev wan0 clsact"), ("tcx", "")] {
        lab.ok(&format!("attach wan0 --egress --hook {hook}"))?;
        lab.router.ping(false, 184, 3)?;
        match removal {
            "" => {
                let link = lab.router.hook_folder("wan0", "egress")?.join("link");
                sys::detach_link(sys::open_pin(&link, false)?.as_fd())?;
                look(&lab)?;
            }
            removal => run_in(lab.router.edge(), removal).map(drop)?,
        }
        lab.becomes("wan0:egress", "counting")?;
        let back = lab.hook("wan0:egress")?.context("a hook")?;
        anyhow::ensure!(back["hook"] == hook && back["reason"] == format!("{hook}, as asked"), "{back:#}");
        assert_eq!(lab.router.counted("wan0:egress")?.packets().get(&136), Some(&3), "it counts on");
        lab.ok("detach wan0")?;
        // The second one begins when the first has ended.
        look(&lab)?;
        look(&lab)?;
        assert!(lab.hook("wan0:egress")?.is_none(), "nobody wants it any more");
    }
    Ok(())
}

/// A rule compares numbers of interfaces, which a device made again does not keep.
#[test]
fn a_rule_that_names_where_packets_came_from_means_the_device_of_now() -> anyhow::Result<()> {
    let rule = "[[rule]]\nname = \"from guests\"\non = \"wan0:egress\"\nmatch = { from = \"lan0\" }\nset = \"CS1\"\n";
    let lab = Lab::serving(rule)?;
    let hits = |lab: &Lab| {
        let document = lab.ok("stats --json wan0:egress")?.json()?;
        anyhow::Ok(document["hooks"][0]["rules"][0]["packets"].as_u64().unwrap_or(0))
    };
    lab.router.ping(false, 184, 5)?;
    assert_eq!(hits(&lab)?, 5);
    let edge = lab.router.edge();
    // The old one steps aside, and another one takes its name: nothing of what came by it matches any more.
    run_in(edge, "ip link set lan0 name lan1")?;
    run_in(edge, "ip link add lan0 type veth peer name peer0")?;
    lab.says(&["a rule's `from` means other interfaces"])?;
    eventually(|| Ok(!lab.ask("status")?.stdout.contains("means other interfaces by now")))?;
    run_in(edge, "ip neighbour replace 192.0.2.2 lladdr 02:00:00:00:01:02 nud permanent dev lan1").err();
    let before = hits(&lab)?;
    run_in(edge, "ip link del lan0")?;
    run_in(edge, "ip link set lan1 name lan0")?;
    eventually(|| Ok(lab.log()?.matches("a rule's `from` means other interfaces").count() >= 2))?;
    eventually(|| {
        lab.router.ping(false, 184, 1)?;
        Ok(hits(&lab)? > before)
    })
}

/// Whoever asks what is missing learns who will mend it, and what it waits for.
#[test]
fn what_is_missing_is_said_with_what_the_service_does_about_it() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    let bound = |interface: &str| format!("[interface.{interface}]\negress = \"mark\"\n");
    lab.save("edge", &format!("{MARK}{}{}", bound("wan0"), bound("ppp0")))?;
    lab.serve()?;
    lab.becomes("lan0:ingress", "active")?;
    const WAITS: &str = "there is no such interface (run attaches when it is there)";
    const DETACHED: &str = "(detached by hand, so run waits for a reload: qosbpf --netns";
    lab.ask("status")?.expect(3)?.says(&[WAITS])?;
    lab.ok("detach lan0")?;
    lab.ask("status")?.expect(3)?.says(&[WAITS, DETACHED, " run --reload)"])?;
    lab.stop()?;
    let alone = lab.ask("status")?.expect(3)?.stdout;
    assert!(!alone.contains("run attaches") && !alone.contains("run waits"), "{alone}");
    Ok(())
}
