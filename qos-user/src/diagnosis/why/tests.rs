use qos_common::abi::Counter;

use super::*;
use crate::{
    diagnosis::{
        Level, exit,
        facts::{Linked, Program, ProgramAt, Route},
        nft,
        tc::{Place, Wash},
        testing::{enforcing, filter, ground, port},
    },
    error::Exit,
    snapshot::{Counts, sample},
};

/// A router of which both hooks have counted for a while; `came` EF came in, `left` reached the WAN's hook.
fn snapshot(came: u64, left: u64) -> Snapshot {
    let mut snapshot = sample::snapshot();
    for (hook, packets) in snapshot.hooks.iter_mut().zip([came, left]) {
        let mut counts = Counts::zero();
        counts.sums.kept[0][184] = Counter { packets, bytes: 100 * packets };
        counts.sums.kept[0][0] = Counter { packets: 1000, bytes: 100_000 };
        hook.counts = Ok(counts);
        (hook.device, hook.qdisc) = (None, None);
    }
    snapshot
}

fn nft_rule() -> Outside {
    Outside {
        nft: nft::read(include_str!("../testdata/nft.json"), include_str!("../testdata/nft.txt")),
        iptables: Vec::new(),
    }
}

fn router() -> Ground {
    let mut wan = enforcing("wan0", Direction::Egress);
    wan.device.ifindex = 4;
    let mut lan = enforcing("lan0", Direction::Ingress);
    lan.device.ifindex = 3;
    ground(vec![lan, wan])
}

/// The WAN's hook at egress, where nothing moved while one looked.
pub(super) fn scene<'a>(snapshot: &'a Snapshot, ground: &'a Ground, outside: &'a Outside) -> Scene<'a> {
    static NOTHING: BTreeMap<u32, u64> = BTreeMap::new();
    let (interface, direction) = ("wan0", Direction::Egress);
    let (earlier, later, again, qdisc_replaced) = (snapshot, snapshot, None, false);
    let (sent, sent_ever) = (&NOTHING, &NOTHING);
    Scene {
        interface,
        direction,
        earlier,
        later,
        ground,
        outside,
        sent,
        sent_ever,
        again,
        outdated: &[],
        qdisc_replaced,
    }
}

fn ask(snapshot: &Snapshot, ground: &Ground, outside: &Outside, about: &About) -> Answer {
    why(&scene(snapshot, ground, outside), about)
}

/// The same of a sample in which `came` EF came in, none left by our hook, and `wg0`, which has no hook, sent `sent`.
fn sampled(came: u64, sent: u64) -> Answer {
    let mut ground = router();
    let mut other = port("wg0");
    other.device.ifindex = 9;
    ground.ports.push(other);
    ground.routes = vec![Route { ifindex: 9, to: "203.0.113.0/24".to_owned(), table: 100 }];
    let scene = Scene {
        interface: "wan0",
        direction: Direction::Egress,
        earlier: &snapshot(5, 0),
        later: &snapshot(5 + came, 0),
        ground: &ground,
        outside: &flowtable(),
        sent: &BTreeMap::from([(9, sent)]),
        sent_ever: &BTreeMap::from([(9, sent)]),
        again: None,
        outdated: &[],
        qdisc_replaced: false,
    };
    why(&scene, &ef())
}

/// A flowtable in software, which our hooks are in front of and behind.
fn flowtable() -> Outside {
    let table = nft::Flowtable {
        table: "inet fw".to_owned(),
        name: "ft".to_owned(),
        interfaces: vec!["lan0".to_owned(), "wan0".to_owned()],
        hardware: false,
        fed_by: vec![("rule".to_owned(), Command::new("nft delete rule inet fw fwd handle 5"))],
    };
    Outside { nft: Ok(nft::Ruleset { rules: Vec::new(), flowtables: vec![table] }), iptables: Vec::new() }
}

fn ef() -> About {
    About::Marks("EF".to_owned(), vec![Dscp::EF])
}

fn codes(answer: &Answer) -> Vec<&'static str> {
    answer.findings.iter().map(|finding| finding.code).collect()
}

fn of<'a>(answer: &'a Answer, code: &str) -> &'a Finding {
    answer.findings.iter().find(|finding| finding.code == code).unwrap_or_else(|| panic!("{code}: {answer:#?}"))
}

