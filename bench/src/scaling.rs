//! Programs on one CPU and on several at once, and whether they count every packet.

pub mod metered;
mod race;

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::Context as _;
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

use self::race::{Taken, race, together};
use crate::{
    Step,
    compile::involution,
    cpu,
    effort::Effort,
    frames,
    report::{Gap, Scale},
    samples::Spread,
};

/// The discard protocol's.
const PORT: u16 = 9;

/// Measures on one CPU, two, four and so on, and all of them.
///
/// # Errors
///
/// That the run is to end.
pub fn measure(effort: &Effort, gaps: &mut Vec<Gap>, step: Step<'_>) -> anyhow::Result<Vec<Scale>> {
    let cpus = cpu::usable()?;
    let sets = sets(&cpus);
    if sets.len() == 1 {
        gaps.push(Gap::new("scaling, 2 CPUs", "this process may use one CPU"));
    }
    let mut scales = Vec::new();
    step("scaling: XDP, test runs")?;
    match test_runs(effort, &sets, gaps) {
        Ok(measured) => scales.extend(measured),
        Err(error) => gaps.push(Gap::failed("scaling", &error)),
    }
    step("scaling: TCX egress, packet sockets")?;
    match sockets(effort, &sets, gaps) {
        Ok(measured) => scales.extend(measured),
        Err(error) => gaps.push(Gap::failed("scaling, TCX egress", &error)),
    }
    step("scaling: done")?;
    Ok(scales)
}

/// The first CPU, the first two, four and so on, and all of them.
fn sets(cpus: &[usize]) -> Vec<&[usize]> {
    let powers = (0..).map(|power| 1_usize << power).take_while(|count| *count < cpus.len());
    powers.map(|count| &cpus[..count]).chain([cpus]).collect()
}

fn load(program: Program) -> anyhow::Result<Loaded> {
    let counting = Specialisation::counting(Link::Ethernet);
    object::load(program, &Specialisation { table: Some(involution()), local: Local::Policy, ..counting }, None)
}

/// All programs on all sets of CPUs, one after the other in each round.
fn test_runs(effort: &Effort, sets: &[&[usize]], gaps: &mut Vec<Gap>) -> anyhow::Result<Vec<Scale>> {
    let mut programs = vec![("a table", load(Program::Xdp)?)];
    programs.extend(metered::programs()?);
    let frame = frames::all().into_iter().next().context("no frame")?.frame;
    let lanes = programs.len() * sets.len();
    let taken = race(effort, lanes, |lane| {
        let (loaded, cpus) = (&mut programs[lane / sets.len()].1, sets[lane % sets.len()]);
        let before = counted(loaded)?;
        let xdp = &*loaded.xdp()?;
        let mut turn = together(cpus, || {
            let options = TestRunOptions { data_in: Some(&frame), repeat: effort.repeat, ..TestRunOptions::default() };
            xdp.test_run(options)?;
            Ok(u64::from(effort.repeat))
        })?;
        turn.counted = counted(loaded)? - before;
        Ok(turn)
    })?;
    let by_program: Vec<&[Taken]> = taken.chunks(sets.len()).collect();
    let bases = metered::BASES.map(|base| programs.iter().position(|(name, _)| *name == base));
    let mut scales = Vec::new();
    for (index, (name, loaded)) in programs.iter_mut().enumerate() {
        let own = by_program[index];
        if let Err(error) = metered::is_green(name, loaded.ebpf(), own.iter().map(|taken| taken.sent).sum()) {
            gaps.push(Gap::failed(format!("scaling, {name}"), &error));
            continue;
        }
        for (set, own) in own.iter().enumerate() {
            let bases = bases.map(|base| base.map(|base| &by_program[base][set]));
            let above = bases[0].zip(bases[1]).filter(|_| index > 0).and_then(|(one, again)| own.above(one, again));
            scales.extend(scale(format!("XDP, {name}, a test run on each CPU"), sets[set].len(), own, above, gaps));
        }
    }
    Ok(scales)
}

/// A row, or a gap where in no round all CPUs were at work at once.
fn scale(name: String, cpus: usize, taken: &Taken, above: Option<Spread>, gaps: &mut Vec<Gap>) -> Option<Scale> {
    let samples = taken.samples();
    if samples.rounds().is_empty() {
        let why = format!("in no round of {name} all CPUs were at work at once");
        // What else runs on this machine is no failure of a program.
        gaps.push(Gap { what: format!("scaling, {cpus} CPUs"), why, declared: true });
        return None;
    }
    let (ns, rounds) = (samples.spread(), samples.rounds());
    Some(Scale { name, cpus, ns, above, rounds, sent: taken.sent, counted: taken.counted })
}

/// One hook of a device, and senders on one CPU and on several.
fn sockets(effort: &Effort, sets: &[&[usize]], gaps: &mut Vec<Gap>) -> anyhow::Result<Vec<Scale>> {
    let lab = Lab::start()?;
    // Open and never read: once it is full, datagrams end here without an answer.
    let _sink = lab.edge().run(|| Ok(UdpSocket::bind((EDGE_LAN.v4, PORT))?))?;
    let taken = lab.lan().run(|| {
        let mut loaded = load(Program::Tc(Direction::Egress))?;
        let first = TcAttachOptions::TcxOrder(LinkOrder::first());
        loaded.tc()?.attach_with_options(LAN_HOST.device, TcAttachType::Egress, first).context("TCX (Linux 6.6)")?;
        race(effort, sets.len(), |set| {
            let before = counted(&mut loaded)?;
            let mut turn = together(sets[set], || send(effort.packets))?;
            turn.counted = counted(&mut loaded)? - before;
            Ok(turn)
        })
    })?;
    let rows = sets.iter().zip(&taken);
    let name = "TCX egress, a UDP socket on each CPU";
    Ok(rows.filter_map(|(cpus, taken)| scale(name.to_owned(), cpus.len(), taken, None, gaps)).collect())
}

/// Sends datagrams; each that the kernel takes has met the hook, also if the device then dropped it.
fn send(packets: u32) -> anyhow::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    for _ in 0..packets {
        socket.send_to(&[0; 18], (EDGE_LAN.v4, PORT))?;
    }
    Ok(u64::from(packets))
}

fn counted(loaded: &mut Loaded) -> anyhow::Result<u64> {
    Ok(counters::read_maps(loaded.ebpf())?.totals().before.packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_double_and_end_with_all() {
        let counts = |cpus: usize| {
            let cpus: Vec<usize> = (0..cpus).collect();
            sets(&cpus).iter().map(|set| set.len()).collect::<Vec<_>>()
        };
        assert_eq!((counts(1), counts(2), counts(4)), (vec![1], vec![1, 2], vec![1, 2, 4]));
        assert_eq!((counts(6), counts(3)), (vec![1, 2, 4, 6], vec![1, 2, 3]));
    }
}
