//! Packets in words, and what tests expect of them.

use qos_common::ds::{Dscp, Ecn};

use super::policy;
use crate::{
    hook::Direction::{Egress, Ingress},
    policy::{
        model::{Fragment, Origin},
        packet::Packet,
    },
};

#[test]
fn packets_in_words() {
    let parse = |text| Packet::parse(text, Some(Egress)).unwrap();
    let plain = parse("udp [2001:db8::1]:5060 > [2001:db8::2]:5061");
    assert_eq!(
        plain,
        Packet {
            src: "2001:db8::1".parse().unwrap(),
            dst: "2001:db8::2".parse().unwrap(),
            dscp: Dscp::DF,
            ecn: Ecn::NotEct,
            proto: Some(17),
            src_port: Some(5060),
            dst_port: Some(5061),
            icmp_type: None,
            fragment: Fragment::No,
            vlan: None,
            pcp: None,
            length: 48,
            mark: Some(0),
            origin: Some(Origin::Forwarded),
            from: None,
        }
    );
    let full = parse(
        "tcp 192.0.2.1:1  >\t192.0.2.2:2 mark 0x10 dscp tos=184 ecn ect0 vlan 832 pcp 6 length 1500 fragment first from lan0",
    );
    assert_eq!((full.dscp, full.ecn, full.vlan, full.pcp), (Dscp::EF, Ecn::Ect0, Some(832), Some(6)));
    assert_eq!((full.length, full.mark, full.fragment), (1500, Some(16), Fragment::First));
    assert_eq!((full.origin, full.from.as_deref()), (Some(Origin::Forwarded), Some("lan0")));
    assert_eq!(parse("icmp 192.0.2.1 > 192.0.2.2").icmp_type, Some(8));
    assert_eq!(parse("icmpv6 ::1 > [::2]").icmp_type, Some(128));
    assert_eq!(parse("icmp 192.0.2.1 > 192.0.2.2 icmp-type 3").icmp_type, Some(3));
    assert_eq!(parse("89 192.0.2.1 > 224.0.0.5 dscp CS6 origin local").origin, Some(Origin::Local));
    let later = parse("udp 192.0.2.1 > 192.0.2.2 fragment later");
    assert_eq!((later.proto, later.src_port, later.fragment), (Some(17), None, Fragment::Later));
    let tagged = parse("esp 192.0.2.1 > 192.0.2.2 pcp 6");
    assert_eq!((tagged.vlan, tagged.pcp), (Some(0), Some(6)));
    assert_eq!(Packet::parse("esp 192.0.2.1 > 192.0.2.2", Some(Ingress)).unwrap().origin, None);
}

#[test]
fn the_place_of_a_wrong_word() {
    let error = Packet::parse("udp 192.0.2.1:1 > 192.0.2.2:2 dscp AF44", None).unwrap_err();
    assert_eq!((error.at, &*error.message), (35..39, "unknown DSCP `AF44`: AF classes run AF11 to AF43"));
    let error = Packet::parse("udp 192.0.2.1:1 >", None).unwrap_err();
    assert_eq!(error.at, 17..17);
}

#[test]
fn what_tests_expect() {
    for (word, expected) in [("\"keep\"", Some("AF41")), ("\"drop\"", None), ("\"EF\"", Some("EF")), ("0", Some("DF"))]
    {
        let sections = format!(
            "[[test]]\nname = \"t\"\non = \"a:ingress\"\npacket = \"esp ::1 > ::2 dscp AF41\"\nexpect = {word}"
        );
        let policy = policy(&sections);
        assert_eq!(policy.tests()[0].expected(), expected.map(|word| word.parse().unwrap()), "{word}");
        assert_eq!((policy.tests()[0].line, &*policy.tests()[0].text), (3, "esp ::1 > ::2 dscp AF41"));
    }
}
