//! The lab keeps its word: probes arrive as they were sent, and nothing of it stays behind. Needs root and iproute2.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says so by a panic")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use qos_common::{ds::DsField, locate::Family};
use qosbpf::lab::{
    Lab,
    capture::Capture,
    frame::Arrival,
    interrupt::Interrupt,
    probe::{Probe, send},
    topology::{EDGE_WAN, LAN_HOST, WAN_HOST},
};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
const PATIENCE: Duration = Duration::from_secs(60);
/// How the lab's child process below is told to end.
const ENDING: &str = "QOSBPF_TEST_LAB_ENDING";

#[test]
fn every_ds_byte_arrives_as_it_was_sent() {
    let lab = Lab::start().unwrap();
    let capture = Capture::start(lab.wan()).unwrap();
    for family in FAMILIES {
        let probes: Vec<_> = (0..=u8::MAX).map(|byte| probe(family, byte)).collect();
        send(lab.lan(), &probes).unwrap();
        let arrived = capture.take(512, PATIENCE).unwrap();
        assert_eq!(arrived.len(), 512, "{family:?}: two of each");
        for arrival in arrived {
            assert_eq!(u32::from(arrival.ds.bits()), arrival.label.id, "{arrival:?}");
            assert_eq!(arrival.family, family);
            assert_right_checksums(&arrival);
        }
    }
}

/// Two datagrams to the WAN host, whose id is the DS byte.
fn probe(family: Family, byte: u8) -> Probe {
    let probe = Probe::new(&WAN_HOST, family, DsField::new(byte), u32::from(byte));
    Probe { count: 2, pace: Duration::ZERO, ..probe }
}

fn assert_right_checksums(arrival: &Arrival) {
    assert!(arrival.udp_checksum, "{arrival:?}");
    assert_eq!(arrival.header_checksum, (arrival.family == Family::V4).then_some(true), "{arrival:?}");
}

#[test]
fn every_host_reaches_every_other() {
    let lab = Lab::start().unwrap();
    let ways = [(lab.lan(), lab.wan(), WAN_HOST), (lab.wan(), lab.lan(), LAN_HOST), (lab.wan(), lab.edge(), EDGE_WAN)];
    for (from, at, to) in ways {
        let capture = Capture::start(at).unwrap();
        let probes = FAMILIES.map(|family| Probe::new(&to, family, DsField::new(0xb8), 1));
        send(from, &probes).unwrap();
        assert_eq!(capture.take(20, PATIENCE).unwrap().len(), 20, "from {} to {to:?}", from.name());
    }
}

#[test]
fn nothing_is_on_the_wire_that_nobody_sent() {
    let lab = Lab::start().unwrap();
    let _no_icmp_errors = Capture::start(lab.wan()).unwrap();
    let before = frames(&lab);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(frames(&lab), before);
    let probes = FAMILIES.map(|family| Probe::new(&WAN_HOST, family, DsField::new(0), 1));
    send(lab.lan(), &probes).unwrap();
    let mut expected = before;
    for counter in ["lan0 rx", "wan0 tx"] {
        *expected.get_mut(counter).unwrap() += 20;
    }
    // The router forwards in a softirq, a little later.
    let start = Instant::now();
    while frames(&lab) != expected && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(frames(&lab), expected);
}

/// Frames received and sent by the router's devices.
fn frames(lab: &Lab) -> BTreeMap<String, u64> {
    let table = lab.edge().run(|| Ok(fs::read_to_string("/proc/thread-self/net/dev")?)).unwrap();
    let mut frames = BTreeMap::new();
    for line in table.lines().filter(|line| !line.contains('|') && !line.contains("lo:")) {
        let (device, numbers) = line.trim().split_once(':').unwrap();
        let numbers: Vec<u64> = numbers.split_whitespace().map(|number| number.parse().unwrap()).collect();
        frames.insert(format!("{device} rx"), numbers[1]);
        frames.insert(format!("{device} tx"), numbers[9]);
    }
    assert_eq!(frames.len(), 4, "{table}");
    frames
}

#[test]
fn a_dropped_lab_leaves_nothing() {
    let before = machine();
    let lab = Lab::start().unwrap();
    let name = lab.folder().file_name().unwrap().to_str().unwrap().to_owned();
    assert!(machine().iter().filter(|line| line.contains(&name)).count() >= 5, "namespaces, mount and folder");
    fs::create_dir(lab.bpffs().join("qosbpf")).expect("it takes pins");
    drop(lab);
    assert_same(&before, &name);
}

