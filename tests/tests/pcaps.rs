//! Captures from many places: each counts, and is remarked, as an independent program says.
//!
//! `QOSBPF_PCAPS` names a folder with captures, `manifest.json` (which there are) and `oracle.json` (what they count
//! as); without it the small captures in `tests/data` alone are run. `QOSBPF_ORACLES` names the folder of
//! `remark_oracle.py`, which writes the capture that a right rewrite produces.
//!
//! A test run does not take every frame (`Kernel::accepts`). Those that it refuses go through the same code on the host,
//! and the output says how many.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use libtest_mimic::{Arguments, Trial};
use qos_common::{locate::Link, policy::Local};
use qos_vectors::hook::Arrival;
use qosbpf::{
    hook::Direction,
    kernel::object::{Program, Specialisation},
};
use qosbpf_tests::{
    capture::{self, Captured},
    hex,
    host::Host,
    kernel::{Kernel, PROGRAMS},
    lab::{self, Injector},
    oracle::{self, Expected},
    pool, tables,
    tally::Tally,
};
use serde::Deserialize;

/// One capture of the manifest.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    file: String,
    link_types: Vec<String>,
}

/// A folder of captures.
struct Folder {
    path: PathBuf,
    entries: Vec<Entry>,
    expected: BTreeMap<String, Expected>,
}

/// A capture that hooks can see.
struct Capture {
    path: PathBuf,
    frames: Vec<Captured>,
    link: Link,
    expected: Tally,
}

/// What a test does with a capture.
type Check = fn(&Capture) -> anyhow::Result<()>;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::from_args();
    let mut trials = own().context("tests/data")?.trials();
    match env::var_os("QOSBPF_PCAPS") {
        Some(path) => trials.extend(foreign(Path::new(&path))?.trials()),
        None => eprintln!("skipped: the large set of captures, since QOSBPF_PCAPS is not set"),
    }
    if oracles().is_none() {
        eprintln!("skipped: remarked captures, since QOSBPF_ORACLES is not set");
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn oracles() -> Option<PathBuf> {
    env::var_os("QOSBPF_ORACLES").map(PathBuf::from)
}

fn own() -> anyhow::Result<Folder> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let expected = oracle::read(&path.join("expected.json"))?;
    let link = |file: &str| if file.starts_with("raw") { "RAW" } else { "EN10MB" };
    let entry = |file: &String| Entry { file: file.clone(), link_types: vec![link(file).to_owned()] };
    Ok(Folder { path, entries: expected.keys().map(entry).collect(), expected })
}

fn foreign(path: &Path) -> anyhow::Result<Folder> {
    let manifest =
        fs::read(path.join("manifest.json")).with_context(|| path.join("manifest.json").display().to_string())?;
    let entries = serde_json::from_slice(&manifest).context("manifest.json")?;
    Ok(Folder { path: path.to_owned(), entries, expected: oracle::read(&path.join("oracle.json"))? })
}

impl Folder {
    fn trials(&self) -> Vec<Trial> {
        self.entries.iter().flat_map(|entry| self.trials_of(entry)).collect()
    }

    fn trials_of(&self, entry: &Entry) -> Vec<Trial> {
        let seen = ["EN10MB", "RAW", "RAW(12)", "RAW(14)", "IPV4", "IPV6"];
        if !entry.link_types.iter().all(|link| seen.contains(&link.as_str())) {
            let name = format!("not for us: {}: {}", entry.link_types.join(", "), entry.file);
            return vec![Trial::test(name, || Err("no hook has this link type".into())).with_ignored_flag(true)];
        }
        let capture = match self.open(&entry.file) {
            Ok(capture) => Arc::new(capture),
            Err(error) => return vec![Trial::test(entry.file.clone(), move || Err(format!("{error:#}").into()))],
        };
        let mut checks: Vec<(&str, Check)> = vec![("counts", counts)];
        if !capture.injectable().is_empty() {
            checks.push(("injected", injected));
        }
        if oracles().is_some() {
            checks.push(("remarked", remarked));
        }
        checks.into_iter().map(|(kind, check)| trial(kind, &entry.file, Arc::clone(&capture), check)).collect()
    }

    fn open(&self, file: &str) -> anyhow::Result<Capture> {
        let path = self.path.join(file);
        let frames = capture::read(&fs::read(&path).with_context(|| path.display().to_string())?)?;
        let expected = self.expected.get(file).context("the oracle has no counts of it")?;
        ensure!(expected.packets == frames.len() as u64, "{} frames instead of {}", frames.len(), expected.packets);
        let first = frames.first().context("no frame")?.link_type;
        ensure!(frames.iter().all(|frame| frame.link_type == first), "frames of several link types");
        let link = capture::link(first).with_context(|| format!("link type {first}"))?;
        let expected = expected.tally(&frames)?;
        Ok(Capture { path, frames, link, expected })
    }
}

fn trial(kind: &str, file: &str, capture: Arc<Capture>, check: Check) -> Trial {
    Trial::test(format!("{file}: {kind}"), move || check(&capture).map_err(|error| format!("{error:#}").into()))
}

