//! A guest in qemu, by software emulation: no KVM is needed, and one processor, since two of them now and then panic it.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
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

/// How long a guest may take, also beside other work: the newest kernel takes some twenty minutes on a processor of its own.
const PATIENCE: Duration = Duration::from_mins(45);

/// How old a console may be that is taken for what a guest would say.
const EARLIER: Duration = Duration::from_hours(6);

/// How often a guest that did not come to its end is started.
const ATTEMPTS: u32 = 3;

/// The time is that of the HPET: 5.10 measures the rate of its TSC once, on a busy machine by five times too little, and
/// all of its seconds are too short then.
const COMMAND_LINE: &str = "console=ttyS0,115200 quiet loglevel=3 panic=-1 mitigations=off nokaslr random.trust_cpu=on \
    tsc=reliable clocksource=hpet no_timer_check";

/// Whether this machine can make the cable of a guest.
///
/// # Errors
///
/// What `ip` says of it.
pub fn check() -> anyhow::Result<()> {
    shell::run(Command::new("unshare").args(["--net", "sh", "-c", CABLE])).context("bridges and TAP devices")
}

/// Boots a kernel and runs the tests in it. A guest without an end mark says nothing of what was tested: it is started
/// again.
///
/// # Errors
///
/// That qemu cannot be started, or that no attempt came to its end.
pub fn run(kernel: &Kernel, image: &Path, folder: &Path) -> anyhow::Result<Report> {
    let log = log(kernel, folder);
    for attempt in 1..=ATTEMPTS {
        let start = Instant::now();
        boot(kernel, image, &log)?;
        let text = fs::read(&log).with_context(|| log.display().to_string())?;
        if let Some(report) = console::read(&String::from_utf8_lossy(&text)) {
            let seconds = start.elapsed().as_secs();
            writeln!(File::options().append(true).open(&log)?, "{} {seconds}", console::TOOK)?;
            return Ok(Report { seconds, date: shell::date_of(&log)?, ..report });
        }
        println!("vm: {}: attempt {attempt} of {ATTEMPTS} did not come to its end: {}", kernel.release, log.display());
    }
    anyhow::bail!("no attempt came to its end, which says nothing of qosbpf: {}", log.display())
}

/// A bridge with two ends, in a network namespace that goes with the guest.
const CABLE: &str = "ip link add cable type bridge forward_delay 0 mcast_snooping 0 && ip link set cable up || exit
    for end in near far; do
        ip tuntap add $end mode tap multi_queue && ip link set $end master cable up || exit
    done";

/// Queues of each of a guest's network cards. A driver that has more than the guest has processors gives XDP its own.
const QUEUES: usize = 4;

fn log(kernel: &Kernel, folder: &Path) -> PathBuf {
    folder.join(format!("{}.log", kernel.release))
}

/// What a guest of this kernel said that came to its end in the last hours.
pub fn earlier(kernel: &Kernel, folder: &Path) -> Option<Report> {
    let age = fs::metadata(log(kernel, folder)).ok()?.modified().ok()?.elapsed().ok()?;
    (age < EARLIER).then(|| left(kernel, folder)).flatten()
}

/// The same whenever that was.
pub fn left(kernel: &Kernel, folder: &Path) -> Option<Report> {
    let log = log(kernel, folder);
    let report = console::read(&String::from_utf8_lossy(&fs::read(&log).ok()?))?;
    Some(Report { date: shell::date_of(&log).ok()?, ..report })
}

/// A guest with two network cards, and a cable between them.
fn boot(kernel: &Kernel, image: &Path, log: &Path) -> anyhow::Result<()> {
    let output = File::create(log).with_context(|| log.display().to_string())?;
    let mut qemu = Command::new("unshare");
    qemu.args(["--net", "sh", "-c", &format!("{CABLE}; exec qemu-system-x86_64 \"$@\""), "qemu"]);
    qemu.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max,la57=off,cx16=off", "-smp", "1", "-m", "384"]);
    qemu.args(["-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio", "-append", COMMAND_LINE]);
    for end in ["near", "far"] {
        qemu.arg("-netdev").arg(format!("tap,id={end},ifname={end},queues={QUEUES},script=no,downscript=no"));
        qemu.arg("-device").arg(format!("virtio-net-pci,netdev={end},mq=on,vectors={},romfile=", 2 * QUEUES + 2));
    }
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(image);
    println!("$ {}", shell::describe(&qemu));
    qemu.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    wait(qemu.spawn().context("unshare")?).map(drop)
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
