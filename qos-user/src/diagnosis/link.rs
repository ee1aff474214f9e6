//! An interface that is down, or has nobody at its other end: whatever else is well, no packet passes it.

use super::{Command, Cure, Finding, Level, facts::Port};

/// What is wrong with the link, where that is a fault of this level; elsewhere it is only told.
pub(super) fn state(port: &Port, level: Level) -> Option<Finding> {
    let name = &port.device.name;
    if port.device.down {
        let text = "state DOWN: nothing comes in or leaves by it";
        let cure = Cure::There(Command::new("ip link set dev").word(name).words("up"));
        return Some(Finding::new(level, name, "link-down", text).cure(cure));
    }
    let text = "NO-CARRIER: it is up, and nothing comes in or leaves by it";
    let finding = || Finding::new(level, name, "no-carrier", text).cure(Cure::Advice(other_end(port)));
    port.device.no_carrier.then(finding)
}

/// It matters where somebody relies on it: at our hooks, and where it was asked about.
pub(super) fn weight(port: &Port, asked: bool) -> Level {
    if asked || !port.hooks.is_empty() { Level::Warn } else { Level::Info }
}

fn other_end(port: &Port) -> String {
    let advice = match port.device.kind.as_deref() {
        Some("veth") => "set its peer up, in the namespace where that is",
        Some("bridge" | "bond" | "team") => "no port of it is up and has a carrier: look at those",
        Some("vlan" | "macvlan" | "macvtap" | "ipvlan") => "look at the interface below it",
        Some("tun") => "no process has it open",
        _ => "look at the cable, and at the interface at its other end",
    };
    advice.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::testing::{enforcing, port},
        hook::Direction,
    };

    #[test]
    fn down_comes_before_the_carrier_and_weighs_by_who_relies_on_it() {
        let mut wan = port("wan0");
        assert_eq!(state(&wan, Level::Warn), None);
        wan.device.no_carrier = true;
        let finding = state(&wan, Level::Warn).unwrap();
        assert_eq!((finding.code, finding.level), ("no-carrier", Level::Warn));
        assert!(matches!(finding.cure, Some(Cure::Advice(advice)) if advice.contains("cable")));
        wan.device.down = true;
        let finding = state(&wan, Level::Fail).unwrap();
        assert_eq!((finding.code, finding.level), ("link-down", Level::Fail));
        assert_eq!([weight(&wan, false), weight(&wan, true)], [Level::Info, Level::Warn]);
        assert_eq!(weight(&enforcing("wan0", Direction::Egress), false), Level::Warn);
    }
}
