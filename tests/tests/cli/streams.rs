//! What is for machines is alone on stdout; a pipe gets no cursor codes and no colors.

use std::{io::Read as _, process::Stdio, thread, time::Duration};

use qosbpf_tests::{binary::Answer, router::Router};

const ESCAPE: char = '\u{1b}';

fn busy() -> anyhow::Result<Router> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    router.ping(false, 184, 2)?;
    Ok(router)
}

#[test]
fn machine_output_is_alone_on_stdout() -> anyhow::Result<()> {
    let router = busy()?;
    for line in
        ["stats --json", "status --json", "policy show --json", "dscp EF --json", "dscp --json", "stats lan0 --json -v"]
    {
        let answer = router.ok(line)?;
        assert_eq!(answer.json()?["schema"], 1, "{line}");
        assert!(answer.stdout.ends_with('\n'), "{line}");
    }
    for line in ["stats --csv", "stats --prometheus", "stats --rate 0", "status"] {
        assert_eq!(router.ok(line)?.stderr, "", "{line}");
    }
    Ok(())
}

#[test]
fn logs_go_to_stderr() -> anyhow::Result<()> {
    let router = busy()?;
    let answer = router.ok("detach --all -vv --json")?;
    assert_eq!(answer.json()?["schema"], 1);
    let answer = router.ok("attach lan0 -vv --json --log-format json")?;
    assert_eq!(answer.json()?["schema"], 1);
    for line in answer.stderr.lines() {
        let log: serde_json::Value = serde_json::from_str(line)?;
        assert!(log["level"].is_string(), "{line}");
    }
    Ok(())
}

#[test]
fn a_pipe_gets_no_escape_codes() -> anyhow::Result<()> {
    let router = busy()?;
    for line in
        ["stats --rate 0", "stats lan0 --rate 0", "status", "policy show", "dscp EF", "stats nowhere0", "--help"]
    {
        let answer = router.ask(line)?;
        assert!(!answer.stdout.contains(ESCAPE) && !answer.stderr.contains(ESCAPE), "{answer:?}");
    }
    let mut watch = router.command("stats lan0 --watch 0.1")?.stdout(Stdio::piped()).spawn()?;
    thread::sleep(Duration::from_millis(500));
    watch.kill()?;
    watch.wait()?;
    let mut text = String::new();
    watch.stdout.take().expect("stdout").read_to_string(&mut text)?;
    assert!(text.matches("lan0:ingress").count() >= 2 && !text.contains(ESCAPE), "{text}");
    Ok(())
}

/// A terminal is played by script(1).
#[test]
fn a_terminal_gets_colors_unless_refused() -> anyhow::Result<()> {
    let router = busy()?;
    let policy = router.policy("p", "[interface.ppp0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n")?;
    router.ok(&format!("policy apply {policy}"))?;
    let on_terminal = |options: &str, no_color: bool| {
        let command = router.command(&format!("status {options}"))?;
        let line: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy())
            .collect();
        let mut script = std::process::Command::new("script");
        script.args(["-qefc", &line.join(" "), "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR");
        if no_color {
            script.env("NO_COLOR", "1");
        }
        anyhow::Ok(Answer::of(&mut script)?.expect(3)?.stdout)
    };
    let colored = |text: String| text.contains(ESCAPE);
    assert!(colored(on_terminal("", false)?), "MISSING is colored");
    assert!(!colored(on_terminal("", true)?), "NO_COLOR");
    assert!(!colored(on_terminal("--color never", false)?));
    assert!(colored(on_terminal("--color always", true)?), "said by name");
    assert!(colored(router.ask("status --color always")?.stdout), "in a pipe too");
    Ok(())
}