impl Capture {
    /// The frames that can come to each hook of a cable. They have a whole Ethernet header and fit the MTU; and where
    /// one is tagged there are 6 bytes behind the Ethernet header, since else the kernel drops it before TC.
    fn injectable(&self) -> Vec<Vec<u8>> {
        let fits = |frame: &[u8]| {
            let tagged = matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]));
            (if tagged { 20 } else { 14 }..=14 + lab::MTU).contains(&frame.len())
        };
        let frames = self.frames.iter().map(|frame| &frame.bytes).filter(|bytes| fits(bytes));
        if self.link == Link::Ethernet { frames.cloned().collect() } else { Vec::new() }
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Runs all frames, those on the host that are not fit for a test run.
    fn run(&self, program: Program, wanted: &Specialisation) -> anyhow::Result<Ran> {
        let (mut host, mut left) = (Host::new(wanted), Vec::new());
        let mut tally = pool::with(program, wanted, |kernel| {
            for Captured { bytes, .. } in &self.frames {
                if !kernel.accepts(bytes) {
                    left.push(host.receive(bytes, &Arrival::single(bytes.len(), 0)));
                    continue;
                }
                let output = kernel.run(bytes, None).with_context(|| hex(bytes))?;
                ensure!(output.verdict == kernel.pass(), "{program:?} returned {}: {}", output.verdict, hex(bytes));
                left.push(output.frame);
            }
            Ok(Tally::from(&kernel.counts()?))
        })?;
        let on_host = Tally::from(&host.counts());
        let unfit = on_host.frames();
        tally += on_host;
        Ok(Ran { tally, left, unfit })
    }
}

/// What came of the frames of a capture.
struct Ran {
    tally: Tally,
    left: Vec<Vec<u8>>,
    /// How many were not fit for a test run.
    unfit: u64,
}

/// Packets and bytes are those of the oracle, and nothing is changed.
fn counts(capture: &Capture) -> anyhow::Result<()> {
    for program in PROGRAMS {
        let Ran { tally, left, unfit } = capture.run(program, &Specialisation::counting(capture.link))?;
        if unfit > 0 {
            eprintln!("{}: {}: {unfit} frames unfit for a test run, run on the host", capture.name(), program.name());
        }
        ensure!(tally == capture.expected, "{program:?}: counted {tally:?} instead of {:?}", capture.expected);
        ensure!(left.iter().zip(&capture.frames).all(|(left, came)| *left == came.bytes), "{program:?} wrote");
    }
    Ok(())
}

/// Remarked by each table, the frames are those that the oracle writes.
fn remarked(capture: &Capture) -> anyhow::Result<()> {
    let oracles = oracles().context("QOSBPF_ORACLES")?;
    for (name, table) in tables::all() {
        let expected = oracle::remarked(&oracles, &capture.path, &table)?;
        for program in PROGRAMS {
            let counting = Specialisation::counting(capture.link);
            let wanted = Specialisation { table: Some(table), local: Local::Policy, ..counting };
            let Ran { tally, left, .. } = capture.run(program, &wanted)?;
            ensure!(tally == capture.expected, "{program:?}, {name}: counted {tally:?}");
            ensure!(left.len() == expected.len(), "{} frames instead of {}", left.len(), expected.len());
            for (left, right) in left.iter().zip(&expected) {
                ensure!(*left == right.bytes, "{program:?}, {name}: {} instead of {}", hex(left), hex(&right.bytes));
            }
        }
    }
    Ok(())
}

/// Sent over a cable, the frames count the same at TC egress of one end, and at native XDP and TC ingress of the other.
///
/// Where frames have to be left out, a second reader says what the others are.
fn injected(capture: &Capture) -> anyhow::Result<()> {
    let frames = capture.injectable();
    let left_out = capture.frames.len() - frames.len();
    let expected = if left_out == 0 {
        capture.expected.clone()
    } else {
        eprintln!("{}: {left_out} frames cannot be sent over a cable", capture.name());
        Tally::read(&frames, capture.link)
    };
    let wanted = Specialisation::counting(Link::Ethernet);
    let [near, far, behind] = [Program::Tc(Direction::Egress), Program::Xdp, Program::Tc(Direction::Ingress)];
    lab::in_namespace(|| {
        lab::cable()?;
        pool::with(near, &wanted, |near| {
            pool::with(far, &wanted, |far| {
                pool::with(behind, &wanted, |behind| send(&frames, &expected, [near, far, behind]))
            })
        })
    })
}

fn send(frames: &[Vec<u8>], expected: &Tally, mut hooks: [&mut Kernel; 3]) -> anyhow::Result<()> {
    for (hook, interface) in hooks.iter_mut().zip([lab::NEAR, lab::FAR, lab::FAR]) {
        hook.attach(interface, lab::index(interface)?)?;
    }
    let injector = Injector::open(lab::NEAR)?;
    let mut sent = 0;
    // Fewer at a time than a veth keeps for XDP (256), so that none is lost.
    for some in frames.chunks(100) {
        some.iter().try_for_each(|frame| injector.send(frame)).context("send")?;
        sent += some.len() as u64;
        hooks.iter_mut().try_for_each(|hook| wait_for(hook, sent))?;
    }
    thread::sleep(Duration::from_millis(20));
    for hook in hooks {
        let tally = Tally::from(&hook.counts()?);
        ensure!(tally == *expected, "{:?}: counted {tally:?} instead of {expected:?}", hook.program());
    }
    Ok(())
}

/// Frames go on their way in softirqs, a little after they were sent.
fn wait_for(hook: &mut Kernel, frames: u64) -> anyhow::Result<()> {
    let start = Instant::now();
    while Tally::from(&hook.counts()?).frames() < frames && start.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
