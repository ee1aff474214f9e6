//! The SSH session of whoever applies a policy that would drop it.

use qosbpf::lab::topology::{EDGE_LAN, LAN_HOST};
use qosbpf_tests::{binary::Answer, router::Router};

fn dropping(hook: &str, port: &str) -> String {
    format!(
        "[interface.lan0]\ningress = \"t\"\negress = \"t\"\n[remark.t]\nother = \"keep\"\n\
         [[rule]]\nname = \"no SSH\"\non = \"{hook}\"\nmatch = {{ proto = \"tcp\", {port} = 22 }}\ndrop = true\n"
    )
}

fn apply(router: &Router, line: &str) -> anyhow::Result<Answer> {
    let mut command = router.command(line)?;
    command.env("SSH_CONNECTION", format!("{} 50000 {} 22", LAN_HOST.v4, EDGE_LAN.v4));
    Answer::of(&mut command)
}

#[test]
fn a_policy_that_drops_it_is_refused_unless_forced() -> anyhow::Result<()> {
    for (name, hook, port) in [("leaves", "lan0:egress", "src-port"), ("comes", "lan0:ingress", "dst-port")] {
        let router = Router::start()?;
        let file = router.policy(name, &dropping(hook, port))?;
        router.ok("attach lan0 --hook tcx")?;
        let refused = apply(&router, &format!("policy apply {file} --json"))?.expect(3)?;
        assert_eq!(refused.json()?["error"]["code"], "session-dropped");
        refused.complains(&[&format!("DROPPED at {hook} by rule \"no SSH\""), "--force"])?;
        assert!(router.ok("status --json")?.json()?["policy"].is_null());
        apply(&router, &format!("policy diff {file}"))?.expect(3)?.says(&["your SSH session", "DROPPED at"])?;
        let forced = apply(&router, &format!("policy apply {file} --force --json"))?.expect(0)?;
        assert_eq!(forced.json()?["session"]["dropped"]["hook"], hook);
        // Whoever is not in a session of that kind is not kept from it.
        router.ok(&format!("policy apply {file}"))?;
    }
    Ok(())
}

#[test]
fn a_hook_that_is_not_attached_drops_nothing_until_it_is() -> anyhow::Result<()> {
    let router = Router::start()?;
    let file = router.policy("leaves", &dropping("lan0:egress", "src-port"))?;
    router.ok("attach lan0 --ingress")?;
    apply(&router, &format!("policy apply {file} --attach"))?.expect(3)?.complains(&["DROPPED at lan0:egress"])?;
    apply(&router, &format!("policy apply {file}"))?.expect(0)?.says(&["passes, its mark unchanged at lan0:egress"])?;
    Ok(())
}

#[test]
fn an_attach_with_a_policy_that_drops_it_is_refused_too() -> anyhow::Result<()> {
    let router = Router::start()?;
    let file = router.policy("comes", &dropping("lan0:ingress", "dst-port"))?;
    let line = format!("attach lan0 --policy {file}");
    apply(&router, &line)?.expect(3)?.complains(&["DROPPED at lan0:ingress", "policy apply --force"])?;
    let status = router.ok("status --json")?.json()?;
    assert_eq!((status["hooks"].as_array().map(Vec::len), status["policy"].is_null()), (Some(0), true));
    router.ok(&line)?;
    // The same again changes nothing, and asks nothing.
    apply(&router, &line)?.expect(0)?.says(&["already attached"])?;
    Ok(())
}
