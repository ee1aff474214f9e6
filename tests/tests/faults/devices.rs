//! What happens to interfaces while packets flow.

use anyhow::{Context as _, bail, ensure};
use aya::programs::TcAttachType;
use qosbpf::lab::topology::{EDGE_LAN, LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    left::tcx,
    router::{Router, run_in, wait_until_up},
    typed::shell,
};

use crate::{
    Fault,
    bpffs::failing,
    stage::{AF31, AF41, EF, Row, Stage, complaint, cut, other_policy, quoted},
    trace::Call,
};

pub const FAULTS: &[Fault] = &[
    ("device deleted and made again", deleted),
    ("device deleted and made again, clsact", deleted_by_clsact),
    ("link down and up, five times", flap),
    ("device renamed", renamed),
    ("MTU changed", mtu),
    ("MTU beyond what XDP takes", jumbo),
    ("number of queues changed", queues),
    ("device moved to another namespace and back", moved),
    ("device moved to another namespace and back, clsact", moved_by_clsact),
    ("device moved to another namespace and back, under another number", renumbered),
];

/// What EF is where nothing marks.
const UNMARKED: u8 = EF >> 2;

/// The cable to the LAN, as the lab makes it, by ip(8).
fn make_lan_again(stage: &Stage) -> anyhow::Result<()> {
    let lan = stage.router.lab().lan();
    stage.run(&format!(
        "ip link add lan0 address {} type veth peer name eth0 address {} netns {}",
        EDGE_LAN.mac,
        LAN_HOST.mac,
        lan.name()
    ))?;
    stage.run("ip address add 192.0.2.1/24 dev lan0")?;
    stage.run("ip link set lan0 up")?;
    stage.run(&format!("ip neighbour replace {} lladdr {} nud permanent dev lan0", LAN_HOST.v4, LAN_HOST.mac))?;
    for line in [
        "ip address add 192.0.2.2/24 dev eth0".to_owned(),
        "ip link set eth0 up".to_owned(),
        format!("ip neighbour replace {} lladdr {} nud permanent dev eth0", EDGE_LAN.v4, EDGE_LAN.mac),
        "ip route add 0.0.0.0/0 via 192.0.2.1".to_owned(),
    ] {
        run_in(lan, &line)?;
    }
    wait_until_up(&[(stage.edge(), "lan0"), (lan, "eth0")])
}

/// What comes from the router to the WAN host passes again.
fn wan_is_up(router: &Router) -> anyhow::Result<()> {
    wait_until_up(&[(router.edge(), "wan0"), (router.lab().wan(), "eth0")])
}

/// What the hooks say that the interfaces before them have counted of EF.
fn counted(stage: &Stage, interface: &str, direction: &str) -> anyhow::Result<u64> {
    let hook = stage.router.counted(&format!("{interface}:{direction}"))?;
    Ok(hook.packets().get(&EF).copied().unwrap_or_default())
}

fn deleted() -> anyhow::Result<Row> {
    gone_and_back("auto")
}

fn deleted_by_clsact() -> anyhow::Result<Row> {
    gone_and_back("clsact")
}

fn gone_and_back(hook: &str) -> anyhow::Result<Row> {
    let mut stage = Stage::start(hook)?;
    let before = counted(&stage, "lan0", "ingress")?;
    stage.flow.during(|| run_in(stage.router.edge(), "ip link del lan0"))?;
    let status = stage
        .router
        .ask("status")?
        .expect(3)?
        .says(&["the interface is gone (it was lan0); to remove what is left:", " detach if-"])?;
    let stats = stage.router.ok("stats --json")?.json()?;
    let gone = stats["hooks"].as_array().and_then(|hooks| hooks.first()).context("the hooks that were there")?;
    let kept = gone["before"].as_array().and_then(|rows| rows.iter().find(|row| row["ds"] == EF)).cloned();
    let kept = kept.and_then(|row| row["packets"].as_u64()).unwrap_or_default();
    ensure!(kept >= before, "{kept} of {before} are left: {gone:#}");
    make_lan_again(&stage)?;
    stage.flow.during(|| stage.router.ok(&format!("attach lan0 --hook {hook}")))?;
    stage.router.ok("status")?;
    let lines = status.stdout.lines().map(str::trim).skip_while(|line| !line.contains("is gone"));
    // A command that is too long for the line has one of its own.
    let said = complaint(&stage.router, &lines.take(2).collect::<Vec<_>>().join(" "))?;
    // From the deletion on until the new device was attached.
    stage.flow.join_faults();
    let (router, outcome) = stage.end()?;
    ensure!(outcome.marks.keys().eq(&[AF41]), "{outcome:?}");
    let wan = router.counted("wan0:egress")?.packets()[&EF];
    ensure!(wan == u64::from(outcome.arrived()), "wan0 counted {wan} of {outcome:?}");
    let lan = router.counted("lan0:ingress")?.packets()[&EF];
    ensure!(lan + kept <= u64::from(outcome.sent), "{lan} and {kept} of {outcome:?}");
    router.ok("detach --all")?;
    qosbpf_tests::left::assert_nothing(&router, "detach --all")?;
    let counters = "the old device's are kept until `detach`, or until something is attached or applied; the new one begins; the other \
                    hooks go on".to_owned();
    Ok(Row { traffic: cut(&outcome)?, counters, said })
}

