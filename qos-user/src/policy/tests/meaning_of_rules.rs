//! What sets, rules and tests mean.

use core::{
    net::{Ipv4Addr, Ipv6Addr},
    num::NonZero,
};

use qos_common::{ds::Dscp, policy::Local};

use super::{FULL, policy, read};
use crate::{
    hook::{
        Direction::{Egress, Ingress},
        Via,
    },
    policy::model::{
        Action, Arrived, Condition, Field, Fragment, LogRate, MarkBits, Meter, MeterKind, Origin, Place, Prefixes,
        Rule, Verdict,
    },
};

fn dscp(word: &str) -> Dscp {
    word.parse().unwrap()
}

fn bits(words: &[&str]) -> u64 {
    words.iter().map(|word| 1 << dscp(word).value()).sum()
}

/// The rule with these lines, at `wan0:egress`.
fn rule(lines: &str) -> Rule {
    let policy = policy(&format!("[[rule]]\nname = \"a\"\non = \"wan0:egress\"\n{lines}\n"));
    policy.rules()[0].clone()
}

/// What `match = { FIELD }` is.
fn field(text: &str) -> Field {
    let condition = condition(text);
    assert!(!condition.negated);
    condition.field
}

fn condition(text: &str) -> Condition {
    rule(&format!("match = {{ {text} }}\nset = \"EF\"")).conditions[0].clone()
}

#[test]
fn the_full_example_says_what_its_comments_say() {
    let policy = read(FULL).unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
    let at = |interface, direction| {
        policy.rules_for(interface, direction).iter().map(|rule| &*rule.name).collect::<Vec<_>>()
    };
    assert_eq!(at("lan0", Ingress), ["EF only from the PBX", "calls that arrive unmarked"]);
    assert_eq!(at("ppp7", Egress), ["video, color-marked"]);
    assert_eq!(at("wan0.832", Egress), ["DHCP as the provider wants it"]);
    assert!(at("lan0", Egress).is_empty() && at("ppp0", Ingress).is_empty());

    let [pbx, calls, video, dhcp] = policy.rules() else { panic!() };
    let prefixes = Prefixes {
        v4: vec![(Ipv4Addr::new(10, 20, 0, 0), 24)],
        v6: vec![("2001:db8:20::".parse::<Ipv6Addr>().unwrap(), 64)],
    };
    assert_eq!(
        pbx.conditions,
        [
            Condition { field: Field::Dscp(bits(&["EF", "VA"])), negated: false },
            Condition { field: Field::Src(prefixes), negated: true },
        ]
    );
    assert_eq!((pbx.line, &pbx.action), (42, &Action::Set(Some(Dscp::DF))));
    assert_eq!(pbx.log, Some(LogRate { events: NonZero::new(1).unwrap(), seconds: 1 }));
    assert_eq!(calls.conditions[2].field, Field::DstPort(vec![(3478, 3481)]));
    assert_eq!(
        video.action,
        Action::Meter(Meter {
            kind: MeterKind::TrTcm { cir: 1_000_000, cbs: 64_000, pir: 1_500_000, pbs: 64_000 },
            aware: Some(Arrived { yellow: bits(&["AF42"]), red: bits(&["AF43"]) }),
            overhead: 0,
            green: Verdict::Set(dscp("AF41")),
            yellow: Verdict::Set(dscp("AF42")),
            red: Verdict::Set(dscp("AF43")),
        })
    );
    assert!(dhcp.overrides_local() && !pbx.overrides_local());
    assert_eq!(dhcp.conditions[2].field, Field::DstPort(vec![(67, 67), (547, 547)]));
    assert_eq!(dhcp.priority, Some(6));

    let [test] = policy.tests() else { panic!() };
    assert_eq!((&*test.interface, test.direction, test.expected()), ("ppp0", Egress, Some(Dscp::CS6)));
    assert_eq!((test.packet.dscp, test.packet.origin), (Dscp::CS6, Some(Origin::Local)));
    assert_eq!((test.packet.src_port, test.packet.dst_port), (Some(179), Some(33000)));
    assert_eq!(policy.local("ppp0"), Local::KeepControl);
}

