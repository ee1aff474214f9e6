//! What is shown, in order, and what has to be true then.

use std::{collections::BTreeMap, fs};

use anyhow::Context as _;
use qos_common::{
    ds::{DsField, Dscp},
    locate::Family,
};

use super::{
    Bench,
    counts::{Counts, Document},
    traffic::{Exchange, FAMILIES, FLOWS, Flow, name},
};
use crate::{
    error::Exit,
    lab::{
        probe::{Probe, send},
        topology::WAN_HOST,
    },
};

/// A step: what it is, and what it does.
type Step = (&'static str, fn(&mut Bench<'_>) -> anyhow::Result<()>);

/// Between setting up the lab and taking everything away again.
pub const STEPS: [Step; 7] = [
    ("Attach to both interfaces: count, and change nothing", attach),
    ("Marked traffic from the LAN host to the WAN host", count),
    ("A policy: wash what users may not send, translate to what the provider sells", apply),
    ("The same traffic through the policy", remark),
    ("Take the policy out of the path, and keep the evidence", bypass),
    ("Put it back", resume),
    ("Ask whether a mark gets through", expect),
];

/// The step after them, unless the lab is kept.
pub const DETACH: &str = "Detach";

const POLICY: &str = include_str!("policy.toml");

/// The two hooks at which the traffic is looked at.
struct Both {
    lan: Counts,
    wan: Counts,
}

impl Bench<'_> {
    fn counts(&self) -> anyhow::Result<Both> {
        let document: Document = self.operator.read(&["stats", "--json"])?;
        Ok(Both { lan: document.counts("lan0", "ingress")?, wan: document.counts("wan0", "egress")? })
    }

    /// Traffic from the LAN host, and what was counted of it.
    fn exchange(&mut self) -> anyhow::Result<(Exchange, Both)> {
        self.interrupt.check()?;
        let earlier = self.counts()?;
        let exchange = self.traffic.exchange()?;
        let now = self.counts()?;
        Ok((exchange, Both { lan: now.lan.since(&earlier.lan), wan: now.wan.since(&earlier.wan) }))
    }

    fn run(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let code = self.operator.show(arguments)?;
        self.check_end(arguments, code, Exit::Done)
    }

    /// A signal that ends us may have ended the command as well: that is no finding.
    fn check_end(&mut self, arguments: &[&str], code: Option<i32>, wanted: Exit) -> anyhow::Result<()> {
        self.interrupt.check()?;
        let command: Vec<_> = arguments.iter().copied().take_while(|word| !word.contains([':', '/', '-'])).collect();
        let what = format!("{} ends with {}", command.join(" "), wanted.code());
        let found = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit {code}"));
        self.scoreboard.check(code == Some(i32::from(wanted.code())), &what, found)
    }

    fn check_delivery(&mut self, exchange: &Exchange) -> anyhow::Result<()> {
        self.scoreboard.count("the WAN host received every datagram", exchange.arrived(), exchange.sent())?;
        let same_ecn = exchange.arrived_if(|sent, arrival| arrival.ds.ecn() == sent.ecn());
        self.scoreboard.count("ECN arrived as it was sent", same_ecn, exchange.sent())?;
        let right = exchange.arrived_if(|_, arrival| arrival.header_checksum == Some(true));
        self.scoreboard.count("IPv4 header checksums are right", right, exchange.arrived_in_v4())?;
        let right = exchange.arrived_if(|_, arrival| arrival.udp_checksum);
        self.scoreboard.count("UDP checksums are right", right, exchange.arrived())
    }

    fn check_untouched(&mut self, exchange: &Exchange) -> anyhow::Result<()> {
        let same = exchange.arrived_if(|sent, arrival| arrival.ds == sent);
        self.scoreboard.count("every DS field arrived as it was sent", same, exchange.sent())
    }

    fn check_translated(&mut self, exchange: &Exchange) -> anyhow::Result<()> {
        for flow in FLOWS {
            let outside = flow.ds.with_dscp(flow.outside);
            let arrived = exchange.arrived_if(|sent, arrival| sent == flow.ds && arrival.ds == outside);
            let what = format!("{:<11}  arrives as {}", name(flow.ds), name(outside));
            self.scoreboard.count(&what, arrived, exchange.sent_if(|sent| sent == flow.ds))?;
        }
        Ok(())
    }

    fn check_seen(&mut self, exchange: &Exchange, both: &Both) -> anyhow::Result<()> {
        self.scoreboard.count("lan0:ingress counted every datagram", both.lan.seen(), exchange.sent())?;
        self.scoreboard.count("wan0:egress counted every datagram", both.wan.seen(), exchange.sent())
    }

    fn check_matrix(&mut self, hook: &str, found: &Counts, wanted: &BTreeMap<(u8, u8), u64>) -> anyhow::Result<()> {
        let what = format!("{hook} says what became what");
        self.scoreboard.check(found.remarked == *wanted, &what, matrix(&found.remarked))
    }
}

fn attach(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    bench.run(&["attach", "lan0"])?;
    bench.run(&["attach", "wan0"])
}

fn count(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let (exchange, both) = bench.exchange()?;
    let marks: Vec<_> = FLOWS.iter().map(|flow| name(flow.ds)).collect();
    bench.scoreboard.note(&format!(
        "{} UDP datagrams, half of them IPv6, in\n  {}",
        exchange.sent(),
        marks.join(", ")
    ))?;
    bench.run(&["stats", "wan0:egress", "--rate", "0"])?;
    bench.check_delivery(&exchange)?;
    bench.check_untouched(&exchange)?;
    let wanted = by_family_and_byte(&exchange);
    for (hook, counts) in [("lan0:ingress", &both.lan), ("wan0:egress", &both.wan)] {
        let what = format!("{hook} counted each family and DS byte");
        bench.scoreboard.check(counts.before == wanted, &what, format_args!("{} packets", counts.seen()))?;
        bench.check_matrix(hook, counts, &BTreeMap::new())?;
    }
    Ok(())
}

