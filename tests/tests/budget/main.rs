//! What each program costs the verifier and the kernel's memory, and what one packet takes, against recorded figures
//! (`tests/budget.toml`).
//!
//! A series of kernels, where the verifier counts otherwise, may have a record of its own (`tests/budget-5.10.toml`). On
//! the series of the record no figure may grow by more than a tenth; on another one it may not be more than twice the
//! record. `QOSBPF_RECORD=1` writes the record anew. `QOSBPF_BUDGETS` is the folder of the records, if not `tests`.
//!
//! Whatever the record says, no program may take the verifier more than two fifths of what it allows: other kernels, older
//! and newer ones, follow more ways than the one that runs the tests.

mod packets;
mod rules;

use std::{collections::BTreeMap, env, fs, path::PathBuf, sync::Arc};

use anyhow::{Context as _, ensure};
use aya::programs::ProgramInfo;
use qos_common::{ds::Dscp, inside::Inside, locate::Link, policy::Local};
use qosbpf::{
    hook::Direction,
    kernel::object::{Form, Program, Specialisation},
    policy::{
        classifier::{Input, compile},
        model::{Action, Meter, MeterKind, Rule, Verdict},
    },
    rules::RuleTables,
};
use qosbpf_tests::{
    kernel::{Kernel, programs},
    large, tables,
    walk::Walk,
};
use serde::{Deserialize, Serialize};

/// What was measured, and where.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Budget {
    /// The release of the kernel.
    kernel: String,
    /// By program and specialisation.
    programs: BTreeMap<String, Cost>,
    /// What one packet takes.
    #[serde(default)]
    packets: BTreeMap<String, Walk>,
}

/// What a program costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cost {
    /// Instructions that the verifier followed; it gives up at a million. Linux says it since 5.16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verified: Option<u32>,
    /// Bytes of the program as the verifier left it.
    translated: u32,
    /// Bytes of the machine code that the kernel made of it, for x86-64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jited: Option<u32>,
}

#[test]
fn no_program_costs_more_than_recorded() -> anyhow::Result<()> {
    let now = Budget { kernel: release()?, programs: measure()?, packets: packets()? };
    report(&now);
    let reserve =
        now.programs.iter().find(|(_, cost)| cost.verified.is_some_and(|verified| verified > large::MOST_VERIFIED));
    ensure!(reserve.is_none(), "more than two fifths of what the verifier allows: {reserve:?}");
    if env::var_os("QOSBPF_RECORD").is_some_and(|value| value == "1") {
        let text = format!(
            "# Written by `QOSBPF_RECORD=1 cargo test -p qosbpf-tests --test budget`.\n{}",
            toml::to_string(&now)?
        );
        let path = record_of(&now.kernel)?;
        return fs::write(&path, text).with_context(|| path.display().to_string());
    }
    let path = closest_record(&now.kernel);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let recorded: Budget = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let same_series = series(&now.kernel) == series(&recorded.kernel);
    compare(&now.programs, &recorded.programs, same_series)?;
    packets::compare(&now.packets, &recorded.packets)
}

fn packets() -> anyhow::Result<BTreeMap<String, Walk>> {
    let mut walks = packets::measure()?;
    walks.extend(rules::measure()?);
    Ok(walks)
}

/// Tenths of the record that a figure may have.
const fn allowed(same_series: bool) -> u64 {
    if same_series { 11 } else { 20 }
}

fn compare(now: &BTreeMap<String, Cost>, recorded: &BTreeMap<String, Cost>, same_series: bool) -> anyhow::Result<()> {
    // A kernel without XDP frags has fewer than a record of another series.
    let known = now.keys().all(|name| recorded.contains_key(name)) && (!same_series || now.len() == recorded.len());
    ensure!(known && !now.is_empty(), "other programs than in the record: record it anew");
    let within = |now: Option<u32>, recorded: Option<u32>| {
        let both = now.zip(recorded);
        both.is_none_or(|(now, recorded)| u64::from(now) * 10 <= u64::from(recorded) * allowed(same_series))
    };
    let cheap = |now: &Cost, then: &Cost| {
        within(now.verified, then.verified)
            && within(Some(now.translated), Some(then.translated))
            && within(now.jited, then.jited)
    };
    let dear: Vec<String> = now
        .iter()
        .map(|(name, cost)| (name, cost, recorded[name]))
        .filter(|(_, now, then)| !cheap(now, then))
        .map(|(name, now, then)| format!("{name}: {now:?}, recorded {then:?}"))
        .collect();
    ensure!(dear.is_empty(), "dearer than recorded; if it is worth it, QOSBPF_RECORD=1:\n{}", dear.join("\n"));
    Ok(())
}

