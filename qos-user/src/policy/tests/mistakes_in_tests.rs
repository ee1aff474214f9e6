//! One snapshot for each kind of mistake in tests.

use super::macros::mistakes;

/// A test that is wrong in its packet.
macro_rules! packets {
    ($($name:ident: $packet:expr;)*) => { mistakes! { $(
        $name: format!("[[test]]\nname = \"t\"\non = \"wan0:egress\"\npacket = \"{}\"\nexpect = \"keep\"", $packet);
    )* } };
}

mistakes! {
    test_not_a_list: "[test]\nname = \"a\"";
    test_of_another_kind: "test = true";
    test_lacks_everything: "[[test]]";
    test_unknown_key: "[[test]]\nname = \"t\"\non = \"a:egress\"\npacket = \"esp 192.0.2.1 > 192.0.2.2\"\nexpects = \"EF\"";
    test_on_a_glob: "[[test]]\nname = \"t\"\non = \"ppp*:egress\"\npacket = \"esp 192.0.2.1 > 192.0.2.2\"\nexpect = \"EF\"";
    test_on_all: "[[test]]\nname = \"t\"\non = \"all\"\npacket = \"esp 192.0.2.1 > 192.0.2.2\"\nexpect = \"EF\"";
    test_on_two: "[[test]]\nname = \"t\"\non = [\"a:egress\", \"b:egress\"]\npacket = \"esp 192.0.2.1 > 192.0.2.2\"\nexpect = \"EF\"";
    test_expects_a_class: "[classes]\nv = [\"EF\"]\n[[test]]\nname = \"t\"\non = \"a:egress\"\npacket = \"esp 192.0.2.1 > 192.0.2.2\"\nexpect = \"v\"";
    test_expects_nothing_known: "[[test]]\nname = \"t\"\non = \"a:egress\"\npacket = \"esp 192.0.2.1 > 192.0.2.2\"\nexpect = \"droped\"";
    test_expects_an_action: "[[test]]\nname = \"t\"\non = \"a:egress\"\npacket = \"esp 192.0.2.1 > 192.0.2.2\"\nexpect = \"remark\"";
    test_expects_what_a_firewall_does: "[[test]]\nname = \"t\"\non = \"a:egress\"\npacket = \"esp 192.0.2.1 > 192.0.2.2\"\nexpect = \"accept\"";
    test_keys_of_other_words: "[[test]]\nname = \"t\"\ninterface = \"a:egress\"\nframe = \"esp 192.0.2.1 > 192.0.2.2\"\nresult = \"EF\"";
    test_origin_at_ingress: "[[test]]\nname = \"t\"\non = \"a:ingress\"\npacket = \"esp 192.0.2.1 > 192.0.2.2 origin local\"\nexpect = \"drop\"";
    test_packet_of_another_kind: "[[test]]\nname = \"t\"\non = \"a:ingress\"\npacket = [\"udp\"]\nexpect = \"drop\"";
    test_packet_with_escapes: "[[test]]\nname = \"t\"\non = \"a:ingress\"\npacket = \"esp 192.0.2.1\\t> 192.0.2.2 dscp AF44\"\nexpect = \"drop\"";
}

packets! {
    packet_empty: "";
    packet_protocol_unknown: "upd 192.0.2.1:1 > 192.0.2.2:2";
    packet_without_arrow: "udp 192.0.2.1:1 192.0.2.2:2";
    packet_without_destination: "udp 192.0.2.1:1 >";
    packet_address_wrong: "udp 192.0.2:1 > 192.0.2.2:2";
    packet_port_missing: "udp 2001:db8::1 > [2001:db8::2]:53";
    packet_port_too_large: "udp 192.0.2.1:65536 > 192.0.2.2:2";
    packet_port_too_many: "gre 192.0.2.1:1 > 192.0.2.2";
    packet_ports_of_a_later_fragment: "udp 192.0.2.1:1 > 192.0.2.2:2 fragment later";
    packet_of_two_families: "esp 192.0.2.1 > 2001:db8::2";
    packet_icmp_of_the_other_family: "icmp 2001:db8::1 > 2001:db8::2";
    packet_icmpv6_of_the_other_family: "icmpv6 192.0.2.1 > 192.0.2.2";
    packet_codepoint_without_its_word: "esp 192.0.2.1 > 192.0.2.2 EF";
    packet_value_behind_an_equals_sign: "esp 192.0.2.1 > 192.0.2.2 dscp=EF";
    packet_port_as_a_word: "udp 192.0.2.1 > 192.0.2.2 dport 5060";
    packet_word_of_another_tool: "esp 192.0.2.1 > 192.0.2.2 iif lan0";
    packet_begins_with_its_codepoint: "EF udp 192.0.2.1:1 > 192.0.2.2:2";
    packet_word_unknown: "esp 192.0.2.1 > 192.0.2.2 dsc EF";
    packet_word_far_from_all: "esp 192.0.2.1 > 192.0.2.2 ttl 5";
    packet_word_twice: "esp 192.0.2.1 > 192.0.2.2 dscp EF dscp DF";
    packet_value_missing: "esp 192.0.2.1 > 192.0.2.2 dscp";
    packet_dscp_unknown: "esp 192.0.2.1 > 192.0.2.2 dscp AF44";
    packet_ecn_unknown: "esp 192.0.2.1 > 192.0.2.2 ecn 4";
    packet_origin_unknown: "esp 192.0.2.1 > 192.0.2.2 origin here";
    packet_local_from: "esp 192.0.2.1 > 192.0.2.2 origin local from lan0";
    packet_from_a_glob: "esp 192.0.2.1 > 192.0.2.2 from lan*";
    packet_from_nothing: "esp 192.0.2.1 > 192.0.2.2 from a/b";
    packet_vlan_too_large: "esp 192.0.2.1 > 192.0.2.2 vlan 4095";
    packet_pcp_too_large: "esp 192.0.2.1 > 192.0.2.2 pcp 8";
    packet_too_short: "tcp 192.0.2.1:1 > 192.0.2.2:2 length 39";
    packet_fragment_unknown: "esp 192.0.2.1 > 192.0.2.2 fragment last";
    packet_type_of_udp: "udp 192.0.2.1:1 > 192.0.2.2:2 icmp-type 8";
    packet_type_of_a_later_fragment: "icmp 192.0.2.1 > 192.0.2.2 icmp-type 8 fragment later";
    packet_mark_wrong: "esp 192.0.2.1 > 192.0.2.2 mark 0x1ffffffff";
}
