//! Single behaviours of the loaded programs, each by a few test runs.

use std::os::fd::AsFd as _;

use aya_obj::generated::bpf_insn;
use qos_common::{
    abi::Counter,
    ds::Dscp,
    inside::Inside,
    locate::Link,
    policy::{Local, Table},
};
use qos_vectors::frame::{self, Ipv4, Ipv6, ether_type, protocol};
use qosbpf::{
    hook::Direction,
    kernel::{
        object::{Program, Specialisation},
        testrun::{Input, SkBuff, test_run},
    },
};
use qosbpf_tests::{
    bpf,
    features::Feature,
    kernel::{Kernel, programs},
    tables,
};

const INGRESS: Program = Program::Tc(Direction::Ingress);
const EGRESS: Program = Program::Tc(Direction::Egress);
const BOTH: Inside = Inside::PPPOE.and(Inside::MPLS);

fn remarking(table: Table, local: Local) -> Specialisation {
    Specialisation { table: Some(table), local, ..Specialisation::counting(Link::Ethernet) }
}

fn ipv4(ds: u8, payload: &[u8]) -> Vec<u8> {
    frame::ethernet(&[], ether_type::IPV4, &Ipv4 { ds, ..Ipv4::default() }.packet(payload))
}

fn ipv6(ds: u8, payload: &[u8]) -> Vec<u8> {
    frame::ethernet(&[], ether_type::IPV6, &Ipv6 { ds, flow_label: 0xf_edcb, ..Ipv6::default() }.packet(payload))
}

/// What is expected is made anew, with the checksum that belongs to it, and not rewritten.
#[test]
fn ecn_is_kept_in_every_ds_field() {
    let table = tables::permutation();
    for program in programs().unwrap() {
        let mut kernel = Kernel::load(program, &remarking(table, Local::Policy)).unwrap();
        for ds in 0..=255_u8 {
            let marked = table.bytes()[usize::from(ds >> 2)] << 2 | ds & 3;
            for make in [ipv4, ipv6] {
                let output = kernel.run(&make(ds, &frame::udp(b"ecn")), None).unwrap();
                assert_eq!(output.frame, make(marked, &frame::udp(b"ecn")), "{program:?}, DS field {ds:#04x}");
            }
        }
    }
}

/// The control shows that the kernel does look at the sum: it refuses a rewrite that does not tell it.
#[test]
fn the_sum_beside_an_ipv6_packet_stays_right() {
    let frame = ipv6(184, &frame::udp(b"summed"));
    if !Feature::ChecksumComplete.leaves_out("the sum beside an IPv6 packet").unwrap() {
        the_kernel_refuses_a_plain_write(&frame);
    }
    for program in [INGRESS, EGRESS] {
        let mut kernel = Kernel::load(program, &remarking(tables::wash(), Local::Policy)).unwrap();
        let output = kernel.run(&frame, None).unwrap();
        assert_eq!(output.frame, ipv6(0, &frame::udp(b"summed")), "{program:?}");
    }
}

fn the_kernel_refuses_a_plain_write(frame: &[u8]) {
    let plain = bpf::load_classifier(c"plain", &plain_write(15, 0x1f)).expect("these tests need root");
    let run = |checksum_complete| {
        let input = Input { frame, context: None, checksum_complete };
        test_run(plain.as_fd(), &input).map(|output| output.frame[15])
    };
    assert_eq!(run(false).unwrap(), 0x1f, "the control writes");
    assert_eq!(run(true).unwrap_err().raw_os_error(), Some(libc::EBADMSG));
}

/// A program that writes one byte of the packet and nothing else.
fn plain_write(offset: i16, byte: i32) -> Vec<bpf_insn> {
    let data = std::mem::offset_of!(SkBuff, data) as i16;
    let data_end = std::mem::offset_of!(SkBuff, data_end) as i16;
    vec![
        bpf::instruction(0x61, [2, 1], data, 0),                  // r2 = context.data
        bpf::instruction(0x61, [3, 1], data_end, 0),              // r3 = context.data_end
        bpf::instruction(0xbf, [4, 2], 0, 0),                     // r4 = r2
        bpf::instruction(0x07, [4, 0], 0, i32::from(offset) + 1), // r4 += offset + 1
        bpf::instruction(0x2d, [4, 3], 1, 0),                     // if r4 > r3: skip the write
        bpf::instruction(0x72, [2, 0], offset, byte),             // *(u8 *)(r2 + offset) = byte
        bpf::instruction(0xb7, [0, 0], 0, -1),                    // r0 = TC_ACT_UNSPEC
        bpf::instruction(0x95, [0, 0], 0, 0),                     // exit
    ]
}