/// Ends a flow that was cut while the fault lasted: what came through was counted, once at either hook, and remarked to these.
fn cut_and_counted(stage: Stage, marks: &[u8], said: String) -> anyhow::Result<Row> {
    let (router, outcome) = stage.end()?;
    ensure!(outcome.marks.keys().eq(marks), "{outcome:?}");
    let (arrived, sent) = (u64::from(outcome.arrived()), u64::from(outcome.sent));
    for hook in ["lan0:ingress", "wan0:egress"] {
        let counted = router.counted(hook)?.packets()[&EF];
        ensure!(counted >= arrived && counted <= sent, "{hook}: {counted} counted of {outcome:?}");
        ensure!(outcome.within > 0 || counted == sent, "{hook}: {counted} counted of {outcome:?}");
    }
    Ok(Row { traffic: cut(&outcome)?, counters: "go on: what arrived, at both hooks".to_owned(), said })
}

fn flap() -> anyhow::Result<Row> {
    let mut stage = Stage::start("auto")?;
    for _ in 0..5 {
        let (router, flow) = (&stage.router, &mut stage.flow);
        flow.during(|| {
            run_in(router.edge(), "ip link set wan0 down")?;
            run_in(router.edge(), "ip link set wan0 up")?;
            let neighbour = format!("{} lladdr {} nud permanent dev wan0", WAN_HOST.v4, WAN_HOST.mac);
            run_in(router.edge(), &format!("ip neighbour replace {neighbour}"))?;
            wan_is_up(router)
        })?;
        stage.flow.pass(50)?;
        stage.router.ok("status")?;
    }
    cut_and_counted(stage, &[AF41], "`status`: nothing to say, exit 0".to_owned())
}

fn renamed() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    stage.run("ip link set wan0 name wan0.832")?;
    stage.flow.pass(50)?;
    stage.router.ask("status")?.expect(3)?.says(&["wan0.832:egress", "no such interface"])?;
    let reason = reason(&stage.router, "wan0")?;
    let cure = format!("ip netns exec {} ip link set dev wan0.832 name wan0", stage.edge().name());
    ensure!(reason.contains("wan0 is called wan0.832 now") && reason.contains(&cure), "{reason}");
    stage.refused("stats wan0", 1, &["not attached at wan0", "wan0.832:egress"])?;
    stage.flow.pass(50)?;
    shell(&cure, None)?.expect(0)?;
    stage.router.ok("status")?;
    let said = quoted(&stage.router, &reason);
    stage.unharmed(said)
}

/// Why `status` says that the egress of an interface is missing.
fn reason(router: &Router, interface: &str) -> anyhow::Result<String> {
    let status = router.ask("status --json")?.expect(3)?.json()?;
    let hooks = status["hooks"].as_array().context("hooks")?;
    let hook = hooks.iter().find(|hook| hook["interface"] == interface && hook["direction"] == "egress");
    let hook = hook.with_context(|| format!("no {interface}:egress: {status:#}"))?;
    ensure!(hook["state"] == "missing", "{hook:#}");
    Ok(hook["reason"].as_str().context("a reason")?.to_owned())
}

