//! Meters in the kernel: the shares that they give are those of the RFCs' arithmetic, on one CPU and on two.

use std::{
    hint,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use qos_common::{ds::Dscp, locate::Link, policy::Local};
use qosbpf::{
    hook::Direction,
    kernel::object::{Program, Specialisation},
    policy::{
        classifier::{Input, compile},
        model::{Action, Meter, MeterKind, Rule, Verdict},
    },
};
use qosbpf_tests::{
    bpf,
    kernel::{Kernel, programs},
};

/// Bytes of an IP packet.
const BYTES: usize = 1_000;
const SLOT: u16 = 7;
const EGRESS: Program = Program::Tc(Direction::Egress);

/// What green and yellow become; red is dropped.
const COLORED: [Dscp; 2] = [Dscp::DF, Dscp::LE];

/// A megabit a second, in bytes.
const MBIT: u64 = 125_000;
/// A tenth of a second at 8 Mbit/s: a thread that does not run for so long loses tokens.
const BURST: u64 = 100_000;

const TRTCM: MeterKind = MeterKind::TrTcm { cir: 8 * MBIT, cbs: BURST, pir: 12 * MBIT, pbs: BURST };

fn metering(kind: MeterKind) -> anyhow::Result<Specialisation> {
    let [green, yellow] = COLORED.map(Verdict::Set);
    let meter = Meter { kind, aware: None, overhead: 0, green, yellow, red: Verdict::Drop };
    let rule = Rule {
        name: "video".to_owned(),
        line: 1,
        on: Vec::new(),
        conditions: Vec::new(),
        action: Action::Meter(meter),
        count: false,
        log: None,
        priority: None,
        mark: None,
    };
    let input = Input { rules: &[&rule], slots: &[3], meter_slots: &[SLOT], interfaces: &[] };
    let rules = Some(Arc::new(compile(&input)?.tables));
    Ok(Specialisation { rules, local: Local::KeepControl, ..Specialisation::counting(Link::Ethernet) })
}

/// IPv4, EF, of [`BYTES`].
fn frame() -> Vec<u8> {
    let mut frame = vec![0; 14 + BYTES];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14..16].copy_from_slice(&[0x45, 0xb8]);
    frame[16..18].copy_from_slice(&(BYTES as u16).to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 17]);
    frame
}

/// Runs the program once, and gives the DSCP with which the packet left, `None` if it was dropped.
fn run(program: &OwnedFd, frame: &[u8]) -> anyhow::Result<Option<u8>> {
    /// `XDP_DROP` and `TC_ACT_SHOT`.
    const DROPS: [i32; 2] = [1, 2];
    let output = bpf::test_run(program.as_fd(), &bpf::Input { frame, context: None, checksum_complete: false })?;
    // XDP_PASS is 2 as well: there the caller has no use for drops.
    Ok((output.verdict != DROPS[1]).then(|| output.frame[15] >> 2))
}

/// Offers packets at a rate in bytes a second, or as fast as they go, for so long; how many packets it was.
fn offer(program: &OwnedFd, rate: Option<u64>, time: Duration) -> anyhow::Result<u64> {
    let (frame, start) = (frame(), Instant::now());
    let mut packets = 0;
    while start.elapsed() < time {
        if let Some(rate) = rate {
            let due = Duration::from_nanos(packets * BYTES as u64 * 1_000_000_000 / rate);
            while start.elapsed() < due {
                hint::spin_loop();
            }
        }
        run(program, &frame)?;
        packets += 1;
    }
    Ok(packets)
}

fn near(what: &str, packets: u64, expected: f64) -> anyhow::Result<()> {
    let off = (packets as f64 - expected).abs();
    ensure!(off <= expected * 0.02 + 2.0, "{what}: {packets} packets, not {expected:.0}");
    Ok(())
}

/// Packets that a bucket of [`BURST`] has to give.
fn budget(rate: u64, time: Duration) -> f64 {
    (BURST as f64 + rate as f64 * time.as_secs_f64()) / BYTES as f64
}

/// Packets by color; what is counted is what was offered.
fn colors(kernel: &mut Kernel, offered: u64) -> anyhow::Result<[u64; 3]> {
    let counts = kernel.meter_counts()?.0[usize::from(SLOT)];
    for color in counts {
        ensure!(color.ip_bytes == color.packets * BYTES as u64, "bytes of IP packets: {color:?}");
    }
    let packets = counts.map(|color| color.packets);
    ensure!(packets.iter().sum::<u64>() == offered, "{packets:?} of {offered}");
    Ok(packets)
}

