//! A wrong policy file: every mistake at once, with a caret under the word, and nothing is changed.

use anyhow::Context as _;
use qosbpf_tests::{
    binary::{Answer, command},
    router::Router,
};
use serde_json::{Value, json};

const WRONG: &str = r#"version = 1
name = "edge"

[classes]
voice = ["EF", "VA", "AF4"]

[interface.lan0]
ingres = "from-lan"

[interface.wan0.832]
egress = "to-isp"

[interface.wan0]
egress = "to-ips"

[remark.to-isp]
voice = "AF41"
default = "keep"
46 = "EF"
"#;

fn check(text: &str, json: bool) -> anyhow::Result<Answer> {
    let mut command = command(&["policy", "check", "-"])?;
    if json {
        command.arg("--json");
    }
    Answer::with_input(&mut command, text.as_bytes())?.expect(2)
}

#[test]
fn all_mistakes_are_shown_with_carets() -> anyhow::Result<()> {
    let answer = check(WRONG, false)?;
    assert_eq!(answer.stdout, "");
    assert!(answer.stderr.matches("error").count() >= 4 && answer.stderr.contains('^'), "{}", answer.stderr);
    insta::assert_snapshot!("policy-all-mistakes", answer.stderr);
    Ok(())
}

#[test]
fn a_mistake_is_a_document_with_its_place() -> anyhow::Result<()> {
    let answer = check("version = 1\nname = \"p\"\n[remark.t]\nEFF = \"DF\"\nother = \"kepp\"\n", true)?.json()?;
    let place = |error: &Value| [&error["file"], &error["line"], &error["column"]].map(Clone::clone);
    assert_eq!(place(&answer["error"]), [json!("stdin"), json!(4), json!(1)], "{answer:#}");
    let all = answer["errors"].as_array().context("errors")?;
    assert_eq!(all[0], answer["error"]);
    assert_eq!(place(&all[1]), [json!("stdin"), json!(5), json!(9)], "{answer:#}");
    assert_eq!(all.len(), 2);
    Ok(())
}

#[test]
fn files_that_are_no_text_are_refused() -> anyhow::Result<()> {
    for bytes in
        [&b"\xff\xfe\x00"[..], &[b'#'; 3 << 20], b"", b"version = 1\nname = \"p\"\n[remark.t", b"{\"version\":1"]
    {
        let answer = Answer::with_input(&mut command(&["policy", "check", "-"])?, bytes)?.expect(2)?;
        assert!(answer.stderr.contains("stdin") && answer.stderr.len() < 2000, "{}", answer.stderr);
    }
    Ok(())
}

#[test]
fn a_wrong_policy_is_not_applied_in_part() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    let path = router.folder().join("wrong.toml");
    std::fs::write(&path, WRONG)?;
    let answer = router.ask(&format!("policy apply {} --json", path.display()))?.expect(2)?;
    assert_eq!(answer.json()?["schema"], 1);
    let answer = router.ask(&format!("attach wan0 --policy {}", path.display()))?.expect(2)?;
    assert_eq!(answer.stdout, "");
    let status = router.ok("status --json")?.json()?;
    assert!(status["policy"].is_null() && status["hooks"].as_array().map(Vec::len) == Some(2), "{status:#}");
    Ok(())
}

/// Machines get every mistake too, and neither they nor people get a thousand.
#[test]
fn all_mistakes_are_in_the_document_up_to_a_bound() -> anyhow::Result<()> {
    let few = check(WRONG, true)?.json()?;
    let errors = few["errors"].as_array().cloned().unwrap_or_default();
    assert!(errors.len() >= 4, "{few:#}");
    assert_eq!((&errors[0]["message"], &errors[0]["line"]), (&few["error"]["message"], &few["error"]["line"]));
    assert!(errors.iter().all(|error| error["column"].is_u64() && error["file"] == "stdin"), "{few:#}");
    let rule = |number: usize| {
        format!(
            "[[rule]]\nname = \"{number}\"\non = \"lan0:ingress\"\nmatch = {{ dscp = \"AF{number}\" }}\nset = \"EF\"\n"
        )
    };
    let thousand: String = (1_000..2_000).map(rule).collect();
    let thousand = format!("version = 1\nname = \"p\"\n{thousand}");
    let many = check(&thousand, true)?.json()?;
    assert_eq!(many["errors"].as_array().map(Vec::len), Some(50));
    let shown = check(&thousand, false)?.stderr;
    assert!(shown.matches("error:").count() == 50 && shown.trim_end().ends_with("and 950 more"), "{shown}");
    Ok(())
}