fn words(finding: &Finding) -> Vec<String> {
    finding.details.iter().map(|detail| detail.text.clone()).collect()
}

#[test]
fn a_mark_that_passes_is_no_fault() {
    let answer = ask(&snapshot(100, 100), &router(), &Outside::default(), &ef());
    assert_eq!(codes(&answer), ["attached", "arrived", "passed"]);
    assert_eq!(exit(&answer.findings), Exit::Done);
    let filter = "ip[1] & 0xfc == 0xb8 or ip6[0:2] & 0xfc0 == 0xb80";
    assert_eq!(answer.further[0], Cure::There(Command::new("tcpdump -n -v -c 5 -i wan0").word(filter)));
    assert!(answer.heading.starts_with("EF at wan0:egress: before 100, after 100, since 2026-"), "{}", answer.heading);
}

#[test]
fn a_mark_that_nft_takes_is_lost_inside_and_the_rule_is_the_first_suspect() {
    let answer = ask(&snapshot(904, 0), &router(), &nft_rule(), &ef());
    assert!(answer.heading.contains("Not a counting fault: 1000 other packets"), "{}", answer.heading);
    let lost = of(&answer, "lost-inside");
    assert_eq!(
        lost.text,
        "EF is lost inside this router, between lan0:ingress and wan0:egress (904 came, 0 were counted)"
    );
    assert!(
        lost.details[0].text.starts_with("suspect 1: nft table inet qos chain post handle 6:"),
        "{:?}",
        lost.details
    );
    // Others may have done it too.
    assert!(lost.details.len() > 1 && lost.cure.is_none(), "{lost:?}");
    assert_eq!(exit(&answer.findings), Exit::No);
}

/// All that is lost here is IPv4, and the same in IPv6 comes through.
#[test]
fn a_rule_of_another_family_is_no_suspect() {
    let rule = |families| {
        let mut rule = nft_rule().markers().next().unwrap().clone();
        rule.ways[0].asks.packets.families = families;
        Outside { iptables: vec![("x".to_owned(), Ok(vec![rule]))], ..Outside::default() }
    };
    let mut mixed = snapshot(904, 0);
    for hook in &mut mixed.hooks {
        hook.counts.as_mut().unwrap().sums.kept[1][184] = Counter { packets: 80, bytes: 8000 };
    }
    let found = |families| ask(&mixed, &router(), &rule(families), &ef());
    assert!(of(&found([true, false]), "lost-inside").details[0].text.starts_with("suspect 1: nft table inet qos"));
    assert!(!codes(&found([false, true])).contains(&"lost-inside"), "{:?}", found([false, true]));
    assert!(codes(&found([true; 2])).contains(&"lost-inside"));
}

#[test]
fn the_only_rule_that_may_have_done_it_can_be_taken_away() {
    let rule = nft_rule().markers().next().unwrap().clone();
    let outside = Outside { iptables: vec![("iptables".to_owned(), Ok(vec![rule]))], ..Outside::default() };
    let answer = ask(&snapshot(904, 0), &router(), &outside, &ef());
    let lost = of(&answer, "lost-inside");
    assert_eq!(lost.cure, Some(Cure::There(Command::new("nft delete rule inet qos post handle 6"))));
}

#[test]
fn a_route_without_a_hook_is_a_suspect_if_its_device_sent_as_many() {
    let route = "route: 203.0.113.0/24 (table 100) by wg0, which has no hook at egress";
    for sent in [100, 85, 115] {
        let lost = sampled(100, sent);
        let found = of(&lost, "lost-inside");
        assert_eq!(words(found), [format!("suspect 1: {route} and sent {sent} meanwhile")]);
        assert_eq!(found.cure, Some(Cure::attach("wg0", Direction::Egress)));
    }
    for sent in [10, 1000] {
        let vanished = sampled(100, sent);
        let found = of(&vanished, "vanished");
        let or = [format!("or: {route} and sent {sent} meanwhile")];
        assert_eq!((found.level, words(found)), (Level::Unknown, or.to_vec()));
        assert_eq!(found.details[0].cure, Some(Cure::attach("wg0", Direction::Egress)));
    }
    assert!(of(&sampled(100, 0), "vanished").details.is_empty(), "it sent nothing");
    assert_eq!(of(&sampled(3, 3), "vanished").level, Level::Unknown, "three are as many as anything");
}

