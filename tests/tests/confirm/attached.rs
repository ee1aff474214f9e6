//! Hooks that are attached, or whose devices go away, while a policy waits to be confirmed.

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    far_end::FarEnd,
    features::Feature,
    router::{Router, run_in},
};
use serde_json::Value;

const EF: u8 = 46;
const AF41: u8 = 34;

/// `dyn0` by a mechanism, where EF gets this mark; the LAN is only looked at.
fn policy(router: &Router, name: &str, hook: &str, mark: &str) -> anyhow::Result<String> {
    let text = format!(
        "[interface.lan0]\ningress = \"same\"\n[remark.same]\nother = \"keep\"\n\
         [interface.dyn0]\nhook = \"{hook}\"\negress = \"{name}\"\n[remark.{name}]\nEF = \"{mark}\"\nother = \"keep\"\n"
    );
    router.policy(name, &text)
}

fn hook(router: &Router, interface: &str) -> anyhow::Result<Option<Value>> {
    let status = router.ask("status --json")?.json()?;
    let hooks = status["hooks"].as_array().context("hooks")?;
    Ok(hooks.iter().find(|hook| hook["interface"] == interface).cloned())
}

/// What was there before the trial.
enum Before {
    /// Nothing: it is attached for the trial.
    Nothing,
    /// A hook that counts.
    Counting,
    /// Another policy.
    Policy,
}

/// The trial ends while the device is away: there, at once, and so it is when it is back.
fn ends_where_it_is(before: &Before, via: &str) -> anyhow::Result<()> {
    let router = Router::start()?;
    let far = FarEnd::of(&router)?;
    let (edge, away) = (router.edge(), router.lab().wan());
    let (first, trial) = (policy(&router, "first", via, "AF41")?, policy(&router, "trial", via, "DF")?);
    router.ok("attach lan0 --ingress")?;
    let mark = match before {
        Before::Nothing => EF,
        Before::Counting => router.ok(&format!("attach dyn0 --egress --hook {via}")).map(|_| EF)?,
        Before::Policy => router.ok(&format!("policy apply {first} --attach")).map(|_| AF41)?,
    };
    router.ok(&format!("policy apply {trial} --attach --confirm 10m"))?;
    ensure!(far.mark_of_ef(edge)? == 0, "the trial");
    run_in(edge, &format!("ip link set dyn0 netns {}", away.name()))?;
    router.ok("policy rollback")?.says(&["is taken back: back to"])?;
    // A filter does not go along.
    let there = if via == "clsact" { EF } else { mark };
    ensure!(far.mark_of_ef(away)? == there, "away");
    run_in(away, &format!("ip link set dyn0 netns {}", edge.name()))?;
    if matches!(before, Before::Nothing) {
        ensure!(hook(&router, "dyn0")?.is_none(), "it is not detached");
    } else if via == "clsact" {
        router.ok("attach dyn0 --egress")?.complains(&["dyn0:egress begins at zero: "])?;
    }
    ensure!(far.mark_of_ef(edge)? == mark, "back");
    router.ok("status").map(drop)
}

#[test]
fn a_policy_is_taken_back_where_the_device_is() -> anyhow::Result<()> {
    for via in ["tcx", "clsact"] {
        if via == "tcx" && Feature::Tcx.leaves_out("a device that takes its program along")? {
            continue;
        }
        for (before, name) in
            [(Before::Nothing, "nothing"), (Before::Counting, "counting"), (Before::Policy, "a policy")]
        {
            ends_where_it_is(&before, via).with_context(|| format!("{via}, {name} before"))?;
        }
    }
    Ok(())
}

/// Whoever attaches by hand wants it whatever becomes of the trial: in the place of what was attached for it, and at a device
/// that has the number of one that was.
#[test]
fn what_is_attached_by_hand_meanwhile_stays() -> anyhow::Result<()> {
    let router = Router::start()?;
    let edge = router.edge();
    let trial = policy(&router, "trial", "clsact", "DF")?;
    let wanted = |name: &str| {
        router.ok("policy rollback")?;
        let left = hook(&router, name)?.context("it was detached with the policy on trial")?;
        ensure!(left["state"] == "counting", "{left:#}");
        router.ok(&format!("detach {name}"))
    };
    run_in(edge, "ip link add dyn0 index 77 type veth peer name dyn1")?;
    router.ok("attach lan0 --ingress")?;
    let try_it = || router.ok(&format!("policy apply {trial} --attach --confirm 10m"))?.says(&["dyn0:egress"]);
    try_it()?;
    router.ok("detach dyn0:egress")?;
    router.ok("attach dyn0 --egress --hook clsact")?.says(&["attached: clsact, as asked; table trial"])?;
    wanted("dyn0")?;
    try_it()?;
    run_in(edge, "ip link del dyn0")?;
    run_in(edge, "ip link add dyn9 index 77 type veth peer name dyn8")?;
    router.ok("attach dyn9 --egress")?.says(&["dyn9:egress  attached: "])?;
    wanted("dyn9").map(drop)
}

/// Nobody detached it: what the trial has attached is put back for the trial.
#[test]
fn what_is_attached_for_the_trial_goes_with_it_under_another_number() -> anyhow::Result<()> {
    if Feature::Tcx.leaves_out("a device that takes its program along")? {
        return Ok(());
    }
    let router = Router::start()?;
    let far = FarEnd::of(&router)?;
    let (edge, away) = (router.edge(), router.lab().wan());
    let trial = policy(&router, "trial", "tcx", "DF")?;
    router.ok("attach lan0 --ingress")?;
    router.ok(&format!("policy apply {trial} --attach --confirm 10m"))?;
    let number = hook(&router, "dyn0")?.context("attached")?["ifindex"].clone();
    run_in(edge, &format!("ip link set dyn0 netns {}", away.name()))?;
    run_in(edge, &format!("ip link add taken0 index {number} type veth peer name taken1"))?;
    run_in(away, &format!("ip link set dyn0 netns {}", edge.name()))?;
    router.ok("policy rollback")?;
    assert_eq!(far.mark_of_ef(edge)?, EF);
    assert_eq!(hook(&router, "dyn0")?, None);
    router.ok("status").map(drop)
}
