//! The same job in the words of each tool.

use std::{fmt::Write as _, net::Ipv4Addr};

use qos_common::{ds::Dscp, policy::Table};
use qosbpf::lab::topology::LAN_HOST;

use super::job::{Spec, VALUE};

/// Where the packets go to: the port of `qos_vectors::frame::udp`.
const PORT: u16 = 5006;

/// What changes: from, to. With one value only DF comes, and a rule for it is all that a person would write.
fn changes(job: &Spec) -> Vec<(u8, u8)> {
    let table: Table = job.table();
    let all = Dscp::all().map(|from| (from.value(), table.get(from).value())).filter(|(from, to)| from != to);
    if job.cycle { all.collect() } else { all.take(1).collect() }
}

fn lines<T>(items: impl IntoIterator<Item = T>, line: impl Fn(T) -> String) -> String {
    items.into_iter().fold(String::new(), |mut text, item| {
        let _infallible = writeln!(text, "{}", line(item));
        text
    })
}

fn joined(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().collect::<Vec<_>>().join(", ")
}

/// Source network and destination port of each rule; the last has those of the packets.
fn rules(job: &Spec) -> impl Iterator<Item = (Ipv4Addr, u16)> {
    let [a, b, c, _] = LAN_HOST.v4.octets();
    let last = job.rules.saturating_sub(1);
    (0..job.rules).map(move |index| match index {
        _ if index == last => (Ipv4Addr::from([a, b, c, 0]), PORT),
        _ => (Ipv4Addr::from([172, 16 + (index >> 8) as u8, index as u8, 0]), 1000 + index),
    })
}

/// qosbpf.
pub fn policy(job: &Spec, device: &str) -> String {
    if job.rules > 0 {
        let rules = lines(rules(job).enumerate(), |(number, (network, port))| {
            format!(
                "[[rule]]\nname = \"{number}\"\non = \"{device}:ingress\"\nset = {VALUE}\n\
                match = {{ src = \"{network}/24\", proto = \"udp\", dst-port = {port} }}"
            )
        });
        return keep(device) + &rules;
    }
    by_table(changes(job), device)
}

/// qosbpf, with these changes.
pub fn by_table(changes: impl IntoIterator<Item = (u8, u8)>, device: &str) -> String {
    let entries = lines(changes, |(from, to)| format!("\"{from}\" = {to}"));
    format!(
        "version = 1\nname = \"bench\"\n[interface.{device}]\ningress = \"job\"\n[remark.job]\n{entries}other = \"keep\"\n"
    )
}

/// qosbpf, with a policy that keeps every mark.
pub fn keep(device: &str) -> String {
    format!("version = 1\nname = \"keep\"\n[interface.{device}]\ningress = \"job\"\n[remark.job]\nother = \"keep\"\n")
}

/// nft: named counters by a map, marks by a verdict map; for one value a rule with a counter.
pub fn nft(job: &Spec) -> String {
    let ip = if job.ipv6 { "ip6" } else { "ip" };
    let head = format!("table {ip} bench {{\n");
    let chain = "chain marking {\ntype filter hook prerouting priority mangle;\n";
    if job.rules > 0 {
        let rules = lines(rules(job), |(network, port)| {
            format!("ip saddr {network}/24 udp dport {port} ip dscp set {VALUE} counter accept")
        });
        return format!("{head}{chain}{rules}}}\n}}\n");
    }
    if !job.cycle {
        let rules = lines(changes(job), |(_, to)| format!("{ip} dscp set {to} counter"));
        return format!("{head}{chain}{rules}}}\n}}\n");
    }
    let counters = lines(0..64, |dscp| format!("counter c{dscp} {{ }}"));
    let chains = lines(changes(job), |(from, to)| format!("chain s{from} {{\n{ip} dscp set {to}\n}}"));
    let map = joined((0..64).map(|dscp| format!("{dscp} : \"c{dscp}\"")));
    let verdicts = joined(changes(job).into_iter().map(|(from, _)| format!("{from} : goto s{from}")));
    format!(
        "{head}{counters}{chains}{chain}counter name {ip} dscp map {{ {map} }}\n{ip} dscp vmap {{ {verdicts} }}\n}}\n}}\n"
    )
}

