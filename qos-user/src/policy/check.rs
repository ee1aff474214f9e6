//! From the tree to what it means: the top level, and everything below it in its turn.

use crate::policy::{
    VERSION,
    classes::{self, Class},
    compile::RemarkTable,
    diagnostic::{Finding, Findings},
    expectations::{self, PolicyTest},
    interfaces::{self, Interface},
    limits,
    meant::Within,
    names::{Names, Used},
    rules::{Rules, Written},
    sets::{self, Set},
    source::{Source, Span},
    tables::Tables,
    tree::{Kind, Table},
    words,
};

const KEYS: [&str; 8] = ["version", "name", "classes", "sets", "interface", "remark", "rule", "test"];

/// Those whose keys are names that the rest of the file uses.
const NAMING: [&str; 3] = ["classes", "sets", "remark"];

/// A policy of which every part was read, if there were no errors.
pub(super) struct Checked {
    pub name: String,
    pub classes: Vec<Class>,
    pub interfaces: Vec<Interface>,
    pub tables: Vec<RemarkTable>,
    pub sets: Vec<Set>,
    pub rules: Vec<Written>,
    pub tests: Vec<PolicyTest>,
    pub used: Used,
}

/// Reads the tree; every mistake is in `findings`.
pub(super) fn check(source: &Source, root: &Table, findings: &mut Findings) -> Checked {
    for entry in root.entries() {
        if !KEYS.contains(&&*entry.key.text) {
            words::unknown_key_within(Within::File, entry, &KEYS, findings);
        }
    }
    if NAMING.iter().any(|key| root.get(key).is_some_and(|entry| matches!(entry.value.kind, Kind::Broken))) {
        findings.hides_something();
    }
    check_version(root, findings);
    let name = name(root, findings);
    let none = Table::default();
    let classes = classes::check(section(root, "classes", findings).unwrap_or(&none), findings);
    let remark = section(root, "remark", findings);
    let tables = Tables::new(source, &classes).check(remark.unwrap_or(&none), findings);
    let interface = section(root, "interface", findings).unwrap_or(&none);
    let interfaces = interfaces::check(interface, remark, source, findings);
    let sets = sets::check(section(root, "sets", findings).unwrap_or(&none), findings);
    let mut names = Names::new(&classes, &sets);
    let rules = root
        .get("rule")
        .map(|entry| Rules { source, interfaces: &interfaces, names: &mut names, findings }.check(&entry.value));
    let rules = rules.unwrap_or_default();
    limits::check(&rules, findings);
    let tests = root.get("test").map(|entry| expectations::check(&entry.value, &names, source, findings));
    let (tests, used) = (tests.unwrap_or_default(), names.into_used());
    Checked { name, classes, interfaces, tables, sets, rules, tests, used }
}

fn section<'t>(root: &'t Table, key: &str, findings: &mut Findings) -> Option<&'t Table> {
    words::table(&root.get(key)?.value, &format!("the table `{key}`"), findings)
}

fn check_version(root: &Table, findings: &mut Findings) {
    let Some(entry) = root.get("version") else {
        let finding = Finding::error(Span::at(0), "the file says no `version`");
        return findings.missing(finding.help(format!("write version = {VERSION} above everything else")));
    };
    match entry.value.kind {
        Kind::Integer(version) if version == i64::from(VERSION) => {}
        Kind::Integer(version) => {
            let title = format!("this program reads policies of version {VERSION}, not of version {version}");
            findings.error(Finding::error(entry.value.span, title));
        }
        _ => words::wrong_kind(&entry.value, &format!("the integer {VERSION}"), findings),
    }
}

fn name(root: &Table, findings: &mut Findings) -> String {
    let Some(entry) = root.get("name") else {
        let finding = Finding::error(Span::at(0), "the policy has no `name`");
        findings.missing(finding.help("status, stats and metrics show it: write name = \"...\""));
        return String::new();
    };
    let name = words::string(&entry.value, "a name", findings).unwrap_or_default();
    if matches!(entry.value.kind, Kind::String(_)) {
        words::check_name("the policy", name, entry.value.span, findings);
    }
    name.to_owned()
}
