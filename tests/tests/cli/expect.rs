//! What `expect` says when it could be misled.

use qosbpf_tests::{binary::Answer, router::Router};

/// Runs `qosbpf expect OPTIONS -- sh -c SCRIPT`, with `$qosbpf` the binary at work in the same router.
fn expect(router: &Router, options: &str, script: &str) -> anyhow::Result<Answer> {
    let qosbpf = router.command("")?;
    let words = std::iter::once(qosbpf.get_program()).chain(qosbpf.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let mut command = router.command(&format!("expect {options} --"))?;
    Answer::of(command.env("qosbpf", words.join(" ")).args(["sh", "-c", script]))
}

/// The counters of another attachment begin at zero: `EF=0` would be a yes that says nothing.
#[test]
fn a_hook_that_is_attached_anew_gives_no_verdict() -> anyhow::Result<()> {
    let router = Router::start()?;
    for again in ["$qosbpf detach lan0 && $qosbpf attach lan0", "$qosbpf detach lan0"] {
        router.ok("attach lan0")?;
        router.ping(false, 184, 2)?;
        for option in ["", " --json"] {
            router.ok("attach lan0")?;
            let answer =
                expect(&router, &format!("lan0:ingress EF=0{option}"), &format!("{{ {again}; }} >&2"))?.expect(4)?;
            assert!(answer.stderr.contains("attached anew meanwhile"), "{answer:?}");
            assert!(option.is_empty() || answer.json()?["error"]["code"] == "counters-changed", "{answer:?}");
        }
    }
    Ok(())
}

/// Another policy or another program leaves the counters alone.
#[test]
fn a_policy_that_is_applied_meanwhile_is_no_hindrance() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    let text = "[interface.lan0]\ningress = \"t\"\n[remark.t]\nEF = \"DF\"\nother = \"keep\"\n";
    let apply = format!("$qosbpf policy apply {} >&2", router.policy("p", text)?);
    expect(&router, "lan0:ingress EF=0", &apply)?.expect(0)?;
    Ok(())
}
