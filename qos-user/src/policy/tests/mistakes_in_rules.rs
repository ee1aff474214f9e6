//! One snapshot for each kind of mistake in sets and rules.

use super::{
    macros::{mistakes, rules},
    read,
};

mistakes! {
    set_not_a_list: "[sets]\npbx = \"10.20.0.0/24\"";
    sets_entry_of_another_kind: "[sets]\npbx = { a = 1 }";
    set_as_text: "[sets]\npbx = \"10.20.0.0/24, 2001:db8:20::/64\"\nlan = [\"10.0.0.1, 10.0.0.2\"]";
    set_empty: "[sets]\npbx = []";
    set_called_with_at: "[sets]\n\"@pbx\" = [\"10.0.0.1\"]";
    set_called_with_blank: "[sets]\n\"my pbx\" = [\"10.0.0.1\"]";
    set_name_empty: "[sets]\n\"\" = [\"10.0.0.1\"]";
    set_in_a_set: "[sets]\na = [\"10.0.0.1\"]\nb = [\"@a\"]";
    set_member_of_another_kind: "[sets]\na = [10]";
    set_member_with_host_bits: "[sets]\npbx = [\"10.20.0.1/24\", \"2001:db8:20::1/64\"]";
    set_member_too_long: "[sets]\na = [\"10.0.0.0/33\", \"2001:db8::/129\", \"10.0.0.0/x\"]";
    set_member_with_a_mask: "[sets]\na = [\"10.0.0.0/255.255.255.0\"]";
    set_member_no_address: "[sets]\na = [\"10.0.0\", \"pbx.example.net\", \"fe80::1%eth0\", \"[2001:db8::1]\", \"2001:db8:/64\"]";
    set_range_backwards: "[sets]\na = [\"10.0.0.9-10.0.0.1\"]";
    set_range_of_two_families: "[sets]\na = [\"10.0.0.9-2001:db8::1\"]";

    rule_not_a_list: "[rule]\nname = \"a\"";
    rule_of_another_kind: "rule = 5";
    rule_in_a_list_of_another_kind: "rule = [5]";
    rule_without_name: "[[rule]]\non = \"lan0:ingress\"\nset = \"EF\"";
    rule_without_name_inline: "rule = [{ on = \"lan0:ingress\", set = \"EF\" }]";
    rule_name_of_another_kind: "[[rule]]\nname = 5\non = \"lan0:ingress\"\nset = \"EF\"";
    rule_name_empty: "[[rule]]\nname = \"\"\non = \"lan0:ingress\"\nset = \"EF\"";
    rule_without_on_in_a_broken_file: "[[rule]]\nname = \"a\"\nset EF";
    rule_without_on: "[[rule]]\nname = \"a\"\nset = \"EF\"";
    rule_twice: "[[rule]]\nname = \"a\"\non = \"x:ingress\"\nset = \"EF\"\n[[rule]]\nname = \"a\"\non = \"y:ingress\"\nset = \"DF\"";
    rule_added_to_a_list_in_brackets: "rule = [{ name = \"a\", on = \"all\", count = true }]\n[[rule]]\nname = \"b\"";
    rule_mark_at_xdp: "[interface.\"eth*\"]\nhook = \"xdp\"\n[[rule]]\nname = \"a\"\non = \"eth0:ingress\"\nset = \"EF\"\nmark = \"1/1\"";
    rule_matches_mark_at_xdp: "[interface.eth0]\nhook = \"xdp\"\n[[rule]]\nname = \"a\"\non = \"all\"\nmatch = { mark = \"1/1\" }\nset = \"EF\"";
}