/// Where the protocol field is compressed, the IP header begins at an odd offset, and the kernel's sum has its words
/// swapped.
#[test]
fn the_sum_beside_a_packet_inside_stays_right() {
    let (v4, v6) = (Ipv4 { ds: 184, ..Ipv4::default() }, Ipv6 { ds: 184, ..Ipv6::default() });
    let [v4, v6] = [v4.packet(&frame::udp(b"summed")), v6.packet(&frame::udp(b"summed"))];
    let session =
        |protocol: &[u8], packet| frame::ethernet(&[], ether_type::PPPOE_SESSION, &frame::session(protocol, packet));
    let labels = |packet| frame::ethernet(&[], ether_type::MPLS, &frame::labels(2, packet));
    let frames = [
        (session(&[0, 0x21], &v4), 22),
        (session(&[0x21], &v4), 21),
        (session(&[0, 0x57], &v6), 22),
        (session(&[0x57], &v6), 21),
        (labels(&v4), 22),
        (labels(&v6), 22),
    ];
    for program in [INGRESS, EGRESS] {
        let wanted = Specialisation { inside: BOTH, ..remarking(tables::wash(), Local::Policy) };
        let mut kernel = Kernel::load(program, &wanted).unwrap();
        for (frame, at) in &frames {
            let left = kernel.run(frame, None).unwrap().frame;
            let ds = if frame[*at] >> 4 == 4 { left[at + 1] } else { left[*at] << 4 | left[at + 1] >> 4 };
            assert_eq!(ds, 0, "{program:?}: {left:02x?}");
        }
        assert_eq!(kernel.counts().unwrap().after(Dscp::DF).packets, 6);
    }
}

/// A super-packet of 5 segments, the last with 500 bytes of payload, each with 14 + 20 + 32 bytes of headers.
#[test]
fn a_super_packet_counts_as_its_segments() {
    const HEADERS: u64 = 14 + 20 + 32;
    let (size, payload) = (600, 4 * 600 + 500);
    let header = Ipv4 { ds: 184, protocol: protocol::TCP, ..Ipv4::default() };
    let packet = header.packet(&frame::tcp(&[1; 12], &vec![0x42; payload]));
    let frame = frame::ethernet(&[], ether_type::IPV4, &packet);
    assert_eq!(frame.len() as u64, HEADERS + payload as u64);
    let on_wire = payload as u64 + 5 * HEADERS;
    // Another figure than ours, to tell who worked it out.
    let said = on_wire as u32 + 1;
    let cases = [
        ("ingress", INGRESS, SkBuff::super_packet(size, 5, 0), on_wire),
        ("ingress, segments not said", INGRESS, SkBuff::super_packet(size, 0, 0), on_wire),
        ("egress", EGRESS, SkBuff::super_packet(size, 5, said), said.into()),
        ("egress, segments not said", EGRESS, SkBuff::super_packet(size, 0, said), on_wire),
    ];
    for (name, program, context, bytes) in cases {
        let mut kernel = Kernel::load(program, &Specialisation::counting(Link::Ethernet)).unwrap();
        kernel.run(&frame, Some(&context)).unwrap();
        assert_eq!(kernel.counts().unwrap().before(Dscp::EF), Counter { packets: 5, bytes }, "{name}");
    }
}

/// Each segment has the headers before its payload again: those of the session or the labels, and of IP and TCP.
#[test]
fn a_super_packet_inside_counts_as_its_segments() {
    let packet = Ipv4 { ds: 184, protocol: protocol::TCP, ..Ipv4::default() }.packet(&frame::tcp(&[], &[0x42; 2500]));
    let session = frame::ethernet(&[], ether_type::PPPOE_SESSION, &frame::session(&[0, 0x21], &packet));
    let labels = frame::ethernet(&[], ether_type::MPLS, &frame::labels(3, &packet));
    for (frame, before) in [(session, 8), (labels, 12)] {
        let wanted = Specialisation { inside: BOTH, ..remarking(tables::wash(), Local::Policy) };
        let mut kernel = Kernel::load(INGRESS, &wanted).unwrap();
        kernel.run(&frame, Some(&SkBuff::super_packet(1000, 3, 0))).unwrap();
        let weight = Counter { packets: 3, bytes: 2500 + 3 * (14 + before + 20 + 20) };
        let counts = kernel.counts().unwrap();
        assert_eq!((counts.before(Dscp::EF), counts.after(Dscp::DF)), (weight, weight));
    }
}

#[test]
fn a_remarked_super_packet_is_as_many_in_the_matrix() {
    let frame = ipv6(184, &frame::udp(&[0x42; 2500]));
    let mut kernel = Kernel::load(INGRESS, &remarking(tables::wash(), Local::Policy)).unwrap();
    kernel.run(&frame, Some(&SkBuff::super_packet(1000, 3, 0))).unwrap();
    let counts = kernel.counts().unwrap();
    let weight = Counter { packets: 3, bytes: 2500 + 3 * (14 + 40 + 8) };
    assert_eq!(counts.remarked[Dscp::EF.index()][Dscp::DF.index()], weight);
    assert_eq!((counts.before(Dscp::EF), counts.after(Dscp::DF)), (weight, weight));
}

