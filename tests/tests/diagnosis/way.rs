//! `why` on a part of the packets that is lost, on marks that our own policy makes, and on rules that are new.

use std::{
    net::{IpAddr, SocketAddr},
    process::{Child, Stdio},
};

use anyhow::Context as _;
use qosbpf::lab::topology::{LAN_HOST, WAN_HOST};
use qosbpf_tests::{
    binary::Answer,
    router::{Router, run_in, spawn_in, words},
    typed::{find, findings, has, shell, type_in},
    udp,
};

/// A thousand datagrams through the router.
fn thousand(router: &Router, tos: u8) -> anyhow::Result<()> {
    let [from, to] = [(LAN_HOST, 0), (WAN_HOST, 5060)].map(|(end, port)| SocketAddr::new(IpAddr::V4(end.v4), port));
    udp::send(router.lab().lan(), from, to, tos, 1000)
}

/// A router whose chain `thru` has one rule, with hooks that begin to count then.
fn with_rule(rule: &str) -> anyhow::Result<Router> {
    let router = Router::start()?;
    for line in [
        "nft add table inet f",
        "nft add chain inet f thru { type filter hook forward priority 0 ; }",
        &format!("nft add rule inet f thru {rule}"),
    ] {
        run_in(router.edge(), line)?;
    }
    // What comes in is counted when all that may leave is.
    for interface in ["wan0", "lan0"] {
        router.ok(&format!("attach {interface}"))?;
    }
    Ok(router)
}

fn why(router: &Router, what: &str) -> anyhow::Result<Answer> {
    Answer::of(router.command("why --sample 0 --json")?.args(what.splitn(2, ' ')))
}

fn text(finding: &serde_json::Value) -> String {
    format!("{} {}", finding["text"], finding["details"])
}

#[test]
fn a_loss_of_seven_in_a_hundred_is_named_with_its_share() -> anyhow::Result<()> {
    // Nothing that is known of such a rule says that it is about marks.
    let router = with_rule("@nh,0,16 0x45b8 numgen inc mod 100 < 7 drop")?;
    thousand(&router, 184)?;
    thousand(&router, 0)?;
    let vanished = find(&why(&router, "wan0:egress EF")?.expect(4)?, "wan0:egress", "vanished")?;
    let said = "7.0 % of EF is not seen between lan0:ingress and wan0:egress (1000 came, 930 were counted)";
    assert!(text(&vanished).contains(said), "{vanished:#}");
    assert!(type_in(&vanished, None)?.stdout.contains("numgen inc mod 100"), "the next thing to look at");
    why(&router, "wan0:egress DF")?.expect(0)?.says(&["comes through"])?;
    let mut ping = pinging(&router, "-i 0.002 -Q 184")?;
    let answer = router.ask("why wan0:egress EF --sample 3 --json");
    ping.end()?;
    let vanished = find(&answer?.expect(4)?, "wan0:egress", "vanished")?;
    assert!(text(&vanished).contains(" % of EF is not seen"), "{vanished:#}");
    Ok(())
}

#[test]
fn a_part_that_a_rule_takes_is_lost_to_it_and_its_cure_takes_it_away() -> anyhow::Result<()> {
    let router = with_rule("ip dscp ef numgen inc mod 100 < 7 ip dscp set cs1")?;
    thousand(&router, 184)?;
    let lost = find(&why(&router, "wan0:egress EF")?.expect(3)?, "wan0:egress", "lost-in-part")?;
    assert!(text(&lost).contains("7.0 % of EF is lost inside this router"), "{lost:#}");
    assert!(!has(&why(&router, "wan0:egress")?, "lost-in-part")?);
    type_in(&lost, None)?;
    let mut ping = pinging(&router, "-i 0.002 -Q 184")?;
    let answer = router.ask("why wan0:egress EF --sample 3");
    ping.end()?;
    answer?.expect(0)?.says(&["EF comes through"]).map(drop)
}

/// What flows now says more than what was lost before; a single packet says nothing.
#[test]
fn what_was_lost_and_comes_through_now_is_a_note() -> anyhow::Result<()> {
    let router = with_rule("ip dscp ef drop")?;
    thousand(&router, 184)?;
    let mut one = pinging(&router, "-W 1 -i 0.7 -c 2 -Q 184")?;
    let answer = router.ask("why wan0:egress EF --sample 1 --json");
    one.end()?;
    let lost = find(&answer?.expect(3)?, "wan0:egress", "lost-inside")?;
    type_in(&lost, None)?;
    let mut ping = pinging(&router, "-i 0.02 -Q 184")?;
    let answer = router.ask("why wan0:egress EF --sample 2 --json");
    ping.end()?;
    let answer = answer?.expect(0)?.says(&["EF comes through"])?;
    let earlier = find(&answer, "wan0:egress", "lost-earlier")?;
    let text = text(&earlier);
    assert!(
        earlier["level"] == "info" && text.contains(" of EF that came in by lan0:ingress was not seen at "),
        "{text}"
    );
    assert!(text.contains(": not so now"), "{text}");
    Ok(())
}

