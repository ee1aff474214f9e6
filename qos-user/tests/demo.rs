//! `qosbpf demo`, as somebody runs it who has just built it. Needs root and iproute2.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qosbpf"));
    command.arg("demo");
    command
}

/// What is left of the lab of this process.
fn left_of(pid: u32) -> Vec<PathBuf> {
    let lab = format!("qosbpf-{pid}");
    let mut places = vec![PathBuf::from("/run").join(&lab)];
    places.extend(["lan", "edge", "wan"].map(|role| PathBuf::from("/run/netns").join(format!("{lab}-{role}"))));
    places.retain(|place| place.exists());
    places
}

#[test]
fn every_check_passes_and_nothing_is_left() {
    let child = demo().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let screen = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{screen}\n{said}");
    assert!(!screen.contains("FAIL"), "{screen}");
    let passed = screen.lines().filter(|line| line.starts_with("PASS  ")).count() - 1;
    assert_eq!(screen.lines().last(), Some(format!("PASS  {passed} passed, 0 failed").as_str()));
    assert!(!screen.contains('\x1b'), "a pipe gets no color");
    let longest = screen.lines().max_by_key(|line| line.chars().count()).unwrap();
    assert!(longest.chars().count() <= 100, "{longest}");
    assert_eq!(left_of(pid), [] as [PathBuf; 0]);
}

/// As a terminal does it: Ctrl-C reaches the whole process group.
#[test]
fn ctrl_c_in_the_middle_leaves_nothing() {
    for begun in ["1. ", "4. ", "7. "] {
        let mut child = demo().stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with(begun)), "step {begun}");
        killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        let rest: Vec<_> = lines.collect();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGINT as i32), "{rest:?}");
        assert_eq!(left_of(child.id()), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_kept_lab_can_be_looked_at_and_removed_as_told() {
    let child = demo().arg("--keep").stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let screen = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{screen}");
    let (_, told) = screen.split_once("Look around:\n").unwrap();
    let (around, removal) = told.split_once("Remove it:\n").unwrap();
    let status = around.lines().next().unwrap().trim().strip_prefix("qosbpf ").unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_qosbpf")).args(status.split(' ')).output().unwrap();
    assert!(String::from_utf8(status.stdout).unwrap().contains("wan0:egress"));
    let (removal, _) = removal.split_once("\n\n").unwrap();
    assert!(Command::new("sh").args(["-e", "-c", removal]).status().unwrap().success(), "{removal}");
    assert_eq!(left_of(pid), [] as [PathBuf; 0]);
}
