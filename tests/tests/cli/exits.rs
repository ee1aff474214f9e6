//! The exit code is the answer of a script's question.

use qosbpf_tests::router::Router;

const POLICY: &str =
    "[interface.lan0]\ningress = \"t\"\n[interface.ppp0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n";

#[test]
fn status_is_3_as_long_as_something_wanted_is_not_there() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ask("status")?.expect(0)?;
    router.ok("attach lan0")?;
    router.ask("status")?.expect(0)?;
    let policy = router.policy("p", POLICY)?;
    router.ok(&format!("policy apply {policy}"))?.says(&["! ppp0:egress", "bound, not attached"])?;
    let status = router.ask("status --json")?.expect(3)?.json()?;
    let missing: Vec<_> =
        status["hooks"].as_array().into_iter().flatten().filter(|hook| hook["state"] == "missing").collect();
    assert_eq!(missing.len(), 1, "{status:#}");
    assert_eq!((&missing[0]["interface"], &missing[0]["direction"]), (&"ppp0".into(), &"egress".into()));
    router.ask("status")?.expect(3)?.says(&["! ppp0:egress", "MISSING"])?;
    Ok(())
}

#[test]
fn expect_is_0_for_yes_and_3_for_no() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach wan0")?;
    let lan = router.lab().lan().name().to_owned();
    let ping = format!("ip netns exec {lan} ping -q -n -i 0.002 -Q 184 -c 10 198.51.100.2");
    router.ask(&format!("expect wan0:egress EF=10 other=0 -- {ping}"))?.expect(0)?.says(&["YES"])?;
    router.ask(&format!("expect wan0:egress EF=9 -- {ping}"))?.expect(3)?.says(&["NO"])?;
    router.ask(&format!("expect wan0:egress EF>=10 AF41=0 --before -- {ping}"))?.expect(0)?;
    let answer = router.ask(&format!("expect wan0:egress EF=10 --json -- {ping}"))?.expect(0)?;
    let verdict = answer.json()?;
    assert_eq!((&verdict["schema"], &verdict["verdict"]), (&1.into(), &"yes".into()));
    answer.complains(&["10 packets transmitted"])?;
    let missed = router.ask("expect wan0:egress EF=1 --within 0.2s -- true")?.expect(3)?;
    missed.says(&["none came to this hook"])?;
    Ok(())
}

#[test]
fn stats_is_1_if_a_hook_cannot_be_read() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    let pins = std::fs::read_dir(router.bpffs.join("qosbpf/v1"))?.next().expect("a namespace")?.path();
    let interface = std::fs::read_dir(pins)?.next().expect("an interface")?.path();
    std::fs::remove_file(interface.join("egress/counters"))?;
    let document = router.ask("stats --json")?.expect(1)?.json()?;
    let [ingress, egress] = [0, 1].map(|at| &document["hooks"][at]);
    assert!(ingress["before"].is_array() && ingress["error"].is_null(), "{document:#}");
    assert!(egress["error"].as_str().is_some_and(|error| error.contains("counters")), "{document:#}");
    router.ask("stats --csv")?.expect(1)?.says(&["lan0"])?;
    router.ask("stats --rate 0")?.expect(1)?.says(&["lan0:egress"])?;
    router.ask("status")?.expect(3)?;
    Ok(())
}

/// A reader that has seen enough ends the writer quietly.
#[test]
fn a_closed_pipe_is_no_failure() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    let mut child = router.command("stats --watch 0.05 --json")?;
    let mut child = child.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn()?;
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().expect("stdout")), &mut line)?;
    let output = child.wait_with_output()?;
    assert_eq!((output.status.code(), String::from_utf8(output.stderr)?), (Some(0), String::new()));
    Ok(())
}
