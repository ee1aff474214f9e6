//! `why` on packets that no hook at ingress counts: made by this host, or come in where no hook is; and on hooks of the way
//! whose policy is out of the path.

use qosbpf::lab::topology::WAN_HOST;
use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in},
    typed::{find, findings, has, type_in},
};

fn attached(hooks: &[&str]) -> anyhow::Result<Router> {
    let router = Router::start()?;
    for hook in hooks {
        router.ok(&format!("attach {hook}"))?;
    }
    Ok(router)
}

fn why(router: &Router, what: &str) -> anyhow::Result<Answer> {
    router.ask(&format!("why {what} --sample 0 --json"))
}

/// EF that the router makes, to the WAN's host.
fn make_ef(router: &Router) -> anyhow::Result<()> {
    run_in(router.edge(), &format!("ping -q -n -i 0.002 -W 2 -Q 184 -c 5 {}", WAN_HOST.v4)).map(drop)
}

#[test]
fn a_rule_that_rewrites_what_this_host_makes_is_suspected_of_a_class() -> anyhow::Result<()> {
    let chain = |kind: &str, hook: &str| {
        vec![
            "nft add table ip z".to_owned(),
            format!("nft add chain ip z p {{ type {kind} hook {hook} priority mangle ; }}"),
            "nft add rule ip z p ip dscp ef ip dscp set cs0".to_owned(),
        ]
    };
    let iptables = vec!["iptables -t mangle -A OUTPUT -o wan0 -j DSCP --set-dscp 0".to_owned()];
    let cases = [
        (chain("route", "output"), "nft table ip z chain p handle "),
        (chain("filter", "postrouting"), "nft table ip z chain p handle "),
        (iptables, "iptables -t mangle OUTPUT 1: "),
    ];
    for (lines, place) in cases {
        let router = attached(&["lan0", "wan0"])?;
        for line in &lines {
            run_in(router.edge(), line)?;
        }
        make_ef(&router)?;
        let answer = why(&router, "wan0:egress EF")?.expect(4)?;
        let found = find(&answer, "wan0:egress", "made-here")?;
        let suspect = found["details"][0].as_str().unwrap_or_default();
        assert!(suspect.starts_with(&format!("suspect 1: {place}")) && found["level"] == "unknown", "{found:#}");
        type_in(&found, None)?;
        make_ef(&router)?;
        let answer = why(&router, "wan0:egress EF")?.expect(0)?;
        assert!(!has(&answer, "made-here")?, "{}", answer.stdout);
        assert_eq!(router.counted("wan0:egress")?.packets().get(&184), Some(&5), "{place}");
    }
    Ok(())
}

/// What is forwarded comes through, and says nothing of what the host makes.
#[test]
fn it_is_named_beside_what_comes_through_and_where_it_lies() -> anyhow::Result<()> {
    let router = attached(&["lan0", "wan0"])?;
    for line in [
        "nft add table ip z",
        "nft add chain ip z p { type route hook output priority mangle ; }",
        "nft add rule ip z p oifname wan0 ip dscp ef ip dscp set cs0",
        "nft add chain ip z own { type filter hook forward priority mangle ; }",
        "nft add rule ip z own oifname lan0 ip dscp set cs1",
        "nft add chain ip z out { type filter hook postrouting priority mangle ; }",
        "nft add rule ip z out iifname far9 ip dscp ef ip dscp set cs1",
    ] {
        run_in(router.edge(), line)?;
    }
    router.ping(false, 184, 60)?;
    let answer = why(&router, "wan0:egress EF")?.expect(0)?.says(&["EF comes through: 60 from "])?;
    let found = find(&answer, "wan0:egress", "made-here")?;
    let suspects = found["details"].as_array().map(Vec::len);
    let first = found["details"][0].as_str().unwrap_or_default();
    assert!(found["cure"].is_null() && first.contains("if so: "), "{found:#}");
    assert!(found["level"] == "info" && suspects == Some(1) && first.contains("chain p "), "{found:#}");
    assert!(!has(&why(&router, "wan0:egress AF41")?, "made-here")?, "it takes EF alone");
    let whole = findings(&why(&router, "wan0:egress")?)?;
    let told: Vec<_> = whole.iter().filter(|found| found["code"] == "marked-by-others").collect();
    let text = told.first().and_then(|found| found["text"].as_str()).unwrap_or_default();
    assert!(
        told.len() == 1 && text.ends_with("on the way of what this host makes, before our hooks at egress"),
        "{text}"
    );
    Ok(())
}