rules! {
    on_misspelt: "onn = \"a:ingress\"\nset = \"EF\"";
    on_without_direction: "on = \"lan0\"\nset = \"EF\"";
    on_with_a_bad_direction: "on = [\"lan0:in\", \"lan0:egres\", \"lan0:both\"]\nset = \"EF\"";
    on_with_a_bad_name: "on = [\"la*n:ingress\", \":ingress\", \"a b:egress\"]\nset = \"EF\"";
    on_all_with_a_direction: "on = \"all:egress\"\nset = \"EF\"";
    on_empty: "on = []\nset = \"EF\"";
    on_of_another_kind: "on = [5]\nset = \"EF\"";

    unknown_rule_key: "sett = \"EF\"";
    field_outside_match: "dscp = \"EF\"\nset = \"DF\"";
    field_outside_match_that_is_there: "match = { proto = \"udp\" }\ndst_port = \"5000-6000\"\ndscp = [\"EF\",\n  \"VA\"]\nset = \"DF\"";
    rule_key_remark: "match = { dscp = \"EF\" }\nremark = \"AF41\"";
    rule_key_action: "action = \"drop\"\nthen = \"accept\"\nset_dscp = 46\ndo = \"AF4\"";
    rule_keys_of_other_tools: "on = \"a:ingress\"\ninterface = \"a\"\nwhen = 1\npolice = 1\nexceed-action = \"drop\"\ndescription = \"x\"\nset = \"EF\"";
    rule_with_an_interface_for_on: "interface = \"lan0\"\non = \"a:ingress\"\nset = \"EF\"";
    fields_of_other_tools: "match = { dport = 5060, oifname = \"a\", ecn = 1, ctstate = \"new\", cos-not = 5 }\nset = \"EF\"";
    not_field_outside_match: "src-not = \"10.0.0.1\"\nset = \"DF\"";
    action_inside_match: "match = { set = \"EF\" }\nset = \"EF\"";
    match_of_another_kind: "match = \"EF\"\nset = \"EF\"";
    unknown_field: "match = { prto = \"udp\", ttl = 5, dport = 5, tos = 184, src_port = 5, sport-not = 5, not-src = \"10.0.0.1\" }\nset = \"EF\"";

    dscp_unknown: "match = { dscp = [\"AF44\", \"voise\", 184] }\nset = \"EF\"";
    dscp_empty: "match = { dscp = [] }\nset = \"EF\"";
    dscp_range_backwards: "match = { dscp = \"AF13-AF11\" }\nset = \"EF\"";
    dscp_of_another_kind: "match = { dscp = [1.5] }\nset = \"EF\"";
    dscp_unknown_where_classes_are: "match = { dscp = [\"voise\", \"telephony\"] }\nset = \"AF41\"\n[classes]\nvideo = [\"AF41\"]\nvoice = [\"EF\"]";
    family_unknown: "match = { family = [\"ipv5\", \"inet\", 5] }\nset = \"EF\"";
    family_of_another_kind: "match = { family = true }\nset = \"EF\"";
    proto_unknown: "match = { proto = [\"upd\", \"quic\", 256, -1] }\nset = \"EF\"";
    proto_of_another_kind: "match = { proto = { a = 1 } }\nset = \"EF\"";
    set_unknown: "match = { src = \"@pbx\" }\nset = \"EF\"";
    set_without_at: "match = { src = \"pbx\" }\nset = \"EF\"\n[sets]\npbx = [\"10.0.0.1\"]";
    set_nearly_known: "match = { src = \"@pbz\" }\nset = \"EF\"\n[sets]\npbx = [\"10.0.0.1\"]";
    address_with_host_bits: "match = { src-not = \"192.0.2.1/24\" }\nset = \"EF\"";
    address_of_another_kind: "match = { dst = 10 }\nset = \"EF\"";
    port_unknown: "match = { dst-port = [\"sip\", 65536, \"1-65536\", \"80-\", \"-80\", \"@pbx\"] }\nset = \"EF\"";
    port_range_of_other_tools: "match = { dst-port = [\"5000:6000\", \"5000..6000\", \"5000 to 6000\", \"5000-\"], port = { from = 5000, to = 6000 } }\nset = \"EF\"";
    list_as_text: "on = \"lan0:ingress, wan0:egress\"\nmatch = { dst-port = \"5060,5061\", proto = \"tcp,udp\", src = \"10.0.0.1, 10.0.0.2\", dscp = \"EF, AF41\", family = \"ipv4,ipv6\" }\nset = \"EF\"";
    port_range_backwards: "match = { port = \"5061-5060\" }\nset = \"EF\"";
    vlan_out_of_range: "match = { vlan = 4095 }\nset = \"EF\"";
    pcp_out_of_range: "match = { pcp = \"6-8\" }\nset = \"EF\"";
    length_too_short: "match = { length = \"0-19\" }\nset = \"EF\"";
    length_with_a_unit: "match = { length = \"200B\" }\nset = \"EF\"";
    fragment_unknown: "match = { fragment = [\"none\", \"latter\"] }\nset = \"EF\"";
    icmp_type_by_name: "match = { icmp-type = \"echo-request\" }\nset = \"EF\"";
    match_mark_without_mask: "match = { mark = \"0x10\" }\nset = \"EF\"";
    match_mark_wrong: "match = { mark = \"x/0xff\", mark-not = \"0x100/0xff\" }\nset = \"EF\"";
    match_mark_with_no_bits: "match = { mark = \"0/0\" }\nset = \"EF\"";
    match_mark_of_another_kind: "match = { mark = [\"1/1\"] }\nset = \"EF\"";
    origin_unknown: "on = \"a:egress\"\nmatch = { origin = \"locl\" }\nset = \"EF\"";
    origin_of_another_kind: "on = \"a:egress\"\nmatch = { origin = [5, true, \"local,forwarded\"] }\nset = \"EF\"";
    origin_of_neither: "on = \"a:egress\"\nmatch = { origin-not = [\"local\", \"forwarded\"] }\nset = \"EF\"";
    origin_at_ingress: "match = { origin = \"local\" }\nset = \"EF\"";
    from_everywhere: "on = \"all\"\nmatch = { from = \"guest0\" }\nset = \"EF\"";
    from_with_a_bad_name: "on = \"a:egress\"\nmatch = { from = \"gu*st\" }\nset = \"EF\"";

    never_ports_of_icmp: "match = { proto = \"icmp\", dst-port = 5 }\nset = \"EF\"";
    never_type_of_udp: "match = { icmp-type = 8, proto = \"udp\" }\nset = \"EF\"";
    never_ports_and_type: "match = { icmp-type = 8, port = 5 }\nset = \"EF\"";
    never_ports_later: "match = { fragment = \"later\", src-port = 5 }\nset = \"EF\"";
    never_two_families: "match = { src = \"10.0.0.1\", dst = \"2001:db8::1\" }\nset = \"EF\"";
    never_of_that_family: "match = { family = \"ipv6\", src = \"10.0.0.1\" }\nset = \"EF\"";
    never_all_but_all: "match = { dscp-not = \"0-63\" }\nset = \"EF\"";
    never_both_forms: "match = { dscp = [\"EF\", \"VA\"], proto = \"udp\", dscp-not = \"40-47\" }\nset = \"EF\"";
    never_both_forms_of_an_address: "match = { src = \"10.0.0.0/25\", src-not = \"10.0.0.0/24\" }\nset = \"EF\"";
    never_local_from: "on = \"a:egress\"\nmatch = { origin = \"local\", from = \"b\" }\nset = \"EF\"";

    no_action: "match = { dscp = \"EF\" }";
    no_action_but_false: "count = false\ndrop = false";
    set_and_drop: "set = \"EF\"\ndrop = true";
    meter_and_set: "meter = { type = \"srtcm\", cir = \"8kbit\", cbs = \"2kB\", ebs = \"2kB\" }\nset = \"EF\"";
    set_a_class: "set = \"voice\"\n[classes]\nvoice = [\"EF\", \"VA\"]";
    set_unknown_dscp: "set = \"AF44\"";
    set_drop: "set = \"drop\"";
    set_in_words_of_a_firewall: "set = \"accept\"";
    set_to_deny: "set = \"deny\"";
    set_of_another_kind: "set = [\"EF\"]";
    drop_in_quotes: "drop = \"true\"";
    drop_of_another_kind: "drop = 1";
    count_in_quotes: "count = \"false\"";
    log_without_time: "log = \"1\"";
    log_of_another_kind: "log = 1";
    log_by_the_day: "log = \"5/d\"";
    log_never: "log = \"0/s\"";
    log_too_often: "log = \"100000/s\"";
    priority_in_quotes: "priority = \"6\"";
    priority_negative: "priority = -1";
    priority_no_class: "priority = \"10:20000\"";
    priority_of_another_kind: "priority = [6]";
    mark_without_mask: "mark = 16";
    mark_outside_its_mask: "mark = \"0x110/0xff\"";
    several_at_once: "on = [\"lan0\", \"wan0:egress\"]\nmatch = { dscp = \"voise\", dst-port = \"9-1\", colour = 1 }\nset = \"EF\"\ndrop = true\nlog = \"1/d\"";
}