/// A program that writes to packets gets a prologue from the kernel, which drops a cloned packet of which it cannot make
/// a private copy. Whether there is one is the verifier's own answer to whether the program writes.
#[test]
fn a_program_that_only_counts_cannot_write_to_a_packet() {
    for program in [INGRESS, EGRESS] {
        for link in [Link::Ethernet, Link::Layer3] {
            let counting = instructions(program, &Specialisation::counting(link));
            assert!(!drops(&counting), "{program:?}, {link:?}: a prologue that drops");
            assert_eq!(narrow_stores(&counting), 0, "{program:?}, {link:?}");
            let identity = Specialisation { table: Some(Table::IDENTITY), ..Specialisation::counting(link) };
            assert!(!drops(&instructions(program, &identity)), "{program:?}, {link:?}: a table that changes nothing");

            let remarking = Specialisation { table: Some(tables::wash()), ..identity };
            let control = instructions(program, &remarking);
            assert!(drops(&control) && narrow_stores(&control) > 0, "{program:?}, {link:?}: the control");
        }
    }
}

#[test]
fn an_xdp_program_that_only_counts_has_no_packet_write() {
    for program in programs().unwrap().into_iter().filter(|program| !matches!(program, Program::Tc(_))) {
        let counting = Specialisation::counting(Link::Ethernet);
        assert_eq!(narrow_stores(&instructions(program, &counting)), 0, "{program:?}");
        let control = instructions(program, &remarking(tables::wash(), Local::Policy));
        assert!(narrow_stores(&control) > 0, "{program:?}: the control");
    }
}

fn instructions(program: Program, wanted: &Specialisation) -> Vec<bpf_insn> {
    let mut kernel = Kernel::load(program, wanted).unwrap();
    let loaded = kernel.loaded();
    let fd = match program {
        Program::Tc(_) => loaded.tc().unwrap().fd().unwrap(),
        _ => loaded.xdp().unwrap().fd().unwrap(),
    };
    bpf::translated(fd.as_fd()).unwrap()
}

/// Whether somewhere `TC_ACT_SHOT` (2) is returned: `w0 = 2; exit`, which our programs never do.
fn drops(instructions: &[bpf_insn]) -> bool {
    instructions.windows(2).any(|pair| {
        let shot = matches!(pair[0].code, 0xb4 | 0xb7) && pair[0].dst_reg() == 0 && pair[0].imm == 2;
        shot && pair[1].code == 0x95
    })
}

/// Stores of 1 and 2 bytes, which is how packets are written, anywhere but to the stack; counters are stores of 8.
fn narrow_stores(instructions: &[bpf_insn]) -> usize {
    const FRAME_POINTER: u8 = 10;
    let narrow = |code| matches!(code, 0x6a | 0x6b | 0x72 | 0x73);
    instructions.iter().filter(|insn| narrow(insn.code) && insn.dst_reg() != FRAME_POINTER).count()
}

/// Routers talk to each other in CS6: what this host itself sends in it is kept, what it forwards is not.
#[test]
fn network_control_of_this_host_is_protected_at_egress() {
    let kept = Counter { packets: 1, bytes: ipv4(0xc0, &frame::udp(b"bgp")).len() as u64 };
    let none = Counter::default();
    for (program, from, local, protected, ds) in [
        (EGRESS, 0, Local::KeepControl, kept, 0xc0),
        (EGRESS, 7, Local::KeepControl, none, 0),
        (EGRESS, 0, Local::Policy, none, 0),
        (EGRESS, 0, Local::Keep, kept, 0xc0),
        (INGRESS, 0, Local::KeepControl, none, 0),
    ] {
        if from != 0 && Feature::IngressInterface.leaves_out("a forwarded packet in CS6 at egress").unwrap() {
            continue;
        }
        let what = format!("{program:?}, from interface {from}, {local:?}");
        let mut kernel = Kernel::load(program, &remarking(tables::wash(), local)).unwrap();
        let output = kernel.run(&ipv4(0xc0, &frame::udp(b"bgp")), Some(&SkBuff::from_interface(from))).unwrap();
        assert_eq!(output.frame, ipv4(ds, &frame::udp(b"bgp")), "{what}");
        let counts = kernel.counts().unwrap();
        assert_eq!(counts.sums.protected, protected, "{what}");
        assert_eq!(counts.remarked[Dscp::CS6.index()][Dscp::DF.index()].packets, 1 - protected.packets, "{what}");
    }
}

/// Only CS6 and CS7 are, unless all of this host's packets are to be kept.
#[test]
fn other_marks_of_this_host_are_remarked_unless_all_are_kept() {
    for (local, ds) in [(Local::KeepControl, 0), (Local::Keep, 184)] {
        let mut kernel = Kernel::load(EGRESS, &remarking(tables::wash(), local)).unwrap();
        let output = kernel.run(&ipv4(184, &frame::udp(b"call")), Some(&SkBuff::from_interface(0))).unwrap();
        assert_eq!(output.frame, ipv4(ds, &frame::udp(b"call")), "{local:?}");
    }
}
