//! Warnings: what is no error, but hardly meant.

use super::{EDGE, policy, read};
use crate::policy::Severity;

macro_rules! warnings {
    ($($name:ident: $sections:expr;)*) => {$(
        #[test]
        fn $name() {
            let policy = policy($sections);
            assert!(policy.warnings().diagnostics().iter().all(|found| found.severity() == Severity::Warning));
            insta::assert_snapshot!(policy.warnings().render(false));
        }
    )*};
}

warnings! {
    table_unused: "[remark.a]\nother = \"keep\"";
    class_unused: "[classes]\nvoice = [\"EF\"]";
    entry_as_other: "[interface.x]\ningress = \"a\"\n[remark.a]\nEF = \"keep\"\nother = \"keep\"";
    entry_as_its_class: "[classes]\nv = [\"EF\", \"VA\"]\n[interface.x]\ningress = \"a\"\n[remark.a]\nEF = 0\nv = \"DF\"\nother = \"keep\"";
    class_never_asked: "[classes]\nv = [\"EF\"]\n[interface.x]\ningress = \"a\"\n[remark.a]\nEF = 0\nv = 1\nother = \"keep\"";
    local_without_egress: "[interface.x]\ningress = \"a\"\nlocal = \"keep\"\n[remark.a]\nother = 0";
    nothing_bound: "[interface.x]";
    glob_never_wins: "[interface.a12345678901234]\negress = \"a\"\n[interface.\"a12345678901234*\"]\negress = \"a\"\n[remark.a]\nother = 0";
    class_and_rule_of_one_name: "[classes]\nvoice = [\"EF\"]\n[[rule]]\nname = \"voice\"\non = \"all\"\nmatch = { dscp = \"voice\" }\nset = \"AF41\"\n";
    set_unused: "[sets]\na = [\"10.0.0.1\"]";
    rule_shadowed: "[[rule]]\nname = \"a\"\non = \"ppp*:egress\"\nmatch = { dscp = [\"EF\", \"VA\"], src = \"10.0.0.0/8\" }\nset = \"DF\"\n[[rule]]\nname = \"b\"\non = \"ppp0:egress\"\nmatch = { dscp = \"EF\", src = \"10.1.0.0/16\", proto = \"udp\" }\nset = \"EF\"\n";
    rule_twice_in_other_words: "[[rule]]\nname = \"a\"\non = \"x:ingress\"\nmatch = { dscp = \"EF\" }\nset = \"DF\"\n[[rule]]\nname = \"b\"\non = \"x:ingress\"\nmatch = { dscp = 46 }\nset = \"CS1\"\n";
    rule_shadowed_by_not: "[[rule]]\nname = \"a\"\non = \"all\"\nmatch = { dst-port-not = \"1-1023\", mark = \"0x10/0x10\" }\ndrop = true\n[[rule]]\nname = \"b\"\non = \"x:ingress\"\nmatch = { dst-port = \"2000-3000\", mark = \"0x11/0x1f\" }\nset = \"EF\"\n";
    rule_shadowed_by_two: "[[rule]]\nname = \"a\"\non = \"x*:egress\"\nmatch = { dscp = \"EF\" }\nset = \"DF\"\n[[rule]]\nname = \"b\"\non = \"x0:egress\"\nmatch = { dscp = \"VA\" }\nset = \"EF\"\n[[rule]]\nname = \"c\"\non = \"x0:egress\"\nmatch = { dscp = [\"EF\", \"VA\"], proto = \"udp\" }\nset = \"EF\"\n";
    rule_behind_everything: "[[rule]]\nname = \"a\"\non = \"all\"\nset = \"keep\"\n[[rule]]\nname = \"b\"\non = \"x:ingress\"\ncount = true\n";
    rule_on_protected_control: "[classes]\ncontrol = [\"CS6\", \"CS7\"]\n[[rule]]\nname = \"a\"\non = \"ppp*:egress\"\nmatch = { dscp = \"control\" }\ndrop = true\n";
    meter_too_small: "[[rule]]\nname = \"a\"\non = \"all\"\nmeter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"1kB\", ebs = \"1kB\" }\nred = \"drop\"\n";
    priority_at_ingress: "[[rule]]\nname = \"voice\"\non = [\"lan*:ingress\", \"x:egress\"]\nmatch = { dscp = \"EF\" }\npriority = 6\n[[rule]]\nname = \"everywhere\"\non = \"all\"\npriority = 6\n";
    origin_of_both: "[[rule]]\nname = \"a\"\non = \"x:egress\"\nmatch = { origin = [\"forwarded\", \"local\"], dscp = \"EF\" }\nset = \"DF\"\n";
    outer_against_local: "[interface.x]\nouter = \"a\"\negress = \"a\"\nlocal = \"keep\"\n[remark.a]\nother = \"keep\"";
    outer_behind_a_rule: "[interface.\"ppp*\"]\nouter = \"a\"\n[remark.a]\nother = \"keep\"\n[[rule]]\nname = \"mine\"\non = \"ppp*:egress\"\nmatch = { origin = \"local\" }\nset = \"CS2\"\n";
    outer_not_taken_from_the_glob: "[interface.ppp0]\negress = \"a\"\n[interface.\"ppp*\"]\nouter = \"a\"\n[remark.a]\nother = 0";
    not_taken_from_the_glob: "[interface.ppp0]\ningress = \"a\"\n[interface.\"ppp*\"]\negress = \"a\"\n[interface.\"*\"]\ningress = \"a\"\negress = \"a\"\n[remark.a]\nother = 0";
}

