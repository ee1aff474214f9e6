//! Programs of ours whose pins were not found: they are at work, and nothing here reads or changes what they do.

use super::{
    Command, Cure, Finding,
    facts::{Ground, Port, Program},
};
use crate::hook::Direction;

/// What is said of each.
pub(super) fn found(port: &Port, ground: &Ground) -> Vec<Finding> {
    port.strays.iter().map(|program| stray(&port.device.name, program, ground)).collect()
}

/// What is said of one at a hook.
pub(super) fn at(port: &Port, direction: Direction, ground: &Ground) -> Option<Finding> {
    let program = port.strays.iter().find(|program| program.at.direction() == direction)?;
    let subject = format!("{}:{direction}", port.device.name);
    Some(Finding { subject, ..stray(&port.device.name, program, ground) })
}

/// Where pins cannot be read, or are elsewhere, they may be there for it, and it is not to be ended for that.
fn stray(interface: &str, program: &Program, ground: &Ground) -> Finding {
    let Program { id, name, at, .. } = program;
    let (why, cure) = unknown(*id, &format!("{interface}:{}", at.direction()), ground);
    let text = format!("program {id} \"{name}\" ({at}) is qosbpf's own: it counts and marks, and {why}");
    Finding::warn(interface, "own-unpinned", text).cure(cure)
}

/// Why nothing is known of a program at a hook, and what helps.
fn unknown(program: u32, hook: &str, ground: &Ground) -> (String, Cure) {
    if ground.pins_unread {
        let why = "its pins are not read, so that its counters and its policy are not known here";
        let advice = "mend what is said of the pins above; if they are in another bpf file system, name it by --bpffs";
        return (why.to_owned(), Cure::Advice(advice.to_owned()));
    }
    if let Some((where_else, advice)) = ground.elsewhere.said(program) {
        return (format!("no pin of it is known here: {where_else}"), Cure::Advice(advice));
    }
    let why = "no pin of it is known here: they are in another bpf file system, such as one that is unmounted here and lives \
               on in another mount namespace; to attach beside it is refused";
    (why.to_owned(), Cure::Own(Command::new("detach --unpinned").operand(hook)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::{
        Level,
        facts::{Elsewhere, Linked, ProgramAt, XdpAt},
        testing::port,
    };

    #[test]
    fn a_program_of_ours_is_said_to_be_ours_and_ended_only_where_the_pins_were_read() {
        let at = |at| Program { id: 7, name: "qosbpf_xdp_rule".to_owned(), at, before_us: None, link: Linked::No };
        let strays = vec![at(ProgramAt::Xdp(XdpAt::Native)), at(ProgramAt::Tcx(Direction::Egress))];
        let port = Port { strays, ..port("wan0") };
        let unread = found(&port, &Ground { pins_unread: true, ..Ground::default() });
        assert!(
            unread[0].text.starts_with("program 7 \"qosbpf_xdp_rule\" (XDP, native) is qosbpf's own"),
            "{unread:?}"
        );
        assert!(unread[1].text.contains("(tcx egress)"));
        assert!(unread.iter().all(|it| it.level == Level::Warn && matches!(it.cure, Some(Cure::Advice(_)))));
        let cures: Vec<_> = found(&port, &Ground::default()).into_iter().filter_map(|finding| finding.cure).collect();
        let detach = |hook: &str| Cure::Own(Command::new("detach --unpinned").operand(hook));
        assert_eq!(cures, [detach("wan0:ingress"), detach("wan0:egress")]);
    }

    #[test]
    fn a_program_whose_pins_may_be_elsewhere_is_not_ended() {
        let at = ProgramAt::Tcx(Direction::Egress);
        let stray = Program { id: 7, name: "qosbpf_egress".to_owned(), at, before_us: None, link: Linked::No };
        let port = Port { strays: vec![stray], ..port("wan0") };
        let advice = |elsewhere| {
            let finding = found(&port, &Ground { elsewhere, ..Ground::default() }).remove(0);
            assert!(finding.text.contains("in another bpf file system"), "{}", finding.text);
            match finding.cure {
                Some(Cure::Advice(advice)) => advice,
                cure => panic!("{cure:?}"),
            }
        };
        let bpffs = vec!["/tmp/b pf".to_owned(), "/tmp/bpf".to_owned()];
        let reached = advice(Elsewhere { bpffs, served: true, ..Elsewhere::default() });
        assert_eq!(reached, "name that: --bpffs '/tmp/b pf' or --bpffs /tmp/bpf");
        let served = advice(Elsewhere { served: true, ..Elsewhere::default() });
        assert_eq!(served, "name that by --bpffs, as qosbpf run was told it");
    }
}
