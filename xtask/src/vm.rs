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

pub use payload::TARGET;

use self::{
    archive::Archive,
    console::Report,
    image::{Base, Effort},
    kernel::Kernel,
    series::{Package, Wanted},
};
use crate::{setup, shell};

/// The kernels that are tried if none is named: the oldest that is supported, and one of each since.
const KERNELS: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "newest"];

/// Those that each change has to pass.
const ESSENTIAL: [&str; 3] = ["5.10", "6.1", "newest"];

/// How many guests run at a time; each has one processor.
const GUESTS: usize = 2;

/// Tries the kernels named, or all, and writes the page if it was all; `record` takes what was measured as the budget.
///
/// # Errors
///
/// That a test fails in a guest, that a guest does not come to its end, or that no kernel can be had.
pub fn run(named: &[String], record: bool) -> anyhow::Result<()> {
    setup::run()?;
    let all = named.is_empty();
    let named: Vec<&str> = if all { KERNELS.to_vec() } else { named.iter().map(String::as_str).collect() };
    let reports = try_kernels(&named, Effort::whole(record))?;
    let page = page::page(&reports, &today()?);
    println!("{page}");
    if all {
        fs::write(qos_build::root().join("docs/kernels.md"), &page).context("docs/kernels.md")?;
        println!("vm: written to docs/kernels.md");
    }
    if record {
        reports.iter().try_for_each(write_record)?;
    }
    verdict(&reports)
}

/// The kernels that each change has to pass, where everything is installed.
///
/// # Errors
///
/// As [`run`].
pub fn run_essential() -> anyhow::Result<()> {
    let reports = try_kernels(&ESSENTIAL, Effort::brief())?;
    println!("{}", page::page(&reports, &today()?));
    verdict(&reports)
}

fn try_kernels(named: &[&str], effort: Effort) -> anyhow::Result<Vec<Report>> {
    setup::run_for_guests()?;
    let folder = shell::target_folder().join("vm");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let archive = Archive::open(&folder)?;
    let packages = archive.packages()?;
    let mut kernels = Vec::new();
    for name in named {
        kernels.extend(fetch(name, &packages, &archive)?);
    }
    if kernels.is_empty() {
        bail!("none of the kernels {} can be had", named.join(", "));
    }
    let base = Base::build(&folder)?;
    run_guests(&kernels, &base, effort)
}

/// A kernel that the archive does not have any more is a warning; that none is left is an error of its own.
fn fetch(name: &str, packages: &[Package], archive: &Archive) -> anyhow::Result<Option<Kernel>> {
    let folder = shell::target_folder().join("vm");
    let Some(package) = Wanted::read(name).choose(packages) else {
        println!("vm: warning: kernel {name} is not tried: the archive has none of it any more");
        return Ok(None);
    };
    match Kernel::fetch(package, archive, &folder) {
        Ok(kernel) => Ok(Some(kernel)),
        Err(error) => {
            println!("vm: warning: kernel {name} is not tried: {error:#}");
            Ok(None)
        }
    }
}

/// A few guests at a time, the newest kernels first, which take the longest; the reports are in the order of the kernels.
fn run_guests(kernels: &[Kernel], base: &Base, effort: Effort) -> anyhow::Result<Vec<Report>> {
    let folder = shell::target_folder().join("vm");
    let queue = Mutex::new(kernels.iter().enumerate().rev());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    let work = || {
        let mut done = Vec::new();
        while let Some((number, kernel)) = next() {
            let image = base.for_kernel(kernel, &folder, effort);
            let report = image.and_then(|image| machine::run(kernel, &image, &folder));
            done.push((number, report.with_context(|| format!("kernel {}", kernel.release))));
        }
        done
    };
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..GUESTS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, report)| report).collect()
}

fn verdict(reports: &[Report]) -> anyhow::Result<()> {
    let failed: Vec<&str> =
        reports.iter().filter(|report| !report.passed()).map(|report| report.release.as_str()).collect();
    for report in reports {
        println!("vm: {}: {}", report.release, report.sum);
        for (test, _) in report.tests.iter().filter(|(_, passed)| !passed) {
            println!("vm: {}: failed: {test}", report.release);
        }
    }
    if failed.is_empty() && !reports.is_empty() {
        return Ok(());
    }
    bail!("tests failed on {}; the consoles are in {}", failed.join(", "), shell::target_folder().join("vm").display())
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
