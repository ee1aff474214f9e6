//! What is said of lines and rules: the right word, the right line.

use super::{Options, imported};

/// What a target has behind it is its own: of one that is not known nothing is taken for a match.
#[test]
fn a_target_that_is_not_known_is_called_one() {
    for target in ["FOO", "FOO --bar 1", "IMQ --todev 0"] {
        let text = format!("*mangle\n-A PREROUTING -p udp -j {target}\nCOMMIT\n");
        let found = imported(&[("x", &text)], &Options::default());
        let [left] = &*found.left else { panic!("{:#?}", found.left) };
        let name = target.split(' ').next().unwrap();
        assert!(left.reason.starts_with(&format!("{name} is no target that is known here")), "{}", left.reason);
        assert!(left.reason.contains("DSCP, TOS, CLASSIFY"), "{}", left.reason);
    }
}

/// At the output of a Cisco there is what the router itself sends.
#[test]
fn a_policy_map_at_an_output_reaches_what_the_host_itself_sends() {
    let of = |way: &str| {
        let text = format!(
            "policy-map p\n class class-default\n  set dscp default\ninterface wan0\n service-policy {way} p\n"
        );
        let options = Options { interfaces: vec![("wan0".to_owned(), "wan0".to_owned())], ..Options::default() };
        let found = imported(&[("x", &text)], &options);
        assert_eq!(found.left, []);
        let told = found.notes.iter().any(|note| note.line == 5 && note.reason.contains("CS6 and CS7"));
        (found.policy.contains("[interface.wan0]\nlocal = \"policy\"\n"), told)
    };
    assert_eq!(of("output"), (true, true));
    assert_eq!(of("input"), (false, false));
}

/// Every rule says which line it comes from, and its name is not cut before the number of that.
#[test]
fn every_rule_of_qosify_names_its_line() {
    let defaults = "config defaults\n\tlist defaults /etc/qosify/*.conf\nconfig class voice\n\toption ingress EF\n\
                    \toption egress EF\nconfig device lan0\n";
    let path = "/srv/backup/2026/routers/branch-office-17/rootfs/etc/qosify/00-defaults.conf";
    let found = imported(&[("qosify", defaults), (path, "tcp:53 voice\nudp:53 voice\n")], &Options::default());
    let lines = found.policy.lines().collect::<Vec<_>>();
    let rules = lines.iter().enumerate().filter(|(_, line)| **line == "[[rule]]").map(|(at, _)| at);
    for at in rules.clone() {
        assert!(lines[at - 1].starts_with("# qosify:") || lines[at - 1].starts_with("# /srv/"), "{}", found.policy);
    }
    assert_eq!(rules.count(), found.rules);
    let names = lines.iter().filter(|line| line.starts_with("name = ")).collect::<Vec<_>>();
    assert!(names.iter().any(|name| name.ends_with("/etc/qosify/00-defaults.conf:2\"")), "{names:#?}");
    assert!(names.iter().any(|name| name.contains("no default for ICMP")), "{names:#?}");
}

/// A policy-map of both directions is read twice, and what is left of it is said once.
#[test]
fn what_is_left_both_ways_is_said_once() {
    let text = "policy-map p\n class c\n  bandwidth 5\n  set dscp ef\ninterface a\n service-policy input p\n \
                service-policy output p\n";
    let found = imported(&[("x", text)], &Options::default());
    let said = found.left.iter().map(|left| (left.line, left.reason.matches("class-map").count()));
    assert_eq!(said.collect::<Vec<_>>(), [(2, 2), (3, 0)], "{:#?}", found.left);
    assert_eq!(found.lines_left, 3);
}
