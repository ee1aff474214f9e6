//! Programs of others at our hooks, and ours of another version.

use super::{
    Command, Cure, Detail, Finding,
    facts::{Linked, Port, Program, ProgramAt, XdpAt},
};
use crate::hook::Direction;

/// Programs of others.
pub(super) fn foreign(port: &Port) -> Vec<Finding> {
    found(port, |_| true)
}

/// Those that are not behind our hook in a direction.
pub(super) fn elsewhere(port: &Port, direction: Direction) -> Vec<Finding> {
    found(port, |program| !is_beside(program, direction, false))
}

fn found(port: &Port, is_meant: impl Fn(&Program) -> bool) -> Vec<Finding> {
    let name = &port.device.name;
    let unknown = port.programs_unknown.iter().map(|why| {
        Finding::unknown(name, "programs-unknown", format!("programs of others at its hooks are not known: {why}"))
    });
    let found = port.foreign.iter().filter(|program| is_meant(program)).map(|program| match program.at {
        ProgramAt::Xdp(at) => slot_taken(name, program, at),
        ProgramAt::Tcx(_) => neighbour(name, program, "tcx-neighbour"),
        ProgramAt::Clsact(..) => neighbour(name, program, "clsact-neighbour"),
    });
    unknown.chain(found).collect()
}

fn label(program: &Program) -> String {
    format!("program {} \"{}\"", program.id, program.name)
}

/// It sees packets first, and may drop or change them; ours does not fit in beside it.
fn slot_taken(name: &str, program: &Program, at: XdpAt) -> Finding {
    let mode = at.word();
    let text = format!("XDP slot taken by {} ({mode}): it sees packets before us, and ours goes to TC", label(program));
    let cure = match program.link {
        Linked::By(link) => Cure::There(Command::new("bpftool link detach id").word(link)),
        Linked::No => Cure::There(Command::new("ip link set dev").word(name).words(at.flag()).words("off")),
        Linked::Unknown => Cure::Advice(format!(
            "if a link holds it, ip cannot take it off: bpftool link show lists those of program {}, bpftool link detach \
             takes one off",
            program.id
        )),
    };
    Finding::warn(name, "xdp-slot-taken", text).cure(cure)
}

fn neighbour(name: &str, program: &Program, code: &'static str) -> Finding {
    let order = match program.before_us {
        Some(true) => " (before us)",
        Some(false) => " (after us)",
        None => "",
    };
    Finding::info(name, code, format!("also at {}: {}{order}", program.at, label(program)))
}

/// Those that see packets at an interface before us, or behind us.
pub(super) fn beside(port: &Port, direction: Direction, before: bool) -> impl Iterator<Item = &Program> {
    port.foreign.iter().filter(move |program| is_beside(program, direction, before))
}

fn is_beside(program: &Program, direction: Direction, before: bool) -> bool {
    match program.at {
        ProgramAt::Xdp { .. } => direction == Direction::Ingress && before,
        ProgramAt::Tcx(at) | ProgramAt::Clsact(at, _) => at == direction && program.before_us == Some(before),
    }
}

/// One of them, with the command that shows more of it.
pub(super) fn suspect(port: &Port, program: &Program) -> Detail {
    let at = format!("{} {}", port.device.name, program.at.direction());
    Detail { text: format!("{} at {at}", label(program)), cure: Some(shown(program)) }
}

fn shown(program: &Program) -> Cure {
    Cure::Look(Box::new(Cure::Host(Command::new("bpftool prog show id").word(program.id))))
}

/// What they do to packets that we have counted, only their author knows.
pub(super) fn behind(port: &Port, direction: Direction) -> impl Iterator<Item = Finding> {
    let name = format!("{}:{direction}", port.device.name);
    beside(port, direction, false).map(move |program| {
        let text = format!(
            "{} is behind us, at {}: what is counted as AFTER it may change or drop",
            label(program),
            program.at
        );
        Finding::info(&name, "program-behind", text).cure(shown(program))
    })
}

/// Hooks whose program was loaded while the kernel translated none, and stays as it is.
pub(super) fn interpreted(port: &Port) -> impl Iterator<Item = Finding> {
    let name = &port.device.name;
    port.hooks.iter().filter(|hook| hook.interpreted).map(move |hook| {
        let direction = hook.direction;
        let text = format!(
            "{name}:{direction} runs a program that was loaded while the JIT was off, and is interpreted: attach loads it \
             anew, and keeps its counters"
        );
        Finding::warn(name, "interpreted", text).cure(Cure::attach(name, direction))
    })
}

