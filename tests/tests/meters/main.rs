//! Meters in the kernel: the shares that they give are those of the RFCs' arithmetic, on one CPU and on two.

mod rfc;

use std::{
    hint,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, Barrier},
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
    kernel::{
        object::{Form, Program, Specialisation},
        testrun::{self, test_run, test_runs},
    },
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

/// Before and after a packet was offered.
type Moment = [Instant; 2];

/// What green and yellow become; red is dropped.
const COLORED: [Dscp; 2] = [Dscp::DF, Dscp::LE];

/// A megabit a second, in bytes.
const MBIT: u64 = 125_000;
/// A tenth of a second at 8 Mbit/s.
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

/// The same in every form in which this kernel loads it; what is left out is said.
fn in_every_form(program: Program, kind: MeterKind) -> anyhow::Result<Vec<(Form, Kernel)>> {
    let wanted = metering(kind)?;
    let mut forms = vec![Form::Rules];
    let two_rates = !matches!(kind, MeterKind::SrTcm { .. });
    // Asked by a meter that needs the instruction: srTCM takes the lock in this form too.
    if metering(TRTCM)?.form() == Form::Swap {
        ensure!(!two_rates || wanted.form() == Form::Swap, "{kind:?} by the lock, where it could swap");
        forms.push(Form::Swap);
    } else {
        eprintln!("left out: meters by compare-and-swap: this kernel does not have the instruction");
    }
    forms.into_iter().map(|form| Ok((form, Kernel::load_form(form, program, &wanted)?))).collect()
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
    let output = test_run(program.as_fd(), &testrun::Input { frame, context: None, checksum_complete: false })?;
    // XDP_PASS is 2 as well: there the caller has no use for drops.
    Ok((output.verdict != DROPS[1]).then(|| output.frame[15] >> 2))
}

/// Offers packets at a rate in bytes a second, or as fast as they go, for so long; when each was offered.
fn offer(program: &OwnedFd, rate: Option<u64>, time: Duration) -> anyhow::Result<Vec<Moment>> {
    let (frame, start) = (frame(), Instant::now());
    let mut moments = Vec::new();
    while start.elapsed() < time {
        if let Some(rate) = rate {
            let due = Duration::from_nanos((moments.len() * BYTES) as u64 * 1_000_000_000 / rate);
            while start.elapsed() < due {
                hint::spin_loop();
            }
        }
        let before = Instant::now();
        run(program, &frame)?;
        moments.push([before, Instant::now()]);
    }
    Ok(moments)
}

fn near(what: &str, packets: u64, expected: [u64; 2]) -> anyhow::Result<()> {
    let [least, most] = [expected[0].min(expected[1]), expected[0].max(expected[1])].map(|packets| packets as f64);
    let within = least * 0.98 - 2.0..=most * 1.02 + 2.0;
    ensure!(within.contains(&(packets as f64)), "{what}: {packets} packets, not {expected:?}");
    Ok(())
}

/// The colors of these packets are, within 2 %, what the RFC's arithmetic gives for when they came: a busy machine offers
/// them late, and the buckets fill meanwhile.
fn as_the_rfc_says(kind: MeterKind, colors: [u64; 3], moments: &[Moment]) -> anyhow::Result<()> {
    let [sooner, later] =
        [0, 1].map(|end| rfc::colors(kind, BYTES, moments.iter().map(|moment| moment[end]).collect()));
    for (color, name) in ["green", "yellow", "red"].into_iter().enumerate() {
        near(&format!("{name} of {kind:?}"), colors[color], [sooner[color], later[color]])?;
    }
    Ok(())
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
        for (form, mut kernel) in in_every_form(EGRESS, TRTCM)? {
            shares(&mut kernel, offered).with_context(|| format!("{form:?}"))?;
        }
    }
    Ok(())
}