#[test]
fn a_figure_that_grows_by_more_than_a_tenth_is_found() {
    let cost = |verified, translated, jited| {
        let cost = Cost { verified: Some(verified), translated, jited: Some(jited) };
        BTreeMap::from([("program".to_owned(), cost)])
    };
    let recorded = cost(1000, 2000, 3000);
    assert!(compare(&cost(1100, 2200, 3300), &recorded, true).is_ok());
    assert!(compare(&cost(1101, 2000, 3000), &recorded, true).is_err());
    assert!(compare(&cost(1000, 2201, 3000), &recorded, true).is_err());
    assert!(compare(&cost(1000, 2000, 3301), &recorded, true).is_err());
    assert!(compare(&cost(2000, 4000, 6000), &recorded, false).is_ok());
    assert!(compare(&cost(2001, 4000, 6000), &recorded, false).is_err());
    assert!(compare(&BTreeMap::new(), &recorded, true).is_err());
}

fn measure() -> anyhow::Result<BTreeMap<String, Cost>> {
    let mut costs = BTreeMap::new();
    for program in programs()? {
        for (layer, link) in [("ethernet", Link::Ethernet), ("layer-3", Link::Layer3)] {
            let wash = Some(tables::wash());
            let counting = Specialisation::counting(link);
            let remarking = Specialisation { table: wash, rules: None, local: Local::KeepControl, ..counting.clone() };
            let metering = Specialisation { rules: Some(Arc::new(one_meter()?)), ..counting.clone() };
            for (kind, wanted) in [("counting", counting), ("remarking", remarking)] {
                costs.insert(format!("{} {layer} {kind}", program.name()), cost(Form::Table, program, &wanted)?);
            }
            for (how, form) in forms(&metering) {
                costs.insert(format!("{} {layer} metering{how}", program.name()), cost(form, program, &metering)?);
            }
        }
        let rules = Some(Arc::new(large::tables(large::fields(program), 1024)?));
        let table = Some(tables::wash());
        let wanted = Specialisation { table, rules, ..Specialisation::counting(Link::Ethernet) };
        for (how, form) in forms(&wanted) {
            costs.insert(format!("{} ethernet 1024 rules{how}", program.name()), cost(form, program, &wanted)?);
        }
        costs.extend(inside(program, &wanted)?);
        if program == Program::Tc(Direction::Egress) {
            costs.extend(outer(program, &wanted)?);
        }
    }
    Ok(costs)
}

/// What a program costs that looks inside all that there is; `ruled` has many rules and a table.
fn inside(program: Program, ruled: &Specialisation) -> anyhow::Result<Vec<(String, Cost)>> {
    let ruled = Specialisation { inside: Inside::PPPOE.and(Inside::MPLS), ..ruled.clone() };
    let remarking = Specialisation { rules: None, ..ruled.clone() };
    let counting = Specialisation { table: None, ..remarking.clone() };
    let named = [("counting", counting), ("remarking", remarking), ("1024 rules", ruled)];
    let costs = named.into_iter().map(|(kind, wanted)| {
        Ok((format!("{} inside {kind}", program.name()), cost(wanted.form(), program, &wanted)?))
    });
    costs.collect()
}