#[test]
fn check_says_that_a_rule_needs_tc() -> anyhow::Result<()> {
    let text = "version = 1\nname = \"p\"\n[[rule]]\nname = \"to HTB\"\non = [\"lan0:ingress\", \"wan0:egress\"]\n\
                match = { dscp = \"EF\" }\nset = \"keep\"\npriority = \"10:200\"\n";
    let answer = |json: &[&str]| {
        let mut command = command(&["policy", "check", "-"])?;
        Answer::with_input(command.args(json), text.as_bytes())?.expect(0)
    };
    answer(&[])?.says(&["by TC, not XDP: rule \"to HTB\" needs TC for its priority"])?;
    let document = answer(&["--json"])?.json()?;
    let hooks = document["hooks"].as_array().cloned().unwrap_or_default();
    let needs = |name: &str| hooks.iter().find(|hook| hook["hook"] == name).map(|hook| hook["needs_tc"].is_string());
    assert_eq!((needs("lan0:ingress"), needs("wan0:egress")), (Some(true), Some(false)), "{document:#}");
    Ok(())
}

/// A set of so many prefixes that the language does not compare it: the compiler has.
#[test]
fn check_says_which_rules_are_never_asked() -> anyhow::Result<()> {
    let set: String = (0..1100).map(|host| format!("\"10.0.{}.{}\", ", host >> 7, host << 1 & 255)).collect();
    let rule = |name: &str, fields: &str, action: &str| {
        format!("[[rule]]\nname = \"{name}\"\non = \"x:ingress\"\nmatch = {{ {fields} }}\n{action}\n")
    };
    let text = format!("version = 1\nname = \"p\"\n[sets]\nbig = [{set}]\n")
        + &rule("all of it", "src = \"@big\"", "drop = true")
        + &rule("a part of it", "src = \"@big\", proto = \"udp\"", "set = \"EF\"")
        + &rule("the rest", "proto = \"udp\"", "set = \"EF\"");
    let check = |options: &[&str]| {
        let mut command = command(&["policy", "check", "-"])?;
        Answer::with_input(command.args(options), text.as_bytes())?.expect(0)
    };
    // What the language warns of already is not said again.
    let twice = "version = 1\nname = \"p\"\n".to_owned()
        + &rule("first", "dscp = \"EF\"", "set = \"DF\"")
        + &rule("second", "dscp = \"EF\"", "set = \"CS1\"");
    let answer = Answer::with_input(&mut command(&["policy", "check", "-"])?, twice.as_bytes())?.expect(0)?;
    assert_eq!(format!("{}{}", answer.stdout, answer.stderr).matches("never asked").count(), 1, "{answer:?}");
    let document =
        Answer::with_input(&mut command(&["policy", "check", "-", "--json"])?, twice.as_bytes())?.expect(0)?.json()?;
    assert_eq!(document["hooks"][0]["never_asked"][0]["rule"], "rule \"second\" (line 8)", "{document:#}");
    let wanted = "rule \"a part of it\" (line 10) is never asked: rule \"all of it\" (line 5) decides on all that it would \
                  match: move this one above it, or delete it";
    let told = check(&[])?;
    let told = told.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains(wanted) && told.matches("never asked").count() == 1, "{told}");
    let document = check(&["--json"])?.json()?;
    let hook = document["hooks"].as_array().and_then(|hooks| hooks.iter().find(|hook| hook["hook"] == "x:ingress"));
    let idle = hook.context("x:ingress")?["never_asked"].as_array().context("never_asked")?;
    assert_eq!((idle.len(), &idle[0]["rule"]), (1, &json!("rule \"a part of it\" (line 10)")), "{document:#}");
    Ok(())
}
