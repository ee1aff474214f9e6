//! What `local` keeps from the policy: this host's own packets, which leave with the mark that they were made with.

use qos_common::ds::Dscp;

use super::{Scene, hook_name};
use crate::{
    diagnosis::{Finding, facts::Spared, outside::Packets},
    snapshot::{Counts, Hook},
};

/// Which of these codepoints, or of those that our policy would make these of, were kept here. What was kept is one number for
/// all codepoints: how many of one it were is known where no other packets stayed as they came.
pub(super) fn kept(scene: &Scene<'_>, hook: &Hook, dscps: &[Dscp]) -> Option<Finding> {
    let counts = hook.counts.as_ref().ok()?;
    let spared = scene.ground.port(&hook.interface)?.hook(hook.direction)?.spared?;
    let protected = Some(counts.sums.protected.packets).filter(|packets| *packets > 0)?;
    let may_be: Vec<Dscp> = Dscp::all().filter(|dscp| may_be_kept(spared, hook, counts, *dscp)).collect();
    let asked = |dscp: &Dscp| dscps.contains(dscp) || dscps.iter().any(|to| sends(hook, *dscp, *to));
    let meant: Vec<Dscp> = may_be.iter().copied().filter(asked).collect();
    let sum = |dscps: &[Dscp]| dscps.iter().map(|dscp| counts.kept(*dscp).packets).sum::<u64>();
    let (all, these, marks) = (sum(&may_be), sum(&meant), Packets::of(&meant).marks());
    let by = format!("kept by local = \"{}\" (made by this host)", spared.word);
    let text = match all == protected {
        true => format!("our policy: {these} {marks} {by}"),
        false => format!("our policy: up to {} {marks} {by}; {protected} of all codepoints", these.min(protected)),
    };
    (these > 0).then(|| Finding::info(&hook_name(hook), "protected", text))
}

/// Whether packets stayed as they came that `local` spares, and that our policy would have changed.
fn may_be_kept(spared: Spared, hook: &Hook, counts: &Counts, dscp: Dscp) -> bool {
    let changes = || {
        let others = Dscp::all().filter(|to| *to != dscp).any(|to| sends(hook, dscp, to));
        others || hook.rules.iter().any(|rule| rule.rule.may_drop(dscp))
    };
    spared.by.keeps(dscp) && counts.kept(dscp).packets > 0 && changes()
}

/// Whether our policy may send packets from one codepoint to another.
fn sends(hook: &Hook, from: Dscp, to: Dscp) -> bool {
    let by_table = hook.table.as_ref().and_then(|table| table.entries.get(from.index()));
    let by_rule = || hook.rules.iter().any(|rule| rule.rule.may_send(from, to));
    from != to && (by_table.is_some_and(|entry| entry.to == to) || by_rule())
}

#[cfg(test)]
mod tests {
    use qos_common::{abi::Counter, policy::Local};

    use super::*;
    use crate::{
        diagnosis::{
            Level,
            outside::Outside,
            testing::{enforcing, ground},
            why::tests::scene,
        },
        hook::Direction,
        snapshot::{Snapshot, sample},
    };

    /// The WAN's hook has kept so many CS6 and EF; its table makes DF of both.
    fn counted(control: u64, voice: u64, protected: u64) -> Snapshot {
        let mut snapshot = sample::snapshot();
        let mut counts = Counts::zero();
        let packets = |packets| Counter { packets, bytes: 100 * packets };
        (counts.sums.kept[0][192], counts.sums.kept[0][184]) = (packets(control), packets(voice));
        counts.sums.protected = packets(protected);
        snapshot.hooks[1].counts = Ok(counts);
        snapshot
    }

    fn said(snapshot: &Snapshot, spared: Spared, dscp: &str) -> Option<String> {
        let mut wan = enforcing("wan0", Direction::Egress);
        wan.hooks[0].spared = Some(spared);
        let (ground, outside) = (ground(vec![wan]), Outside::default());
        let found = kept(&scene(snapshot, &ground, &outside), &snapshot.hooks[1], &[sample::dscp(dscp)])?;
        assert_eq!(found.level, Level::Info);
        Some(found.text)
    }

    const ALL: Spared = Spared { by: Local::Keep, word: "keep" };
    const CONTROL: Spared = Spared { by: Local::KeepControl, word: "keep-control" };

    #[test]
    fn what_local_kept_is_said_of_the_mark_that_it_has_and_of_the_one_that_it_would_have_got() {
        let text =
            |count: &str, word| Some(format!("our policy: {count} kept by local = \"{word}\" (made by this host)"));
        for asked in ["CS6", "DF"] {
            assert_eq!(said(&counted(15, 0, 15), ALL, asked), text("15 CS6", "keep"), "{asked}");
        }
        assert_eq!(said(&counted(10, 5, 15), ALL, "EF"), text("5 EF", "keep"));
        assert_eq!(said(&counted(10, 5, 10), CONTROL, "CS6"), text("10 CS6", "keep-control"));
        assert_eq!(said(&counted(10, 5, 10), CONTROL, "EF"), None, "that is not spared");
        assert_eq!(said(&counted(10, 5, 0), ALL, "EF"), None);
        assert_eq!(said(&counted(10, 5, 15), ALL, "AF41"), None, "nothing becomes that");
    }

    /// Others stayed as they came too, before the table was in force.
    #[test]
    fn of_several_codepoints_only_the_sum_is_known() {
        let text = "our policy: up to 12 EF kept by local = \"keep\" (made by this host); 12 of all codepoints";
        assert_eq!(said(&counted(10, 50, 12), ALL, "EF").as_deref(), Some(text));
    }
}