/// nft: all rules in one look-up.
pub fn nft_set(job: &Spec) -> String {
    let elements = joined(rules(job).map(|(network, port)| format!("{network}/24 . {port}")));
    format!(
        "table ip bench {{\nset rules {{\ntype ipv4_addr . inet_service; flags interval; elements = {{ {elements} }}\n}}\n\
        chain marking {{\ntype filter hook prerouting priority mangle;\n\
        ip saddr . udp dport @rules ip dscp set {VALUE} counter\n}}\n}}\n"
    )
}

/// iptables-restore: rules that count, and rules that mark; what one has written, no other one matches.
pub fn iptables(job: &Spec) -> String {
    if job.rules > 0 {
        let rules = lines(rules(job), |(network, port)| {
            format!("-A PREROUTING -s {network}/24 -p udp --dport {port} -j DSCP --set-dscp {VALUE}")
        });
        return format!("*mangle\n{rules}COMMIT\n");
    }
    if !job.cycle {
        let marks = lines(changes(job), |(_, to)| format!("-A PREROUTING -j DSCP --set-dscp {to}"));
        return format!("*mangle\n{marks}COMMIT\n");
    }
    let counted = lines(0..64, |dscp| format!("-A PREROUTING -m dscp --dscp {dscp}"));
    let marks =
        lines(changes(job), |(from, to)| format!("-A PREROUTING -m dscp --dscp {from} -j DSCP --set-dscp {to}"));
    format!("*mangle\n{counted}{marks}COMMIT\n")
}

/// `tc -batch`: a hash table by codepoint, each bucket with a filter that counts and, where the mark changes, writes.
pub fn tc(job: &Spec, device: &str) -> String {
    let (protocol, mask, field) =
        if job.ipv6 { ("ipv6", "0x0fc00000", "ip6 traffic_class") } else { ("ip", "0x00fc0000", "ip tos") };
    let csum = if job.ipv6 { "" } else { " pipe csum ip" };
    let filter = format!("filter add dev {device} ingress prio 1 protocol {protocol}");
    let head = format!(
        "qdisc add dev {device} clsact\n{filter} handle 10: u32 divisor 64\n\
        {filter} u32 link 10: hashkey mask {mask} at 0 match u32 0 0\n"
    );
    let changes = changes(job);
    let marks = lines(changes.iter(), |(from, to)| {
        let munge = format!("action pedit ex munge {field} set {} retain 0xfc{csum}", u32::from(*to) << 2);
        format!("{filter} u32 ht 10:{from:x}: match u32 0 0 {munge}")
    });
    let is_changed = |dscp: &u8| changes.iter().any(|(from, _)| from == dscp);
    // What does not change is counted all the same.
    let counts = (0..64).filter(|dscp| job.cycle && !is_changed(dscp));
    head + &marks + &lines(counts, |dscp| format!("{filter} u32 ht 10:{dscp:x}: match u32 0 0 action ok"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::job::JOBS;

    #[test]
    fn the_policy_says_the_table() {
        for job in JOBS.iter().filter(|job| job.rules == 0) {
            let source = qosbpf::policy::Source::new("bench.toml", policy(job, "lan0").into_bytes()).unwrap();
            let policy = qosbpf::policy::parse(&source).unwrap();
            let compiled = policy.tables()[0].compile();
            for (from, to) in changes(job) {
                assert_eq!(compiled.get(Dscp::new(from).unwrap()).value(), to);
            }
        }
    }

    #[test]
    fn tc_counts_each_codepoint_once() {
        let text = tc(&JOBS[0], "lan0");
        for dscp in 0..64 {
            let filters = text.lines().filter(|line| line.contains(&format!(" ht 10:{dscp:x}: ")));
            assert_eq!(filters.count(), 1, "{dscp}");
        }
        assert_eq!(text.matches("action ok").count(), 44);
    }

    #[test]
    fn twenty_change_in_the_table_job_and_one_in_the_other() {
        assert_eq!(JOBS.iter().map(|job| changes(job).len()).collect::<Vec<_>>(), [20, 20, 1, 1, 1, 1]);
    }
}
