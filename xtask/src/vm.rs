//! `cargo xtask vm`: the kernel tests in guests with other kernels, and the table of what runs where.

mod archive;
mod console;
mod image;
mod kernel;
mod machine;
mod meters;
mod page;
mod payload;
mod series;

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, bail};
use clap::builder::PossibleValuesParser;

pub use payload::TARGET;

use self::{
    archive::Archive,
    console::Report,
    image::{Base, Effort},
    kernel::Kernel,
    series::{Package, Wanted},
};
use crate::{parallel, setup, shell};

/// The kernels that are tried if none is named: the oldest that is supported, one of each since, and one for all machines,
/// which has PPPoE.
const KERNELS: [&str; 6] = ["5.10", "6.1", "6.12", "6.18", "newest", "6.1-full"];

/// Those that each change has to pass.
const ESSENTIAL: [&str; 3] = ["5.10", "6.1", "newest"];

/// How many guests run at a time; each has one processor.
const GUESTS: usize = 2;

/// What came of the kernels that were asked for.
#[derive(Default)]
struct Tried {
    /// Those that ran, in the order in which they were asked for.
    reports: Vec<Report>,
    /// Those that did not, and why.
    missing: Vec<String>,
}

/// What to run in which guests.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Series, such as 6.1, or `newest`; without any, all that are supported.
    kernels: Vec<String>,
    /// Take what the programs cost there as the budget from now on.
    #[arg(long)]
    record: bool,
    /// Only the tests that `cargo xtask ci` runs there, with fewer random frames; the page is not written.
    #[arg(long)]
    brief: bool,
    /// Take the consoles of guests in which all of this build has passed in the last hours, after a run that was cut or in
    /// which another guest failed.
    #[arg(long)]
    again: bool,
    /// Boot nothing, and write the page anew of the consoles that a whole run has left, whatever commit that was of.
    #[arg(long, conflicts_with_all = ["kernels", "record", "brief", "again", "test"])]
    page: bool,
    /// Only this test program; the page is not written.
    #[arg(long, conflicts_with_all = ["brief", "again"], value_parser = PossibleValuesParser::new(payload::WHOLE.iter().chain(&payload::NAMED)))]
    test: Option<String>,
    /// Of it only tests with this in their names.
    #[arg(long, requires = "test", default_value = "")]
    only: String,
}

impl Options {
    fn effort(&self) -> Effort {
        let mut effort = if self.brief { Effort::brief(self.record) } else { Effort::whole(self.record) };
        let named = [&payload::WHOLE[..], &payload::NAMED].into_iter().find_map(|tests| {
            let at = tests.iter().position(|test| Some(*test) == self.test.as_deref())?;
            tests.get(at..=at)
        });
        effort.tests = named.unwrap_or(effort.tests);
        effort.again = self.again;
        effort.only.clone_from(&self.only);
        effort
    }
}

/// Tries the kernels named, or all, and writes the page if it was all.
///
/// # Errors
///
/// That a test fails in a guest, that a guest does not come to its end, or that a kernel cannot be had.
pub fn run(options: &Options) -> anyhow::Result<()> {
    setup::run()?;
    if options.page {
        return write_page(&page::page(&left_by_a_whole_run()?));
    }
    let Options { kernels: named, record, .. } = options;
    let all = named.is_empty() && !options.brief && options.test.is_none();
    let named: Vec<&str> = if named.is_empty() { KERNELS.to_vec() } else { named.iter().map(String::as_str).collect() };
    let tried = try_kernels(&named, &options.effort())?;
    let page = page::page(&tried.reports);
    println!("{page}");
    // A page that lacks a kernel says of it that it was never supported.
    if all && tried.missing.is_empty() {
        write_page(&page)?;
    }
    if *record {
        tried.reports.iter().filter(|report| !report.full).try_for_each(write_record)?;
    }
    verdict(&tried)
}

fn write_page(page: &str) -> anyhow::Result<()> {
    fs::write(qos_build::root().join("docs/kernels.md"), page).context("docs/kernels.md")?;
    println!("vm: written to docs/kernels.md");
    Ok(())
}

/// What the guests of all kernels have said, if all was tried in each, and in all of them the same build.
fn left_by_a_whole_run() -> anyhow::Result<Vec<Report>> {
    let folder = shell::target_folder().join("vm");
    let effort = Effort::whole(false);
    let (kernels, missing) = fetch_all(&KERNELS, &folder)?;
    if let Some(missing) = missing.first() {
        bail!("{missing}");
    }
    let read = |kernel: &Kernel| {
        let report = machine::left(kernel, &folder).map(|report| as_asked(report, kernel, &effort));
        report.filter(Report::passed).with_context(|| format!("{}: no console in which all has passed", kernel.release))
    };
    let reports = kernels.iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    let builds: BTreeSet<&str> = reports.iter().map(|report| report.build.as_str()).collect();
    if builds.len() > 1 {
        bail!("the consoles are of several builds: {}", Vec::from_iter(builds).join("; "));
    }
    Ok(reports)
}

