//! Offloads by which a device hands over what never was on the wire: merged packets, or such as have no checksum yet. Many
//! drivers refuse native XDP with them.

use super::{
    Command, Cure, Finding,
    facts::{Feature, Offloads, Port, ProgramAt, XdpFeatures},
};
use crate::hook::{Direction, Via};

/// Drivers that switch it off by themselves when an XDP program comes.
const GIVE_WAY: [&str; 2] = ["bnxt_en", "qede"];

/// What stands in the way of native XDP: offloads that are on, as `ethtool -K` calls them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// They can be switched off here.
    Switchable(Vec<&'static str>),
    /// They cannot.
    Fixed(Vec<&'static str>),
    /// They can neither be switched off here nor by the driver, virtio_net: only by the host's side of a virtual card.
    Hypervisor(Vec<&'static str>),
}

/// What stands in the way of native XDP at a device of this driver, if anything does.
#[must_use]
pub fn obstacle(driver: Option<&str>, offloads: &Offloads) -> Option<Obstacle> {
    let merging = [("lro", offloads.lro), ("rx-gro-hw", offloads.gro_hw)];
    match driver {
        Some("virtio_net") => hypervisor(&merging, offloads.rx_sums),
        Some(driver) if GIVE_WAY.contains(&driver) => None,
        _ => {
            let fixed = names(&merging, |feature| feature.on && feature.fixed);
            let switchable = names(&merging, |feature| feature.on && !feature.fixed);
            match (fixed.is_empty(), switchable.is_empty()) {
                (false, _) => Some(Obstacle::Fixed(fixed)),
                (true, false) => Some(Obstacle::Switchable(switchable)),
                (true, true) => None,
            }
        }
    }
}

type Named = (&'static str, Option<Feature>);

/// Linux lets merging be changed at such a card exactly where the card takes orders about it
/// (`VIRTIO_NET_F_CTRL_GUEST_OFFLOADS`), and then the driver switches all of it off as long as there is an XDP program. Before
/// 5.15 it was called LRO.
fn hypervisor(merging: &[Named; 2], sums: Option<Feature>) -> Option<Obstacle> {
    let obeys = merging.iter().any(|(_, feature)| feature.is_some_and(|feature| !feature.fixed));
    let on = names(&[merging[0], merging[1], ("rx-checksumming", sums)], |feature| feature.on);
    (!obeys && !on.is_empty()).then_some(Obstacle::Hypervisor(on))
}

fn names(of: &[Named], is_meant: impl Fn(Feature) -> bool) -> Vec<&'static str> {
    of.iter().filter(|(_, feature)| feature.is_some_and(&is_meant)).map(|(name, _)| *name).collect()
}

impl Obstacle {
    /// Why native XDP is refused, behind what the kernel said.
    #[must_use]
    pub fn words(&self, interface: &str) -> String {
        match self {
            Self::Switchable(on) => {
                format!("{} on, with which drivers refuse it: {}", on.join(" and "), switched_off(interface, on))
            }
            Self::Fixed(on) => format!("{} on and [fixed], with which drivers refuse it", on.join(" and ")),
            Self::Hypervisor(on) => format!("{}, and virtio_net refuses it", disobedient(on)),
        }
    }

    /// Whether no command here helps.
    const fn is_firm(&self) -> bool {
        matches!(self, Self::Hypervisor(_))
    }
}

fn disobedient(on: &[&str]) -> String {
    format!("{} on and [fixed]: the hypervisor's card takes no orders about its offloads", on.join(" and "))
}

fn switched_off(interface: &str, on: &[&'static str]) -> Command {
    on.iter().fold(Command::new("ethtool -K").word(interface), |command, word| command.words(word).words("off"))
}

/// What stands in the way at an interface.
pub(super) fn at(port: &Port) -> Option<Obstacle> {
    obstacle(port.driver.as_deref(), &port.offloads)
}

/// Whether virtio_net refuses every program there, whatever the kernel says of the driver.
pub(super) fn is_refused(port: &Port) -> bool {
    at(port).is_some_and(|obstacle| obstacle.is_firm())
}

/// What native XDP can do at an interface, if it may be there at all.
pub(super) fn native(port: &Port) -> Option<XdpFeatures> {
    port.xdp.filter(|features| features.native && !is_refused(port))
}

/// Told where native XDP could be and is not.
pub(super) fn found(port: &Port) -> Option<Finding> {
    let hook = port.hook(Direction::Ingress).map(|hook| hook.via);
    if hook.is_some_and(Via::is_xdp) || is_taken(port) {
        return None;
    }
    let name = &port.device.name;
    let takes = match hook {
        None => "attach takes TC, a little slower".to_owned(),
        Some(via) => format!("{name}:{} is by {via}", Direction::Ingress),
    };
    match at(port)? {
        Obstacle::Hypervisor(on) => {
            let text = format!("{}, and virtio_net refuses native XDP with them: {takes}", disobedient(&on));
            Some(Finding::info(name, "merging-fixed", text).cure(Cure::Advice(AT_THE_HOST.to_owned())))
        }
        _ if port.xdp.is_none_or(|features| !features.native) => None,
        Obstacle::Fixed(on) => {
            let text = format!("{} on and [fixed], and drivers refuse native XDP with it: {takes}", on.join(" and "));
            Some(Finding::info(name, "merging-fixed", text))
        }
        Obstacle::Switchable(on) => Some(switchable(name, &on, hook)),
    }
}

/// What the host's side may offer: Linux refuses XDP with any of these, of which USO came with 6.2.
const AT_THE_HOST: &str = "at the hypervisor, and start the machine anew: ctrl_guest_offloads=on at the card, which is qemu's \
                           default; or guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off, and where \
                           it knows them guest_uso4=off,guest_uso6=off";

fn switchable(name: &str, on: &[&'static str], hook: Option<Via>) -> Finding {
    let text = format!("{} on: the device merges packets, and drivers refuse native XDP with it", on.join(" and "));
    let cure = Cure::There(switched_off(name, on));
    match hook {
        None => Finding::warn(name, "merging", text).cure(cure),
        Some(via) => {
            let text = format!("{text}; {name}:{} is by {via}", Direction::Ingress);
            let then = "then detach and attach: it begins at zero, by XDP if the driver takes it".to_owned();
            Finding::info(name, "merging", text).details([then]).cure(cure)
        }
    }
}

fn is_taken(port: &Port) -> bool {
    port.foreign.iter().any(|program| matches!(program.at, ProgramAt::Xdp { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{
        Level,
        testing::{own, port},
    };

    const ON: Option<Feature> = Some(Feature { on: true, fixed: false });
    const STUCK: Option<Feature> = Some(Feature { on: true, fixed: true });
    const NEVER: Option<Feature> = Some(Feature { on: false, fixed: true });

    fn card(driver: &str, lro: Option<Feature>, gro_hw: Option<Feature>, rx_sums: Option<Feature>) -> Port {
        let offloads = Offloads { lro, gro_hw, rx_sums, ..Offloads::default() };
        Port { driver: Some(driver.to_owned()), offloads, ..port("wan0") }
    }

    fn told(port: &Port) -> Option<(Level, &'static str)> {
        found(port).map(|found| (found.level, found.code))
    }

    #[test]
    fn a_virtual_card_that_takes_no_orders_has_no_native_xdp() {
        let stuck = card("virtio_net", NEVER, STUCK, STUCK);
        let finding = found(&stuck).unwrap();
        assert_eq!((finding.level, finding.code), (Level::Info, "merging-fixed"));
        assert!(finding.text.contains("rx-gro-hw and rx-checksumming on and [fixed]"), "{}", finding.text);
        assert!(
            matches!(&finding.cure, Some(Cure::Advice(advice)) if advice.contains("guest_tso4=off,guest_tso6=off"))
        );
        assert_eq!(native(&stuck), None);
        let sums_alone = card("virtio_net", NEVER, NEVER, STUCK);
        assert!(is_refused(&sums_alone), "the kernel refuses that too");
        assert!(is_refused(&card("virtio_net", STUCK, NEVER, NEVER)), "Linux 5.10 calls it LRO");
        assert!(!is_refused(&card("virtio_net", NEVER, NEVER, NEVER)), "it offers nothing of it");
    }

    /// Sums show as fixed in any case: the driver alone changes them.
    #[test]
    fn a_virtual_card_that_takes_orders_is_no_fault() {
        for obedient in [card("virtio_net", NEVER, ON, STUCK), card("virtio_net", ON, NEVER, STUCK)] {
            assert_eq!(told(&obedient), None);
            assert!(native(&obedient).is_some());
        }
        let off = Some(Feature { on: false, fixed: false });
        assert_eq!(told(&card("virtio_net", NEVER, off, STUCK)), None, "switched off, and it could be on");
    }

    #[test]
    fn drivers_that_refuse_are_told_of_with_what_works() {
        let finding = found(&card("mlx5_core", ON, ON, ON)).unwrap();
        let off = Command::new("ethtool -K wan0 lro off rx-gro-hw off");
        assert_eq!((finding.code, finding.level, finding.cure), ("merging", Level::Warn, Some(Cure::There(off))));
        let fixed = found(&card("mlx5_core", STUCK, ON, ON)).unwrap();
        assert_eq!((fixed.code, fixed.level, fixed.cure), ("merging-fixed", Level::Info, None));
        for gives_way in GIVE_WAY {
            assert_eq!(told(&card(gives_way, ON, ON, ON)), None, "{gives_way}");
        }
        assert_eq!(told(&Port { xdp: None, ..card("e1000e", ON, NEVER, ON) }), None, "no native XDP at all");
    }

    #[test]
    fn who_went_to_tc_for_it_is_told() {
        let by = |via, card: Port| Port { hooks: vec![own(Direction::Ingress, via)], ..card };
        let stuck = || card("virtio_net", NEVER, STUCK, STUCK);
        let finding = found(&by(Via::Tcx, stuck())).unwrap();
        assert!(finding.text.ends_with("wan0:ingress is by tcx"), "{}", finding.text);
        assert_eq!(told(&by(Via::Clsact, card("ixgbe", ON, NEVER, ON))), Some((Level::Info, "merging")));
        assert_eq!(told(&by(Via::XdpNative, card("ixgbe", ON, NEVER, ON))), None);
        assert_eq!(
            told(&Port { hooks: vec![own(Direction::Egress, Via::Tcx)], ..stuck() }).unwrap().1,
            "merging-fixed"
        );
    }

    #[test]
    fn why_is_said_behind_the_kernels_word() {
        let words = |port: &Port| at(port).map(|obstacle| obstacle.words("wan0"));
        let stuck = words(&card("virtio_net", NEVER, STUCK, NEVER)).unwrap();
        assert!(stuck.starts_with("rx-gro-hw on and [fixed]") && stuck.ends_with("virtio_net refuses it"), "{stuck}");
        let lro = words(&card("ixgbe", ON, NEVER, ON)).unwrap();
        assert_eq!(lro, "lro on, with which drivers refuse it: ethtool -K wan0 lro off");
        assert_eq!(words(&card("ixgbe", NEVER, NEVER, ON)), None);
    }
}
