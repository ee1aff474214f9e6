//! What is lost where the kernel makes or removes a clsact qdisc.

use anyhow::ensure;
use qosbpf_tests::router::{Router, run_in};

use crate::stage::{Row, Stage};

const TIMES: u32 = 15;

/// What is lost while two commands are given in turn, each of which may make or remove one qdisc.
fn lost(stage: Stage, mut work: impl FnMut(&Router) -> anyhow::Result<()>) -> anyhow::Result<u32> {
    for _ in 0..TIMES {
        work(&stage.router)?;
        stage.flow.pass(30)?;
    }
    let (_, outcome) = stage.end()?;
    // How long each of them takes the kernel is its own affair, and not the same at any time.
    ensure!(outcome.outages <= 2 * TIMES, "out of service more often than qdiscs were made and removed: {outcome:?}");
    Ok(outcome.beyond)
}

/// The kernel takes a device that is up out of service for a moment whenever it makes or removes a qdisc of it.
pub fn attached_and_detached() -> anyhow::Result<Row> {
    let ours = |router: &Router| {
        router.ok("attach wan0 --egress --hook clsact")?;
        router.ok("detach wan0").map(drop)
    };
    let by_us = lost(Stage::of(Router::start()?)?, ours)?;
    let by_tc = lost(Stage::of(Router::start()?)?, |router| {
        run_in(router.edge(), "tc qdisc add dev wan0 clsact")?;
        run_in(router.edge(), "tc qdisc del dev wan0 clsact").map(drop)
    })?;
    let router = Router::start()?;
    run_in(router.edge(), "tc qdisc add dev wan0 clsact")?;
    let beside = lost(Stage::of(router)?, ours)?;
    ensure!(beside == 0, "{beside} lost where the qdisc was there");
    Ok(Row {
        traffic: format!(
            "{by_us} lost in {TIMES} rounds by qosbpf, {by_tc} by tc alone; 0 where the qdisc is there already"
        ),
        counters: "of the hook begin and end with it".to_owned(),
        said: "docs/attaching.md".to_owned(),
    })
}
