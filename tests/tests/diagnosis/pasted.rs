//! Commands in hints, reasons and notes, pasted into a shell as they are printed.

use anyhow::Context as _;
use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in, words},
    typed::{find, shell},
};

/// A name that Linux takes, and that is much to a shell.
const ODD: &str = "o;d'$0&";

/// The interface of that name, up, with a policy that binds it.
fn odd() -> anyhow::Result<Router> {
    let router = Router::start()?;
    router.edge().run(|| {
        let add = ["link", "add", "name", ODD, "type", "veth", "peer", "name", "far0"];
        Answer::of(words("ip").args(add))?.expect(0)
    })?;
    router.edge().run(|| Answer::of(words("ip link set up dev").arg(ODD))?.expect(0))?;
    run_in(router.edge(), "ip link set far0 up")?;
    router.ok("attach lan0")?;
    let policy = router.policy(
        "p",
        &format!(
            "[interface.lan0]\ningress = \"t\"\n[interface.\"{ODD}\"]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n\
             [[rule]]\nname = \"web\"\non = \"lan0:ingress\"\nmatch = {{ proto = \"tcp\" }}\nset = \"DF\"\n"
        ),
    )?;
    router.ok(&format!("policy apply {policy}"))?;
    Ok(router)
}

/// Pastes the command that begins with `qosbpf` in a text, up to `end`.
fn paste(text: &str, end: &str) -> anyhow::Result<Answer> {
    let at = text.find("qosbpf ").with_context(|| format!("no command in {text}"))?;
    let command = text[at..].split(end).next().unwrap_or_default();
    shell(command, None)?.expect(0)
}

/// The first hook of an interface in `status --json`, or in `stats --json`.
fn hook(router: &Router, line: &str, interface: &str) -> anyhow::Result<serde_json::Value> {
    let document = router.ask(line)?.json()?;
    let hooks = document["hooks"].as_array().context("hooks")?;
    hooks.iter().find(|hook| hook["interface"] == interface).cloned().with_context(|| document.to_string())
}

fn text(value: &serde_json::Value) -> anyhow::Result<&str> {
    value.as_str().with_context(|| value.to_string())
}

#[test]
fn what_a_document_says_of_an_interface_with_an_odd_name() -> anyhow::Result<()> {
    let router = odd()?;
    for (line, field) in [("status --json", "reason"), ("stats --json", "error")] {
        let missing = hook(&router, line, ODD)?;
        assert_eq!(missing["state"], "missing", "{missing}");
        paste(text(&missing[field])?, "\n")?;
        assert_eq!(hook(&router, line, ODD)?["state"], "active");
        let asked = format!("{ODD}:ingress");
        let refused = Answer::of(router.command("attach --ingress --hook clsact")?.arg(ODD))?.expect(1)?;
        paste(refused.stderr.trim_end(), "\n")?;
        let moved = hook(&router, "status --json", ODD)?;
        assert_eq!(moved["hook"], "clsact", "{moved}");
        Answer::of(router.command("detach")?.arg(ODD))?.expect(0)?;
        let gone = Answer::of(router.command("stats --json")?.arg(&asked))?.expect(1)?;
        let hint = gone.json()?["error"]["hint"].clone();
        paste(text(&hint)?, "\n")?;
        Answer::of(router.command("detach")?.arg(ODD))?.expect(0)?;
    }
    Ok(())
}

#[test]
fn what_a_document_says_has_the_options_that_were_given() -> anyhow::Result<()> {
    let router = odd()?;
    router.ok("policy bypass lan0:ingress")?;
    let bypassed = hook(&router, "status --json", "lan0")?;
    let notes = bypassed["notes"].as_array().context("notes")?;
    let note = notes.iter().filter_map(|note| note.as_str()).find(|note| note.contains("BYPASS"));
    paste(note.context("a note")?, "\n")?;
    assert_eq!(hook(&router, "status --json", "lan0")?["state"], "active");
    router.ping(false, 0, 3)?;
    let answer = router.ask("why lan0:ingress web --sample 0 --json")?.expect(4)?;
    let found = find(&answer, "lan0:ingress", "not-matched")?;
    paste(text(&found["look"])?, "\n")?.says(&["rule \"web\""])?;
    Ok(())
}
