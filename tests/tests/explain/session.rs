//! The SSH session of whoever applies a policy that would drop it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use qosbpf::lab::topology::{EDGE_LAN, LAN_HOST};
use qosbpf_tests::{
    binary::{self, Answer},
    router::{Router, run_in},
};

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
        refused.complains(&[&format!("DROPPED at {hook} by rule "), "no SSH", "--force"])?;
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

/// Runs `qosbpf` below a shell that `shell` starts in the router's namespace, and that has `connection` in its environment;
/// in that of `qosbpf` there is nothing of it, as under sudo.
fn below(router: &Router, shell: &Path, connection: Option<&str>, line: &str) -> anyhow::Result<Answer> {
    let qosbpf = router.command(line)?;
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", router.edge().name())).arg(shell);
    command
        .args(["-c", "env -u SSH_CONNECTION \"$@\"; exit $?", "sh"])
        .arg(qosbpf.get_program())
        .args(qosbpf.get_args());
    command.env_remove("SSH_CONNECTION").env("LC_ALL", "C.UTF-8");
    if let Some(connection) = connection {
        command.env("SSH_CONNECTION", connection);
    }
    Answer::of(&mut command)
}

/// sudo takes the variable away; the shell that it was started from still has it.
#[test]
fn a_session_is_found_behind_sudo() -> anyhow::Result<()> {
    let router = Router::start()?;
    let file = router.policy("leaves", &dropping("lan0:egress", "src-port"))?;
    router.ok("attach lan0 --hook tcx")?;
    let connection = format!("{} 50000 {} 22", LAN_HOST.v4, EDGE_LAN.v4);
    let apply = format!("policy apply {file}");
    let refused = below(&router, Path::new("/bin/sh"), Some(&connection), &apply)?.expect(3)?;
    refused.complains(&["DROPPED at lan0:egress by rule \"no SSH\""])?;
    assert!(router.ok("status --json")?.json()?["policy"].is_null());
    Ok(())
}

/// Below a process of sshd there is a session, and whoever cannot say which says that.
#[test]
fn a_session_of_which_nothing_is_known_is_said_to_be_unchecked() -> anyhow::Result<()> {
    let router = Router::start()?;
    let file = router.policy("leaves", &dropping("lan0:egress", "src-port"))?;
    router.ok("attach lan0 --hook tcx")?;
    let sshd = router.folder().join("sshd");
    binary::copy(Path::new("/bin/sh"), &sshd)?;
    fs::set_permissions(&sshd, fs::Permissions::from_mode(0o755))?;
    let apply = format!("policy apply {file} --json");
    let applied = below(&router, &sshd, None, &apply)?.expect(0)?;
    let applied = applied.complains(&["! your SSH session: NOT CHECKED whether the policy drops it"])?;
    assert!(applied.json()?["session"]["unchecked"].is_string());
    // One whose client cannot be reached from here is as little known.
    let mut command = router.command(&apply)?;
    command.env("SSH_CONNECTION", format!("2001:db8:dead::7 50000 {} 22", EDGE_LAN.v6));
    Answer::of(&mut command)?.expect(0)?.complains(&["NOT CHECKED", "no route"])?;
    Ok(())
}

/// A meter that drops lets the first packet through, and is told of; one that no full packet fits into drops the session.
#[test]
fn a_policer_is_told_of_and_one_that_lets_nothing_through_is_refused() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --hook tcx")?;
    let metering = |burst: &str| {
        format!(
            "[interface.lan0]\nlocal = \"policy\"\n[[rule]]\nname = \"slow\"\non = \"lan0:egress\"\n\
             match = {{ proto = \"tcp\" }}\nred = \"drop\"\ngreen = \"keep\"\nyellow = \"keep\"\n\
             meter = {{ type = \"srtcm\", cir = \"64kbit\", cbs = \"{burst}\", ebs = \"0B\" }}\n"
        )
    };
    let file = router.policy("slow", &metering("8kB"))?;
    let told = apply(&router, &format!("policy apply {file}"))?.expect(0)?;
    told.says(&["your SSH session", "passes, ", "rule \"slow\" (", "drops what of it is too fast"])?;
    let file = router.policy("tight", &metering("600B"))?;
    apply(&router, &format!("policy apply {file}"))?
        .expect(3)?
        .complains(&["DROPPED at lan0:egress by rule \"slow\""])?;
    Ok(())
}

/// A bridge leads to the client, and its port has the same packets.
#[test]
fn a_hook_at_the_port_of_a_bridge_is_tried_too() -> anyhow::Result<()> {
    let router = Router::start()?;
    for line in [
        "link add br0 type bridge".to_owned(),
        "link set lan0 master br0".to_owned(),
        "addr flush dev lan0".to_owned(),
        format!("addr add {}/24 dev br0", EDGE_LAN.v4),
        "link set br0 up".to_owned(),
    ] {
        run_in(router.edge(), &format!("ip {line}"))?;
    }
    let file = router.policy("leaves", &dropping("lan0:egress", "src-port"))?;
    router.ok("attach lan0 --hook tcx")?;
    let refused = apply(&router, &format!("policy apply {file}"))?.expect(3)?;
    refused.complains(&["DROPPED at lan0:egress by rule \"no SSH\""])?;
    Ok(())
}