/// What a program costs that marks outer headers by what is inside, and looks inside all that there is before.
fn outer(program: Program, ruled: &Specialisation) -> anyhow::Result<Vec<(String, Cost)>> {
    let ruled = Specialisation { outer: Some(tables::permutation()), ..ruled.clone() };
    let table = Specialisation { rules: None, ..ruled.clone() };
    let looking = Specialisation { inside: Inside::PPPOE.and(Inside::MPLS), ..ruled.clone() };
    let named = [("alone", table), ("1024 rules", ruled), ("1024 rules and inside", looking)];
    let costs = named
        .into_iter()
        .map(|(kind, wanted)| Ok((format!("{} outer {kind}", program.name()), cost(wanted.form(), program, &wanted)?)));
    costs.collect()
}

/// The forms in which this kernel loads rules that meter by two rates.
fn forms(wanted: &Specialisation) -> Vec<(&'static str, Form)> {
    let mut forms = vec![("", Form::Rules)];
    match wanted.form() {
        Form::Swap => forms.push((" by swap", Form::Swap)),
        _ => eprintln!("left out: meters by compare-and-swap: this kernel does not have the instruction"),
    }
    forms
}

/// A rule for all packets, which meters them: what a meter costs beside the rules that lead to it.
fn one_meter() -> anyhow::Result<RuleTables> {
    let kind = MeterKind::TrTcm { cir: 1_000_000, cbs: 10_000, pir: 2_000_000, pbs: 10_000 };
    let (green, yellow, red) = (Verdict::Keep, Verdict::Set(Dscp::LE), Verdict::Drop);
    let rule = Rule {
        name: "metered".to_owned(),
        line: 1,
        on: Vec::new(),
        conditions: Vec::new(),
        action: Action::Meter(Meter { kind, aware: None, overhead: 0, green, yellow, red }),
        count: false,
        log: None,
        priority: None,
        mark: None,
    };
    Ok(compile(&Input { rules: &[&rule], slots: &[0], meter_slots: &[0], interfaces: &[] })?.tables)
}

fn cost(form: Form, program: Program, wanted: &Specialisation) -> anyhow::Result<Cost> {
    let info = Kernel::load_form(form, program, wanted)?.loaded().info()?;
    Ok(Cost {
        verified: info.verified_instruction_count(),
        translated: info.size_translated().context("this kernel hides the translated size")?,
        jited: machine_code(&info),
    })
}

/// None where there is no compiler, where it is told to blind constants, which makes code longer, and on other machines.
fn machine_code(info: &ProgramInfo) -> Option<u32> {
    let blinded = fs::read_to_string("/proc/sys/net/core/bpf_jit_harden").is_ok_and(|level| level.trim() == "2");
    let bytes = info.size_jitted();
    let told = bytes > 0 && !blinded && cfg!(target_arch = "x86_64");
    if !told {
        eprintln!("left out: the size of the machine code: no JIT, net.core.bpf_jit_harden = 2, or not x86-64");
    }
    told.then_some(bytes)
}

/// One line a program, for whoever compares kernels.
fn report(now: &Budget) {
    for (name, cost) in &now.programs {
        let verified = cost.verified.map_or_else(|| "-".to_owned(), |count| count.to_string());
        eprintln!("cost: {name}: verified {verified}, translated {}", cost.translated);
    }
}

/// The record of this series, else the common one.
fn closest_record(release: &str) -> PathBuf {
    let own = record_of_series(release);
    if own.exists() { own } else { folder().join("budget.toml") }
}

/// The record that a measurement on this kernel belongs into.
fn record_of(release: &str) -> anyhow::Result<PathBuf> {
    let common = folder().join("budget.toml");
    let recorded = fs::read_to_string(&common).ok().map(|text| toml::from_str::<Budget>(&text)).transpose()?;
    let common_is_ours = recorded.is_none_or(|recorded| series(&recorded.kernel) == series(release));
    Ok(if common_is_ours { common } else { record_of_series(release) })
}

fn record_of_series(release: &str) -> PathBuf {
    folder().join(format!("budget-{}.toml", series(release).join(".")))
}

fn folder() -> PathBuf {
    env::var_os("QOSBPF_BUDGETS").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// Without what a distributor adds.
fn release() -> anyhow::Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("osrelease")?;
    Ok(release.trim().split(['-', '+']).next().unwrap_or_default().to_owned())
}

/// `6.18` of `6.18.44`.
fn series(release: &str) -> Vec<&str> {
    release.split('.').take(2).collect()
}
