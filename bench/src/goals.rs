//! What is promised of figures, and what was measured.

use crate::{
    report::{Case, Goal, Job, Report, Scale, Switch},
    router::afterwards::SWITCHED,
    thousand,
    user::{COLD, IDLE, READS, STRIPPED, WARM},
};

/// The most that a program may cost, by the floor of the same contract, and by a leaner one.
const WHOLE: f64 = 1.05;
const LEAN: f64 = 1.10;

/// The frames of which it is promised.
const PROMISED: [&str; 3] = ["IPv4", "IPv6", "IPv4, one tag"];

/// Judges a report.
pub fn judge(report: &Report) -> Vec<Goal> {
    let mut goals = programs(report);
    goals.extend(report.rules.iter().flat_map(rules));
    goals.extend(report.router.iter().flat_map(routers));
    goals.extend(report.router.iter().flat_map(routed_rules));
    goals.extend(report.switch.iter().filter_map(switched));
    goals.extend(meters(&report.scaling));
    goals.extend(users(report));
    goals
}

/// Of the promised frames at a hook the one that comes out worst.
fn programs(report: &Report) -> Vec<Goal> {
    let mut goals: Vec<Goal> = Vec::new();
    for case in report.program.iter().filter(|case| PROMISED.contains(&case.frame)) {
        for ratio in &case.ratios {
            let bound = if ratio.to.contains("whole") { WHOLE } else { LEAN };
            let kind = if ratio.to.contains("whole") { "the floor of the same contract" } else { "the leaner floor" };
            let what = format!("{}: {} against {kind}, worst of IPv4, IPv6, one tag", case.hook, ratio.of);
            let measured = ratio.ratio.median;
            match goals.iter_mut().find(|goal| goal.what == what) {
                Some(goal) => goal.measured = goal.measured.max(measured),
                None => goals.push(Goal { what, bound, at_least: false, measured }),
            }
        }
    }
    goals
}

/// The most that rules may add to a table, in ns, by their number and family.
const RULES: [(&str, [f64; 2]); 3] =
    [("16 rules", [25.0, 75.0]), ("256 rules", [45.0, 95.0]), ("1,024 rules", [75.0, 125.0])];

/// The most that an adversarial packet may take, by a typical one.
const ADVERSARIAL: f64 = 1.5;

fn rules(case: &Case) -> Vec<Goal> {
    let family = usize::from(case.frame == "IPv6");
    let added = RULES.iter().filter_map(|(name, bounds)| {
        let row = case.rows.iter().find(|row| row.name == *name)?;
        let what = format!("{}, {}: {name} above a table alone, in ns", case.hook, case.frame);
        Some(Goal { what, bound: bounds[family], at_least: false, measured: row.above.median })
    });
    let against = case.ratios.iter().map(|ratio| {
        let what = format!("{}, {}: {} against a typical packet", case.hook, case.frame, ratio.of);
        Goal { what, bound: ADVERSARIAL, at_least: false, measured: ratio.ratio.median }
    });
    added.chain(against).collect()
}

/// 256 rules in the router: how many times less qosbpf adds than nft does.
fn routed_rules(job: &Job) -> Vec<Goal> {
    let find = |name: &str| job.rows.iter().find(|routed| routed.row.name == name);
    let Some(ours) = find("qosbpf, XDP").filter(|_| job.name.starts_with("256 rules")) else { return Vec::new() };
    let below = [("nft, best set", 4.0), ("nft", 100.0)].into_iter().filter_map(|(other, bound)| {
        let what = format!("router, {}: what {other} adds, divided by what qosbpf, XDP adds", job.name);
        let measured = find(other)?.row.above.median / ours.row.above.median.max(1.0);
        Some(Goal { what, bound, at_least: true, measured })
    });
    below.collect()
}

/// The most that trTCM may add to a rule on one CPU by either way, and to one of two that meter alike.
const METERS: [(&str, usize, f64); 4] = [
    ("one rule, trTCM by swap", 1, 45.0),
    ("one rule, trTCM by lock", 1, 90.0),
    ("one rule, trTCM by swap", 2, 140.0),
    ("one rule, trTCM by lock", 2, 140.0),
];

