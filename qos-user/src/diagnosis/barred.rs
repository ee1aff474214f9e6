//! What has the place of clsact, which is the only hook at TC where there is no TCX.

use super::{
    Command, Cure, Finding,
    facts::{Ground, Port},
};

/// An `ingress` qdisc, as shapers of what comes in have it.
pub(super) fn clsact(port: &Port, ground: &Ground) -> Option<Finding> {
    let name = &port.device.name;
    if !port.tc.ingress {
        return None;
    }
    if ground.tcx {
        let text = "an `ingress` qdisc has the place of clsact: attach takes TCX, and --hook clsact fails";
        return Some(Finding::info(name, "ingress-qdisc", text));
    }
    let text = "an `ingress` qdisc has the place of clsact, and this kernel has no TCX: egress cannot be attached, and \
                ingress by native XDP alone";
    let kept = "its filters go with it; clsact takes them too, at parent ffff:fff2";
    let removal = Command::new("tc qdisc del dev").word(name).words("ingress");
    Some(Finding::fail(name, "ingress-qdisc", text).details([kept.to_owned()]).cure(Cure::There(removal)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{
        Level,
        tc::Traffic,
        testing::{ground, port},
    };

    #[test]
    fn an_ingress_qdisc_is_a_fault_without_tcx() {
        let shaped = Port { tc: Traffic { ingress: true, ..Traffic::default() }, ..port("wan0") };
        let old = Ground { tcx: false, ..ground(vec![]) };
        assert_eq!(clsact(&port("wan0"), &old), None);
        assert_eq!(clsact(&shaped, &ground(vec![])).map(|found| found.level), Some(Level::Info));
        let found = clsact(&shaped, &old).unwrap();
        let cure = Cure::There(Command::new("tc qdisc del dev wan0 ingress"));
        assert_eq!((found.level, found.cure), (Level::Fail, Some(cure)));
    }
}
