//! Programs of ours whose pins were not found: they are at work, and nothing here reads or changes what they do.

use super::{
    Command, Cure, Finding,
    facts::{Ground, Port, Program},
};

/// What is said of each.
pub(super) fn found(port: &Port, ground: &Ground) -> Vec<Finding> {
    port.strays.iter().map(|program| stray(&port.device.name, program, ground.pins_unread)).collect()
}

/// Where pins cannot be read, they may be there for it, and it is not to be ended for that.
fn stray(interface: &str, program: &Program, pins_unread: bool) -> Finding {
    let Program { id, name, at, .. } = program;
    let text = format!("program {id} \"{name}\" ({at}) is qosbpf's own: it counts and marks, and ");
    if pins_unread {
        let text = text + "its pins are not read, so that its counters and its policy are not known here";
        let advice = "mend what is said of the pins above; if they are in another bpf file system, name it by --bpffs";
        return Finding::warn(interface, "own-unpinned", text).cure(Cure::Advice(advice.to_owned()));
    }
    let text = text
        + "no pin of it is known here: they are in another bpf file system, such as one that is unmounted here and lives on \
           in another mount namespace; to attach beside it is refused";
    let hook = format!("{interface}:{}", at.direction());
    let detach = Command::new("detach --unpinned").operand(hook);
    Finding::warn(interface, "own-unpinned", text).cure(Cure::Own(detach))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::{
            Level,
            facts::{Linked, ProgramAt, XdpAt},
            testing::port,
        },
        hook::Direction,
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
}