fn meters(scales: &[Scale]) -> Vec<Goal> {
    let ns = |name: &str, cpus| {
        let named = scales.iter().find(|scale| scale.name.contains(&format!("{name}, a test")) && scale.cpus == cpus);
        named.map(|scale| scale.ns.median)
    };
    let judged = METERS.iter().filter_map(|(name, cpus, bound)| {
        let measured = ns(name, *cpus)? - ns("XDP, one rule", *cpus)?;
        Some(Goal {
            what: format!("XDP, {cpus} CPUs: {name}, above no meter, in ns"),
            bound: *bound,
            at_least: false,
            measured,
        })
    });
    judged.collect()
}

/// The table job: the total against no marking, and how many times less it adds than others do.
fn routers(job: &Job) -> Vec<Goal> {
    if !job.name.starts_with("table") {
        return Vec::new();
    }
    let find = |name: &str| job.rows.iter().find(|routed| routed.row.name == name);
    let mut goals = Vec::new();
    for (name, total, below_nft) in
        [("qosbpf, XDP", 1.03, 10.0), ("qosbpf, TCX", 1.03, 10.0), ("qosbpf, clsact", 1.09, 3.0)]
    {
        let Some(ours) = find(name) else { continue };
        let what = format!("router, {}: {name}, total against no marking", job.name);
        goals.push(Goal { what, bound: total, at_least: false, measured: ours.ratio.median });
        let below_iptables = if name == "qosbpf, clsact" { None } else { Some(("iptables", 100.0)) };
        for (other, bound) in [Some(("nft", below_nft)), below_iptables].into_iter().flatten() {
            let Some(them) = find(other) else { continue };
            let what = format!("router, {}: what {other} adds, divided by what {name} adds", job.name);
            // A cost within the noise is no less than a nanosecond.
            let measured = them.row.above.median / ours.row.above.median.max(1.0);
            goals.push(Goal { what, bound, at_least: true, measured });
        }
    }
    goals
}

/// The most that the program of a switch may cost above one that was attached: what cannot be told from nothing.
const AFTERWARDS: f64 = 0.5;

fn switched(switch: &Switch) -> Option<Goal> {
    let measured = switch.afterwards.iter().find(|row| row.name == SWITCHED)?.above.median;
    let what =
        "XDP, IPv4: after a switch above the same policy attached, in ns (none, to half a nanosecond)".to_owned();
    Some(Goal { what, bound: AFTERWARDS, at_least: false, measured })
}

/// Userspace, by the names of facts. No CPU time is what any tool prints as 0.0 percent.
const USER: [(&str, f64, &str); 5] = [
    (WARM, 100.0, "attach, one hook, in ms"),
    (COLD, 100.0, "attach, one hook, its binary not in memory, in ms"),
    (READS, 6.0, "system calls that read the counters of one hook: one for each entry of its maps"),
    (STRIPPED, 10.0, "the binary, stripped, in MiB"),
    (IDLE, 0.05, "run, idle, in % of a CPU"),
];

fn users(report: &Report) -> Vec<Goal> {
    let bounds = USER.into_iter().chain(thousand::PROMISED.map(|(name, bound)| (name, bound, name)));
    let judged = bounds.filter_map(|(name, bound, what)| {
        let fact = report.user.iter().find(|fact| fact.name == name)?;
        Some(Goal { what: what.to_owned(), bound, at_least: false, measured: fact.value.median })
    });
    judged.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::Ratio, samples::Spread};

    #[test]
    fn the_worst_frame_is_judged() {
        let spread = |median| Spread { p25: median, median, p75: median };
        let case = |frame, median| Case {
            hook: "XDP",
            frame,
            rows: Vec::new(),
            ratios: vec![Ratio { of: "qosbpf", to: "C, whole", ratio: spread(median), ns: spread(0.0) }],
        };
        let report =
            Report { program: vec![case("IPv4", 1.01), case("IPv6", 1.06), case("ARP", 1.2)], ..Report::default() };
        let goals = judge(&report);
        assert!(goals.len() == 1 && goals[0].measured == 1.06 && !goals[0].is_met());
    }
}