fn mtu() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    for size in [1280, 1400, 1500] {
        for device in ["lan0", "wan0"] {
            stage.run(&format!("ip link set {device} mtu {size}"))?;
        }
        stage.flow.pass(50)?;
    }
    stage.router.ok("status")?;
    stage.unharmed("`status`: nothing to say, exit 0".to_owned())
}

/// XDP for packets in one piece is at lan0: the kernel refuses an MTU that would bring others.
fn jumbo() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let refused = run_in(stage.router.lab().lan(), "ip link set eth0 mtu 9000");
    ensure!(refused.is_err(), "the kernel took an MTU of 9000 beside XDP in one piece");
    stage.flow.pass(50)?;
    stage.router.ok("detach lan0")?;
    for (namespace, device) in [(stage.router.lab().lan(), "eth0"), (stage.edge(), "lan0")] {
        run_in(namespace, &format!("ip link set {device} mtu 9000"))?;
    }
    both_refusals_are_said(&stage.router)?;
    let attached = stage.router.ok("attach lan0")?.says(&["lan0:ingress", "xdp-native"])?;
    let (router, outcome) = stage.end()?;
    ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
    ensure!(router.counted("wan0:egress")?.packets()[&EF] == u64::from(outcome.sent));
    let said = quoted(&router, attached.stdout.lines().next().unwrap_or_default());
    let counters = "of lan0 begin with the new attachment, as said; those of wan0 go on".to_owned();
    Ok(Row { traffic: format!("0 of {} lost", outcome.sent), counters, said })
}

/// The kernel refuses the plain program for its pieces. If it refuses the other one too, neither reason is lost.
fn both_refusals_are_said(router: &Router) -> anyhow::Result<()> {
    const BOTH: [&str; 2] = [", and to the program for packets in several pieces: ", "Cannot allocate memory"];
    // The first links are tries of what the kernel has: one of those that follow is the second program's.
    for first in 1..8 {
        let mut links = 0;
        let from_there_on = |call: &Call| {
            links += usize::from(call.is_link());
            call.is_link() && links > first
        };
        let (code, _, said) = failing(router, "attach lan0 --ingress --hook xdp", libc::ENOMEM, from_there_on)?;
        ensure!(code == 1, "attached without both having been refused");
        if BOTH.iter().all(|words| said.contains(words)) {
            return Ok(());
        }
    }
    bail!("one of the two refusals is not said")
}

/// How many queues a device has now, to receive and to send.
fn channels(stage: &Stage, device: &str) -> anyhow::Result<[u32; 2]> {
    let said = stage.run(&format!("ethtool -l {device}"))?.stdout;
    let (_, now) = said.split_once("Current hardware settings:").with_context(|| said.clone())?;
    let count = |name: &str| now.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    [count("RX:"), count("TX:")]
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .and_then(|all| all.try_into().ok())
        .context(said)
}

/// One more or one less, and back: a device with XDP may refuse, the other one does it.
fn queues() -> anyhow::Result<Row> {
    let mut stage = Stage::start("auto")?;
    for device in ["wan0", "lan0"] {
        let before = channels(&stage, device)?;
        let other = if before == [1, 1] { [2, 2] } else { [1, 1] };
        for wanted in [other, before] {
            let was = channels(&stage, device)?;
            let line = format!("ethtool -L {device} rx {} tx {}", wanted[0], wanted[1]);
            let (router, flow) = (&stage.router, &mut stage.flow);
            let changed = flow.during(|| run_in(router.edge(), &line));
            let now = channels(&stage, device)?;
            ensure!(now == if changed.is_ok() { wanted } else { was }, "{line}: {was:?} became {now:?}: {changed:?}");
            ensure!(device != "wan0" || now != was, "{line} changed nothing: {changed:?}");
            stage.flow.pass(50)?;
        }
    }
    stage.router.ok("status")?;
    cut_and_counted(stage, &[AF41], "`status`: nothing to say, exit 0".to_owned())
}