/// The kernels that each change has to pass, where everything is installed.
///
/// # Errors
///
/// As [`run`].
pub fn run_essential() -> anyhow::Result<()> {
    let tried = try_kernels(&ESSENTIAL, &Effort::brief(false))?;
    println!("{}", page::page(&tried.reports));
    verdict(&tried)
}

fn try_kernels(named: &[&str], effort: &Effort) -> anyhow::Result<Tried> {
    setup::run_for_guests()?;
    machine::check()?;
    let folder = shell::target_folder().join("vm");
    let (kernels, missing) = fetch_all(named, &folder)?;
    let mut tried = Tried { missing, ..Tried::default() };
    let programs = kernels.iter().flat_map(|kernel| asked(kernel, effort)).copied().collect();
    let base = Base::build(&folder, &programs)?;
    for result in run_guests(&kernels, &base, effort)? {
        match result {
            Ok(report) => tried.reports.push(report),
            Err(error) => tried.missing.push(format!("{error:#}")),
        }
    }
    Ok(tried)
}

/// The kernels, and those that cannot be had, with the reason.
fn fetch_all(named: &[&str], folder: &Path) -> anyhow::Result<(Vec<Kernel>, Vec<String>)> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let archive = Archive::open(folder)?;
    let packages = archive.packages()?;
    let (mut kernels, mut missing) = (Vec::new(), Vec::new());
    for name in named {
        match fetch(name, &packages, &archive, folder) {
            Ok(kernel) => kernels.push(kernel),
            Err(error) => missing.push(format!("{name}: {error:#}")),
        }
    }
    Ok((kernels, missing))
}

fn fetch(name: &str, packages: &[Package], archive: &Archive, folder: &Path) -> anyhow::Result<Kernel> {
    let package = Wanted::read(name).choose(packages).context("the archive has none of it any more")?;
    Kernel::fetch(package, archive, folder)
}

/// A few guests at a time, the newest kernels first, which take the longest; the reports are in the order of the kernels.
fn run_guests(kernels: &[Kernel], base: &Base, effort: &Effort) -> anyhow::Result<Vec<anyhow::Result<Report>>> {
    let newest_first: Vec<&Kernel> = kernels.iter().rev().collect();
    let mut reports = parallel::each(&newest_first, GUESTS, |kernel| {
        run_guest(kernel, base, effort).with_context(|| format!("kernel {}", kernel.release))
    })?;
    reports.reverse();
    Ok(reports)
}

/// With what was asked of its guest.
fn as_asked(report: Report, kernel: &Kernel, effort: &Effort) -> Report {
    Report { full: kernel.full, asked: asked(kernel, effort), ..report }
}

/// The test programs of this guest.
fn asked(kernel: &Kernel, effort: &Effort) -> &'static [&'static str] {
    if is_for_one_thing(kernel, effort) { &payload::FULL } else { effort.tests }
}

/// Whether of a kernel for all machines only that is tried which one for clouds has not.
const fn is_for_one_thing(kernel: &Kernel, effort: &Effort) -> bool {
    kernel.full && effort.tests.len() > 1
}

fn run_guest(kernel: &Kernel, base: &Base, effort: &Effort) -> anyhow::Result<Report> {
    let folder = shell::target_folder().join("vm");
    let named = |report| as_asked(report, kernel, effort);
    if effort.again
        && let Some(report) =
            machine::earlier(kernel, &folder).map(named).filter(|report| report.passed() && report.build == base.build)
    {
        println!("vm: {}: its console is of the last hours and of this build, and all has passed", kernel.release);
        return Ok(report);
    }
    let full = Effort::full(effort.again);
    let effort = if is_for_one_thing(kernel, effort) { &full } else { effort };
    let image = base.for_kernel(kernel, &folder, effort)?;
    machine::run(kernel, &image, &folder).map(named)
}

fn verdict(tried: &Tried) -> anyhow::Result<()> {
    for report in &tried.reports {
        println!("vm: {}: {}", report.release, report.sum);
        for (test, _) in report.tests.iter().filter(|(_, passed)| !passed) {
            println!("vm: {}: failed: {test}", report.release);
        }
    }
    let failed = tried.reports.iter().filter(|report| !report.passed()).map(|report| report.release.clone());
    let wrong: Vec<String> = failed.chain(tried.missing.iter().cloned()).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let consoles = shell::target_folder().join("vm");
    bail!("tests failed, or were not run, on {}; the consoles are in {}", wrong.join("; "), consoles.display())
}

/// The budget of a series other than that of the common record, in a file of its own.
fn write_record(report: &Report) -> anyhow::Result<()> {
    let record = report.record.as_ref().context("the guest wrote no record")?;
    let series: Vec<&str> = report.release.split('.').take(2).collect();
    let tests = qos_build::root().join("tests");
    let common = fs::read_to_string(tests.join("budget.toml")).unwrap_or_default();
    let series = series.join(".");
    if common.contains(&format!("kernel = \"{series}.")) {
        println!("vm: {series} has its record in tests/budget.toml, of the machine that runs the tests");
        return Ok(());
    }
    let path = tests.join(format!("budget-{series}.toml"));
    fs::write(&path, record).with_context(|| path.display().to_string())
}