/// Hooks that run the program of another version.
pub(super) fn other_version(port: &Port) -> Vec<Finding> {
    let name = &port.device.name;
    let others = port.hooks.iter().filter(|hook| hook.version != crate::VERSION);
    let finding = |hook: &super::facts::OwnHook| {
        let direction = hook.direction;
        let text = format!(
            "{name}:{direction} runs the program of qosbpf {}, this is {}: attach switches it, and keeps its counters",
            hook.version,
            crate::VERSION
        );
        Finding::warn(name, "other-version", text).cure(Cure::attach(name, direction))
    };
    others.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::{
            Level,
            testing::{own, port},
        },
        hook::{Direction, Via},
    };

    fn at(at: ProgramAt, before_us: Option<bool>, link: Linked) -> Finding {
        let program = Program { id: 91, name: "cil_to_netdev".to_owned(), at, before_us, link };
        foreign(&Port { foreign: vec![program], ..port("wan0") }).remove(0)
    }

    #[test]
    fn who_has_the_slot_is_named_and_how_to_free_it() {
        let found = at(ProgramAt::Xdp(XdpAt::Native), None, Linked::No);
        assert_eq!(found.level, Level::Warn);
        assert!(found.text.contains("program 91 \"cil_to_netdev\" (native)"), "{}", found.text);
        assert_eq!(found.cure, Some(Cure::There(Command::new("ip link set dev wan0 xdpdrv off"))));
        // A driver refuses `off` for a program that the device runs.
        let offloaded = at(ProgramAt::Xdp(XdpAt::Offloaded), None, Linked::No);
        assert!(offloaded.text.contains("(offloaded)"), "{}", offloaded.text);
        assert_eq!(offloaded.cure, Some(Cure::There(Command::new("ip link set dev wan0 xdpoffload off"))));
        let linked = at(ProgramAt::Xdp(XdpAt::Generic), None, Linked::By(7));
        assert_eq!(linked.cure, Some(Cure::There(Command::new("bpftool link detach id 7"))));
        // The kernel refuses ip what a link holds.
        let perhaps = at(ProgramAt::Xdp(XdpAt::Native), None, Linked::Unknown);
        assert!(
            matches!(perhaps.cure, Some(Cure::Advice(advice)) if advice.contains("of program 91, bpftool link detach"))
        );
    }

    #[test]
    fn neighbours_are_named_with_their_place() {
        let tcx = at(ProgramAt::Tcx(Direction::Egress), Some(true), Linked::No);
        assert_eq!(tcx.text, "also at tcx egress: program 91 \"cil_to_netdev\" (before us)");
        assert_eq!(tcx.level, Level::Info);
        let clsact = at(ProgramAt::Clsact(Direction::Ingress, 7), Some(false), Linked::No);
        assert_eq!(clsact.text, "also at clsact ingress, pref 7: program 91 \"cil_to_netdev\" (after us)");
    }

    #[test]
    fn what_could_not_be_asked_is_said() {
        let blind = Port { programs_unknown: Some("not permitted".to_owned()), ..port("wan0") };
        assert_eq!(foreign(&blind)[0].level, Level::Unknown);
    }

    #[test]
    fn a_program_that_stays_interpreted_is_told_with_the_command_that_loads_it_anew() {
        let mut hook = own(Direction::Ingress, Via::XdpNative);
        assert_eq!(interpreted(&Port { hooks: vec![hook.clone()], ..port("lan0") }).count(), 0);
        hook.interpreted = true;
        let found = interpreted(&Port { hooks: vec![hook], ..port("lan0") }).collect::<Vec<_>>();
        assert_eq!(found[0].cure, Some(Cure::attach("lan0", Direction::Ingress)));
    }

    #[test]
    fn another_version_is_told_with_the_command() {
        let mut hook = own(Direction::Egress, Via::Tcx);
        assert!(other_version(&Port { hooks: vec![hook.clone()], ..port("wan0") }).is_empty());
        hook.version = "0.0.9".to_owned();
        let found = other_version(&Port { hooks: vec![hook], ..port("wan0") });
        assert_eq!(found[0].cure, Some(Cure::attach("wan0", Direction::Egress)));
    }
}
