//! What one packet takes on the default path: instructions, accesses to the stack, look-ups, calls of the kernel.

use std::collections::BTreeMap;

use anyhow::ensure;
use qos_common::{locate::Link, policy::Local};
use qos_vectors::frame::{Ipv4, Ipv6, ether_type, ethernet, protocol, tcp, udp};
use qosbpf::{
    hook::Direction,
    kernel::object::{Program, Specialisation},
};
use qosbpf_tests::{
    tables,
    walk::{Context, INGRESS_IFINDEX, Walk, Walker},
};

/// Words of `struct __sk_buff` (`include/uapi/linux/bpf.h`).
const WIRE_LEN: usize = 160;
pub(super) const GSO_SEGS: usize = 164;
pub(super) const GSO_SIZE: usize = 176;

/// A forwarded packet, and one of two segments.
pub const PLAIN: Context<'_> = Context::Skb(&[(INGRESS_IFINDEX, 1)]);
const SUPER: Context<'_> = Context::Skb(&[(INGRESS_IFINDEX, 1), (GSO_SEGS, 2), (GSO_SIZE, 1400), (WIRE_LEN, 2908)]);

const EF: u8 = 184;

/// Hundredths of the record that the instructions may have: the compiler is a nightly.
const ALLOWED: u32 = 103;

/// All packets through all programs of the default path.
pub fn measure() -> anyhow::Result<BTreeMap<String, Walk>> {
    let mut walks = BTreeMap::new();
    for program in [Program::Xdp, Program::Tc(Direction::Ingress), Program::Tc(Direction::Egress)] {
        for (kind, table) in [("counting", None), ("remarking", Some(tables::wash()))] {
            let counting = Specialisation::counting(Link::Ethernet);
            let wanted = Specialisation { table, local: Local::KeepControl, ..counting };
            let mut walker = Walker::of(program.name(), &wanted)?;
            for (name, frame, context) in frames(program) {
                let mut packet = frame.clone();
                let walk = walker.run(&mut packet, context)?;
                ensure!(
                    (packet != frame) == table.is_some(),
                    "{} {kind}: {name} is not what it should be",
                    program.name()
                );
                walks.insert(format!("{} {kind}, {name}", program.name()), walk);
            }
        }
    }
    Ok(walks)
}

fn frames(program: Program) -> Vec<(&'static str, Vec<u8>, Context<'static>)> {
    let plain = if matches!(program, Program::Tc(_)) { PLAIN } else { Context::Xdp };
    let (header4, header6) = (Ipv4 { ds: EF, ..Ipv4::default() }, Ipv6 { ds: EF, ..Ipv6::default() });
    let (ipv4, ipv6) = (header4.packet(&udp(&[0; 18])), header6.packet(&udp(&[0; 18])));
    let mut frames = vec![
        ("IPv4", ethernet(&[], ether_type::IPV4, &ipv4), plain),
        ("IPv6", ethernet(&[], ether_type::IPV6, &ipv6), plain),
        ("IPv4 with a tag", ethernet(&[(ether_type::TAG, 100)], ether_type::IPV4, &ipv4), plain),
    ];
    if matches!(program, Program::Tc(_)) {
        let segments = tcp(&[], &[0; 2800]);
        let ipv4 = Ipv4 { protocol: protocol::TCP, ..header4 }.packet(&segments);
        let ipv6 = Ipv6 { next: protocol::TCP, ..header6 }.packet(&segments);
        frames.push(("IPv4 of 2 segments", ethernet(&[], ether_type::IPV4, &ipv4), SUPER));
        frames.push(("IPv6 of 2 segments", ethernet(&[], ether_type::IPV6, &ipv6), SUPER));
    }
    frames
}

/// Look-ups and calls have to be those of the record, and of the rest no more.
pub fn compare(now: &BTreeMap<String, Walk>, recorded: &BTreeMap<String, Walk>) -> anyhow::Result<()> {
    ensure!(now.keys().eq(recorded.keys()) && !now.is_empty(), "other packets than in the record: record it anew");
    let dear: Vec<String> = now
        .iter()
        .map(|(name, walk)| (name, walk, &recorded[name]))
        .filter(|(_, now, then)| !keeps_to(now, then))
        .map(|(name, now, then)| format!("{name}: {now:?}, recorded {then:?}"))
        .collect();
    ensure!(
        dear.is_empty(),
        "a packet takes more than recorded; if it is worth it, QOSBPF_RECORD=1:\n{}",
        dear.join("\n")
    );
    Ok(())
}

fn keeps_to(now: &Walk, recorded: &Walk) -> bool {
    let within = |now: u32, recorded: u32| now * 100 <= recorded * ALLOWED;
    within(now.instructions, recorded.instructions)
        && now.loads <= recorded.loads + 1
        && now.stores <= recorded.stores + 1
        && (now.lookups, &now.calls) == (recorded.lookups, &recorded.calls)
}

#[test]
fn a_packet_that_takes_more_is_found() {
    let walk = |instructions, lookups| Walk { instructions, lookups, ..Walk::default() };
    let one = |walk| BTreeMap::from([("packet".to_owned(), walk)]);
    assert!(compare(&one(walk(103, 1)), &one(walk(100, 1))).is_ok());
    assert!(compare(&one(walk(104, 1)), &one(walk(100, 1))).is_err());
    assert!(compare(&one(walk(100, 2)), &one(walk(100, 1))).is_err());
    assert!(compare(&BTreeMap::new(), &one(walk(100, 1))).is_err());
}
