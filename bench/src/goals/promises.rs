//! All promises.

use super::{Promise, figure::Figure};
use crate::{
    program::candidate::{LEAST, LEAST_COUNT, OURS, OURS_COUNTING, WHOLE, WHOLE_COUNT},
    thousand,
    user::{COLD, IDLE, READS, STRIPPED, WARM},
};

const fn program(hook: &'static str, of: &'static str, to: &'static str, bound: f64) -> Promise {
    Promise::at_most(bound, Figure::Program { hook, of, to })
}

const fn rules(family: &'static str, rules: &'static str, bound: f64) -> Promise {
    Promise::at_most(bound, Figure::Rules { family, rules })
}

const fn adversarial(family: &'static str, of: &'static str) -> Promise {
    Promise::at_most(1.5, Figure::Adversarial { family, of })
}

const fn total(job: &'static str, name: &'static str, bound: f64) -> Promise {
    Promise::at_most(bound, Figure::Total { job, name })
}

const fn times(job: &'static str, other: &'static str, ours: &'static str, bound: f64) -> Promise {
    Promise::at_least(bound, Figure::Times { job, other, ours })
}

const fn meter(name: &'static str, cpus: usize, bound: f64) -> Promise {
    Promise::at_most(bound, Figure::Meter { name, cpus })
}

const fn fact(name: &'static str, bound: f64) -> Promise {
    Promise::at_most(bound, Figure::Fact { name })
}

const XDP: &str = "qosbpf, XDP";
const TCX: &str = "qosbpf, TCX";
const CLSACT: &str = "qosbpf, clsact";
const NFT_SET: &str = "nft, best set";
const SWAP: &str = "one rule, trTCM by swap";
const LOCK: &str = "one rule, trTCM by lock";

/// Each of them, once.
pub(super) const PROMISES: &[Promise] = &[
    program("XDP", OURS, WHOLE, 1.05),
    program("XDP", OURS_COUNTING, WHOLE_COUNT, 1.05),
    program("XDP", OURS, LEAST, 1.10),
    program("XDP", OURS_COUNTING, LEAST_COUNT, 1.10),
    program("TC ingress", OURS, WHOLE, 1.05),
    program("TC ingress", OURS_COUNTING, WHOLE_COUNT, 1.05),
    program("TC ingress", OURS, LEAST, 1.10),
    program("TC ingress", OURS_COUNTING, LEAST_COUNT, 1.10),
    program("TC egress", OURS, WHOLE, 1.05),
    program("TC egress", OURS_COUNTING, WHOLE_COUNT, 1.05),
    program("TC egress", OURS, LEAST, 1.10),
    program("TC egress", OURS_COUNTING, LEAST_COUNT, 1.10),
    rules("IPv4", "16 rules", 25.0),
    rules("IPv4", "256 rules", 45.0),
    rules("IPv4", "1,024 rules", 75.0),
    rules("IPv6", "16 rules", 75.0),
    rules("IPv6", "256 rules", 95.0),
    rules("IPv6", "1,024 rules", 125.0),
    adversarial("IPv4", "16 rules, adversarial"),
    adversarial("IPv4", "256 rules, adversarial"),
    adversarial("IPv4", "1,024 rules, adversarial"),
    adversarial("IPv4", "16 rules, adversarial hosts"),
    adversarial("IPv4", "256 rules, adversarial hosts"),
    adversarial("IPv4", "1,024 rules, adversarial hosts"),
    adversarial("IPv6", "16 rules, adversarial"),
    adversarial("IPv6", "256 rules, adversarial"),
    adversarial("IPv6", "1,024 rules, adversarial"),
    adversarial("IPv6", "16 rules, adversarial hosts"),
    adversarial("IPv6", "256 rules, adversarial hosts"),
    adversarial("IPv6", "1,024 rules, adversarial hosts"),
    total("table, IPv4", XDP, 1.03),
    times("table, IPv4", "nft", XDP, 10.0),
    times("table, IPv4", "iptables", XDP, 100.0),
    total("table, IPv4", TCX, 1.03),
    times("table, IPv4", "nft", TCX, 10.0),
    times("table, IPv4", "iptables", TCX, 100.0),
    total("table, IPv4", CLSACT, 1.09),
    times("table, IPv4", "nft", CLSACT, 3.0),
    total("table, IPv6", XDP, 1.03),
    times("table, IPv6", "nft", XDP, 10.0),
    times("table, IPv6", "iptables", XDP, 100.0),
    total("table, IPv6", TCX, 1.03),
    times("table, IPv6", "nft", TCX, 10.0),
    times("table, IPv6", "iptables", TCX, 100.0),
    total("table, IPv6", CLSACT, 1.09),
    times("table, IPv6", "nft", CLSACT, 3.0),
    times("256 rules, IPv4", NFT_SET, XDP, 4.0),
    times("256 rules, IPv4", "nft", XDP, 100.0),
    meter(SWAP, 1, 45.0),
    meter(LOCK, 1, 90.0),
    meter(SWAP, 2, 140.0),
    meter(LOCK, 2, 140.0),
    Promise::at_most(0.0, Figure::Lost { hook: "XDP" }),
    Promise::at_most(0.0, Figure::Lost { hook: "TCX" }),
    // None; what cannot be told from nothing.
    Promise::at_most(0.5, Figure::Afterwards { hook: "XDP" }),
    Promise::at_most(0.5, Figure::Afterwards { hook: "TCX" }),
    Promise::at_most(0.0, Figure::Miscounted),
    fact(WARM, 100.0),
    fact(COLD, 100.0),
    fact(READS, 0.0),
    fact(STRIPPED, 10.0),
    // What any tool prints as 0.0 percent.
    fact(IDLE, 0.05),
    fact(thousand::PROMISED[0].0, thousand::PROMISED[0].1),
    fact(thousand::PROMISED[1].0, thousand::PROMISED[1].1),
    fact(thousand::PROMISED[2].0, thousand::PROMISED[2].1),
];
