//! What `expect` says when it could be misled.

use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in},
};

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

/// One packet comes when the command has ended, and it is one too many: the first takes nearly all that its qdisc may
/// send at once, so the kernel holds the second back for 0.1 s.
#[test]
fn a_late_packet_is_not_missed() -> anyhow::Result<()> {
    const SEND: &str = "printf %1000s . >/dev/udp/198.51.100.2/9; printf %100s . >/dev/udp/198.51.100.2/9";
    let router = Router::start()?;
    router.ok("attach lan0")?;
    run_in(router.lab().lan(), "tc qdisc add dev eth0 root tbf rate 8kbit burst 1100 limit 3000")?;
    let late = format!("ip netns exec {} bash -c '{SEND}'", router.lab().lan().name());
    expect(&router, "lan0:ingress DF=1", &late)?.expect(3)?.says(&["before +2", "NO"])?;
    expect(&router, "lan0:ingress DF>=2 --within 60s", &late)?.expect(0)?;
    Ok(())
}

#[test]
fn a_command_that_fails_proves_no_absence() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0")?;
    expect(&router, "lan0:ingress EF=0", "exit 7")?.expect(4)?.says(&["UNKNOWN", "ended with 7", "it failed"])?;
    let killed = expect(&router, "lan0:ingress EF=0 --json", "kill -9 $$")?.expect(4)?.json()?;
    assert_eq!(killed["verdict"], "unknown");
    assert!(killed["command"].as_str().is_some_and(|text| text.ends_with("was killed by signal 9")), "{killed:#}");
    expect(&router, "lan0:ingress EF>=1 --within 0.2s", "exit 7")?.expect(3)?;
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

/// What a rule did is said by its name, also by machines; and so is what it dropped.
#[test]
fn a_rule_is_named_for_what_it_marked_and_what_it_dropped() -> anyhow::Result<()> {
    let router = Router::start()?;
    let text = "[interface.lan0]\ningress = \"t\"\n[remark.t]\nother = \"keep\"\n\
        [[rule]]\nname = \"to AF41\"\non = \"lan0:ingress\"\nmatch = { dscp = \"EF\" }\nset = \"AF41\"\n\
        [[rule]]\nname = \"no CS1\"\non = \"lan0:ingress\"\nmatch = { dscp = \"CS1\" }\ndrop = true\n";
    router.ok(&format!("attach lan0 --policy {}", router.policy("p", text)?))?;
    let ping = |tos: u8| {
        let lan = router.lab().lan().name();
        format!("ip netns exec {lan} ping -q -n -Q {tos} -c 2 -i 0.1 -W 1 198.51.100.2 >/dev/null 2>&1; true")
    };
    let marked = expect(&router, "lan0:ingress EF>=2 --within 1s --json", &ping(184))?.expect(3)?.json()?;
    let by = marked["remarked"][0]["by"].as_str().unwrap_or_default();
    assert!(by.starts_with("rule \"to AF41\" ("), "{marked:#}");
    let dropped = expect(&router, "lan0:ingress CS1>=2 --within 1s", &ping(32))?.expect(3)?;
    dropped.says(&["before +2  after +0", "2 of 2 were dropped: rule \"no CS1\" (", "dropped by the policy: 2"])?;
    let dropped = expect(&router, "lan0:ingress CS1>=2 --within 1s --json", &ping(32))?.expect(3)?.json()?;
    assert_eq!((&dropped["dropped"][0]["dscp"], &dropped["dropped"][0]["packets"]), (&8.into(), &2.into()));
    assert!(dropped["dropped"][0]["by"].as_str().is_some_and(|by| by.starts_with("rule \"no CS1\"")), "{dropped:#}");
    Ok(())
}

