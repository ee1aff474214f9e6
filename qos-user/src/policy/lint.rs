//! What is no error, but hardly meant.

use std::collections::HashSet;

use qos_common::{ds::Dscp, policy::Local};

use crate::{
    hook::Direction,
    policy::{
        bounds::covers,
        check::Checked,
        compile::{Match, RemarkEntry, RemarkTable},
        diagnostic::{Finding, Report, quote},
        interfaces::{BoundTable, Interface, LONGEST},
        model::Rule,
        rules::Written,
        shadow,
        source::Source,
    },
};

/// All warnings, in the order of the file.
pub(super) fn warnings(source: &Source, policy: &Checked) -> Report {
    let mut report = Report::new(source.clone());
    let (globs, exact) = policy.interfaces.iter().partition::<Vec<_>, _>(|interface| interface.prefix().is_some());
    for interface in &policy.interfaces {
        check_sense(interface, &policy.rules, &mut report);
        check_inheritance(interface, &globs, &mut report);
    }
    globs.iter().for_each(|glob| check_glob(glob, &exact, &mut report));
    check_tables(policy, &mut report);
    check_classes(policy, &mut report);
    check_sets(policy, &mut report);
    check_names(policy, &mut report);
    shadow::check(policy, &mut report);
    report.sort();
    report
}

fn check_sense(interface: &Interface, rules: &[Written], report: &mut Report) {
    let has_rules = |direction| rules.iter().any(|written| may_be_asked(&written.rule, &interface.pattern, direction));
    if interface.bound.iter().all(Option::is_none)
        && interface.inside.is_none()
        && interface.outer.is_none()
        && !Direction::BOTH.into_iter().any(has_rules)
    {
        let word = quote(&interface.pattern);
        let title = format!("the interface {word} has no `ingress` and no `egress`: no table is in force there");
        report.push(Finding::warning(interface.span, title));
    }
    if let Some(span) = interface.local_span
        && interface.bound(Direction::Egress).is_none()
        && !has_rules(Direction::Egress)
    {
        let title = "`local` is about packets that leave, and there is no `egress`";
        report.push(Finding::warning(span, title));
    }
    if let Some(outer) = &interface.outer {
        check_outer(outer, interface, rules, report);
    }
}

/// Where a table for outer headers is never asked, or does what another word says is not done.
fn check_outer(outer: &BoundTable, interface: &Interface, rules: &[Written], report: &mut Report) {
    if let (Local::Keep, Some(span)) = (interface.local, interface.local_span) {
        let title = "`outer` marks headers that this host makes, whatever `local` says";
        report.push(Finding::warning(outer.span, title).also(span, "this is for everything else"));
    }
    let taken = |written: &&Written| shadow::decides_on_all_that_is_local(&written.rule, &interface.pattern);
    if let Some(written) = rules.iter().find(taken) {
        let title = format!("the table {} for outer headers is never asked", quote(&outer.table));
        let note = "this rule decides on all that this host makes";
        report.push(Finding::warning(outer.span, title).also(written.span, note));
    }
}

/// Whether a rule is for some interface that a pattern means.
fn may_be_asked(rule: &Rule, pattern: &str, direction: Direction) -> bool {
    rule.on.iter().any(|place| {
        place.direction.is_none_or(|asked| asked == direction)
            && (covers(&place.pattern, pattern) || covers(pattern, &place.pattern))
    })
}

fn check_glob(glob: &Interface, exact: &[&Interface], report: &mut Report) {
    let longest = glob.prefix().filter(|prefix| prefix.len() == LONGEST);
    let winner = longest.and_then(|prefix| exact.iter().find(|other| other.pattern == prefix));
    if let Some(winner) = winner {
        let word = quote(&glob.pattern);
        let title = format!("the glob {word} can never win: a name has {LONGEST} bytes at most");
        report.push(Finding::warning(glob.span, title).also(winner.span, "an exact name wins"));
    }
}