#[test]
fn a_panic_leaves_nothing() {
    let before = machine();
    let (mut child, name) = start_child("panic");
    assert_eq!(child.wait().unwrap().code(), Some(101), "the code of a test run that failed");
    assert_same(&before, &name);
}

#[test]
fn a_signal_leaves_nothing_and_is_obeyed() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let before = machine();
        let (mut child, name) = start_child("signal");
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
        assert_same(&before, &name);
    }
}

#[test]
fn what_a_killed_process_left_is_removed_at_the_next_start() {
    let before = machine();
    let (mut child, name) = start_child("signal");
    child.kill().unwrap();
    child.wait().unwrap();
    // Another test's lab may have removed it already.
    drop(Lab::start().unwrap());
    assert_same(&before, &name);
}

#[test]
fn a_kept_lab_stays_until_its_own_commands_remove_it() {
    let before = machine();
    let (mut child, name) = start_child("keep");
    assert!(child.wait().unwrap().success());
    drop(Lab::start().unwrap());
    let left: Vec<_> = machine().into_iter().filter(|line| line.contains(&name)).collect();
    assert!(left.len() >= 5, "{left:?}");
    let removal = fs::read_to_string(format!("/run/{name}/removal")).unwrap();
    assert!(Command::new("sh").args(["-e", "-c", &removal]).status().unwrap().success(), "{removal}");
    assert_same(&before, &name);
}

/// Runs [`child`] in a process of its own until its lab stands; gives the lab's name.
fn start_child(ending: &str) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(ENDING, ending)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut names = lines.map(Result::unwrap).filter_map(|line| Some(line.split_once("lab: ")?.1.to_owned()));
    let name = names.next().expect("the child has a lab");
    // The rest is read, lest the child end by a broken pipe.
    thread::spawn(move || names.count());
    (child, name)
}

#[test]
#[ignore = "the other tests run it, in a process of its own"]
fn child() {
    let ending = std::env::var(ENDING).unwrap_or_else(|_unset| panic!("{ENDING} says how to end"));
    let interrupt = Interrupt::listen().unwrap();
    let lab = Lab::start().unwrap();
    let folder = lab.folder().to_owned();
    println!("lab: {}", folder.file_name().unwrap().display());
    match ending.as_str() {
        "panic" => panic!("on purpose"),
        "keep" => fs::write(folder.join("removal"), lab.keep().unwrap().join("\n")).unwrap(),
        _ => {
            while interrupt.check().is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
            drop(lab);
            interrupt.obey().unwrap();
        }
    }
}

/// What a lab must not change: namespaces, mounts, links, pins, and folders of labs.
fn machine() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let links = Command::new("ip").args(["-o", "link"]).output().unwrap().stdout;
    lines.extend(String::from_utf8(links).unwrap().lines().map(|line| format!("link {line}")));
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    lines.extend(mounts.lines().map(|line| format!("mount {line}")));
    for folder in ["/run", "/run/netns", "/sys/fs/bpf"] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        lines.extend(entries.map(|entry| format!("entry {}", entry.path().display())));
    }
    lines
}

/// The same as before, but for the labs of tests that run beside this one.
fn assert_same(before: &BTreeSet<String>, lab: &str) {
    let after = machine();
    let of_this_lab = |line: &&String| {
        line.ends_with(lab) || ["-lan", "-edge", "-wan", "/"].iter().any(|end| line.contains(&format!("{lab}{end}")))
    };
    let left: Vec<_> = after.iter().filter(of_this_lab).collect();
    assert!(left.is_empty(), "{left:?}");
    // Something else on this machine may be at work for a moment.
    let of_no_lab = |line: &&String| !line.contains("qosbpf-");
    let start = Instant::now();
    while machine().symmetric_difference(before).any(|line| of_no_lab(&line)) {
        let after = machine();
        let changed: Vec<_> = before.symmetric_difference(&after).filter(of_no_lab).collect();
        assert!(start.elapsed() < PATIENCE, "{changed:?}");
        thread::sleep(Duration::from_millis(100));
    }
}