/// Which of two rules it was their own counters say; each can be taken away alone.
#[test]
fn of_several_suspects_each_has_its_own_command() -> anyhow::Result<()> {
    let router = with_rule("ip dscp ef ip dscp set cs1")?;
    run_in(router.edge(), "nft add rule inet f thru ip dscp ef ip dscp set cs2")?;
    thousand(&router, 184)?;
    let lost = find(&why(&router, "wan0:egress EF")?.expect(3)?, "wan0:egress", "lost-inside")?;
    let details = lost["details"].as_array().context("details")?;
    assert!(lost["cure"].is_null() && details.len() == 2, "{lost:#}");
    let screen = router.ask("why wan0:egress EF --sample 0")?.expect(3)?;
    for detail in details {
        let (_, command) = detail.as_str().unwrap_or_default().split_once("; if so: ").context("a command")?;
        assert!(screen.stdout.contains(&format!("  if so: {command}\n")), "{}", screen.stdout);
        assert_eq!(shell(command, None)?.code, 0, "{command}");
    }
    assert!(!run_in(router.edge(), "nft list ruleset")?.stdout.contains("dscp"), "both are gone");
    Ok(())
}

/// Pings from the LAN's host until it is dropped.
pub(crate) struct Pinging(Child);

pub(crate) fn pinging(router: &Router, options: &str) -> anyhow::Result<Pinging> {
    let line = format!("ping -q -n {options} {}", WAN_HOST.v4);
    spawn_in(router.lab().lan(), words(&line).stdout(Stdio::null())).map(Pinging)
}

impl Pinging {
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait().map(drop).context("ping")
    }
}

impl Drop for Pinging {
    fn drop(&mut self) {
        let _ended = self.end();
    }
}

/// The filter is about what tcpdump sees there: behind our hook, but at TC ingress before it.
#[test]
fn a_mark_that_our_policy_makes_is_said_and_tcpdump_shows_it() -> anyhow::Result<()> {
    for (hook, by, shown) in
        [("wan0:egress", "auto", 0x88), ("lan0:ingress", "tcx", 0xb8), ("lan0:ingress", "xdp", 0x88)]
    {
        let router = Router::start()?;
        let (interface, direction) = hook.split_once(':').context("a hook")?;
        let table =
            format!("[interface.{interface}]\n{direction} = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n");
        let policy = router.policy("p", &table)?;
        router.ok(&format!("attach {hook} --hook {by}"))?;
        router.ok(&format!("policy apply {policy}"))?;
        router.ping(false, 184, 20)?;
        let _ping = pinging(&router, "-i 0.05 -Q 184")?;
        for asked in ["AF41", "EF"] {
            let answer = why(&router, &format!("{hook} {asked}"))?;
            let filter = answer.json()?["further"][0].as_str().context("tcpdump")?.to_owned();
            let seen = shell(&format!("timeout 20 {filter}"), None)?;
            assert_eq!(seen.code, 0, "{hook} by {by}, {asked}: {filter}: {seen:?}");
            assert!(seen.stdout.contains(&format!("tos {shown:#x}")), "{}", seen.stdout);
        }
    }
    Ok(())
}

#[test]
fn who_asks_for_the_mark_that_our_policy_makes_is_told_what_came() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy =
        router.policy("p", "[interface.wan0]\negress = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n")?;
    router.ok("attach wan0 --egress")?;
    router.ok(&format!("policy apply {policy}"))?;
    router.ping(false, 184, 20)?;
    let answer = why(&router, "wan0:egress AF41")?.expect(0)?;
    let made = find(&answer, "wan0:egress", "made")?;
    assert!(text(&made).contains("our policy: 20 EF -> AF41 here, by table t, entry EF"), "{made:#}");
    let screen = router.ask("why wan0:egress AF41 --sample 0")?.expect(0)?;
    screen.says(&["AF41 at wan0:egress: before 0, after 20, since", "our policy makes it here."])?;
    Ok(())
}

#[test]
fn of_a_new_rule_only_what_came_since_counts_and_explain_runs_as_it_is_printed() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ok("attach lan0 --ingress")?;
    router.ping(false, 184, 20)?;
    let policy = router.policy(
        "p",
        "[[rule]]\nname = \"web\"\non = \"lan0:ingress\"\nmatch = { dscp = \"EF\", proto = \"tcp\" }\nset = \"DF\"\n",
    )?;
    router.ok(&format!("policy apply {policy}"))?;
    let none = find(&why(&router, "lan0:ingress web")?.expect(0)?, "lan0:ingress", "none-came")?;
    assert!(text(&none).contains("no packet with its codepoints came since"), "{none:#}");
    assert!(text(&none).contains("; 20 came before that"), "{none:#}");
    router.ping(false, 184, 5)?;
    let found = find(&why(&router, "lan0:ingress web")?.expect(4)?, "lan0:ingress", "not-matched")?;
    assert!(text(&found).contains("5 packets with its codepoints came since"), "{found:#}");
    type_in(&found, None)?.says(&["web", "not so: tcp"])?;
    // The same rules counted on through a bypass would be asked for packets that passed them by.
    router.ok("policy bypass")?;
    router.ping(false, 184, 7)?;
    router.ok("policy resume")?;
    router.ping(false, 184, 3)?;
    let found = find(&why(&router, "lan0:ingress web")?.expect(4)?, "lan0:ingress", "not-matched")?;
    assert!(text(&found).contains("\"3 packets with its codepoints came since"), "{found:#}");
    assert_eq!(findings(&why(&router, "lan0:ingress web")?)?.len(), 1);
    Ok(())
}
