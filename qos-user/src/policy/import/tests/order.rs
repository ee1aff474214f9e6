//! In which order things are done, whatever the order of the lines.

use super::{Input, Options, import};

/// A class marks before it polices, whatever comes first in the text: what conforms leaves with the mark.
#[test]
fn a_mark_behind_a_policer_is_carried_over() {
    let of = |lines: [&str; 2]| {
        let text = format!(
            "policy-map p\n class class-default\n  {}\n  {}\ninterface lan0\n service-policy input p\n",
            lines[0], lines[1]
        );
        let options = Options { interfaces: vec![("lan0".to_owned(), "lan0".to_owned())], ..Options::default() };
        let found = import(vec![Input { file: "x".to_owned(), text }], &options).unwrap();
        assert_eq!(found.left, []);
        let says = |line: &&str| !line.starts_with("# line") && !line.starts_with("name = ");
        found.policy.lines().filter(says).map(str::to_owned).collect::<Vec<_>>()
    };
    for actions in ["conform-action transmit exceed-action drop", ""] {
        let police = format!("police cir 8000000 {actions}");
        let behind = of([&police, "set dscp ef"]);
        assert!(behind.iter().any(|line| line.contains("green = \"EF\"")), "{behind:#?}");
        assert_eq!(behind, of(["set dscp ef", &police]));
    }
}

/// What a comment says is no command.
#[test]
fn only_the_command_itself_inserts_a_rule() {
    let of = |command: &str, comment: &str| {
        let text = format!(
            "*mangle\n-A POSTROUTING -o wan0 -j DSCP --set-dscp 0\n\
             {command} POSTROUTING -o wan0 -m comment --comment \"{comment}\" -j DSCP --set-dscp-class EF\nCOMMIT\n"
        );
        let found = import(vec![Input { file: "x".to_owned(), text }], &Options::default()).unwrap();
        found.policy.lines().filter(|line| line.starts_with("set")).map(str::to_owned).collect::<Vec<_>>()
    };
    for comment in ["none", "was -I 1 before", "--insert it"] {
        assert_eq!(of("-A", comment), ["set = \"EF\""], "{comment}");
        assert_eq!(of("-I", comment), ["set = \"DF\""], "{comment}");
        assert_eq!(of("--insert", comment), ["set = \"DF\""], "{comment}");
    }
}