#[test]
fn what_came_in_where_no_hook_is_or_was_is_said_of_a_mark() -> anyhow::Result<()> {
    let router = attached(&["wan0:egress"])?;
    router.ping(false, 184, 20)?;
    let ask = || why(&router, "wan0:egress EF")?.expect(0);
    let words = "EF comes here: made by this host, or marked on the way, or came in where no hook is (lan0)";
    ask()?.says(&[&format!("{words}\"")])?;
    router.ok("attach lan0:ingress")?;
    let words = "EF comes here: made by this host, or marked on the way, or came in before lan0:ingress was attached";
    ask()?.says(&[words])?;
    Ok(())
}

/// Who asks for the mark that they did not get is told, too, and not sent to other interfaces.
#[test]
fn what_local_keeps_from_the_policy_is_said() -> anyhow::Result<()> {
    let router = attached(&["wan0"])?;
    let tables = |local: &str| {
        format!("[interface.wan0]\negress = \"u\"\n{local}[remark.u]\nEF = \"AF41\"\nCS6 = \"DF\"\nother = \"keep\"\n")
    };
    router.ok(&format!("policy apply {}", router.policy("all", &tables("local = \"keep\"\n"))?))?;
    make_ef(&router)?;
    let said =
        |what: &str| anyhow::Ok(find(&why(&router, what)?.expect(0)?, "wan0:egress", "protected")?["text"].clone());
    for asked in ["wan0:egress AF41", "wan0:egress EF"] {
        assert_eq!(said(asked)?, "our policy: 5 EF kept by local = \"keep\" (made by this host)", "{asked}");
    }
    assert!(!has(&why(&router, "wan0:egress AF41")?, "blind")?);
    assert!(!has(&why(&router, "wan0:egress AF11")?, "protected")?, "nothing becomes that");
    run_in(router.edge(), &format!("ping -q -n -i 0.002 -W 2 -Q 192 -c 10 {}", WAN_HOST.v4))?;
    assert_eq!(said("wan0:egress CS6")?, "our policy: 10 CS6 kept by local = \"keep\" (made by this host)");
    // The default, of which CS6 alone are spared.
    router.ok(&format!("policy apply {}", router.policy("control", &tables(""))?))?;
    let text = "our policy: up to 10 CS6 kept by local = \"keep-control\" (made by this host); 15 of all codepoints";
    assert_eq!(said("wan0:egress CS6")?, text);
    Ok(())
}

#[test]
fn a_hook_on_the_way_whose_policy_is_out_of_the_path_is_named() -> anyhow::Result<()> {
    let router = attached(&["lan0:ingress", "lan0:egress", "wan0:egress"])?;
    let policy = "[interface.lan0]\ningress = \"in\"\negress = \"out\"\n[interface.wan0]\negress = \"out\"\n\
                  [remark.in]\nEF = \"AF41\"\nother = \"keep\"\n[remark.out]\nAF41 = \"CS1\"\nother = \"keep\"\n";
    router.ok(&format!("policy apply {}", router.policy("p", policy)?))?;
    router.ping(false, 184, 20)?;
    why(&router, "lan0:ingress EF")?.expect(0)?;
    router.ok("policy bypass wan0:egress")?;
    for what in ["lan0:ingress EF", "lan0:ingress AF41"] {
        let answer = why(&router, what)?.expect(3)?;
        let found = find(&answer, "wan0:egress", "bypassed")?;
        assert!(
            found["text"].as_str().is_some_and(|text| text.starts_with("where it leaves, at wan0:egress,")),
            "{found:#}"
        );
    }
    assert!(!has(&why(&router, "lan0:ingress CS6")?, "bypassed")?, "none of it leaves there");
    router.ok("policy bypass lan0:ingress")?;
    let found = find(&why(&router, "wan0:egress AF41")?.expect(3)?, "lan0:ingress", "bypassed")?;
    type_in(&found, None)?;
    type_in(&find(&why(&router, "lan0:ingress EF")?.expect(3)?, "wan0:egress", "bypassed")?, None)?;
    why(&router, "lan0:ingress EF")?.expect(0)?;
    Ok(())
}
