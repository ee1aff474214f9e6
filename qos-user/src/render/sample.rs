//! What the tests of this folder render, and how.

use jiff::tz::TimeZone;
use qos_common::{
    abi::Limited,
    ds::{DsField, Dscp},
    meter::Color,
};

use super::Look;
pub use crate::snapshot::sample::*;
use crate::{
    diagnosis::{Command, Cure, Finding, Level, Report, Shell},
    explain::{Decider, Decision, Explained, Leaves, PassedOver, RulePlace, Stage, TestRun},
    hook::Via,
    invocation::Invocation,
};

pub fn look() -> Look {
    Look { zone: TimeZone::UTC, ascii: true, color: false, quiet: false, invocation: Invocation::default() }
}

/// A hook with a policy in force.
pub(crate) fn stage() -> Stage {
    Stage {
        hook: "lan0:ingress".to_owned(),
        via: Some(Via::Tcx),
        policy: Some(("edge-standard".to_owned(), "3f9a1c7d".to_owned())),
        file: "policy.toml".to_owned(),
        table: Some("from-lan".to_owned()),
        bypassed: false,
        in_force: true,
        outdated: Vec::new(),
        other_version: None,
    }
}

/// A call that a rule marks down.
pub(crate) fn explained() -> Explained {
    let place = |name: &str, line| RulePlace { name: name.to_owned(), line };
    Explained {
        packet: "udp 10.30.0.5:5060 > 198.51.100.1:5060 dscp EF ecn 1 length 28".to_owned(),
        decision: Decision {
            by: Decider::Rule(place("EF only from the PBX", 45)),
            came: Some(DsField::new(185)),
            leaves: Leaves::As(Dscp::DF),
            priority: Some(0x10_0200),
            mark: Some(0x10),
            color: Some(Color::Green),
            counted: vec![place("all voice", 40)],
            limited: Some(Limited::LaterFragment),
        },
        passed_over: vec![PassedOver { rule: place("SSH", 36), because: "tcp".to_owned() }],
    }
}

/// A host with one fault of each kind.
pub(crate) fn diagnosis() -> Report {
    let finding = |subject: &str, level, text: &str, cure| Finding {
        subject: subject.to_owned(),
        level,
        code: "a-code",
        text: text.to_owned(),
        details: Vec::new(),
        cure,
    };
    let there = |command| Some(Cure::There(Command::new(command)));
    let marker =
        finding("wan0", Level::Warn, "EF is lost inside this router", there("nft delete rule inet q p handle 4"));
    let suspect = "suspect: nft table inet q chain p handle 4: oifname \"wan0\" ip dscp set cs0".to_owned();
    Report {
        time: now(),
        host: "edge1".to_owned(),
        about: Some("wan0".to_owned()),
        heading: Some("EF at wan0:egress: before 0 since 21:00:03".to_owned()),
        findings: vec![
            finding("host", Level::Ok, "kernel 6.12.107 x86_64, JIT on, BTF, capabilities complete, bpffs rw", None),
            finding("host", Level::Unknown, "nft: not installed", None),
            finding("wan0", Level::Unknown, "3 are lost behind us", Some(Cure::ask(Command::new("why wan0:egress")))),
            finding("wan0", Level::Info, "an iptables rule changes marks", there("iptables -D FORWARD 1")),
            finding("wan0", Level::Info, "also at tcx egress: program 91 \"cil_to_netdev\" (before us)", None),
            finding("wan0", Level::Fail, "tc filter in hardware", there("ethtool -K wan0 hw-tc-offload off")),
            finding("wan0", Level::Warn, "a rule on src", Some(Cure::Advice("ask it at lan0:ingress".to_owned()))),
            finding("host", Level::Fail, "no CAP_PERFMON", Some(Cure::Privileged(Command::new("doctor")))),
            Finding { details: vec![suspect.into()], ..marker },
        ],
        further: vec![Cure::There(Command::new("nft -a list ruleset"))],
        shell: Shell { invocation: Invocation { netns: Some("edge".to_owned()), ..Invocation::default() } },
    }
}

/// One test that passes and one that does not.
pub(crate) fn test_runs() -> Vec<TestRun> {
    let got = explained().decision;
    let run = |name: &str, line, expected| TestRun {
        name: name.to_owned(),
        line,
        hook: "lan0:ingress".to_owned(),
        packet: "udp 10.30.0.5:5060 > 198.51.100.1:5060 dscp EF".to_owned(),
        expected,
        got: got.clone(),
    };
    vec![run("guests have no EF", 76, Leaves::As(Dscp::DF)), run("guests are dropped", 82, Leaves::Dropped)]
}