/// Where an answer is no, the other hooks have their say: who made another mark, and who makes none.
#[test]
fn another_hook_that_marked_or_is_bypassed_is_named() -> anyhow::Result<()> {
    let router = Router::start()?;
    let text = "[interface.lan0]\ningress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";
    router.ok(&format!("attach lan0 --policy {}", router.policy("p", text)?))?;
    router.ok("attach wan0")?;
    let lan = router.lab().lan().name();
    let ping = format!("ip netns exec {lan} ping -q -n -Q 184 -c 2 -i 0.1 -W 1 198.51.100.2 >&2");
    let asked = expect(&router, "wan0:egress EF>=2 --within 1s", &ping)?.expect(3)?;
    asked.says(&["lan0:ingress meanwhile: EF before +2 after +0, 2 became AF41"])?;
    router.ok("policy bypass lan0:ingress")?;
    let asked = expect(&router, "wan0:egress AF41>=2 --within 1s", &ping)?.expect(3)?;
    let resume = format!(
        "lan0:ingress is BYPASSED: qosbpf --netns {} --bpffs {} policy resume lan0:ingress",
        router.edge().name(),
        router.bpffs.display()
    );
    asked.says(&[&resume])?;
    let document = expect(&router, "lan0:ingress AF41>=2 --within 1s --json", &ping)?.expect(3)?.json()?;
    assert_eq!(document["hints"], serde_json::json!([resume]), "{document:#}");
    expect(&router, "wan0:egress EF>=2", &ping)?.expect(0)?;
    Ok(())
}

/// What came is named where it is not what was expected, the most first.
#[test]
fn what_came_instead_is_named() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress")?;
    let lan = router.lab().lan().name();
    let ping = |tos: u8, count: u8| {
        format!("ip netns exec {lan} ping -q -n -Q {tos} -c {count} -i 0.01 -W 1 198.51.100.2 >&2; ")
    };
    let both = ping(32, 2) + &ping(136, 5);
    let none = expect(&router, "lan0:ingress EF=7 --within 0.2s", &both)?.expect(3)?;
    let none = none.says(&["none came to this hook: what came: AF41 +5 CS1 +2"])?;
    assert!(!none.stdout.contains("not asked"), "{none:?}");
    let few = expect(&router, "lan0:ingress CS1>=3 other=0 --within 0.2s", &both)?.expect(3)?;
    few.says(&["what else came: AF41 +5", "these were: AF41 +5"])?;
    let document = expect(&router, "lan0:ingress EF=7 --within 0.2s --json", &both)?.expect(3)?.json()?;
    let instead = serde_json::json!([{ "dscp": 34, "packets": 5 }, { "dscp": 8, "packets": 2 }]);
    assert_eq!(document["expectations"][0]["instead"], instead, "{document:#}");
    assert_eq!(document["not_asked"], instead, "{document:#}");
    expect(&router, "lan0:ingress EF=7 --within 0.2s", ":")?
        .expect(3)?
        .says(&["is this the way the traffic takes?"])?;
    Ok(())
}

/// What another hook dropped is no question of the way, and the rule that did it is named; a meter's, too.
#[test]
fn what_another_hook_dropped_is_named_with_its_rule() -> anyhow::Result<()> {
    let router = Router::start()?;
    let text = "[[rule]]\nname = \"no CS1\"\non = \"lan0:ingress\"\nmatch = { dscp = \"CS1\" }\ndrop = true\n\
        [[rule]]\nname = \"few AF11\"\non = \"lan0:ingress\"\nmatch = { dscp = \"AF11\" }\n\
        meter = { type = \"srtcm\", cir = \"8kbit\", cbs = \"1100B\", ebs = \"1100B\" }\n\
        green = \"keep\"\nyellow = \"AF12\"\nred = \"drop\"\n";
    router.ok(&format!("attach lan0 --policy {}", router.policy("p", text)?))?;
    router.ok("attach wan0")?;
    let ping = |tos: u8, count: u8| {
        let lan = router.lab().lan().name();
        format!(
            "ip netns exec {lan} ping -q -n -Q {tos} -c {count} -s 1000 -i 0.01 -W 1 198.51.100.2 >/dev/null 2>&1; true"
        )
    };
    let options = "wan0:egress CS1=2 --within 1s";
    let told = "lan0:ingress meanwhile: CS1 before +2 after +0, 2 dropped: rule \"no CS1\" (";
    let none = expect(&router, options, &ping(32, 2))?.expect(3)?;
    none.says(&["none came to this hook: 2 were dropped at lan0:ingress", told])?;
    let document = expect(&router, &format!("{options} --json"), &ping(32, 2))?.expect(3)?.json()?;
    let hints = document["hints"].as_array().into_iter().flatten().filter_map(|hint| hint.as_str());
    assert!(hints.map(|hint| hint.replace("  ", " ")).any(|hint| hint.starts_with(told)), "{document:#}");
    let metered = expect(&router, "wan0:egress AF11=4 --within 1s", &ping(40, 4))?.expect(3)?;
    metered.says(&["AF11 before +4 after +1, 1 became AF12, 2 dropped: rule \"few AF11\" ("])?;
    Ok(())
}
