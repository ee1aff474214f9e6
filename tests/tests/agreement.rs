//! Host and kernel agree: the same bytes through the same code in both give equal bytes, verdicts and counters.
//!
//! `QOSBPF_AGREEMENT_PACKETS` is the number of random frames over all tests (20,000), `QOSBPF_AGREEMENT_SEED` the
//! number of the first; without it each run has new ones.

use std::{env, slice, time::SystemTime};

use qos_common::{inside::Inside, locate::Link, policy::Origin};
use qos_vectors::{
    frame::{ether_type, ethernet, labels},
    hook::Arrival,
    random::{Random, sample},
};
use qosbpf::{
    hook::Direction,
    kernel::{
        object::{Program, Specialisation},
        testrun::SkBuff,
    },
};
use qosbpf_tests::{
    features::Feature,
    hex,
    host::Host,
    kernel::Kernel,
    tables::{permutation, specialisations},
};

/// A frame, and what to call it in a report.
struct Case {
    name: String,
    frame: Vec<u8>,
    origin: Origin,
}

#[test]
fn xdp() {
    agree(Program::Xdp);
}

#[test]
fn xdp_frags() {
    if Feature::Frags.leaves_out("agreement of qosbpf_xdp_frags").unwrap() {
        return;
    }
    agree(Program::XdpFrags);
}

#[test]
fn tc_ingress() {
    agree(Program::Tc(Direction::Ingress));
}

#[test]
fn tc_egress() {
    Feature::IngressInterface.leaves_out("forwarded packets at egress, in a test run").unwrap();
    agree(Program::Tc(Direction::Egress));
}

#[test]
fn packets_in_several_pieces() {
    if Feature::Frags.leaves_out("agreement on packets in several pieces").unwrap() {
        return;
    }
    for (name, wanted) in specialisations(Link::Ethernet) {
        let grow = |case: Case| Case { frame: [case.frame, vec![0x5a; 9000]].concat(), ..case };
        let long = vectors(Link::Ethernet, Program::XdpFrags).into_iter().step_by(10).map(grow);
        compare(name, Program::XdpFrags, &wanted, &long.collect::<Vec<_>>());
    }
}

/// Outer headers by what is inside: every packet in a packet, cut at each byte, with one byte changed, and behind tags.
#[test]
fn tunnels_at_egress() {
    Feature::IngressInterface.leaves_out("forwarded tunnels at egress, in a test run").unwrap();
    let program = Program::Tc(Direction::Egress);
    for link in [Link::Ethernet, Link::Layer3] {
        let tunnels = tunnels(link, program);
        for inside in [Inside::NOTHING, Inside::PPPOE.and(Inside::MPLS)] {
            for (index, (name, wanted)) in specialisations(link).into_iter().enumerate() {
                let wanted = Specialisation { outer: Some(permutation()), inside, ..wanted };
                compare(name, program, &wanted, &tunnels);
                if index == 0 {
                    compare(name, program, &wanted, &vectors(link, program));
                }
                compare(name, program, &wanted, &random_frames(link, program, 32 + index as u64));
            }
        }
    }
}

fn tunnels(link: Link, program: Program) -> Vec<Case> {
    let first = variable("QOSBPF_AGREEMENT_SEED").unwrap_or_else(clock);
    eprintln!("changed tunnels {link:?}: QOSBPF_AGREEMENT_SEED={first}");
    let mut random = Random::new(first);
    let mut cases = Vec::new();
    for tunnelled in qos_vectors::tunnels::all() {
        let frames = match link {
            Link::Ethernet => vec![
                tunnelled.frame(&[]),
                tunnelled.frame(&[(0x88a8, 5), (0x8100, 6)]),
                ethernet(&[], ether_type::MPLS, &labels(2, &tunnelled.packet)),
            ],
            Link::Layer3 => vec![tunnelled.packet.clone()],
        };
        for frame in frames {
            let cut = (14..=frame.len()).map(|length| frame[..length].to_vec());
            let changed = (0..40).map(|_| {
                let mut frame = frame.clone();
                let at = random.below(frame.len());
                frame[at] = random.next() as u8;
                frame
            });
            let frames: Vec<_> = cut.chain(changed.collect::<Vec<_>>()).collect();
            let each = frames.iter().flat_map(|frame| origins(program).iter().map(move |origin| (frame, *origin)));
            cases.extend(each.map(|(frame, origin)| case(tunnelled.name, frame, origin)));
        }
    }
    // All of them, unless fewer are asked for: then some, and others each time. An odd step comes to every origin.
    let step = variable("QOSBPF_AGREEMENT_PACKETS").map_or(1, |most| cases.len().div_ceil(most.max(1) as usize) | 1);
    cases.into_iter().skip(random.below(step)).step_by(step).collect()
}

