//! Other people's programs: never replaced, never removed, named when they are in the way.

use std::{fs, os::fd::AsFd as _};

use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType,
    tc::{SchedClassifierLinkId, TcAttachOptions},
};
use qosbpf_tests::{
    bpf::{Kind, load_constant, pin},
    router::{Router, run_in},
};

use qosbpf_tests::left::{assert_nothing, programs, tcx};

const XDP_PASS: i32 = 2;
const TC_ACT_UNSPEC: i32 = -1;

/// A program called `foreign`, pinned in the lab's folder of foreign pins.
fn foreign(router: &Router, kind: Kind, name: &str) -> anyhow::Result<String> {
    let verdict = if kind == Kind::Xdp { XDP_PASS } else { TC_ACT_UNSPEC };
    let program = load_constant(kind, c"foreign", verdict)?;
    let path = router.bpffs.join(name);
    pin(program.as_fd(), &path)?;
    Ok(path.display().to_string())
}

#[test]
fn an_xdp_program_in_the_slot_stays_there() -> anyhow::Result<()> {
    let router = Router::start()?;
    let path = foreign(&router, Kind::Xdp, "foreign")?;
    run_in(router.edge(), &format!("ip link set dev lan0 xdpdrv pinned {path}"))?;
    let earlier = programs(router.edge(), "lan0")?;

    let refused = router.ask("attach lan0 --hook xdp")?.expect(1)?;
    refused.complains(&["lan0:ingress", "the XDP slot is taken by program", "\"foreign\"", "takes TC beside it"])?;
    assert_eq!(programs(router.edge(), "lan0")?, earlier);
    let policy = router.policy("p", "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    router.ask(&format!("attach lan0 --hook xdp --policy {policy}"))?.expect(1)?;
    let asks = "[interface.lan0]\nhook = \"xdp\"\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n";
    let refused = router.ask(&format!("policy apply {} --attach", router.policy("asks", asks)?))?.expect(1)?;
    refused.complains(&["how to free the slot; then apply the policy again: nothing of it is in force"])?;
    router.ok("status")?.says(&["no policy", "nothing is attached"])?;

    let chosen = router.ok("attach lan0")?;
    chosen.says(&["lan0:ingress  attached: tcx; not xdp-native: the XDP slot was taken by program", "\"foreign\""])?;
    router.ok("status")?.says(&["not xdp-native", "\"foreign\""])?;
    router.ping(false, 184, 5)?;
    assert_eq!(router.counted("lan0:ingress")?.packets(), [(184, 5)].into());

    router.ok("detach lan0")?;
    assert_eq!(programs(router.edge(), "lan0")?, earlier);
    run_in(router.edge(), "ip link set dev lan0 xdp off")?;
    fs::remove_file(path)?;
    assert_nothing(&router, "the foreign program's end")
}

#[test]
fn a_foreign_clsact_qdisc_and_its_filters_stay() -> anyhow::Result<()> {
    let router = Router::start()?;
    let path = foreign(&router, Kind::Classifier, "foreign")?;
    run_in(router.edge(), "tc qdisc add dev lan0 clsact")?;
    for side in ["ingress", "egress"] {
        run_in(router.edge(), &format!("tc filter add dev lan0 {side} prio 7 bpf da pinned {path}"))?;
    }
    let filters = |side: &str| anyhow::Ok(run_in(router.edge(), &format!("tc filter show dev lan0 {side}"))?.stdout);
    let earlier = [filters("ingress")?, filters("egress")?];
    router.ok("attach lan0 --hook clsact")?;
    router.ping(false, 184, 5)?;
    assert_eq!(router.counted("lan0:ingress")?.packets(), [(184, 5)].into());
    router.ok("detach --all")?;
    assert_eq!([filters("ingress")?, filters("egress")?], earlier);

    for side in ["ingress", "egress"] {
        run_in(router.edge(), &format!("tc filter del dev lan0 {side}"))?;
    }
    router.ok("attach lan0 --hook clsact")?;
    router.ok("detach lan0")?;
    assert_eq!(programs(router.edge(), "lan0")?.len(), 1, "an empty clsact qdisc that is not ours");
    Ok(())
}

/// In any order of detaching, and at both hooks.
#[test]
fn our_own_clsact_qdisc_goes_with_its_last_filter() -> anyhow::Result<()> {
    let router = Router::start()?;
    for [first, second] in [["ingress", "egress"], ["egress", "ingress"]] {
        router.ok(&format!("attach lan0 --hook clsact --{first}"))?;
        router.ok(&format!("attach lan0 --hook clsact --{second}"))?;
        router.ok(&format!("detach lan0:{first}"))?;
        assert_eq!(programs(router.edge(), "lan0")?.len(), 1, "the other hook still needs it");
        router.ping(false, 184, 2)?;
        assert_eq!(router.counted(&format!("lan0:{second}"))?.packets(), [(184, 2)].into());
        router.ok(&format!("detach lan0:{second}"))?;
        assert_nothing(&router, "the qdisc that we made")?;
    }
    Ok(())
}

/// Somebody put a filter of their own into the qdisc that we made.
#[test]
fn our_own_clsact_qdisc_stays_for_others() -> anyhow::Result<()> {
    let router = Router::start()?;
    let path = foreign(&router, Kind::Classifier, "foreign")?;
    router.ok("attach lan0 --hook clsact")?;
    run_in(router.edge(), &format!("tc filter add dev lan0 egress prio 7 bpf da pinned {path}"))?;
    router.ok("detach lan0")?;
    let filters = run_in(router.edge(), "tc filter show dev lan0 egress")?;
    assert!(filters.stdout.contains("pref 7") && !filters.stdout.contains("qosbpf"), "{}", filters.stdout);
    Ok(())
}

/// Somebody put their own filter where ours was.
#[test]
fn a_foreign_filter_in_our_place_is_neither_replaced_nor_removed() -> anyhow::Result<()> {
    let router = Router::start()?;
    let path = foreign(&router, Kind::Classifier, "foreign")?;
    let policy = router.policy("p", "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    router.ok("attach lan0 --ingress --hook clsact")?;
    router.ping(false, 184, 3)?;
    run_in(router.edge(), "tc filter del dev lan0 ingress")?;
    run_in(router.edge(), &format!("tc filter add dev lan0 ingress prio 20819 handle 1 bpf da pinned {path}"))?;
    let filter = || anyhow::Ok(run_in(router.edge(), "tc filter show dev lan0 ingress")?.stdout);
    let earlier = filter()?;
    assert!(earlier.contains("pref 20819") && earlier.contains("handle 0x1 foreign"), "{earlier}");
    router.ask("status")?.expect(3)?.says(&["removed by someone else"])?;
    router.ok(&format!("policy apply {policy}"))?;
    assert_eq!(filter()?, earlier);
    let refused = |who: &str| {
        let said = ["somebody else's filter has our place, pref 20819: ", who, "tc filter show dev lan0 ingress"];
        router.ask("attach lan0 --ingress --hook clsact")?.expect(1)?.complains(&said)?;
        anyhow::ensure!(tcx(router.edge(), "lan0", TcAttachType::Ingress)?.is_empty());
        anyhow::Ok(())
    };
    refused("\"foreign\"; ")?;
    assert_eq!(filter()?, earlier);
    // By its name it is none of ours: nobody meets two of them.
    router.ok("attach lan0 --ingress --hook tcx")?.says(&["its counters go on"])?;
    assert_eq!(router.counted("lan0:ingress")?.packets()[&184], 3);
    router.ok("detach lan0")?;
    assert_eq!(filter()?, earlier);
    run_in(router.edge(), "tc filter del dev lan0 ingress pref 20819")?;
    run_in(router.edge(), "tc filter add dev lan0 ingress prio 20819 protocol ip u32 match u32 0 0 flowid :1")?;
    refused("a filter of another kind than bpf; ")
}

#[test]
fn foreign_tcx_programs_stay_and_keep_their_order() -> anyhow::Result<()> {
    let router = Router::start()?;
    let mut neighbours = Vec::new();
    let mut expected = Vec::new();
    for side in [TcAttachType::Ingress, TcAttachType::Egress] {
        for number in 0..2 {
            let path = foreign(&router, Kind::Classifier, &format!("foreign-{side:?}-{number}"))?;
            neighbours.push(attach_tcx(&router, &path, side)?);
        }
        expected.push(tcx(router.edge(), "lan0", side)?);
    }
    let now = || anyhow::Ok([TcAttachType::Ingress, TcAttachType::Egress].map(|side| tcx(router.edge(), "lan0", side)));
    router.ok("attach lan0 --hook tcx")?;
    let policy = router.policy("p", "[interface.lan0]\negress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
    router.ok(&format!("policy apply {policy}"))?;
    let [ingress, egress] = now()?;
    assert_eq!(ingress?[1..], expected[0], "ours is the first to see what arrives");
    assert_eq!(egress?[..2], expected[1], "ours is the last to see what leaves");
    router.ok("detach --all")?;
    let [ingress, egress] = now()?;
    assert_eq!([ingress?, egress?], expected[..]);
    drop(neighbours);
    Ok(())
}

type Neighbour = (SchedClassifier, SchedClassifierLinkId);

fn attach_tcx(router: &Router, path: &str, side: TcAttachType) -> anyhow::Result<Neighbour> {
    router.edge().run(|| {
        let mut program = SchedClassifier::from_pin(path)?;
        let link = program.attach_with_options("lan0", side, TcAttachOptions::TcxOrder(LinkOrder::last()))?;
        Ok((program, link))
    })
}
