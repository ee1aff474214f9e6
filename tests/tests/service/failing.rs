//! Hooks that cannot be attached, and what that costs.

use std::time::Instant;

use anyhow::ensure;
use qosbpf_tests::{flow::Flow, router::run_in, service::Lab};

use crate::denied::NoFilters;

const POLICY: &str = "[interface.lan0]\nhook = \"clsact\"\ningress = \"mark\"\n[interface.wan0]\negress = \"mark\"\n\
    [remark.mark]\nEF = \"AF41\"\nother = \"keep\"\n";

/// How often everything is tried again, in seconds.
const LOOK: u64 = 30;

/// Whether it takes the filter by now is asked where no packet passes.
#[test]
fn a_filter_that_the_kernel_has_refused_costs_no_packet_again() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save(
        "edge",
        &POLICY.replace("[interface.wan0]", "[interface.wan0]\nhook = \"clsact\"").replace("ingress =", "egress ="),
    )?;
    let denied = NoFilters::within(|| lab.serve())?;
    lab.says(&["wan0:egress: cannot attach: clsact: ", "Cannot allocate memory"])?;
    let flow = Flow::start(&lab.router)?;
    // Both hooks, both refused.
    for attempts in [4, 6] {
        // A reload tries again what has failed.
        flow.pass(100)?;
        lab.ask("run --reload")?;
        ensure!(denied.attempts() >= attempts, "{} attempts", denied.attempts());
    }
    flow.pass(100)?;
    let outcome = flow.end()?;
    ensure!(outcome.beyond == 0, "{outcome:?}");
    denied.allow();
    lab.ok("run --reload")?;
    lab.becomes("wan0:egress", "active")
}

/// For each attempt a qdisc is made and removed, by which the kernel takes the device out of service, and tells of it.
#[test]
fn a_filter_that_the_kernel_refuses_is_left_alone_for_a_while() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", POLICY)?;
    let start = Instant::now();
    let denied = NoFilters::within(|| lab.serve())?;
    lab.says(&["lan0:ingress: cannot attach: clsact: ", "Cannot allocate memory", "; it is tried again"])?;
    // Looks come one after the other, and each is a reason to try.
    for mtu in (1300..1400).step_by(10) {
        run_in(lab.router.edge(), &format!("ip link set wan0 mtu {mtu}"))?;
        lab.says(&[&format!("is {mtu} now")])?;
    }
    let most = 1 + start.elapsed().as_secs() / LOOK;
    assert!(denied.attempts() as u64 <= most, "{} attempts, at most {most}", denied.attempts());
    assert_eq!(lab.log()?.matches("cannot attach").count(), 1, "{}", lab.log()?);
    denied.allow();
    run_in(lab.router.edge(), "ip link set lan0 mtu 1400")?;
    lab.becomes("lan0:ingress", "active")?;
    assert!(lab.five_become(34)?);
    Ok(())
}