fn agree(program: Program) {
    for link in [Link::Ethernet, Link::Layer3] {
        let vectors = vectors(link, program);
        let insides = [Inside::NOTHING, Inside::PPPOE.and(Inside::MPLS)];
        let all = insides
            .map(|inside| specialisations(link).map(|(name, wanted)| (name, Specialisation { inside, ..wanted })));
        for (index, (name, wanted)) in all.as_flattened().iter().enumerate() {
            compare(name, program, wanted, &vectors);
            compare(name, program, wanted, &random_frames(link, program, index as u64));
        }
    }
}

/// All vectors of a link layer. A test run cannot put a tag into metadata, so here they all come without one.
fn vectors(link: Link, program: Program) -> Vec<Case> {
    let vectors = qos_vectors::all().into_iter().filter(|vector| vector.link == link);
    let cases = vectors
        .flat_map(|vector| origins(program).iter().map(move |origin| case(&vector.name, &vector.frame, *origin)));
    cases.collect()
}

fn case(name: &str, frame: &[u8], origin: Origin) -> Case {
    Case { name: name.to_owned(), frame: frame.to_vec(), origin }
}

fn origins(program: Program) -> &'static [Origin] {
    match program {
        Program::Tc(Direction::Egress) if !Feature::IngressInterface.is_here().unwrap() => &[Origin::Local],
        Program::Tc(Direction::Egress) => &[Origin::Local, Origin::Forwarded],
        _ => &[Origin::Forwarded],
    }
}

/// One share of the random frames: there are 4 programs with 2 link layers and 8 specialisations each.
fn random_frames(link: Link, program: Program, specialisation: u64) -> Vec<Case> {
    let share = variable("QOSBPF_AGREEMENT_PACKETS").unwrap_or(20_000).div_ceil(64) as usize;
    let first = variable("QOSBPF_AGREEMENT_SEED").unwrap_or_else(clock);
    eprintln!("{program:?} {link:?} {specialisation}: {share} random frames, QOSBPF_AGREEMENT_SEED={first}");
    let seeds = (0..).map(|number: u64| first.wrapping_add(specialisation << 40).wrapping_add(number));
    let samples = seeds.map(|seed| (seed, sample(seed))).filter(|(_, sample)| sample.link == link);
    let fits = samples.filter(|(_, sample)| sample.frame.len() >= 14);
    let origins = origins(program);
    fits.map(|(seed, sample)| case(&format!("sample({seed})"), &sample.frame, origins[seed as usize % origins.len()]))
        .take(share)
        .collect()
}

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

fn clock() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Counters are read once; if they differ, the frames are gone through again to find the first that does it.
fn compare(name: &str, program: Program, wanted: &Specialisation, cases: &[Case]) {
    if run(name, program, wanted, cases) {
        return;
    }
    let guilty = cases.iter().find(|case| !run(name, program, wanted, slice::from_ref(case)));
    let guilty = guilty.map(|case| format!("{}: {}", case.name, hex(&case.frame)));
    panic!("{program:?}, {name}, {:?}, {:?}: counters differ: {guilty:?}", wanted.link, wanted.inside);
}

/// Whether the counters agree after all frames; bytes and verdicts are asserted for each.
fn run(name: &str, program: Program, wanted: &Specialisation, cases: &[Case]) -> bool {
    let mut kernel = Kernel::load(program, wanted).unwrap();
    let mut host = Host::new(wanted);
    let mut ran = 0;
    for case in cases {
        if !kernel.accepts(&case.frame) {
            continue;
        }
        let arrival = Arrival { origin: case.origin, ..Arrival::single(case.frame.len(), 0) };
        let expected = host.receive(&case.frame, &arrival);
        let context = context(case.origin);
        let context = (program == Program::Tc(Direction::Egress)).then_some(&context);
        let what = || format!("{program:?}, {name}, {:?}: {}: {}", wanted.link, case.name, hex(&case.frame));
        let output = kernel.run(&case.frame, context).unwrap_or_else(|error| panic!("{}: {error:#}", what()));
        assert_eq!(output.verdict, kernel.pass(), "{}", what());
        assert_eq!(hex(&output.frame), hex(&expected), "{}", what());
        ran += 1;
    }
    assert!(ran > 0 || cases.len() == 1, "no frame was fit for a test run");
    kernel.counts().unwrap() == host.counts()
}

fn context(origin: Origin) -> SkBuff {
    match origin {
        Origin::Local => SkBuff::from_interface(0),
        Origin::Forwarded => SkBuff::from_interface(1),
    }
}
