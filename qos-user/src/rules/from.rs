//! `from`: a rule names interfaces, and its program knows them by the numbers that they had when it was compiled.

use std::collections::BTreeSet;

use super::model::{Field, Rule, pattern_matches};

/// An interface by its number and its name.
pub type Named = (u32, String);

impl Rule {
    /// Whether what it matches depends on which interfaces there are.
    #[must_use]
    pub fn names_interfaces(&self) -> bool {
        self.froms().next().is_some()
    }

    /// Whether it names this interface as one by which packets come in.
    #[must_use]
    pub fn names_as_from(&self, interface: &str) -> bool {
        self.froms().any(|(patterns, _)| names(patterns, interface))
    }

    /// Whether it means other interfaces of those that are there now than it did of those that were there then.
    #[must_use]
    pub fn means_others(&self, then: &[Named], now: &[Named]) -> bool {
        self.froms().any(|(patterns, _)| meant(patterns, then) != meant(patterns, now))
    }

    /// The interfaces that it names, by their whole names, and that are not there, in words.
    #[must_use]
    pub fn absences(&self, now: &[Named]) -> Vec<String> {
        let is_absent = |pattern: &&String| !pattern.ends_with('*') && !now.iter().any(|(_, name)| name == *pattern);
        let absent = self.froms().map(|(patterns, not)| (patterns.iter().filter(is_absent).collect::<Vec<_>>(), not));
        absent.filter(|(names, _)| !names.is_empty()).map(|(names, not)| self.absence(&names, not)).collect()
    }

    /// That no interface has these names, of which it wants packets, or all others.
    pub(crate) fn absence(&self, names: &[&String], not: bool) -> String {
        let names = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let not = if not { "that are not " } else { "" };
        format!("rule \"{}\" is for packets {not}from {names}, and there is no such interface", self.name)
    }

    /// Each list of patterns, and whether it is in the `-not` form.
    pub(crate) fn froms(&self) -> impl Iterator<Item = (&[String], bool)> {
        self.conditions.iter().filter_map(|condition| match &condition.field {
            Field::From(patterns) => Some((patterns.as_slice(), condition.negated)),
            _ => None,
        })
    }
}

/// What helps where a rule names an interface that is not there; `place` is where it does.
#[must_use]
pub fn to_be_there(place: &str) -> String {
    format!("make the interface, or name another one in {place}; then apply the policy again")
}

fn names(patterns: &[String], interface: &str) -> bool {
    patterns.iter().any(|pattern| pattern_matches(pattern, interface))
}

/// The numbers that patterns mean; a star alone means every interface, also one that is not there yet.
fn meant(patterns: &[String], interfaces: &[Named]) -> BTreeSet<u32> {
    if patterns.iter().any(|pattern| pattern == "*") {
        return BTreeSet::new();
    }
    interfaces.iter().filter(|(_, name)| names(patterns, name)).map(|(number, _)| *number).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::model::{Action, Condition},
        *,
    };

    fn rule(patterns: &[&str], negated: bool) -> Rule {
        let field = Field::From(patterns.iter().map(|pattern| (*pattern).to_owned()).collect());
        Rule {
            name: "calls".to_owned(),
            line: 7,
            on: Vec::new(),
            conditions: vec![Condition { field, negated }],
            action: Action::Drop,
            count: false,
            log: None,
            priority: None,
            mark: None,
        }
    }

    fn interfaces(all: &[(u32, &str)]) -> Vec<Named> {
        all.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
    }

    #[test]
    fn an_interface_that_was_made_anew_or_has_another_name_is_another_one() {
        let then = interfaces(&[(2, "lan0"), (3, "lan1")]);
        let means_others =
            |patterns: &[&str], now: &[(u32, &str)]| rule(patterns, false).means_others(&then, &interfaces(now));
        assert!(!means_others(&["lan0"], &[(2, "lan0"), (9, "wan0")]));
        assert!(means_others(&["lan0"], &[(5, "lan0"), (3, "lan1")]), "made anew");
        assert!(means_others(&["lan0"], &[(3, "lan1")]), "gone");
        assert!(means_others(&["lan0"], &[(2, "lan1"), (3, "lan0")]), "the names were changed round");
        assert!(!means_others(&["lan*"], &[(2, "lan1"), (3, "lan0")]), "both are meant");
        assert!(means_others(&["lan*"], &[(2, "lan0"), (3, "lan1"), (4, "lan2")]));
        assert!(!means_others(&["*"], &[(8, "ppp0")]), "a star alone is compiled without numbers");
    }

    #[test]
    fn whole_names_that_no_interface_has_are_told() {
        let now = interfaces(&[(2, "lan0")]);
        let said = |patterns: &[&str], negated| rule(patterns, negated).absences(&now);
        assert_eq!(said(&["lan0", "ppp*"], false), Vec::<String>::new());
        let absent = "from lan8, lan9, and there is no such interface";
        assert_eq!(said(&["lan0", "lan8", "lan9"], false), [format!("rule \"calls\" is for packets {absent}")]);
        assert_eq!(said(&["lan8", "lan9"], true), [format!("rule \"calls\" is for packets that are not {absent}")]);
    }
}