/// What came in before the sample: no device says what became of it.
#[test]
fn a_route_is_no_suspect_of_what_was_not_watched() {
    let mut ground = router();
    let mut docker = port("docker0");
    docker.device.ifindex = 9;
    ground.ports.push(docker);
    ground.routes = vec![Route { ifindex: 9, to: "172.17.0.0/16".to_owned(), table: 254 }];
    let answer = ask(&snapshot(100, 0), &ground, &Outside::default(), &ef());
    let vanished = of(&answer, "vanished");
    assert_eq!(words(vanished), ["or: route: 172.17.0.0/16 by docker0, which has no hook at egress"]);
    assert_eq!(exit(&answer.findings), Exit::Unknown);
}

#[test]
fn a_rule_is_no_suspect_if_nothing_left_with_another_mark() {
    let mut snapshot = snapshot(904, 0);
    let counts = snapshot.hooks[1].counts.as_mut().unwrap();
    counts.sums.kept[0][0] = Counter { packets: 20, bytes: 2000 };
    let answer = ask(&snapshot, &router(), &nft_rule(), &ef());
    assert_eq!(of(&answer, "vanished").level, Level::Unknown);
}

#[test]
fn a_mark_that_vanishes_without_a_suspect_is_not_told_for_sure() {
    let answer = ask(&snapshot(10, 0), &router(), &Outside::default(), &ef());
    assert_eq!(of(&answer, "vanished").level, Level::Unknown);
    assert_eq!(exit(&answer.findings), Exit::Unknown);
}

/// Two readings that are not one differ a little; a share beyond that has a reason.
#[test]
fn a_part_that_is_missing_is_named_with_its_share() {
    for (left, found) in [(1000, "passed"), (990, "passed"), (980, "lost-in-part"), (899, "lost-inside")] {
        let answer = ask(&snapshot(1000, left), &router(), &nft_rule(), &ef());
        assert!(codes(&answer).contains(&found), "{left}: {answer:#?}");
    }
    let answer = ask(&snapshot(1000, 930), &router(), &nft_rule(), &ef());
    let text =
        "7.0 % of EF is lost inside this router, between lan0:ingress and wan0:egress (1000 came, 930 were counted)";
    assert_eq!(of(&answer, "lost-in-part").text, text);
    let answer = ask(&snapshot(1000, 930), &router(), &Outside::default(), &ef());
    assert!(of(&answer, "vanished").text.starts_with("7.0 % of EF is not seen between lan0:ingress"), "{answer:#?}");
    let whole = ask(&snapshot(1000, 930), &router(), &nft_rule(), &About::Hook);
    assert!(!codes(&whole).contains(&"lost-in-part"), "many a packet is for the router itself");
}

/// What came before the younger hook was there it could not count.
#[test]
fn a_hook_that_is_a_little_younger_has_not_seen_all() {
    let mut later = snapshot(1000, 930);
    let age = later.time.duration_since(later.hooks[0].since).unwrap();
    later.hooks[1].since = later.hooks[0].since + age.mul_f64(0.04);
    assert!(codes(&ask(&later, &router(), &Outside::default(), &ef())).contains(&"vanished"));
    later.hooks[1].since = later.hooks[0].since + std::time::Duration::from_secs(29);
    later.time = later.hooks[0].since + std::time::Duration::from_secs(290);
    let answer = ask(&later, &router(), &Outside::default(), &ef());
    let text = "7.0 % of EF is not counted at wan0:egress (1000 came, 930 were counted), which was attached later than";
    assert!(of(&answer, "not-comparable").text.starts_with(text), "{answer:#?}");
}

/// EF comes and leaves as AF41: who asks for AF41 is told so.
#[test]
fn what_our_own_policy_makes_here_is_said_with_the_mark_that_came() {
    let mut snapshot = snapshot(0, 0);
    let counts = snapshot.hooks[1].counts.as_mut().unwrap();
    let some = Counter { packets: 7, bytes: 700 };
    (counts.sums.changed[0][184], counts.remarked[46][0]) = (some, some);
    counts.sums.kept[0][0] = Counter::default();
    let asked = About::Marks("DF".to_owned(), vec![Dscp::DF]);
    snapshot.hooks[0].counts = Ok(Counts::zero());
    let answer = ask(&snapshot, &router(), &Outside::default(), &asked);
    assert!(answer.heading.starts_with("DF at wan0:egress: before 0, after 7, since"), "{}", answer.heading);
    assert_eq!(codes(&answer), ["attached", "made"], "{answer:#?}");
    assert!(of(&answer, "made").text.starts_with("our policy: 7 EF -> DF here, by table to-isp"), "{answer:#?}");
    assert_eq!(exit(&answer.findings), Exit::Done);
}