#[test]
fn fields_take_one_value_a_range_or_a_list() {
    assert_eq!(field("dst-port = 53"), Field::DstPort(vec![(53, 53)]));
    assert_eq!(field("src-port = \"3478-3481\""), Field::SrcPort(vec![(3478, 3481)]));
    assert_eq!(field("port = [\"80\", 443, \"81 - 90\", 85, \"400-442\"]"), Field::Port(vec![(80, 90), (400, 443)]));
    assert_eq!(field("port = \"0-65535\""), Field::Port(vec![(0, 65535)]));
    assert_eq!(field("vlan = [832, 0]"), Field::Vlan(vec![(0, 0), (832, 832)]));
    assert_eq!(field("pcp = \"5-7\""), Field::Pcp(vec![(5, 7)]));
    assert_eq!(field("length = \"0-128\""), Field::Length(vec![(0, 128)]));
    assert_eq!(
        field("proto = [\"udp\", \"TCP\", \"ipv6-icmp\", \"132\", \"47-51\"]"),
        Field::Proto(vec![(6, 6), (17, 17), (47, 51), (58, 58), (132, 132)])
    );
    assert_eq!(field("icmp-type = [8, \"128-129\"]"), Field::IcmpType(vec![(8, 8), (128, 129)]));
    assert_eq!(field("family = \"ipv6\""), Field::Family(vec![6]));
    assert_eq!(field("family = [6, \"ipv4\", \"4\"]"), Field::Family(vec![4, 6]));
    assert_eq!(field("fragment = [\"later\", \"no\", \"no\"]"), Field::Fragment(vec![Fragment::No, Fragment::Later]));
    assert_eq!(field("origin = \"forwarded\""), Field::Origin(Origin::Forwarded));
    assert_eq!(field("origin = [\"local\", \"local\"]"), Field::Origin(Origin::Local));
    assert_eq!(field("from = [\"guest*\", \"dmz\", \"dmz\"]"), Field::From(vec!["dmz".into(), "guest*".into()]));
    assert_eq!(field("mark = \"0x10/0xff\""), Field::Mark(MarkBits { value: 0x10, mask: 0xff }));
    assert_eq!(field("mark = \"16/255\""), Field::Mark(MarkBits { value: 0x10, mask: 0xff }));
}

#[test]
fn codepoints_are_in_every_notation() {
    for text in ["\"EF\"", "46", "\"46\"", "[\"tos=184\"]", "\"ef\"", "\"0x2e-0x2e\"", "[46, \"EF\"]"] {
        assert_eq!(field(&format!("dscp = {text}")), Field::Dscp(1 << 46), "{text}");
    }
    assert_eq!(field("dscp = \"AF11-AF13\""), Field::Dscp(0b11111 << 10));
    assert_eq!(field("dscp = \"voice-admit\""), Field::Dscp(1 << 44));
    let with_class = "match = { dscp = [\"af\", \"EF\"] }\nset = \"EF\"\n[classes]\naf = [\"AF11\", \"AF12\"]";
    assert_eq!(rule(with_class).conditions[0].field, Field::Dscp(bits(&["AF11", "AF12", "EF"])));
}

#[test]
fn every_field_has_its_other_form() {
    for text in [
        "dscp-not = 1",
        "family-not = 4",
        "proto-not = 6",
        "src-not = \"10.0.0.1\"",
        "dst-not = \"::1\"",
        "src-port-not = 1",
        "dst-port-not = 1",
        "port-not = 1",
        "vlan-not = 1",
        "pcp-not = 1",
        "length-not = 100",
        "fragment-not = \"later\"",
        "icmp-type-not = 8",
        "mark-not = \"1/1\"",
        "origin-not = \"local\"",
        "from-not = \"a\"",
    ] {
        assert!(condition(text).negated, "{text}");
    }
}

#[test]
fn addresses_are_joined_to_the_fewest_prefixes() {
    let Field::Src(prefixes) =
        field("src = [\"10.0.1.0/24\", \"10.0.0.0/24\", \"10.0.0.7\", \"2001:db8::1\", \"192.0.2.1-192.0.2.6\"]")
    else {
        panic!()
    };
    let v4 = prefixes.v4.iter().map(|(network, length)| format!("{network}/{length}")).collect::<Vec<_>>();
    assert_eq!(v4, ["10.0.0.0/23", "192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/31", "192.0.2.6/32"]);
    assert_eq!(prefixes.v6, [("2001:db8::1".parse().unwrap(), 128)]);
    let everything = field("dst = [\"0.0.0.0/0\", \"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\"]");
    assert_eq!(
        everything,
        Field::Dst(Prefixes { v4: vec![(Ipv4Addr::UNSPECIFIED, 0)], v6: vec![(Ipv6Addr::UNSPECIFIED, 0)] })
    );
}

#[test]
fn sets_are_taken_whole() {
    let lines =
        "match = { dst = [\"@a\", \"@b\", \"192.0.2.1\"] }\nset = \"EF\"\n[sets]\na = [\"10.0.0.0/8\"]\nb = [\"::/0\"]";
    let Field::Dst(prefixes) = &rule(lines).conditions[0].field else { panic!() };
    assert_eq!((prefixes.v4.len(), prefixes.v6.len()), (2, 1));
}

