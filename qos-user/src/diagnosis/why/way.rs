//! What came in by our hooks at ingress, and what of it reached those at egress.

mod balance;
mod counted;
mod verdict;

use qos_common::ds::Dscp;

use super::{
    Scene, family, hook_name,
    mark::{after, before},
    tunnels::Tunnel,
};
use crate::{
    diagnosis::{Command, Cure, Finding, outside::Packets},
    snapshot::Hook,
};

/// What came in with these codepoints, and what of it reached the hooks at egress.
pub(super) fn way(scene: &Scene<'_>, from: &[&Hook], to: Option<&Hook>, word: &str, dscps: &[Dscp]) -> Vec<Finding> {
    let asked = Asked { scene, from, to, word };
    let mut findings: Vec<_> = from.iter().map(|hook| asked.arrived(hook, dscps)).collect();
    let (now, whole) = (counted::meanwhile(scene, from, to, dscps), counted::whole(scene, from, to, dscps));
    let is_enough = |now: &Way<'_>| !now.are_few() || !whole.younger.is_empty();
    match now.filter(is_enough) {
        Some(now) => {
            findings.extend(asked.judged(&now));
            findings.extend(asked.over(&now, &whole));
        }
        // What our own policy took here, it has been said of.
        None if whole.came == 0 => {}
        None => findings.extend(asked.judged(&whole)),
    }
    findings
}

/// The question: what came in by some hooks, and came to one at egress, or to any.
#[derive(Clone, Copy)]
struct Asked<'a> {
    scene: &'a Scene<'a>,
    from: &'a [&'a Hook],
    to: Option<&'a Hook>,
    word: &'a str,
}

impl Asked<'_> {
    fn arrived(&self, hook: &Hook, dscps: &[Dscp]) -> Finding {
        let (word, before, after) = (self.word, before(hook, dscps), after(hook, dscps));
        let text = format!("{word} arrived on this router: {} before {before}, after {after}", hook_name(hook));
        Finding::ok(&self.scene.name(), "arrived", text)
    }

    fn not_comparable(&self, why: &str) -> Finding {
        let text = format!("{why}, and nothing came while we looked: repeat it while it flows");
        Finding::unknown(&self.scene.name(), "not-comparable", text).cure(self.again())
    }

    fn again(&self) -> Cure {
        Cure::ask(Command::new("why --sample 10").operand(self.scene.name()).word(self.word))
    }
}

/// The packets of one family among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// Left those hooks.
    came: u64,
    /// Came to none at egress: no more than so many.
    pub missing: u64,
    /// With other codepoints came to hooks at egress by which these may leave.
    pub others: u64,
}

/// Packets with certain codepoints that came in by the hooks that are asked about.
pub(super) struct Way<'a> {
    pub dscps: &'a [Dscp],
    /// Left those hooks.
    came: u64,
    /// So many came to the hooks at egress by which they may leave, without those that may be of others.
    left: u64,
    /// So many came to none of them, if all that may be of others is.
    lost: u64,
    /// So many did in any case.
    surely_lost: u64,
    /// So many more left than came in by any of our hooks.
    surplus: u64,
    /// Came in by all hooks, and left by all.
    all: [u64; 2],
    /// Came to the hook asked about.
    here: u64,
    /// How many may be missing though all came through.
    allowed: u64,
    /// How many may have come before the last hook at egress was there.
    unseen: u64,
    /// Hooks at egress that were attached so much later that the numbers cannot be compared.
    younger: Vec<String>,
    /// Whether these are the packets of the sample.
    pub sampled: bool,
    /// What became of each family.
    of: [Family; 2],
    /// The families of which packets came.
    came_of: [bool; 2],
    /// Tunnels that have counted some.
    tunnels: Vec<Tunnel>,
}

impl Way<'_> {
    /// What is missing.
    pub(super) fn packets(&self) -> Packets {
        Packets { families: self.of.map(|of| of.missing > 0), ..Packets::of(self.dscps) }
    }

    /// Of each family, if packets of both are.
    fn missing_by_family(&self) -> Option<String> {
        let of = self.of.iter().zip(family::NAMES);
        let words = of.map(|(of, name)| format!("{} of {} {name}", of.missing, of.came)).collect::<Vec<_>>();
        self.of.iter().all(|of| of.missing > 0).then(|| format!("missing: {}", words.join(", ")))
    }

    /// The same of each family.
    pub(super) const fn by_family(&self) -> [Family; 2] {
        self.of
    }

    fn all_that_came(&self) -> Packets {
        Packets { families: self.came_of, ..Packets::of(self.dscps) }
    }

    /// Came in, and to none of our hooks at egress.
    pub(super) const fn missing(&self) -> u64 {
        self.lost
    }

    /// No more than so many left.
    const fn most(&self) -> u64 {
        self.came - self.surely_lost
    }

    /// Whether it would be within the noise if all of them were missing.
    const fn are_few(&self) -> bool {
        self.came <= self.allowed
    }

    /// Whether no more than a tenth is missing.
    const fn is_in_part(&self) -> bool {
        self.most() * 10 >= self.came * 9
    }

    /// Whether some are missing, whoever made what left, and whatever came before hooks at egress were there.
    const fn is_surely_lost(&self) -> bool {
        self.surely_lost > self.allowed + self.unseen && self.younger.is_empty()
    }

    /// Whether the numbers say that all came through.
    const fn comes_through(&self) -> bool {
        self.lost <= self.allowed && !self.is_made_up()
    }

    /// Whether so much left that no hook has counted coming in that it may stand for what is lost: what this host makes of its
    /// own accord, beside all that passes it, is no such thing.
    const fn is_made_up(&self) -> bool {
        self.surplus > self.allowed && self.surplus * 4 >= self.came
    }
}
