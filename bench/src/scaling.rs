//! One program on one CPU and on several at once, and whether it counts every packet.

pub mod metered;

use std::{
    net::{Ipv4Addr, UdpSocket},
    sync::Barrier,
    thread,
};

use anyhow::{Context as _, ensure};
use aya::programs::{LinkOrder, TcAttachType, TestRun as _, TestRunOptions, tc::TcAttachOptions};
use qos_common::{locate::Link, policy::Local};
use qosbpf::{
    hook::Direction,
    kernel::{
        counters,
        object::{self, Loaded, Program, Specialisation},
    },
    lab::{
        Lab,
        topology::{EDGE_LAN, LAN_HOST},
    },
};

use crate::{
    Step,
    compile::involution,
    cpu,
    effort::Effort,
    frames,
    report::Scale,
    samples::{Samples, order},
};

/// The discard protocol's.
const PORT: u16 = 9;

/// Measures on one CPU and on all of them.
///
/// # Errors
///
/// That packets were not counted; or what the kernel says.
pub fn measure(effort: &Effort, step: Step<'_>) -> anyhow::Result<Vec<Scale>> {
    let cpus = cpu::usable()?;
    let mut scales = Vec::new();
    step("scaling: XDP, test runs")?;
    scales.extend(test_runs(effort, &cpus)?);
    step("scaling: TCX egress, packet sockets")?;
    scales.extend(sockets(effort, &cpus)?);
    for scale in &scales {
        let Scale { name, cpus, sent, counted, .. } = scale;
        ensure!(sent == counted, "{name} on {cpus} CPUs: {sent} packets sent, {counted} counted");
    }
    Ok(scales)
}

fn load(program: Program) -> anyhow::Result<Loaded> {
    let counting = Specialisation::counting(Link::Ethernet);
    object::load(program, &Specialisation { table: Some(involution()), local: Local::Policy, ..counting }, None)
}

/// Programs, each run at the same time on one CPU or on all.
fn test_runs(effort: &Effort, cpus: &[usize]) -> anyhow::Result<Vec<Scale>> {
    let mut programs = vec![("XDP, a test run on each CPU".to_owned(), load(Program::Xdp)?)];
    programs.extend(metered::programs()?);
    let frame = frames::all().into_iter().next().context("no frame")?.frame;
    let run = |loaded: &mut Loaded, cpus: &[usize]| {
        let xdp = &*loaded.xdp()?;
        together(cpus, || {
            let options = TestRunOptions { data_in: Some(&frame), repeat: effort.repeat, ..TestRunOptions::default() };
            xdp.test_run(options)?;
            Ok(u64::from(effort.repeat))
        })
    };
    let mut scales = Vec::new();
    for (name, loaded) in &mut programs {
        scales.extend(rounds(name, effort, cpus, loaded, run)?);
    }
    Ok(scales)
}

/// One hook of a device, and senders on one CPU or on all.
fn sockets(effort: &Effort, cpus: &[usize]) -> anyhow::Result<Vec<Scale>> {
    let lab = Lab::start()?;
    // Open and never read: once it is full, datagrams end here without an answer.
    let _sink = lab.edge().run(|| Ok(UdpSocket::bind((EDGE_LAN.v4, PORT))?))?;
    lab.lan().run(|| {
        let mut loaded = load(Program::Tc(Direction::Egress))?;
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        loaded.tc()?.attach_with_options(LAN_HOST.device, TcAttachType::Egress, first).context("TCX (Linux 6.6)")?;
        let run = |_: &mut Loaded, cpus: &[usize]| together(cpus, || send(effort.packets));
        rounds("TCX egress, a UDP socket on each CPU", effort, cpus, &mut loaded, run)
    })
}

/// Sends datagrams; each that the kernel takes has met the hook, also if the device then dropped it.
fn send(packets: u32) -> anyhow::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    for _ in 0..packets {
        socket.send_to(&[0; 18], (EDGE_LAN.v4, PORT))?;
    }
    Ok(u64::from(packets))
}

/// Does `work` on all these CPUs at once, each in a thread of its own; says how many packets all handed over, and the
/// CPU time of one.
fn together(cpus: &[usize], work: impl Fn() -> anyhow::Result<u64> + Sync) -> anyhow::Result<(u64, f64)> {
    let start = Barrier::new(cpus.len());
    let results: anyhow::Result<Vec<(u64, f64)>> = thread::scope(|scope| {
        let one = |cpu: usize| {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                let pinned = cpu::pin(cpu);
                start.wait();
                pinned?;
                let before = cpu::thread_ns()?;
                let packets = work()?;
                Ok((packets, cpu::thread_ns()? - before))
            })
        };
        let threads: Vec<_> = cpus.iter().map(|cpu| one(*cpu)).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<(u64, f64)>>| {
            thread.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause))
        };
        threads.into_iter().map(join).collect()
    });
    let results = results?;
    let packets = results.iter().map(|(packets, _)| packets).sum();
    Ok((packets, results.iter().map(|(_, ns)| ns).sum::<f64>() / packets as f64))
}

/// Interleaves one CPU and all of them, and compares what was sent with what was counted.
fn rounds(
    name: &str,
    effort: &Effort,
    cpus: &[usize],
    loaded: &mut Loaded,
    run: impl Fn(&mut Loaded, &[usize]) -> anyhow::Result<(u64, f64)>,
) -> anyhow::Result<Vec<Scale>> {
    let sets = [&cpus[..1], cpus];
    let mut taken = [(0, 0, Samples::default()), (0, 0, Samples::default())];
    for round in 0..effort.rounds {
        for index in order(round, sets.len()) {
            let before = counted(loaded)?;
            let (sent, ns) = run(loaded, sets[index])?;
            let now = counted(loaded)?;
            taken[index].0 += sent;
            taken[index].1 += now - before;
            taken[index].2.push(ns);
        }
    }
    let scales = sets.iter().zip(taken).map(|(set, (sent, counted, samples))| Scale {
        name: name.to_owned(),
        cpus: set.len(),
        ns: samples.spread(),
        sent,
        counted,
    });
    Ok(scales.collect())
}

fn counted(loaded: &mut Loaded) -> anyhow::Result<u64> {
    Ok(counters::read_maps(loaded.ebpf())?.totals().before.packets)
}