/// A section is whole: what it leaves out is not taken from a glob that would match too. Who expects that is told.
fn check_inheritance(interface: &Interface, globs: &[&Interface], report: &mut Report) {
    let Some(glob) = next_wider(interface, globs) else { return };
    let missing = |word: &str, bound: &BoundTable| {
        let (own, wider) = (quote(&interface.pattern), quote(&glob.pattern));
        let title = format!("{own} has no `{word}`, and does not take that of {wider}");
        Finding::warning(interface.span, title).also(bound.span, "not in force there")
    };
    for direction in Direction::BOTH {
        if let (None, Some(bound)) = (interface.bound(direction), glob.bound(direction)) {
            let finding = missing(&direction.to_string(), bound);
            report.push(finding.help(format!("write {direction} = ...; other = \"keep\" alone changes nothing")));
        }
    }
    if let (None, Some(bound)) = (&interface.outer, &glob.outer) {
        report.push(missing("outer", bound).help("write outer = ..., or leave it so where no tunnel begins"));
    }
}

/// The glob that would win if this section were not there.
fn next_wider<'a>(interface: &Interface, globs: &[&'a Interface]) -> Option<&'a Interface> {
    let matches = |glob: &Interface| match interface.prefix() {
        None => glob.rank(&interface.pattern),
        Some(own) => glob.prefix().filter(|prefix| own.starts_with(prefix)).map(str::len),
    };
    let others = globs.iter().filter(|glob| glob.pattern != interface.pattern);
    let ranked = others.filter_map(|glob| Some((matches(glob)?, *glob)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, glob)| glob)
}

fn check_tables(policy: &Checked, report: &mut Report) {
    let bound =
        policy.interfaces.iter().flat_map(|interface| interface.bound.iter().chain([&interface.outer]).flatten());
    let used = bound.map(|bound| &*bound.table).collect::<HashSet<_>>();
    for table in &policy.tables {
        if !used.contains(&*table.name) {
            report.push(Finding::warning(table.span, format!("no interface uses the table {}", quote(&table.name))));
        }
        let idle = table.entries.iter().enumerate().filter_map(|(at, entry)| idle(table, at, entry));
        idle.for_each(|finding| report.push(finding));
    }
}

/// A warning if the table would do the same without the entry.
fn idle(table: &RemarkTable, at: usize, entry: &RemarkEntry) -> Option<Finding> {
    let decided = Dscp::all().filter(|dscp| std::ptr::eq(table.decides(*dscp), entry)).collect::<Vec<_>>();
    if decided.is_empty() && matches!(entry.on, Match::Class(_)) {
        let title = format!("every codepoint of {} has an entry of its own here", quote(&entry.key));
        return Some(Finding::warning(entry.span, title));
    }
    let without = |dscp: &Dscp| table.decides_without(*dscp, Some(at));
    if decided.iter().any(|dscp| without(dscp).apply(*dscp) != entry.apply(*dscp)) {
        return None;
    }
    let instead = decided.first().map(without)?;
    let title = format!("the entry {} changes nothing", quote(&entry.key));
    Some(Finding::warning(entry.span, title).also(instead.span, "this does the same"))
}

fn check_classes(policy: &Checked, report: &mut Report) {
    let in_table = |name: &str| policy.tables.iter().flat_map(|table| &table.entries).any(|entry| entry.key == name);
    let used = |name: &str| policy.used.classes.contains(name) || in_table(name);
    for class in policy.classes.iter().filter(|class| !used(&class.name)) {
        let title = format!("no table and no rule uses the class {}", quote(&class.name));
        report.push(Finding::warning(class.span, title));
    }
}

/// `why` takes both by name.
fn check_names(policy: &Checked, report: &mut Report) {
    for written in &policy.rules {
        let name = &written.rule.name;
        if let Some(class) = policy.classes.iter().find(|class| class.name == *name) {
            let title = format!("a class and a rule are called {}", quote(name));
            let finding = Finding::warning(written.span, title).also(class.span, "the class");
            report.push(finding.help("where either is meant, the name alone is the class, and `rule=NAME` the rule"));
        }
    }
}

fn check_sets(policy: &Checked, report: &mut Report) {
    for set in policy.sets.iter().filter(|set| !policy.used.sets.contains(&set.name)) {
        report.push(Finding::warning(set.span, format!("no rule uses the set {}", quote(&set.name))));
    }
}
