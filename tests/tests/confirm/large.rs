//! A policy of which the addresses are the most that a set may have, named by several rules: it comes, and it goes again.

use std::fmt::Write as _;

use anyhow::ensure;
use qosbpf_tests::{binary::Answer, router::words};

use crate::edge::Edge;

/// Every second address of a /15: none can be joined with another one.
fn set() -> String {
    (0..65_536u32).map(|host| format!("\"10.{}.{}.{}\", ", host >> 15, host >> 7 & 255, host << 1 & 255)).collect()
}

#[test]
fn many_rules_with_one_large_set_can_be_replaced_and_come_back() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let mut text = format!("[sets]\nall = [{}]\n", set());
    for hook in ["lan0:ingress", "wan0:egress"] {
        for at in 0..6 {
            let port = 1000 + at;
            write!(
                text,
                "[[rule]]\nname = \"{at} {hook}\"\non = \"{hook}\"\nmatch = {{ dst = \"@all\", proto = \"udp\", \
                 dst-port = {port} }}\nset = \"EF\"\n"
            )?;
        }
    }
    text += "[[rule]]\nname = \"the rest\"\non = \"lan0:ingress\"\nset = \"AF41\"\n";
    text += "[interface.wan0]\negress = \"t\"\n[remark.t]\nother = \"keep\"\n";
    let large = edge.router.policy("large", &text)?;
    edge.ok(&format!("policy check {large}"))?;
    edge.ok(&format!("policy apply {large}"))?;
    assert_eq!(edge.mark_of_ef()?, 34);
    edge.ok(&format!("policy apply {}", edge.keep))?;
    assert_eq!(edge.mark_of_ef()?, 46);
    edge.ok("policy rollback")?.says(&["policy large"])?;
    edge.ok("policy bypass")?;
    edge.ok("policy resume")?;
    assert_eq!((edge.in_force()?.as_str(), edge.mark_of_ef()?), ("large", 34));
    Ok(())
}

/// Preparing two hooks takes more open files than this.
const FEW_FILES: u32 = 24;

#[test]
fn the_soft_limit_of_open_files_is_none() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let text = "[interface.lan0]\ningress = \"t\"\negress = \"t\"\n[interface.wan0]\ningress = \"t\"\negress = \"t\"\n\
                [remark.t]\nEF = \"AF41\"\nother = \"keep\"\n";
    let policy = edge.router.policy("few", text)?;
    let apply = format!("policy apply {policy}");
    limited(&edge, &format!("{FEW_FILES}:{FEW_FILES}"), &apply)?.expect(1)?;
    limited(&edge, &format!("{FEW_FILES}:4096"), &apply)?.expect(0)?;
    assert_eq!(edge.mark_of_ef()?, 34);
    Ok(())
}

/// A command that may have so many files open.
fn limited(edge: &Edge, limit: &str, line: &str) -> anyhow::Result<Answer> {
    let command = edge.router.command(&edge.with_etc(line))?;
    Answer::of(words(&format!("prlimit --nofile={limit}")).arg(command.get_program()).args(command.get_args()))
}

/// Whatever it is that there is no room for.
#[test]
fn too_few_open_files_are_an_error_with_what_helps() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    for line in ["detach lan0", "status", "stats", "attach lan0 --egress"] {
        let refused = limited(&edge, "6", line)?.expect(1)?;
        refused.complains(&["Too many open files", "this process may have 6 open", "ulimit -n 1024"])?;
    }
    for limit in 5.. {
        let answer = limited(&edge, &limit.to_string(), "detach lan0")?;
        ensure!(!answer.stderr.contains("panicked"), "{limit}: {answer:?}");
        if answer.code == 0 {
            break;
        }
    }
    Ok(())
}
