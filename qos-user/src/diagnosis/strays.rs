//! Programs of ours whose pins were not found: they are at work, and nothing here reads or changes what they do.

use super::{
    Cure, Finding,
    facts::{Port, Program},
};

/// What is said of each.
pub(super) fn found(port: &Port) -> Vec<Finding> {
    port.strays.iter().map(|program| stray(&port.device.name, program)).collect()
}

fn stray(name: &str, program: &Program) -> Finding {
    let Program { id, name: program, at, .. } = program;
    let text = format!(
        "program {id} \"{program}\" ({at}) is qosbpf's own: it counts and marks, and its pins are not read, so that its \
         counters and its policy are not known here"
    );
    let advice = "mend what is said of the pins above; if they are in another bpf file system, name it by --bpffs";
    Finding::warn(name, "own-unpinned", text).cure(Cure::Advice(advice.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        diagnosis::{
            Level,
            facts::{Linked, ProgramAt},
            testing::port,
        },
        hook::Direction,
    };

    #[test]
    fn a_program_of_ours_is_said_to_be_ours_and_nobody_is_told_to_take_it_off() {
        let at = |at| Program { id: 7, name: "qosbpf_xdp_rule".to_owned(), at, before_us: None, link: Linked::No };
        let strays = vec![at(ProgramAt::Xdp { native: true }), at(ProgramAt::Tcx(Direction::Egress))];
        let found = found(&Port { strays, ..port("wan0") });
        assert!(found[0].text.starts_with("program 7 \"qosbpf_xdp_rule\" (XDP, native) is qosbpf's own"), "{found:?}");
        assert!(found[1].text.contains("(tcx egress)"));
        assert!(found.iter().all(|it| it.level == Level::Warn && matches!(it.cure, Some(Cure::Advice(_)))));
    }
}