/// A file of so many rules, each like `lines`, which has the rule's number for `#`.
fn many(count: usize, lines: &str) -> String {
    let rules = (0..count).map(|n| format!("[[rule]]\nname = \"rule {n}\"\n{}\n", lines.replace('#', &n.to_string())));
    format!("version = 1\nname = \"test\"\n{}", rules.collect::<String>())
}

#[test]
fn a_thousand_and_twenty_four_rules_and_one() {
    let lines = "on = \"a:ingress\"\nmatch = { dst-port = # }\nset = \"EF\"";
    assert_eq!(read(&many(1024, lines)).unwrap().rules_for("a", crate::hook::Direction::Ingress).len(), 1024);
    insta::assert_snapshot!(read(&many(1025, lines)).unwrap_err().render(false));
}

#[test]
fn the_limit_is_of_a_hook_and_not_of_a_line() {
    let half = |pattern: &str, first: usize| -> String {
        let rule =
            |n| format!("[[rule]]\nname = \"{n}\"\non = \"{pattern}\"\nmatch = {{ dst-port = {n} }}\nset = \"EF\"\n");
        (first..first + 600).map(rule).collect()
    };
    let head = "version = 1\nname = \"test\"\n";
    for (one, other, fits) in [
        ("ppp*:egress", "ppp0:egress", false),
        ("*:egress", "all", false),
        ("ppp0:egress", "ppp0:ingress", true),
        ("ppp0:egress", "ppp1:egress", true),
        ("lo:egress", "all", true),
        ("ppp1*:egress", "ppp*:egress", false),
    ] {
        let (one_half, other_half) = (half(one, 0), half(if other == "all" { "*:egress" } else { other }, 600));
        assert_eq!(read(&format!("{head}{one_half}{other_half}")).is_ok(), fits, "{one} {other}");
    }
}