/// The WAN host's namespace gets the device and gives it back, and `then` is done. Links go with the device and run on there,
/// qdiscs do not. What `status` says meanwhile.
fn away_and_back(
    stage: &mut Stage,
    meanwhile: impl FnOnce(&Router) -> anyhow::Result<()>,
    then: impl FnOnce(&Router) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    let (router, flow) = (&stage.router, &mut stage.flow);
    let said = flow.during(|| {
        let away = router.lab().wan();
        run_in(router.edge(), &format!("ip link set wan0 netns {}", away.name()))?;
        let reason = reason(router, "wan0").and_then(|reason| meanwhile(router).map(|()| reason));
        run_in(away, &format!("ip link set wan0 netns {}", router.edge().name()))?;
        for line in [
            "ip address add 198.51.100.1/24 dev wan0".to_owned(),
            "ip link set wan0 up".to_owned(),
            format!("ip neighbour replace {} lladdr {} nud permanent dev wan0", WAN_HOST.v4, WAN_HOST.mac),
        ] {
            run_in(router.edge(), &line)?;
        }
        wan_is_up(router)?;
        then(router)?;
        reason
    })?;
    let said = complaint(&stage.router, &said)?;
    stage.router.ok("status")?;
    Ok(said)
}

fn moved() -> anyhow::Result<Row> {
    let mut stage = Stage::start("tcx")?;
    let said = away_and_back(&mut stage, |_| Ok(()), |_| Ok(()))?;
    cut_and_counted(stage, &[AF41], said)
}

/// The kernel removes the filter with its qdisc, and nobody can tell that from a deletion: the next device of this name and
/// number must not have its counters.
fn moved_by_clsact() -> anyhow::Result<Row> {
    let mut stage = Stage::start("clsact")?;
    let put_back = |router: &Router| {
        let zero = ["wan0:egress begins at zero: ", "or has been in another network namespace"];
        let attached = router.ok("attach wan0 --hook clsact")?;
        attached.says(&["wan0:egress  attached: clsact"])?.complains(&zero).map(drop)
    };
    let said = away_and_back(&mut stage, |_| Ok(()), put_back)?;
    let (router, outcome) = stage.end()?;
    ensure!(outcome.marks.keys().eq(&[AF41, UNMARKED]), "{outcome:?}");
    let counted = router.counted("wan0:egress")?.packets()[&EF];
    ensure!((1..=u64::from(outcome.marks[&AF41])).contains(&counted), "{counted} counted of {outcome:?}");
    Ok(Row {
        traffic: format!("{}; unmarked until it was attached again", cut(&outcome)?),
        counters: "begin at zero where it is attached again, which is said".to_owned(),
        said,
    })
}

/// Its number is taken where it goes. What is in force has changed when it is back; its program runs on all the time.
fn renumbered() -> anyhow::Result<Row> {
    let mut stage = Stage::start("tcx")?;
    let number = |router: &Router| anyhow::Ok(router.hook_folder("wan0", "egress")?);
    let (was, other) = (number(&stage.router)?, stage.router.policy("other", &other_policy())?);
    let index = was.parent().and_then(|folder| folder.to_str()?.rsplit_once("if-")).context("a number")?.1.to_owned();
    let apply = format!("policy apply {other}");
    run_in(stage.router.lab().wan(), &format!("ip link add taken0 index {index} type veth peer name other0 index 99"))?;
    let mut said = String::new();
    let then = |router: &Router| {
        let back = router.ask("status")?.expect(3)?.says(&["its device is back as wan0, under another number"])?;
        let lines = back.stdout.lines().map(str::trim).skip_while(|line| !line.contains("is back as wan0"));
        said = complaint(router, &lines.take(2).collect::<Vec<_>>().join(" "))?;
        // A look changes nothing.
        ensure!(was.join("link").exists());
        router.ok("attach wan0 --egress")?.says(&["wan0:egress  changed: "])?;
        router.ok("status")?;
        router.ok(&apply)?.says(&["wan0:egress", "same"]).map(drop)
    };
    away_and_back(&mut stage, |router| router.ok(&apply).map(drop), then)?;
    ensure!(!was.exists() && number(&stage.router)?.join("link").exists(), "{}", was.display());
    for side in [TcAttachType::Ingress, TcAttachType::Egress] {
        let programs = tcx(stage.edge(), "wan0", side)?;
        ensure!(programs.len() == 1, "{side:?}: {programs:?}");
    }
    stage.flow.pass(50)?;
    cut_and_counted(stage, &[AF31, AF41], said)
}
