//! What is for machines is alone on stdout; a pipe gets no cursor codes and no colors.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

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
    let mut lines = BufReader::new(watch.stdout.take().expect("stdout")).lines();
    let mut text = String::new();
    while text.matches("lan0:ingress").count() < 3 {
        text += &lines.next().expect("it goes on")?;
    }
    watch.kill()?;
    watch.wait()?;
    assert!(!text.contains(ESCAPE), "{text}");
    Ok(())
}

/// A device may have nearly any bytes for a name.
#[test]
fn a_hostile_device_name_does_not_reach_the_terminal() -> anyhow::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let router = Router::start()?;
    let (name, bytes) = ("x\u{1b}[2J\u{7}", std::ffi::OsStr::from_bytes(b"y\xff0"));
    let mut add = std::process::Command::new("ip");
    let add = add.args(["link", "add", name, "type", "veth", "peer", "name"]).arg(bytes);
    router.edge().run(|| Answer::of(add)?.expect(0))?;
    let hook = format!("{name}:egress");
    for (line, word, shown) in [
        ("attach", Some(name), "attached"),
        ("attach nowhere0", None, "nowhere0"),
        ("status", None, ":egress"),
        ("stats --rate 0", None, "egress"),
        ("stats --rate 0 --color always", None, "egress"),
        ("stats --rate 0", Some(&*hook), "egress"),
        ("detach", Some(name), "detached"),
        ("detach", Some(name), "not attached"),
    ] {
        let answer = Answer::of(router.command(line)?.args(word))?;
        let all = format!("{}{}", answer.stdout, answer.stderr);
        assert!(all.contains(shown) && !all.contains("\u{1b}[2J") && !all.contains('\u{7}'), "{line}: {answer:?}");
        assert!(!all.contains("WARN"), "{line}: {answer:?}");
    }
    let answer = Answer::of(router.command("attach --json")?.arg(name))?.expect(0)?;
    assert_eq!(answer.json()?["hooks"][0]["interface"], name);
    Ok(())
}

/// The terminal is played by script(1); a shell in it says whether keys are echoed when the watcher has gone.
#[test]
fn a_watcher_gives_the_terminal_back() -> anyhow::Result<()> {
    let router = busy()?;
    let watch = router.command("stats --watch 0.1")?;
    let words: Vec<_> =
        std::iter::once(watch.get_program()).chain(watch.get_args()).map(|word| word.to_string_lossy()).collect();
    for signal in ["INT", "TERM", "HUP"] {
        let line = format!("timeout --foreground -s {signal} 4 {}; echo ended with $?; stty -a", words.join(" "));
        let mut script = std::process::Command::new("script");
        let answer = Answer::of(script.args(["-qefc", &line, "/dev/null"]).env("TERM", "xterm"))?;
        // timeout(1) says by 124 that it had to send the signal.
        let answer = answer.says(&["lan0:ingress", "ended with 124", " icanon", " echo "])?;
        assert!(!answer.stdout.contains(" -echo "), "{signal}: {answer:?}");
    }
    router.ask("stats --watch 0")?.expect(2)?.complains(&["at least 0.1"])?;
    Ok(())
}

/// Who has read enough does not turn a no into a yes.
#[test]
fn a_reader_that_goes_away_changes_no_exit_code() -> anyhow::Result<()> {
    let router = busy()?;
    let policy = router.policy("p", "[interface.ppp0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n")?;
    router.ok(&format!("policy apply {policy} --prune"))?;
    let lines = [
        ("status", 3),
        ("expect lan0:ingress EF=1 --within 0.2s -- true", 3),
        ("expect lan0:ingress EF=0 -- true", 0),
        ("stats nowhere0 --json", 1),
        ("dscp", 0),
        ("completions bash", 0),
        ("stats --watch 0.1", 0),
        ("stats --json --watch 0.1", 0),
    ];
    for (line, code) in lines {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let ended = router.command(line)?.stdout(writer).stderr(Stdio::null()).status()?;
        assert_eq!(ended.code(), Some(code), "{line}");
    }
    Ok(())
}

/// A terminal is played by script(1).
#[test]
fn a_terminal_gets_colors_unless_refused() -> anyhow::Result<()> {
    let router = busy()?;
    let policy = router.policy("p", "[interface.ppp0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n")?;
    router.ok(&format!("policy apply {policy} --prune"))?;
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
