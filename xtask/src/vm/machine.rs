//! A guest in qemu, by software emulation: no KVM is needed, and one processor, since two of them now and then panic it.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    console::{self, Report},
    kernel::Kernel,
};
use crate::shell;

/// How long a guest may take, also beside other work: some three minutes if the machine is its own.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How often a guest that did not come to its end is started.
const ATTEMPTS: u32 = 3;

/// The time is that of the HPET: 5.10 measures the rate of its TSC once, on a busy machine by five times too little, and
/// all of its seconds are too short then.
const COMMAND_LINE: &str = "console=ttyS0,115200 quiet loglevel=3 panic=-1 mitigations=off nokaslr random.trust_cpu=on \
    tsc=reliable clocksource=hpet no_timer_check";

/// Boots a kernel and runs the tests in it. A guest without an end mark says nothing of what was tested: it is started
/// again.
///
/// # Errors
///
/// That qemu cannot be started, or that no attempt came to its end.
pub fn run(kernel: &Kernel, image: &Path, folder: &Path) -> anyhow::Result<Report> {
    let log = folder.join(format!("{}.log", kernel.release));
    for attempt in 1..=ATTEMPTS {
        let start = Instant::now();
        boot(kernel, image, &log)?;
        let text = fs::read(&log).with_context(|| log.display().to_string())?;
        if let Some(mut report) = console::read(&String::from_utf8_lossy(&text)) {
            report.seconds = start.elapsed().as_secs();
            return Ok(report);
        }
        println!("vm: {}: attempt {attempt} of {ATTEMPTS} did not come to its end: {}", kernel.release, log.display());
    }
    anyhow::bail!("no attempt came to its end, which says nothing of qosbpf: {}", log.display())
}

fn boot(kernel: &Kernel, image: &Path, log: &Path) -> anyhow::Result<()> {
    let output = File::create(log).with_context(|| log.display().to_string())?;
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max,la57=off,cx16=off", "-smp", "1", "-m", "384"]);
    qemu.args(["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-append", COMMAND_LINE]);
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(image);
    println!("$ {}", shell::describe(&qemu));
    qemu.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    wait(qemu.spawn().context("qemu-system-x86_64")?).map(drop)
}

fn wait(mut guest: Child) -> anyhow::Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = guest.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() > PATIENCE {
            guest.kill()?;
        }
        thread::sleep(Duration::from_millis(100));
    }
}