#[test]
fn eight_rules_that_only_count_and_one() {
    let lines = "on = [\"ppp*:egress\", \"ppp0:egress\"]\ncount = true";
    assert!(read(&many(8, lines)).is_ok());
    assert!(read(&many(9, &format!("{lines}\nset = \"EF\""))).is_ok());
    insta::assert_snapshot!(read(&many(9, lines)).unwrap_err().render(false));
}

#[test]
fn a_thousand_broken_rules_are_fifty_and_a_number() {
    let report = read(&many(1000, "on = \"a\"\nmatch = { dscp = \"AF4#\" }\nsett = 1")).unwrap_err();
    assert_eq!(report.diagnostics().len(), crate::policy::MAX_DIAGNOSTICS);
    assert!(report.more() > 2900, "{}", report.more());
}

#[test]
fn a_set_of_too_many() {
    let set = |count: u32| {
        // Every second address: none can be joined with another.
        let members = (0..count).map(|n| format!("\"{}\",", core::net::Ipv4Addr::from(0x0a00_0000 + 2 * n)));
        let members = members.collect::<String>();
        format!(
            "version = 1\nname = \"test\"\n[sets]\nmany = [{members}]\n[[rule]]\nname = \"a\"\non = \"all\"\nmatch = {{ src = \"@many\" }}\ncount = true\n"
        )
    };
    let policy = read(&set(65_536)).unwrap();
    assert!(policy.warnings().is_empty());
    let report = read(&set(65_537)).unwrap_err();
    assert_eq!(report.diagnostics()[0].title(), "the set `many` has 65537 prefixes, and a set at most 65536");
}
