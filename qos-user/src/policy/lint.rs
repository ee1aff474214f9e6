//! What is no error, but hardly meant.

use qos_common::ds::Dscp;

use crate::{
    hook::Direction,
    policy::{
        check::Checked,
        compile::{Match, RemarkEntry, RemarkTable},
        diagnostic::{Finding, Report, quote},
        interfaces::{Interface, LONGEST},
        source::Source,
    },
};

/// All warnings, in the order of the file.
pub(super) fn warnings(source: &Source, policy: &Checked) -> Report {
    let mut report = Report::new(source.clone());
    policy.interfaces.iter().for_each(|interface| check_interface(interface, policy, &mut report));
    policy.tables.iter().for_each(|table| check_table(table, policy, &mut report));
    check_classes(policy, &mut report);
    report.sort();
    report
}

fn check_interface(interface: &Interface, policy: &Checked, report: &mut Report) {
    let word = quote(&interface.pattern);
    if interface.bound.iter().all(Option::is_none) {
        let title = format!("the interface {word} has no `ingress` and no `egress`: no table is in force there");
        report.push(Finding::warning(interface.span, title));
    }
    if let Some(span) = interface.local_span
        && interface.bound(Direction::Egress).is_none()
    {
        let title = "`local` is about packets that leave, and there is no `egress`";
        report.push(Finding::warning(span, title));
    }
    if let Some(prefix) = interface.prefix()
        && prefix.len() == LONGEST
        && let Some(exact) = policy.interfaces.iter().find(|other| other.pattern == prefix)
    {
        let title = format!("the glob {word} can never win: a name has {LONGEST} bytes at most");
        report.push(Finding::warning(interface.span, title).also(exact.span, "an exact name wins"));
    }
    Direction::BOTH.iter().for_each(|direction| check_inheritance(interface, *direction, policy, report));
}

/// A section is whole: what it leaves out is not taken from a glob that would match too. Who expects that is told.
fn check_inheritance(interface: &Interface, direction: Direction, policy: &Checked, report: &mut Report) {
    let name = interface.prefix().unwrap_or(&interface.pattern);
    let wider = |other: &&Interface| {
        other.prefix().is_some_and(|prefix| other.pattern != interface.pattern && name.starts_with(prefix))
            && (name != "lo" || interface.prefix().is_some())
    };
    let widest = policy.interfaces.iter().filter(wider).max_by_key(|other| other.prefix().map(str::len));
    if let Some(other) = widest
        && let (None, Some(bound)) = (interface.bound(direction), other.bound(direction))
    {
        let (own, glob) = (quote(&interface.pattern), quote(&other.pattern));
        let title = format!("{own} has no `{direction}`, and does not take that of {glob}");
        let finding = Finding::warning(interface.span, title).also(bound.span, "not in force there");
        report.push(finding.help(format!("write {direction} = ...; a table with other = \"keep\" changes nothing")));
    }
}

fn check_table(table: &RemarkTable, policy: &Checked, report: &mut Report) {
    let bound = policy.interfaces.iter().flat_map(|interface| interface.bound.iter().flatten());
    if !bound.into_iter().any(|bound| bound.table == table.name) {
        report.push(Finding::warning(table.span, format!("no interface uses the table {}", quote(&table.name))));
    }
    for (at, entry) in table.entries.iter().enumerate() {
        if let Some(finding) = idle(table, at, entry) {
            report.push(finding);
        }
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
    let used = |name: &str| policy.tables.iter().flat_map(|table| &table.entries).any(|entry| entry.key == name);
    for class in policy.classes.iter().filter(|class| !used(&class.name)) {
        report.push(Finding::warning(class.span, format!("no table uses the class {}", quote(&class.name))));
    }
}