#[test]
fn hooks_of_different_age_are_compared_by_what_came_meanwhile() {
    let mut later = snapshot(50, 0);
    later.hooks[1].since += std::time::Duration::from_secs(600);
    let answer = ask(&later, &router(), &nft_rule(), &ef());
    let repeated = Cure::ask(Command::new("why --sample 10 wan0:egress EF"));
    assert_eq!(of(&answer, "not-comparable").level, Level::Unknown);
    assert_eq!(of(&answer, "not-comparable").cure, Some(repeated), "the same question");
    let mut earlier = snapshot(40, 0);
    earlier.hooks[1].since = later.hooks[1].since;
    earlier.hooks[1].counts.as_mut().unwrap().sums.kept[0][0] = Counter { packets: 990, bytes: 99_000 };
    let (ground, outside) = (router(), nft_rule());
    let scene = Scene { earlier: &earlier, ..scene(&later, &ground, &outside) };
    assert!(of(&why(&scene, &ef()), "lost-inside").text.contains("(10 came, 0 were counted)"));
}

#[test]
fn where_nothing_came_in_the_interfaces_that_are_not_counted_are_named() {
    let mut ground = router();
    assert_eq!(of(&ask(&snapshot(0, 0), &ground, &Outside::default(), &ef()), "none-came").level, Level::Info);
    ground.ports.push(port("lan1"));
    let answer = ask(&snapshot(0, 0), &ground, &Outside::default(), &ef());
    let blind = of(&answer, "blind");
    assert_eq!((blind.level, &blind.cure), (Level::Unknown, &Some(Cure::attach("lan1", Direction::Ingress))));
}

/// `lan0` with a host behind it that does not forward IPv4.
fn host() -> Ground {
    let mut ground = router();
    ground.ports[0].forwards_not = [Some("net.ipv4.conf.lan0.forwarding".to_owned()), None];
    ground
}

#[test]
fn that_the_host_does_not_forward_is_said_once_of_a_hook() {
    let mut snapshot = snapshot(5, 0);
    let counts = snapshot.hooks[0].counts.as_mut().unwrap();
    counts.sums.kept[0][32] = Counter { packets: 9, bytes: 900 };
    let answer = ask(&snapshot, &host(), &Outside::default(), &About::Hook);
    assert_eq!(codes(&answer), ["attached", "not-forwarded"], "{answer:#?}");
    assert_eq!(of(&answer, "not-forwarded").level, Level::Fail);
    assert!(codes(&ask(&snapshot, &router(), &nft_rule(), &About::Hook)).contains(&"lost-inside"));
}

#[test]
fn a_bridge_passes_on_what_the_host_does_not_forward() {
    let found = |ground: &Ground| codes(&ask(&snapshot(5, 0), ground, &Outside::default(), &ef()));
    let mut ground = host();
    assert!(found(&ground).contains(&"not-forwarded"));
    let mut master = port("br0");
    (master.device.ifindex, master.device.kind) = (50, Some("bridge".to_owned()));
    ground.ports.push(master);
    ground.ports[0].device.master = Some(50);
    assert!(!found(&ground).contains(&"not-forwarded"), "{:?}", found(&ground));
    ground.ports[2].device.kind = Some("vrf".to_owned());
    assert!(found(&ground).contains(&"not-forwarded"));
}

#[test]
fn what_our_own_policy_does_is_said_and_no_fault() {
    let mut snapshot = snapshot(0, 0);
    let counts = snapshot.hooks[1].counts.as_mut().unwrap();
    let some = Counter { packets: 7, bytes: 700 };
    (counts.sums.changed[0][184], counts.remarked[46][0]) = (some, some);
    let answer = ask(&snapshot, &router(), &Outside::default(), &ef());
    let remarked = of(&answer, "remarked");
    assert_eq!(remarked.level, Level::Info);
    assert_eq!(remarked.text, "our policy: 7 EF -> DF here, by table to-isp, entry EF (/etc/qosbpf/policy.toml:32)");
}