fn shares(kernel: &mut Kernel, offered: u64) -> anyhow::Result<()> {
    let moments = offer(&kernel.descriptor()?, Some(offered * MBIT), Duration::from_secs(2))?;
    let packets = moments.len() as u64;
    let [green, yellow, red] = colors(kernel, packets)?;
    as_the_rfc_says(TRTCM, [green, yellow, red], &moments).with_context(|| format!("{offered} Mbit/s"))?;
    ensure!(yellow > 0 || offered < 8, "more than the committed rate: {green} green");
    ensure!(red > 0 || offered < 12, "more than the peak rate: {green} green, {yellow} yellow");
    let counts = kernel.counts()?;
    ensure!(counts.sums.dropped[46].packets == red, "red is dropped, as EF");
    let [to_green, to_yellow] = COLORED.map(|to| counts.remarked[46][to.index()].packets);
    ensure!([to_green, to_yellow] == [green, yellow], "{to_green} and {to_yellow} remarked");
    ensure!(kernel.rule_counts()?[3].packets == packets, "a hit of the rule whatever its color");
    Ok(())
}

#[test]
fn a_burst_of_cbs_conforms_in_every_program() -> anyhow::Result<()> {
    // Slow, so that nothing comes in meanwhile.
    let kind = |cbs| MeterKind::TrTcm { cir: 1_000, cbs, pir: 1_000, pbs: 2 * cbs };
    for program in programs()? {
        for (form, mut kernel) in in_every_form(program, kind(BURST)).context(program.name())? {
            let descriptor = kernel.descriptor()?;
            for number in 0..250 {
                run(&descriptor, &frame()).with_context(|| format!("packet {number}"))?;
            }
            ensure!(colors(&mut kernel, 250)? == [100, 100, 50], "{} {form:?}", program.name());
        }
    }
    Ok(())
}

#[test]
fn the_other_meters_give_what_their_rfcs_say() -> anyhow::Result<()> {
    let single = MeterKind::SrTcm { cir: 8 * MBIT, cbs: BURST, ebs: BURST };
    let rfc4115 = MeterKind::Rfc4115 { cir: 8 * MBIT, cbs: BURST, eir: 4 * MBIT, ebs: BURST };
    for kind in [single, rfc4115] {
        for (form, mut kernel) in in_every_form(EGRESS, kind)? {
            let moments = offer(&kernel.descriptor()?, Some(40 * MBIT), Duration::from_secs(2))?;
            let given = colors(&mut kernel, moments.len() as u64)?;
            as_the_rfc_says(kind, given, &moments).with_context(|| format!("{form:?}"))?;
            ensure!(given.iter().all(|packets| *packets > 0), "{kind:?}: {given:?}");
        }
    }
    Ok(())
}

/// Whether this machine has one CPU. One that has more and does not give them to the test is no reason to pass.
fn leaves_out_two_cpus() -> anyhow::Result<bool> {
    let one = aya::util::nr_cpus().map_err(|(file, error)| anyhow::anyhow!("{file}: {error}"))? < 2;
    if one {
        eprintln!("left out: a meter that two CPUs share: this machine has one CPU");
    }
    Ok(one)
}

/// Does `work` on two CPUs at once; what it gives.
fn on_two_cpus<T: Send>(work: impl Fn() -> anyhow::Result<T> + Sync) -> anyhow::Result<Vec<T>> {
    ensure!(thread::available_parallelism()?.get() >= 2, "this test needs two CPUs");
    let start = Barrier::new(2);
    thread::scope(|scope| {
        let on = |cpu| {
            let (work, start) = (&work, &start);
            scope.spawn(move || {
                let mut set = CpuSet::new();
                let pinned = set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
                start.wait();
                pinned?;
                work()
            })
        };
        let threads = [on(0), on(1)];
        threads.into_iter().map(|thread| thread.join().expect("a thread that does not panic")).collect()
    })
}

#[test]
fn two_cpus_share_the_buckets() -> anyhow::Result<()> {
    if leaves_out_two_cpus()? {
        return Ok(());
    }
    for kind in [TRTCM, MeterKind::SrTcm { cir: 8 * MBIT, cbs: BURST, ebs: BURST }] {
        for (form, mut kernel) in in_every_form(EGRESS, kind)? {
            let program = kernel.descriptor()?;
            let moments = on_two_cpus(|| offer(&program, None, Duration::from_secs(2)))?.concat();
            let given = colors(&mut kernel, moments.len() as u64)?;
            as_the_rfc_says(kind, given, &moments).with_context(|| format!("{form:?}"))?;
        }
    }
    Ok(())
}