#[test]
fn shares_are_those_of_rfc_2698() -> anyhow::Result<()> {
    for offered in [4, 10, 20] {
        let mut kernel = Kernel::load(EGRESS, &metering(TRTCM)?)?;
        let (program, time) = (kernel.descriptor()?, Duration::from_secs(3));
        let packets = offer(&program, Some(offered * MBIT), time)?;
        let [green, yellow, red] = colors(&mut kernel, packets)?;
        let (committed, peak) = (budget(8 * MBIT, time), budget(12 * MBIT, time));
        let all = packets as f64;
        near(&format!("green at {offered} Mbit/s"), green, all.min(committed))?;
        near(&format!("green and yellow at {offered} Mbit/s"), green + yellow, all.min(peak))?;
        let counts = kernel.counts()?;
        ensure!(counts.sums.dropped[46].packets == red, "red is dropped, as EF");
        let [to_green, to_yellow] = COLORED.map(|to| counts.remarked[46][to.index()].packets);
        ensure!([to_green, to_yellow] == [green, yellow], "{to_green} and {to_yellow} remarked");
        ensure!(kernel.rule_counts()?[3].packets == packets, "a hit of the rule whatever its color");
    }
    Ok(())
}

#[test]
fn a_burst_of_cbs_conforms_in_every_program() -> anyhow::Result<()> {
    // Slow, so that nothing comes in meanwhile.
    let kind = |cbs| MeterKind::TrTcm { cir: 1_000, cbs, pir: 1_000, pbs: 2 * cbs };
    for program in programs()? {
        let mut kernel = Kernel::load(program, &metering(kind(BURST))?).context(program.name())?;
        let descriptor = kernel.descriptor()?;
        for number in 0..250 {
            run(&descriptor, &frame()).with_context(|| format!("packet {number}"))?;
        }
        ensure!(colors(&mut kernel, 250)? == [100, 100, 50], "{}", program.name());
    }
    Ok(())
}

#[test]
fn the_other_meters_give_what_their_rfcs_say() -> anyhow::Result<()> {
    let single = MeterKind::SrTcm { cir: 8 * MBIT, cbs: BURST, ebs: BURST };
    let rfc4115 = MeterKind::Rfc4115 { cir: 8 * MBIT, cbs: BURST, eir: 4 * MBIT, ebs: BURST };
    for (kind, excess) in [(single, 0), (rfc4115, 4 * MBIT)] {
        let mut kernel = Kernel::load(EGRESS, &metering(kind)?)?;
        let (program, time) = (kernel.descriptor()?, Duration::from_secs(3));
        let packets = offer(&program, Some(40 * MBIT), time)?;
        let [green, yellow, _] = colors(&mut kernel, packets)?;
        near(&format!("green of {kind:?}"), green, budget(8 * MBIT, time))?;
        // While C has its burst, E is full: 100 kB at 32 Mbit/s more than come in.
        let full = excess as f64 * BURST as f64 / (32 * MBIT) as f64 / BYTES as f64;
        near(&format!("yellow of {kind:?}"), yellow, budget(excess, time) - full)?;
    }
    Ok(())
}

#[test]
fn two_cpus_share_the_buckets() -> anyhow::Result<()> {
    // A machine that has them and does not give them to the test is another thing, and no reason to pass.
    if aya::util::nr_cpus().map_err(|(file, error)| anyhow::anyhow!("{file}: {error}"))? < 2 {
        eprintln!("left out: buckets that two CPUs share: this machine has one CPU");
        return Ok(());
    }
    let cpus = thread::available_parallelism()?.get();
    ensure!(cpus >= 2, "this test needs two CPUs");
    for kind in [TRTCM, MeterKind::SrTcm { cir: 8 * MBIT, cbs: BURST, ebs: BURST }] {
        let mut kernel = Kernel::load(EGRESS, &metering(kind)?)?;
        let (program, time, start) = (kernel.descriptor()?, Duration::from_secs(2), Instant::now());
        let packets: u64 = thread::scope(|scope| {
            let on = |cpu| {
                let program = &program;
                scope.spawn(move || {
                    let mut set = CpuSet::new();
                    set.set(cpu)?;
                    sched_setaffinity(Pid::from_raw(0), &set)?;
                    offer(program, None, time)
                })
            };
            let threads = [on(0), on(1)];
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a thread that does not panic"))
                .sum::<Result<u64, _>>()
        })?;
        let [green, yellow, _] = colors(&mut kernel, packets)?;
        let time = start.elapsed();
        let other = if kind == TRTCM { budget(12 * MBIT, time) - budget(8 * MBIT, time) } else { budget(0, time) };
        near(&format!("green of {kind:?}"), green, budget(8 * MBIT, time))?;
        near(&format!("yellow of {kind:?}"), yellow, other)?;
    }
    Ok(())
}