/// Rules elsewhere, for other packets, or that go on, leave it something.
#[test]
fn an_outer_table_that_is_asked() {
    for rule in [
        "on = \"ppp1:egress\"\nset = 0",
        "on = \"ppp*:ingress\"\nset = 0",
        "on = \"ppp*:egress\"\nmatch = { origin = \"forwarded\" }\nset = 0",
        "on = \"ppp*:egress\"\nmatch = { origin = \"local\", proto = \"tcp\" }\nset = 0",
        "on = \"all\"\ncount = true",
    ] {
        let sections =
            format!("[interface.\"ppp*\"]\nouter = \"a\"\n[remark.a]\nother = 0\n[[rule]]\nname = \"r\"\n{rule}\n");
        let policy = policy(&sections);
        assert!(policy.warnings().is_empty(), "{rule}: {}", policy.warnings().render(false));
    }
}

#[test]
fn the_priority_of_ipv6_stays() {
    let policy = policy("[[rule]]\nname = \"a\"\non = \"x:ingress\"\nmatch = { family = \"ipv6\" }\npriority = 6\n");
    assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
}

#[test]
fn the_example_has_none() {
    let policy = read(EDGE).unwrap();
    assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
}

#[test]
fn loopback_misses_nothing_of_a_glob() {
    let policy = policy("[interface.lo]\ningress = \"a\"\n[interface.\"*\"]\negress = \"a\"\n[remark.a]\nother = 0");
    assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
}

#[test]
fn an_entry_that_makes_an_exception_is_no_idle_one() {
    let policy = policy("[interface.x]\ningress = \"a\"\n[remark.a]\nEF = \"keep\"\nCS1 = 8\nother = 0");
    assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
}

#[test]
fn rules_that_are_not_shadowed() {
    for (first_on, first, on, lines) in [
        ("all", "count = true", "all", "set = \"EF\""),
        ("x:ingress", "set = \"EF\"", "x*:ingress", "set = \"EF\""),
        ("x:ingress", "set = \"EF\"", "all", "set = \"EF\""),
        (
            "all",
            "match = { src-not = \"10.0.0.0/8\" }\nset = \"EF\"",
            "all",
            "match = { dst = \"10.0.0.0/8\" }\nset = \"EF\"",
        ),
        (
            "all",
            "match = { src-not = \"10.0.0.0/8\" }\nset = \"EF\"",
            "all",
            "match = { family = \"ipv6\" }\nset = \"EF\"",
        ),
        ("all", "match = { port-not = 80 }\nset = \"EF\"", "all", "match = { port = 81 }\nset = \"EF\""),
        ("all", "match = { vlan-not = 80 }\nset = \"EF\"", "all", "set = \"EF\""),
        ("x:egress", "match = { from = \"a\" }\nset = \"EF\"", "x:egress", "match = { from = \"a*\" }\nset = \"EF\""),
        (
            "x:egress",
            "match = { mark = \"1/3\" }\nset = \"EF\"",
            "x:egress",
            "match = { mark = \"1/1\" }\nset = \"EF\"",
        ),
        ("*:egress", "set = \"EF\"", "lo:egress", "set = \"EF\""),
    ] {
        let rule = |name, on, lines| format!("[[rule]]\nname = \"{name}\"\non = \"{on}\"\n{lines}\n");
        let policy = policy(&(rule("a", first_on, first) + &rule("b", on, lines)));
        assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
    }
}

/// Two that are the same, behind so many others that nobody compares them.
#[test]
fn a_search_that_is_cut_short_says_so() {
    let rule = |name: usize, on: usize| format!("[[rule]]\nname = \"{name}\"\non = \"x{on}:ingress\"\nset = \"EF\"\n");
    let rules: String = (0..2900).map(|name| rule(name, name)).collect();
    let policy = policy(&(rules + &rule(2900, 2899)));
    let titles: Vec<_> = policy.warnings().diagnostics().iter().map(|found| found.title()).collect();
    assert_eq!(titles, ["there are too many rules to compare all of them"]);
}

#[test]
fn rules_make_sense_of_a_section() {
    let rule = "[[rule]]\nname = \"a\"\non = \"ppp*:egress\"\nset = \"EF\"\n";
    let policy = policy(&format!("[interface.ppp0]\nlocal = \"keep\"\n{rule}"));
    assert!(policy.warnings().is_empty(), "{}", policy.warnings().render(false));
}

#[test]
fn network_control_with_an_origin_is_meant() {
    for (on, fields, local) in [
        ("x:egress", "origin = \"forwarded\", ", "keep-control"),
        ("x:egress", "", "policy"),
        ("x:ingress", "", "keep-control"),
    ] {
        let text = format!(
            "[interface.x]\ningress = \"a\"\negress = \"a\"\nlocal = \"{local}\"\n[remark.a]\nother = 0\n\
             [[rule]]\nname = \"a\"\non = \"{on}\"\nmatch = {{ {fields}dscp = \"CS6\" }}\nset = \"DF\"\n"
        );
        assert!(policy(&text).warnings().is_empty(), "{}", policy(&text).warnings().render(false));
    }
}