/// What each CPU offers in the next two tests.
const EACH: u32 = 1_000_000;

/// Offers [`EACH`] packets on two CPUs at once, as fast as the kernel runs the program; the packets by color, and those
/// that a bucket may have got meanwhile at 1,000 bytes a second.
fn race(kernel: &mut Kernel) -> anyhow::Result<([u64; 3], u64)> {
    let (program, frame, start) = (kernel.descriptor()?, frame(), Instant::now());
    let input = testrun::Input { frame: &frame, context: None, checksum_complete: false };
    let offered = on_two_cpus(|| {
        test_runs(program.as_fd(), &input, EACH)?;
        Ok(u64::from(EACH))
    })?;
    Ok((colors(kernel, offered.iter().sum())?, start.elapsed().as_secs() + 1))
}

#[test]
fn two_cpus_never_spend_a_token_twice() -> anyhow::Result<()> {
    if leaves_out_two_cpus()? {
        return Ok(());
    }
    let packets = |packets: u64| packets * BYTES as u64;
    let (small, large) = (packets(500_000), packets(1_200_000));
    let two_rates = MeterKind::TrTcm { cir: 1_000, cbs: small, pir: 1_000, pbs: large };
    let rfc4115 = MeterKind::Rfc4115 { cir: 1_000, cbs: small, eir: 1_000, ebs: large - small };
    let single = MeterKind::SrTcm { cir: 1_000, cbs: small, ebs: large - small };
    for kind in [two_rates, rfc4115, single] {
        for (form, mut kernel) in in_every_form(Program::Xdp, kind)? {
            let ([green, yellow, _], more) = race(&mut kernel)?;
            let exact = |what, packets, expected| {
                let all = expected..=expected + more;
                ensure!(all.contains(&packets), "{what} of {kind:?} {form:?}: {packets}, not {all:?}");
                Ok(())
            };
            exact("green", green, 500_000)?;
            exact("green and yellow", green + yellow, 1_200_000)?;
        }
    }
    Ok(())
}

/// With the lock nobody gives up; with two CPUs nobody fails as often as it takes.
#[test]
fn two_cpus_get_every_token_there_is() -> anyhow::Result<()> {
    if leaves_out_two_cpus()? {
        return Ok(());
    }
    let all = 2 * u64::from(EACH) * BYTES as u64;
    for kind in [
        MeterKind::TrTcm { cir: 1_000, cbs: all, pir: 1_000, pbs: all },
        MeterKind::Rfc4115 { cir: 1_000, cbs: all, eir: 1_000, ebs: all },
    ] {
        for (form, mut kernel) in in_every_form(Program::Xdp, kind)? {
            let (counts, _) = race(&mut kernel)?;
            ensure!(counts == [2 * u64::from(EACH), 0, 0], "{kind:?} {form:?}: {counts:?}");
        }
    }
    Ok(())
}

/// Kernels before 5.12 refuse a program that has the instruction anywhere, be it where nothing leads.
#[test]
fn no_other_form_has_the_instruction() -> anyhow::Result<()> {
    /// `BPF_STX | BPF_ATOMIC | BPF_DW`.
    const ATOMIC: u8 = 0xdb;
    let wanted = metering(TRTCM)?;
    for program in programs()? {
        let mut forms = in_every_form(program, TRTCM)?;
        forms.push((Form::Table, Kernel::load_form(Form::Table, program, &wanted)?));
        for (form, mut kernel) in forms {
            let instructions = bpf::translated(kernel.descriptor()?.as_fd())?;
            let has = instructions.iter().any(|instruction| instruction.code == ATOMIC);
            ensure!(has == (form == Form::Swap), "{} {form:?}: {has}", program.name());
        }
    }
    Ok(())
}
