//! What is said when something is wrong: what failed, on what, why, and what to do.

use qosbpf_tests::{
    binary::{Answer, command},
    router::Router,
};
use serde_json::Value;

/// Where a lab is differs from run to run; the kernel's numbers too.
fn stable(router: &Router, text: &str) -> String {
    let text = text.replace(&router.folder().display().to_string(), "<lab>");
    text.replace(router.edge().name(), "<edge>")
}

fn said(answer: &Answer) -> String {
    format!("exit {}\n--- stdout\n{}--- stderr\n{}", answer.code, answer.stdout, answer.stderr)
}

#[test]
fn mistakes_on_the_command_line() -> anyhow::Result<()> {
    let lines: [(&str, &[&str]); 9] = [
        ("no-command", &[]),
        ("unknown-command", &["atach", "lan0"]),
        ("unknown-hook", &["attach", "lan0", "--hook", "xpd"]),
        ("bad-direction", &["stats", "lan0:in"]),
        ("bad-dscp", &["dscp", "EFF"]),
        ("dscp-too-large", &["dscp", "64"]),
        ("two-formats", &["stats", "--prometheus", "--csv"]),
        ("detach-nothing", &["detach"]),
        ("only-and-prune", &["policy", "apply", "f", "--only", "lan0", "--prune"]),
    ];
    for (name, line) in lines {
        let answer = Answer::of(&mut command(line)?)?.expect(2)?;
        assert_eq!(answer.stdout, "", "{name}");
        insta::assert_snapshot!(format!("usage-{name}"), said(&answer));
    }
    Ok(())
}

#[test]
fn mistakes_about_this_host() -> anyhow::Result<()> {
    let router = Router::start()?;
    let lines = [
        ("nothing-attached", "stats lan0"),
        ("unknown-interface", "attach lan1"),
        ("no-policy", "policy bypass"),
        ("policy-unreadable", "policy apply /nowhere/policy.toml"),
        ("xdp-at-egress", "attach lan0 --egress --hook xdp"),
    ];
    for (name, line) in lines {
        insta::assert_snapshot!(format!("error-{name}"), stable(&router, &said(&router.ask(line)?)));
    }
    router.ok("attach wan0")?;
    for (name, line) in [
        ("not-attached", "detach lan0"),
        ("not-attached-direction", "stats lan0:egress"),
        ("both-directions", "expect wan0 EF=1 -- true"),
        ("bad-expectation", "expect wan0:egress EFF=1 -- true"),
        ("no-number", "expect wan0:egress EF -- true"),
        ("no-command-to-run", "expect wan0:egress EF=0 -- /nowhere/ping"),
    ] {
        insta::assert_snapshot!(format!("error-{name}"), stable(&router, &said(&router.ask(line)?)));
    }
    let answer = Answer::of(&mut command(&["--netns", "nowhere", "status"])?)?;
    insta::assert_snapshot!("error-no-such-netns", said(&answer));
    Ok(())
}

/// `--json` may stand before the command, and so say that an error is a document.
#[test]
fn json_may_stand_before_the_command() -> anyhow::Result<()> {
    let router = Router::start()?;
    assert_eq!(router.ok("--json status")?.json()?["schema"], 1);
    assert_eq!(router.ask("--json stats lan0")?.expect(1)?.json()?["error"]["code"], "not-attached");
    Ok(())
}

/// With `--json` an error is a document too: alone on stdout, and in words on stderr.
#[test]
fn an_error_is_one_document() -> anyhow::Result<()> {
    let router = Router::start()?;
    let lines = [
        ("stats lan0 --json", 1, "not-attached"),
        ("attach nowhere0 --json", 1, "no-such-interface"),
        ("attach lan0 --egress --hook xdp --json", 2, "usage"),
        ("detach lan0 --json", 1, "not-attached"),
        ("policy bypass --json", 1, "no-policy"),
        ("policy apply /nowhere --json", 2, "policy-unreadable"),
        ("policy check /nowhere --json", 2, "policy-unreadable"),
        ("expect lan0:egress EF=1 --json -- true", 1, "not-attached"),
        ("dscp 64 --json", 2, "not-a-dscp"),
        ("stats lan0:in --json", 2, "usage"),
        ("attach --json", 2, "usage"),
        ("stats --json --nonsense", 2, "usage"),
    ];
    for (line, exit, code) in lines {
        let answer = router.ask(line)?.expect(exit)?;
        let document = answer.json()?;
        assert_eq!(document["schema"], 1, "{line}");
        let error = &document["error"];
        assert_eq!(error["code"], code, "{line}: {document:#}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{line}: {answer:?}");
        let said: Value = serde_json::from_str(&answer.stderr)?;
        assert_eq!((&said, answer.stderr.lines().count()), (&document, 1), "{line}");
        let fields: Vec<&String> = error.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
        for field in ["code", "message", "hint", "file", "line", "column"] {
            assert!(fields.iter().any(|found| *found == field), "{line}: no {field} in {document:#}");
        }
    }
    Ok(())
}

/// What is blamed is what is wrong.
#[test]
fn an_unknown_option_behind_json_is_the_one_that_is_named() -> anyhow::Result<()> {
    for (line, named) in [
        ("--json status --bogus", "'--bogus'"),
        ("--json statsu", "'statsu'"),
        ("status --json --bogus", "'--bogus'"),
        ("--json policy schema", "'--json'"),
    ] {
        let document = Answer::of(&mut command(&line.split(' ').collect::<Vec<_>>())?)?.expect(2)?.json()?;
        let message = document["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(named), "{line}: {document:#}");
    }
    Ok(())
}

#[test]
fn a_policy_that_cannot_be_read_is_named_as_the_file() -> anyhow::Result<()> {
    let document = Answer::of(&mut command(&["policy", "check", "--json", "/nope"])?)?.expect(2)?.json()?;
    assert_eq!((&document["error"]["file"], &document["error"]["line"]), (&"/nope".into(), &Value::Null));
    Ok(())
}

/// Without `--json` none is.
#[test]
fn without_json_nothing_is_on_stdout() -> anyhow::Result<()> {
    let router = Router::start()?;
    for line in
        ["stats lan0", "stats lan0 --csv", "stats lan0 --prometheus", "attach nowhere0", "policy apply /nowhere"]
    {
        let answer = router.ask(line)?;
        assert!(answer.code != 0 && answer.stdout.is_empty() && !answer.stderr.is_empty(), "{answer:?}");
    }
    let parsed: Result<Value, _> = serde_json::from_str(&router.ask("stats lan0 --log-format json")?.stderr);
    assert!(parsed.is_err(), "an error is no log line");
    Ok(())
}
