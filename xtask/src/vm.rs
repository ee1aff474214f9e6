//! `cargo xtask vm`: the kernel tests in guests with other kernels, and the table of what runs where.

mod archive;
mod console;
mod image;
mod kernel;
mod machine;
mod page;
mod payload;
mod series;

use std::{fs, process::Command, sync::Mutex, thread};

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
use crate::{setup, shell};

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
    /// Only this test program; the page is not written.
    #[arg(long, conflicts_with_all = ["brief", "again"], value_parser = PossibleValuesParser::new(payload::TESTS))]
    test: Option<String>,
    /// Of it only tests with this in their names.
    #[arg(long, requires = "test", default_value = "")]
    only: String,
}

impl Options {
    fn effort(&self) -> Effort {
        let mut effort = if self.brief { Effort::brief(self.record) } else { Effort::whole(self.record) };
        if let Some(at) = payload::TESTS.iter().position(|test| Some(*test) == self.test.as_deref()) {
            effort.tests = &payload::TESTS[at..=at];
        }
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
    let Options { kernels: named, record, .. } = options;
    let all = named.is_empty() && !options.brief && options.test.is_none();
    let named: Vec<&str> = if named.is_empty() { KERNELS.to_vec() } else { named.iter().map(String::as_str).collect() };
    let tried = try_kernels(&named, &options.effort())?;
    let page = page::page(&tried.reports, &today()?);
    println!("{page}");
    // A page that lacks a kernel says of it that it was never supported.
    if all && tried.missing.is_empty() {
        fs::write(qos_build::root().join("docs/kernels.md"), &page).context("docs/kernels.md")?;
        println!("vm: written to docs/kernels.md");
    }
    if *record {
        tried.reports.iter().filter(|report| !report.full).try_for_each(write_record)?;
    }
    verdict(&tried)
}

/// The kernels that each change has to pass, where everything is installed.
///
/// # Errors
///
/// As [`run`].
pub fn run_essential() -> anyhow::Result<()> {
    let tried = try_kernels(&ESSENTIAL, &Effort::brief(false))?;
    println!("{}", page::page(&tried.reports, &today()?));
    verdict(&tried)
}

fn try_kernels(named: &[&str], effort: &Effort) -> anyhow::Result<Tried> {
    setup::run_for_guests()?;
    machine::check()?;
    let folder = shell::target_folder().join("vm");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let archive = Archive::open(&folder)?;
    let packages = archive.packages()?;
    let (mut kernels, mut tried) = (Vec::new(), Tried::default());
    for name in named {
        match fetch(name, &packages, &archive) {
            Ok(kernel) => kernels.push(kernel),
            Err(error) => tried.missing.push(format!("{name}: {error:#}")),
        }
    }
    let base = Base::build(&folder)?;
    for result in run_guests(&kernels, &base, effort)? {
        match result {
            Ok(report) => tried.reports.push(report),
            Err(error) => tried.missing.push(format!("{error:#}")),
        }
    }
    Ok(tried)
}

fn fetch(name: &str, packages: &[Package], archive: &Archive) -> anyhow::Result<Kernel> {
    let package = Wanted::read(name).choose(packages).context("the archive has none of it any more")?;
    Kernel::fetch(package, archive, &shell::target_folder().join("vm"))
}

/// A few guests at a time, the newest kernels first, which take the longest; the reports are in the order of the kernels.
fn run_guests(kernels: &[Kernel], base: &Base, effort: &Effort) -> anyhow::Result<Vec<anyhow::Result<Report>>> {
    let queue = Mutex::new(kernels.iter().enumerate().rev());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    let work = || {
        let mut done = Vec::new();
        while let Some((number, kernel)) = next() {
            let report = run_guest(kernel, base, effort).with_context(|| format!("kernel {}", kernel.release));
            done.push((number, report));
        }
        done
    };
    let mut done = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..GUESTS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            done.extend(worker.join().ok().context("a guest was not waited for: see above")?);
            anyhow::Ok(())
        })
    })?;
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, report)| report).collect())
}

fn run_guest(kernel: &Kernel, base: &Base, effort: &Effort) -> anyhow::Result<Report> {
    let folder = shell::target_folder().join("vm");
    let full = Effort::full(effort.again);
    let effort = if kernel.full && effort.tests.len() > 1 { &full } else { effort };
    let named = |report| Report { full: kernel.full, asked: effort.tests, ..report };
    if effort.again
        && let Some(report) =
            machine::earlier(kernel, &folder).map(named).filter(|report| report.passed() && report.build == base.build)
    {
        println!("vm: {}: its console is of the last hours and of this build, and all has passed", kernel.release);
        return Ok(report);
    }
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

fn today() -> anyhow::Result<String> {
    let date = shell::output(Command::new("date").args(["-u", "+%Y-%m-%d"])).context("date")?;
    Ok(date.trim().to_owned())
}