#[test]
fn actions() {
    assert_eq!(rule("set = \"keep\"").action, Action::Set(None));
    assert_eq!(rule("set = 10").action, Action::Set(Some(dscp("AF11"))));
    assert_eq!(rule("drop = true").action, Action::Drop);
    let counts = rule("count = true\nlog = \"10/min\"\ndrop = false");
    assert_eq!((&counts.action, counts.count, counts.decides()), (&Action::None, true, false));
    assert_eq!(counts.log, Some(LogRate { events: NonZero::new(10).unwrap(), seconds: 60 }));
    for (word, number) in [("6", 6), ("\"10:200\"", 0x10_0200), ("\"ffff:0\"", 0xffff_0000), ("4294967295", u32::MAX)] {
        assert_eq!(rule(&format!("priority = {word}")).priority, Some(number), "{word}");
    }
    assert_eq!(rule("mark = \"0x10/0xff\"").mark, Some(MarkBits { value: 0x10, mask: 0xff }));
}

#[test]
fn who_hands_over_decides_and_keeps() {
    for lines in ["priority = 6", "mark = \"1/1\"\ncount = true"] {
        let rule = rule(lines);
        assert_eq!((&rule.action, rule.decides()), (&Action::Set(None), true), "{lines}");
    }
}

#[test]
fn meters() {
    let meter = |lines: &str| match rule(lines).action {
        Action::Meter(meter) => meter,
        other => panic!("{other:?}"),
    };
    let single = meter(
        "meter = { type = \"srtcm\", cir = \"8kbit\", cbs = \"1500B\", ebs = \"64KiB\", overhead = -14 }\nred = \"drop\"",
    );
    assert_eq!(single.kind, MeterKind::SrTcm { cir: 1000, cbs: 1500, ebs: 65536 });
    assert_eq!((single.aware, single.overhead), (None, -14));
    assert_eq!((single.green, single.yellow, single.red), (Verdict::Keep, Verdict::Keep, Verdict::Drop));
    let other = meter(
        "meter = { type = \"rfc4115\", cir = \"1gbit\", cbs = \"1MB\", eir = \"2gbit\", ebs = \"1MiB\" }\nyellow = \"keep\"",
    );
    assert_eq!(other.kind, MeterKind::Rfc4115 { cir: 125_000_000, cbs: 1_000_000, eir: 250_000_000, ebs: 1 << 20 });
}

#[test]
fn places() {
    let rule = rule("count = true");
    assert_eq!(rule.on, [Place { pattern: "wan0".into(), direction: Some(Egress) }]);
    let policy = policy(
        "[[rule]]\nname = \"a\"\non = [\"ppp*:egress\", \"lan0:ingress\"]\ncount = true\n\
        [[rule]]\nname = \"b\"\non = \"all\"\ncount = true\n[[rule]]\nname = \"c\"\non = \"lo:egress\"\ncount = true\n",
    );
    let names = |interface, direction| {
        policy.rules_for(interface, direction).iter().map(|rule| rule.name.clone()).collect::<String>()
    };
    for (interface, direction, expected) in [
        ("ppp0", Egress, "ab"),
        ("ppp0", Ingress, "b"),
        ("lan0", Ingress, "ab"),
        ("lan00", Ingress, "b"),
        ("lo", Egress, "c"),
        ("lo", Ingress, ""),
    ] {
        assert_eq!(names(interface, direction), expected, "{interface}:{direction}");
    }
}

#[test]
fn hooks_by_name() {
    for (word, via) in [
        ("auto", None),
        ("xdp", Some(Via::XdpNative)),
        ("xdp-generic", Some(Via::XdpGeneric)),
        ("tcx", Some(Via::Tcx)),
        ("clsact", Some(Via::Clsact)),
    ] {
        let policy =
            policy(&format!("[interface.\"eth*\"]\nhook = \"{word}\"\ningress = \"a\"\n[remark.a]\nother = 0"));
        assert_eq!((policy.hook("eth0"), policy.hook("lan0")), (via, None));
    }
}

#[test]
fn a_mark_at_tcx_is_fine() {
    for sections in [
        "[interface.eth0]\nhook = \"tcx\"\n[interface.\"eth*\"]\nhook = \"xdp\"\n[[rule]]\nname = \"a\"\non = \"eth0:ingress\"",
        "[interface.eth0]\nhook = \"xdp\"\n[[rule]]\nname = \"a\"\non = \"eth0:egress\"",
        "[[rule]]\nname = \"a\"\non = \"eth0:ingress\"",
    ] {
        assert_eq!(policy(&format!("{sections}\nmark = \"1/1\"\nset = \"EF\"")).rules().len(), 1);
    }
}
