//! `why` on what a qdisc drops behind our count, and on one that is not there any more.

use std::net::SocketAddr;

use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in},
    typed::{find, has, type_in},
    udp,
};

use crate::way::pinging;

const SHAPER: &str = "tc qdisc add dev wan0 root tbf rate 8kbit burst 1600 limit 1600";

/// A shaper that drops most of a hundred EF, and the hook in front of it.
fn shaped() -> anyhow::Result<(Router, u64)> {
    let router = Router::start()?;
    run_in(router.edge(), SHAPER)?;
    router.ok("attach wan0:egress")?;
    send(&router, 100, 100)?;
    let counted = router.counted("wan0:egress")?;
    assert_eq!(counted.packets().get(&184), Some(&100), "{counted:?}");
    assert!(counted.qdisc_drops >= 50, "{counted:?}");
    Ok((router, counted.qdisc_drops))
}

fn send(router: &Router, count: usize, bytes: usize) -> anyhow::Result<()> {
    let [from, to] = [LAN_HOST, WAN_HOST].map(|end| SocketAddr::new(end.v4.into(), 5060));
    udp::send_long(router.lab().lan(), from, to, 184, count, bytes)
}

fn why(router: &Router) -> anyhow::Result<Answer> {
    router.ask("why wan0:egress EF --sample 0 --json")
}

#[test]
fn what_it_drops_behind_our_count_is_said() -> anyhow::Result<()> {
    let (router, drops) = shaped()?;
    let found = find(&why(&router)?.expect(0)?, "wan0:egress", "dropped-behind")?;
    assert_eq!(found["text"], format!("{drops} dropped by the qdisc tbf behind our count (of all codepoints)"));
    assert!(type_in(&found, None)?.stdout.contains("qdisc tbf"), "{found:#}");
    run_in(router.edge(), "tc qdisc del dev wan0 root")?;
    assert!(!has(&why(&router)?, "dropped-behind")?, "the one that is there dropped none");
    Ok(())
}

/// It came and went after the hook was attached, so that the numbers alone tell of it.
#[test]
fn of_one_that_came_and_went_it_is_said_that_it_may_have_dropped() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0:egress")?;
    run_in(router.edge(), SHAPER)?;
    // So short that the headers of a super-packet's segments could be all that is missing.
    send(&router, 100, 10)?;
    run_in(router.edge(), "tc qdisc del dev wan0 root")?;
    let counted = router.counted("wan0:egress")?;
    assert!(counted.qdisc_drops == 0 && counted.packets().get(&184) == Some(&100), "{counted:?}");
    let stats = router.ok("stats wan0:egress --rate 0")?;
    stats.says(&["seen by us: cannot be told (super-packets, or drops of a qdisc that is gone)"])?;
    let found = find(&why(&router)?, "wan0:egress", "share-hidden")?;
    assert!(found["text"].to_string().contains("or a qdisc that is gone has dropped some"), "{found:#}");
    Ok(())
}

/// Its drops went with it.
#[test]
fn of_one_that_was_replaced_nothing_is_asserted() -> anyhow::Result<()> {
    let (router, _) = shaped()?;
    run_in(router.edge(), "tc qdisc del dev wan0 root")?;
    let answer = why(&router)?.expect(0)?;
    let found = find(&answer, "wan0:egress", "qdisc-replaced")?;
    let text = "the qdisc was replaced since the hook was attached; what that one dropped is not known";
    assert!(found["text"].as_str().is_some_and(|said| said.ends_with(text)), "{found:#}");
    assert!(!has(&answer, "lost-behind")?, "{}", answer.stdout);
    Ok(())
}

#[test]
fn of_one_that_came_and_went_nothing_is_asserted_of_what_flows_now() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0:egress")?;
    run_in(router.edge(), SHAPER)?;
    send(&router, 100, 1000)?;
    run_in(router.edge(), "tc qdisc del dev wan0 root")?;
    find(&why(&router)?.expect(4)?, "wan0:egress", "lost-behind")?;
    let mut ping = pinging(&router, "-i 0.05 -Q 184")?;
    let answer = router.ask("why wan0:egress EF --sample 3 --json");
    ping.end()?;
    let earlier = find(&answer?.expect(0)?, "wan0:egress", "share-earlier")?;
    let words = ["the device agrees: while we looked", "packets that we saw did not come to it: not so now"];
    assert!(words.iter().all(|words| earlier["text"].to_string().contains(words)), "{earlier:#}");
    Ok(())
}