#[test]
fn a_hook_that_is_not_there_or_bypassed_is_the_fault() {
    let mut bypassed = snapshot(1, 1);
    bypassed.hooks[1].state = State::Bypassed;
    let found = ask(&bypassed, &router(), &Outside::default(), &About::Hook);
    let fault = of(&found, "bypassed");
    assert_eq!((fault.level, &fault.cure), (Level::Fail, &Some(Cure::Own(Command::new("policy resume wan0:egress")))));
    let mut absent = snapshot(1, 1);
    absent.hooks.truncate(1);
    let found = ask(&absent, &router(), &Outside::default(), &About::Hook);
    assert_eq!(codes(&found), ["not-attached"]);
    assert_eq!(found.findings[0].cure, Some(Cure::attach("wan0", Direction::Egress)));
}

/// All that comes in by the LAN is shaped behind an ifb, as cake-qos scripts do it.
#[test]
fn the_wash_of_an_ifb_on_the_way_is_a_suspect() {
    let mut ground = router();
    let mut redirect = filter(Place::List(Direction::Ingress), 10, Some("mirred"));
    (redirect.to, redirect.packets) = (Some("ifb4lan0".to_owned()), Packets::ALL);
    ground.ports[0].tc.redirects = vec![redirect];
    let mut ifb = port("ifb4lan0");
    (ifb.device.ifindex, ifb.device.kind) = (9, Some("ifb".to_owned()));
    ground.ports.push(ifb);
    let vanished = ask(&snapshot(904, 0), &ground, &Outside::default(), &ef());
    assert_eq!(exit(&vanished.findings), Exit::Unknown, "it gives back what it was sent: {vanished:#?}");
    ground.ports[2].tc.washes = vec![Wash { kind: "cake".to_owned(), parent: "root".to_owned() }];
    let answer = ask(&snapshot(904, 0), &ground, &Outside::default(), &ef());
    let suspect = &of(&answer, "lost-inside").details[0].text;
    let words = "suspect 1: tc filter flower protocol ip pref 10 chain 0 handle 0x1 at lan0 ingress redirects to ifb4lan0, \
                 where qdisc cake at root clears marks";
    assert_eq!(suspect, words);
}

#[test]
fn what_the_device_counted_beside_us_is_a_fault() {
    let mut snapshot = snapshot(0, 0);
    snapshot.hooks[1].device = Some(crate::snapshot::Device { packets: 2000, bytes: 0, drops: 0 });
    let found = ask(&snapshot, &router(), &Outside::default(), &About::Hook);
    let unseen = of(&found, "unseen");
    assert!(unseen.text.contains("50.0 %"), "{found:#?}");
    assert_eq!(unseen.cure, Some(Cure::look(Command::new("ss --packet --xdp --processes"))), "no circle");
    let mut ground = router();
    let before_us = Some(true);
    ground.ports[1].foreign = vec![Program {
        id: 91,
        name: "first".to_owned(),
        at: ProgramAt::Tcx(Direction::Egress),
        before_us,
        link: Linked::No,
    }];
    let found = ask(&snapshot, &ground, &Outside::default(), &About::Hook);
    let first = &of(&found, "unseen").details[0];
    assert!(first.text.starts_with("program 91 \"first\" at wan0 egress is in front of us"), "{first:?}");
}

#[test]
fn what_a_shaper_drops_behind_the_hook_agrees_with_the_device() {
    let mut snapshot = snapshot(0, 0);
    snapshot.hooks[1].device = Some(crate::snapshot::Device { packets: 600, bytes: 62_000, drops: 0 });
    let said = |snapshot: &Snapshot, code: &str| {
        of(&ask(snapshot, &router(), &Outside::default(), &About::Hook), code).text.clone()
    };
    let hidden = "we saw 1000, the device counted 600: super-packets are one to it and their segments to us, or a qdisc that is \
                  gone has dropped some, so what we do not see cannot be told from the numbers";
    assert_eq!(said(&snapshot, "share-hidden"), hidden);
    snapshot.hooks[1].qdisc = Some(crate::snapshot::Qdisc { kind: "tbf".to_owned(), drops: 400 });
    let agrees = "the device agrees: we saw 1000, it counted 600; dropped between our count and the device's: 400 by the \
                  qdisc";
    assert_eq!(said(&snapshot, "share"), agrees);
}
