//! Ways by which packets pass the router without us, or without what marks them.

use super::{Command, Cure, Finding, facts::Port, nft::Flowtable, outside::Outside, tc::Filter};
use crate::rules::model::pattern_matches;

/// Policies that somebody has taken out of the path: mostly on purpose, and easily forgotten.
pub(super) fn policies(port: &Port) -> Vec<Finding> {
    let name = &port.device.name;
    let bypassed = port.hooks.iter().filter(|hook| hook.bypassed);
    let told = bypassed.map(|hook| {
        let hook = format!("{name}:{}", hook.direction);
        let text = format!("{hook}: the policy is out of the path (bypass): it counts, and changes nothing");
        Finding::warn(name, "bypassed", text).cure(Cure::Own(Command::new("policy resume").operand(hook)))
    });
    told.collect()
}

/// Flowtables of nft that take packets from an interface.
pub(super) fn flowtables(interface: &str, outside: &Outside) -> Vec<Finding> {
    let takes = |table: &&Flowtable| table.interfaces.iter().any(|name| pattern_matches(name, interface));
    outside.flowtables().filter(takes).map(|table| flowtable(interface, table)).collect()
}

/// The fast path of a flowtable begins behind our hook at ingress and ends before ours at egress. Only a device that
/// forwards by itself takes packets past us.
fn flowtable(interface: &str, table: &Flowtable) -> Finding {
    let Flowtable { table: of, name, .. } = table;
    let removals = table.fed_by.iter().map(|(_, removal)| removal.clone());
    let cure = removals.reduce(Command::then).map(Cure::There);
    let fed_by = table.fed_by.iter().map(|(place, _)| format!("fed by {place}"));
    if table.hardware {
        let text = format!("nft flowtable {of} {name} with flags offload: the device forwards flows past us");
        return Finding::fail(interface, "flowtable-hardware", text).details(fed_by).cures(cure);
    }
    let text = format!(
        "nft flowtable {of} {name}: after its first packets a flow skips routing and nft's rules, so also the marks \
         they set; our hooks see it"
    );
    Finding::warn(interface, "flowtable", text).details(fed_by).cures(cure)
}

/// Filters of tc that run in the device.
pub(super) fn hardware(port: &Port) -> Vec<Finding> {
    let name = &port.device.name;
    let in_hardware = port.tc.in_hardware.iter().enumerate().map(|(at, filter)| {
        let (words, place) = (filter.words(), filter.place.label());
        let text = format!("tc filter {words} at {place} runs in the device: what it takes passes us by");
        let is_last = at + 1 == port.tc.in_hardware.len();
        let again = "to have it run in front of us or behind us, add it again afterwards, with skip_hw".to_owned();
        Finding::fail(name, "tc-hardware", text).details([again]).cure(out_of_hardware(name, filter, is_last))
    });
    let unknown = port.tc.unknown.iter().map(|why| {
        Finding::unknown(
            name,
            "tc-unanswered",
            format!("tc: {why}: its filters, and whether a qdisc changes marks, are not known"),
        )
    });
    unknown.chain(in_hardware).collect()
}

/// Drivers do not let go of the offload as long as they have a filter: the last to be removed lets them.
fn out_of_hardware(interface: &str, filter: &Filter, is_last: bool) -> Cure {
    let off = Command::new("ethtool -K").word(interface).words("hw-tc-offload off");
    match filter.removal(interface) {
        Some(removal) if is_last => Cure::There(removal.then(off)),
        Some(removal) => Cure::There(removal),
        None => Cure::Advice(format!("remove it, which takes a handle that tc does not tell; then {off}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::{
            Level, nft,
            tc::Place,
            testing::{enforcing, filter, port},
        },
        hook::Direction,
    };

    fn outside(hardware: bool, fed: bool) -> Outside {
        let rule =
            ("nft table inet fw chain fwd handle 5".to_owned(), Command::new("nft delete rule inet fw fwd handle 5"));
        let table = Flowtable {
            table: "inet fw".to_owned(),
            name: "ft".to_owned(),
            interfaces: vec!["lan*".to_owned(), "wan0".to_owned()],
            hardware,
            fed_by: if fed { vec![rule] } else { Vec::new() },
        };
        Outside { nft: Ok(nft::Ruleset { rules: Vec::new(), flowtables: vec![table] }), iptables: Vec::new() }
    }

    #[test]
    fn a_flowtable_is_named_where_it_takes_packets() {
        let found = flowtables("wan0", &outside(false, true)).remove(0);
        assert_eq!((found.level, found.code), (Level::Warn, "flowtable"));
        assert!(found.text.contains("inet fw ft"), "{}", found.text);
        assert_eq!(found.details[0].text, "fed by nft table inet fw chain fwd handle 5");
        assert_eq!(found.cure, Some(Cure::There(Command::new("nft delete rule inet fw fwd handle 5"))));
        assert_eq!(flowtables("wan0", &outside(true, true))[0].level, Level::Fail);
        assert_eq!(flowtables("lan7", &outside(false, true))[0].code, "flowtable", "nft takes a star at the end");
        assert!(flowtables("dmz0", &outside(true, true)).is_empty());
        assert!(flowtables("wan0", &outside(true, false)).is_empty(), "nothing puts flows into it");
    }

    #[test]
    fn a_policy_out_of_the_path_is_told_with_what_puts_it_back() {
        let mut port = enforcing("wan0", Direction::Egress);
        assert!(policies(&port).is_empty());
        port.hooks[0].bypassed = true;
        let found = policies(&port).remove(0);
        assert_eq!((found.level, found.code), (Level::Warn, "bypassed"));
        assert_eq!(found.cure, Some(Cure::Own(Command::new("policy resume wan0:egress"))));
    }

    /// As long as a filter is in the device, mlx5, mlxsw and i40e answer that the offload cannot be switched off.
    #[test]
    fn filters_in_hardware_are_removed_before_the_offload_is_off() {
        let filter = filter(Place::List(Direction::Ingress), 10, None);
        let mut port = port("wan0");
        port.tc.in_hardware = vec![filter.clone(), Filter { pref: 20, handle: Some("0x2".to_owned()), ..filter }];
        let found = hardware(&port);
        assert!(found.iter().all(|found| (found.level, found.code) == (Level::Fail, "tc-hardware")));
        let typed: Vec<_> = found.into_iter().map(|found| found.cure).collect();
        let [Some(Cure::There(first)), Some(Cure::There(last))] = typed.as_slice() else { panic!("{typed:?}") };
        assert_eq!(first.to_string(), "tc filter del dev wan0 ingress protocol ip pref 10 chain 0 handle 0x1 flower");
        assert_eq!(
            last.to_string(),
            "tc filter del dev wan0 ingress protocol ip pref 20 chain 0 handle 0x2 flower && \
             ethtool -K wan0 hw-tc-offload off"
        );
        port.tc.in_hardware.truncate(1);
        port.tc.in_hardware[0].handle = None;
        let Some(Cure::Advice(advice)) = hardware(&port).remove(0).cure else { panic!("no command removes it") };
        assert!(advice.ends_with("then ethtool -K wan0 hw-tc-offload off"), "{advice}");
    }

    #[test]
    fn tc_that_does_not_answer_is_said() {
        let mut port = port("wan0");
        port.tc.unknown = Some("not installed".to_owned());
        assert_eq!(hardware(&port)[0].level, Level::Unknown);
    }
}
