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