fn apply(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let path = bench.lab.folder().join("policy.toml");
    fs::write(&path, POLICY).with_context(|| path.display().to_string())?;
    let path = path.display().to_string();
    bench.scoreboard.note(&format!("{}:\n\n{POLICY}", path))?;
    bench.run(&["policy", "check", &path])?;
    bench.run(&["policy", "apply", &path])
}

fn remark(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let (exchange, both) = bench.exchange()?;
    bench.run(&["stats", "wan0:egress", "--rate", "0"])?;
    bench.check_delivery(&exchange)?;
    bench.check_translated(&exchange)?;
    bench.check_seen(&exchange, &both)?;
    bench.check_matrix("lan0:ingress", &both.lan, &changes(&exchange, |flow| (flow.ds.dscp(), flow.inside)))?;
    bench.check_matrix("wan0:egress", &both.wan, &changes(&exchange, |flow| (flow.inside, flow.outside)))?;
    own_control_traffic(bench)
}

/// What the router itself sends in CS6, such as BGP, against transit CS6, which has just become DF.
fn own_control_traffic(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let control = DsField::new(Dscp::CS6.value() << 2);
    let earlier = bench.counts()?.wan;
    let exchange = bench.traffic.exchange_from(bench.lab.edge(), &[control])?;
    let moved = bench.counts()?.wan.since(&earlier);
    let kept = exchange.arrived_if(|_, arrival| arrival.ds == control);
    bench.scoreboard.count("the router's own CS6 arrives as CS6", kept, exchange.sent())?;
    bench.scoreboard.count("wan0:egress counted it as protected", moved.protected, exchange.sent())
}

fn bypass(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    bench.run(&["policy", "bypass"])?;
    // Hooks that are wanted and do not enforce are what status is asked for.
    bench.operator.show(&["status"])?;
    let (exchange, both) = bench.exchange()?;
    bench.check_delivery(&exchange)?;
    bench.check_untouched(&exchange)?;
    bench.check_seen(&exchange, &both)?;
    bench.check_matrix("wan0:egress", &both.wan, &BTreeMap::new())
}

fn resume(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    bench.run(&["policy", "resume"])?;
    let (exchange, both) = bench.exchange()?;
    bench.check_delivery(&exchange)?;
    let translated = FLOWS.map(|flow| (flow.ds, flow.ds.with_dscp(flow.outside)));
    let right = exchange.arrived_if(|sent, arrival| translated.contains(&(sent, arrival.ds)));
    bench.scoreboard.count("every DS field arrived as the policy says", right, exchange.sent())?;
    bench.check_seen(&exchange, &both)
}

fn expect(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    for (mark, wanted, exit) in [(Dscp::EF, "EF>=10", Exit::Done), (Dscp::LE, "LE>=10", Exit::No)] {
        bench.scoreboard.note(&format!("the LAN host sends {mark} meanwhile:"))?;
        let probe = Probe::new(&WAN_HOST, Family::V4, DsField::new(mark.value() << 2), 0);
        let lan = bench.lab.lan();
        let arguments = ["expect", "wan0:egress", wanted, "--", "sleep", "1"];
        let code = bench.operator.show_during(&arguments, || send(lan, &[probe]))?;
        bench.check_end(&arguments, code, exit)?;
    }
    Ok(())
}

/// Everything away, and nothing left of it.
///
/// # Errors
///
/// That a command cannot be run.
pub fn detach(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    bench.run(&["detach", "--all"])?;
    let pins = bench.lab.bpffs().join("qosbpf");
    let found = if pins.exists() { "pins are left" } else { "no pins" };
    bench.scoreboard.check(!pins.exists(), "nothing is pinned any more", found)?;
    let exchange = bench.traffic.exchange()?;
    bench.check_untouched(&exchange)
}

fn by_family_and_byte(exchange: &Exchange) -> BTreeMap<(String, u8), u64> {
    let mut sent = BTreeMap::new();
    for (flow, family) in FLOWS.iter().flat_map(|flow| FAMILIES.map(|family| (flow, family))) {
        let word = if family == Family::V4 { "ipv4" } else { "ipv6" };
        sent.insert((word.to_owned(), flow.ds.bits()), exchange.sent_in(family, flow.ds));
    }
    sent
}

/// What a hook should say that it changed, given what a flow is before and after it.
fn changes(exchange: &Exchange, at_hook: impl Fn(&Flow) -> (Dscp, Dscp)) -> BTreeMap<(u8, u8), u64> {
    let mut changes = BTreeMap::new();
    for flow in &FLOWS {
        let (from, to) = at_hook(flow);
        if from != to {
            *changes.entry((from.value(), to.value())).or_default() += exchange.sent_if(|ds| ds == flow.ds);
        }
    }
    changes
}

fn matrix(remarked: &BTreeMap<(u8, u8), u64>) -> String {
    let name = |value: &u8| Dscp::new(*value).map_or_else(|| value.to_string(), |dscp| dscp.to_string());
    let cells: Vec<_> = remarked.iter().map(|((from, to), n)| format!("{}->{} {n}", name(from), name(to))).collect();
    if cells.is_empty() { "nothing".to_owned() } else { cells.join("  ") }
}
