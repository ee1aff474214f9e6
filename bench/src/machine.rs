//! Where it was measured.

use std::process::Command;

use qosbpf::{REVISION, VERSION};

use crate::{
    cpu::{kernel_text, usable},
    report::Machine,
};

/// This machine, now.
pub fn describe(clang: &str) -> Machine {
    let tools = [("nft", "--version"), ("iptables", "--version"), ("tc", "-V")];
    Machine {
        date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        version: format!("{VERSION} {REVISION}"),
        kernel: format!("{} {}", text("/proc/sys/kernel/osrelease"), std::env::consts::ARCH),
        cpu: cpu_model(),
        cpus: usable().map_or(0, |cpus| cpus.len()),
        load: text("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        clang: clang.to_owned(),
        spectre_v2: text("/sys/devices/system/cpu/vulnerabilities/spectre_v2"),
        tools: tools.into_iter().filter_map(|(program, option)| first_line(program, option)).collect(),
    }
}

fn text(path: &str) -> String {
    kernel_text(path).unwrap_or_else(|_| "unknown".to_owned())
}

fn cpu_model() -> String {
    let info = text("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned())
}

fn first_line(program: &str, option: &str) -> Option<String> {
    let output = Command::new(program).arg(option).output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}
