//! A device that is deleted and made again a hundred times, as a PPP session may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use aya::{
    maps::loaded_maps,
    programs::{ProgramInfo, loaded_programs},
};
use qosbpf_tests::router::run_in;

use qosbpf_tests::service::{Lab, PATIENCE};

const ROUNDS: usize = 100;

/// Before them, until the allocator has what it needs at once.
const WARM_UP: usize = 20;

/// Both directions, by whatever mechanism is the best.
const POLICY: &str = "[interface.\"dyn*\"]\ningress = \"wash\"\negress = \"wash\"\n[remark.wash]\nother = \"DF\"\n";

/// Kilobytes that each round may leave behind: less than any pin that was read, or any answer of netlink.
const KEPT: usize = 4;

/// What the service holds: open files, resident pages, and pins.
#[derive(Debug)]
struct Held {
    files: usize,
    memory: usize,
    pins: usize,
}

impl Held {
    fn by(lab: &Lab) -> anyhow::Result<Self> {
        Ok(Self {
            files: fs::read_dir(format!("/proc/{}/fd", lab.pid()?))?.count(),
            memory: lab.resident()?,
            pins: pins(&lab.router.bpffs)?,
        })
    }
}

fn pins(folder: &Path) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        count += 1 + if entry.file_type()?.is_dir() { pins(&entry.path())? } else { 0 };
    }
    Ok(count)
}

/// Programs and maps by their numbers, which the kernel does not give twice.
#[derive(Debug, Default)]
struct Kernel {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
}

impl Kernel {
    /// Notes the program of a hook, and its maps.
    fn note(&mut self, program: &Path) -> anyhow::Result<()> {
        let info = ProgramInfo::from_pin(program)?;
        self.programs.insert(info.id());
        self.maps.extend(info.map_ids()?.context("the kernel names no maps of a program")?);
        Ok(())
    }

    /// Those of them that are in the kernel still.
    fn left(&self) -> anyhow::Result<Self> {
        let programs = loaded_programs().map(|info| Ok(info?.id())).collect::<anyhow::Result<BTreeSet<_>>>()?;
        let maps = loaded_maps().map(|info| Ok(info?.id())).collect::<anyhow::Result<BTreeSet<_>>>()?;
        Ok(Self { programs: &self.programs & &programs, maps: &self.maps & &maps })
    }
}

/// Within which each round has to be over, without what others had the CPUs.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long it took until a device was attached.
#[derive(Clone, Copy, Debug)]
struct Took {
    by_the_clock: Duration,
    /// The same without what others had the CPUs.
    of_its_own: Duration,
}

/// The middle one, and the longest.
fn median_and_longest(took: &[Took], which: impl Fn(&Took) -> Duration) -> (Duration, Duration) {
    let mut took: Vec<Duration> = took.iter().map(which).collect();
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() - 1])
}

/// How long each thread of a process has waited for a CPU that others had.
fn waited(pid: i32) -> anyhow::Result<BTreeMap<PathBuf, u64>> {
    let mut waited = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = task?.path();
        // It may end meanwhile.
        let Ok(told) = fs::read_to_string(thread.join("schedstat")) else { continue };
        waited.insert(thread, told.split_whitespace().nth(1).context("schedstat")?.parse()?);
    }
    Ok(waited)
}

/// How long the thread has waited since that has waited most: what several waited at once is taken off once.
fn waited_most(pid: i32, before: &BTreeMap<PathBuf, u64>) -> anyhow::Result<Duration> {
    let since = |(thread, now): (PathBuf, u64)| now.saturating_sub(before.get(&thread).copied().unwrap_or(0));
    Ok(Duration::from_nanos(waited(pid)?.into_iter().map(since).max().unwrap_or(0)))
}

/// Makes the device, and says how long it took until both of its hooks were attached.
fn round(lab: &Lab, number: usize, kernel: &mut Kernel) -> anyhow::Result<Took> {
    let edge = lab.router.edge();
    // Under a number that no device had: the pins say when it is attached.
    let index = 1_000 + number;
    run_in(edge, &format!("ip link add dyn0 index {index} type veth peer name peer0"))?;
    let (start, service) = (Instant::now(), lab.pid()?);
    let before = waited(service)?;
    let namespace = fs::read_dir(lab.router.bpffs.join("qosbpf/v1"))?.next().context("pins")??.path();
    let states = ["ingress", "egress"].map(|direction| namespace.join(format!("if-{index}/{direction}/state")));
    while !states.iter().all(|state| state.exists()) {
        ensure!(start.elapsed() < PATIENCE, "round {number}: not attached\n{}", lab.log()?);
        thread::sleep(Duration::from_millis(2));
    }
    let by_the_clock = start.elapsed();
    let of_its_own = by_the_clock.saturating_sub(waited_most(service, &before)?);
    states.iter().try_for_each(|state| kernel.note(&state.with_file_name("program")))?;
    run_in(edge, "ip link del dyn0")?;
    Ok(Took { by_the_clock, of_its_own })
}

#[test]
fn a_device_made_again_a_hundred_times_is_attached_each_time_and_nothing_leaks() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", POLICY)?;
    lab.serve_frugally()?;
    let mut kernel = Kernel::default();
    (0..WARM_UP).try_for_each(|number| round(&lab, number, &mut kernel).map(drop))?;
    settled(&lab)?;
    let before = Held::by(&lab)?;
    let rounds = (WARM_UP..WARM_UP + ROUNDS).map(|number| round(&lab, number, &mut kernel));
    let took = rounds.collect::<anyhow::Result<Vec<_>>>()?;
    settled(&lab)?;
    let after = Held::by(&lab)?;
    let by_the_clock = median_and_longest(&took, |took| took.by_the_clock);
    let of_its_own = median_and_longest(&took, |took| took.of_its_own);
    println!(
        "attached after, median and longest: {by_the_clock:?} by the clock, {of_its_own:?} without what others had"
    );
    println!("{before:?}, {after:?}");
    assert!(of_its_own.1 < AT_ONCE, "{:?}", took.iter().filter(|took| took.of_its_own >= AT_ONCE).collect::<Vec<_>>());
    assert_eq!((before.files, before.pins), (after.files, after.pins), "{before:?} {after:?}");
    assert!(after.memory < before.memory + KEPT * ROUNDS, "{before:?} {after:?}");
    let all = (kernel.programs.len(), kernel.maps.len());
    assert!(all.0 == 2 * (WARM_UP + ROUNDS) && all.1 >= 2 * all.0, "two programs a round, and their maps: {all:?}");
    // The kernel frees them a little after the last who held them.
    qosbpf_tests::service::eventually(|| {
        let left = kernel.left()?;
        Ok(left.programs.is_empty() && left.maps.is_empty())
    })
    .with_context(|| format!("left of {all:?}: {:?}", kernel.left()))
}

/// Waits until the pins of the last device are collected.
fn settled(lab: &Lab) -> anyhow::Result<()> {
    qosbpf_tests::service::eventually(|| {
        let namespace = fs::read_dir(lab.router.bpffs.join("qosbpf/v1"))?.next().context("pins")??.path();
        let names = fs::read_dir(namespace)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names = names.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(!names.iter().any(|name| name.starts_with("if-")))
    })
}
