//! What the numbers of a way say: that packets come through, that they are lost, or neither. What is missing may have been for
//! this host.

use super::{Asked, Way, counted};
use crate::{
    diagnosis::{
        Command, Cure, Finding,
        why::{
            bridged, family, forwarding, hook_name,
            mark::{before, origins},
            suspects::{self, Suspects},
            time, tunnels,
        },
    },
    hook::Direction,
    snapshot::Hook,
};

/// Where all the exits are meant.
const EXITS: &str = "the hooks at egress";

impl Asked<'_> {
    /// What is found of the way.
    pub(super) fn judged(&self, way: &Way<'_>) -> Vec<Finding> {
        if let Some(lost) = self.hidden(way) {
            return vec![lost];
        }
        let comes_through = way.comes_through();
        let named = comes_through.then(|| self.named(way)).flatten();
        let told = if comes_through { tunnels::told(self.scene, &way.tunnels) } else { None };
        let verdict = if comes_through { self.through(way) } else { self.not_through(way) };
        [verdict].into_iter().chain(named).chain(told).collect()
    }

    /// What was lost since the hooks were attached, and is not of what came while we looked, if that was of the same families.
    pub(super) fn over(&self, now: &Way<'_>, whole: &Way<'_>) -> Option<Finding> {
        let was_lost = whole.is_surely_lost() && !whole.is_in_part();
        let is_watched = whole.of.iter().zip(now.of).all(|(then, now)| then.missing == 0 || now.came > 0);
        let since = time(self.from.iter().map(|hook| hook.since).min()?);
        let (missing, to, numbers) = self.missing(whole);
        let text = format!(
            "since {since} {missing} that came in by {} was not seen at {to} ({numbers}), for this host, or dropped: not so now",
            self.came_by()
        );
        (now.comes_through() && is_watched && was_lost).then(|| Finding::info(&self.scene.name(), "lost-earlier", text))
    }

    /// A family that somebody takes, where as many of the other one stand for it in the sums.
    fn hidden(&self, way: &Way<'_>) -> Option<Finding> {
        let is_told = way.surely_lost > way.allowed && !way.is_made_up();
        if is_told || way.by_family().iter().any(|of| of.came == 0) {
            return None;
        }
        [0, 1].into_iter().find_map(|family| {
            let one = counted::of_family(self.scene, self.from, self.to, way, family)?;
            let is_lost = one.is_surely_lost();
            let suspects = suspects::between(self.scene, self.from, self.exit(), &one);
            let word = &format!("{} {}", family::NAMES[family], self.word);
            (is_lost && suspects.are_there()).then(|| Asked { word, ..*self }.lost(&one, suspects))
        })
    }

    /// The hooks by which they came.
    fn came_by(&self) -> String {
        self.from.iter().map(|hook| hook_name(hook)).collect::<Vec<_>>().join(", ")
    }

    /// Of several exits each may have had a part.
    fn through(&self, way: &Way<'_>) -> Finding {
        let (name, word, from) = (self.scene.name(), self.word, self.came_by());
        let Way { came, left, here, .. } = way;
        if *left == 0 {
            let text = format!("{came} {word} came in by {from}, and none left: too few to say more");
            return Finding::info(&name, "few", text);
        }
        let through = format!("{word} comes through: {came} from {from},");
        let Some(to) = self.to.filter(|_| *here == 0 || way.tunnels.is_empty()) else {
            return Finding::ok(&name, "passed", format!("{through} {left} at {EXITS}"));
        };
        if *here == 0 {
            return bridged::none_left(self.scene, to, word, *came, way.dscps)
                .unwrap_or_else(|| self.elsewhere(way, to));
        }
        if here + way.allowed >= *came {
            return Finding::ok(&name, "passed", format!("{through} {here} at {}", hook_name(to)));
        }
        let text = format!("{through} {left} at {EXITS}, {here} of them at {}", hook_name(to));
        Finding::ok(&name, "passed", text).details(self.exits(way, to))
    }

    fn elsewhere(&self, way: &Way<'_>, to: &Hook) -> Finding {
        let (word, to_word, Way { came, left, .. }) = (self.word, hook_name(to), way);
        let text =
            format!("{word} leaves by another interface: {came} came in, {left} left, 0 at {to_word}: see the routes");
        Finding::info(&self.scene.name(), "elsewhere", text).details(self.exits(way, to))
    }

    /// What the other hooks at egress have counted.
    fn exits(&self, way: &Way<'_>, to: &Hook) -> Vec<String> {
        let others = self.scene.hooks(Direction::Egress).filter(|exit| exit.interface != to.interface);
        let counted = others.map(|exit| (hook_name(exit), before(exit, way.dscps))).filter(|(_, packets)| *packets > 0);
        counted.map(|(name, packets)| format!("{name} before {packets}")).collect()
    }

    /// Rules that are about these packets, where the numbers do not say that they took any.
    fn named(&self, way: &Way<'_>) -> Option<Finding> {
        let rules = suspects::rules_about(self.scene, self.from, self.exit(), way.all_that_came());
        let (word, from) = (self.word, self.came_by());
        let to = self.to.map_or_else(|| EXITS.to_owned(), hook_name);
        let text =
            format!("{word} may lose its mark, or be dropped, between {from} and {to}: the numbers do not say so");
        let finding = || Finding::info(&self.scene.name(), "on-the-way", text);
        rules.are_there().then(finding).map(|finding| finding.details(rules.beside(None)))
    }

    fn exit(&self) -> Option<&str> {
        self.to.map(|to| to.interface.as_str())
    }

    fn not_through(&self, way: &Way<'_>) -> Finding {
        let (from, surely) = (self.came_by(), way.surely_lost > way.allowed);
        if !way.tunnels.is_empty() && !surely {
            return self.tunnelled(way);
        }
        if way.is_made_up() {
            return self.made_up(way);
        }
        if !way.younger.is_empty() {
            return self.younger(way);
        }
        if surely && way.lost <= way.allowed + way.unseen && way.left > 0 {
            let (missing, to, numbers) = self.missing(way);
            let word = format!("{missing} is not counted at {to} ({numbers}), which was attached later than {from}");
            return self.not_comparable(&word);
        }
        if let Some(off) = forwarding::off(self.scene, self.from, way.dscps, self.to.is_some()) {
            return off.details([format!("{}: {}", self.word, self.missing(way).2)]);
        }
        let suspects = suspects::between(self.scene, self.from, self.exit(), way);
        if surely { self.lost(way, suspects) } else { self.unproved(way, suspects) }
    }

    /// What is missing may have left before there was a hook, or somebody has taken it.
    fn younger(&self, way: &Way<'_>) -> Finding {
        let (missing, to, numbers) = self.missing(way);
        let (from, younger) = (self.came_by(), way.younger.join(", "));
        let was = if way.younger.len() == 1 { "was" } else { "were" };
        let text = format!("{missing} is not counted at {to} ({numbers}); {younger} {was} attached later than {from}");
        let suspects = suspects::between(self.scene, self.from, self.exit(), way);
        self.not_comparable(&text).details(suspects.beside(None))
    }

    /// What is missing, with its share unless that is all of it; where it did not come; and the numbers.
    fn missing(&self, way: &Way<'_>) -> (String, String, String) {
        let (came, most) = (way.came, way.most());
        let percent = (came - most) as f64 * 100.0 / came.max(1) as f64;
        let share = if most == 0 { String::new() } else { format!("{percent:.1} % of ") };
        let (to, of_them) = match self.to {
            // What several brought in may have been for any exit.
            Some(to) if way.here == most && self.from.len() == 1 => (hook_name(to), String::new()),
            Some(to) => (EXITS.to_owned(), format!(", {} of them at {}", way.here, hook_name(to))),
            None => (EXITS.to_owned(), String::new()),
        };
        let at_most = if way.left < most { "at most " } else { "" };
        (format!("{share}{}", self.word), to, format!("{came} came, {at_most}{most} were counted{of_them}"))
    }

    /// Where a part is missing of a codepoint that many have, somebody may take it who is meant to.
    fn lost(&self, way: &Way<'_>, suspects: Suspects) -> Finding {
        let name = self.scene.name();
        let (missing, to, numbers) = self.missing(way);
        let between = format!("between {} and {to} ({numbers})", self.came_by());
        if !suspects.are_there() {
            let text = format!("{missing} is not seen {between}: for this host, or dropped");
            return Finding::unknown(&name, "vanished", text).details(suspects.possible()).cure(ruleset());
        }
        let code = if way.is_in_part() { "lost-in-part" } else { "lost-inside" };
        let text = format!("{missing} is lost inside this router, {between}");
        let finding = Finding::fail(&name, code, text).cures(suspects.cure()).details(way.missing_by_family());
        finding.details(suspects.numbered())
    }

    /// Not all that came in left, and what is missing may have come in by other hooks.
    fn unproved(&self, way: &Way<'_>, suspects: Suspects) -> Finding {
        let (word, from, Way { came, all: [came_in, left], .. }) = (self.word, self.came_by(), way);
        let text = format!(
            "{word} may be lost inside this router: {came} came in by {from}, and of {came_in} that came in by all hooks {left} \
             left: which of them, the numbers do not say"
        );
        let is_other = |hook: &&Hook| self.from.iter().all(|from| from.interface != hook.interface);
        let others: Vec<_> = self.scene.hooks(Direction::Ingress).filter(is_other).collect();
        let at_others = suspects::rules_about(self.scene, &others, None, way.packets());
        let finding = suspected(Finding::unknown(&self.scene.name(), "unproved", text), suspects, ruleset());
        finding.details(at_others.elsewhere())
    }

    /// More left than came in: others may stand for what is lost.
    fn made_up(&self, way: &Way<'_>) -> Finding {
        let (word, from, Way { came, left, .. }) = (self.word, self.came_by(), way);
        let more = self.scene.hook().map(|hook| origins(self.scene, hook)).unwrap_or_default();
        let text = format!(
            "whether {word} comes through the numbers do not say: {came} came in by {from}, {left} left, and what is more was \
             {more}"
        );
        let suspects = suspects::rules_about(self.scene, self.from, self.exit(), way.all_that_came());
        suspected(Finding::unknown(&self.scene.name(), "unproved", text), suspects, self.again())
    }

    /// No route is to blame for what is counted a second time, or not as what it was.
    fn tunnelled(&self, way: &Way<'_>) -> Finding {
        let (word, from, Way { came, all, .. }) = (self.word, self.came_by(), way);
        let (why, counted) = tunnels::words(&way.tunnels);
        let text = format!(
            "whether {word} comes through the numbers do not say: {why}; {came} came in by {from}, {} left by all hooks",
            all[1]
        );
        let suspects = suspects::rules_about(self.scene, self.from, self.exit(), way.all_that_came());
        let finding = Finding::unknown(&self.scene.name(), "tunnelled", text).details(counted);
        suspected(finding, suspects, ruleset())
    }
}

/// With the suspects that there are, else with what shows more.
fn suspected(finding: Finding, suspects: Suspects, look: Cure) -> Finding {
    match suspects.are_there() {
        true => finding.cures(suspects.cure()).details(suspects.numbered()),
        false => finding.details(suspects.possible()).cure(look),
    }
}

fn ruleset() -> Cure {
    Cure::look(Command::new("nft -a list ruleset"))
}
