//! Any frame, super-packets too, at a hook that does all there is: rules that look at every field, meters, a log, and a table
//! for outer headers. It is counted once, by what it weighs, and no more of it changes than a mark and a checksum.
//!
//! ```text
//! 0      bit 0: layer 3   bit 1: a tag in metadata   bit 2: made by this host   bit 3: a super-packet
//!        bit 4: the kernel knows its bytes on the wire   bit 5: marks outer headers   bits 6, 7: what it looks behind
//! 1, 2   bytes of payload in each segment     3  segments     4  the skb mark     5..7  the tag
//! 7..    the frame
//! ```

use std::cell::RefCell;

use qos_common::{
    abi::Counter,
    gso::{Gso, Length},
    inside::Inside,
    locate::Link,
    policy::Origin,
    process::Outcome,
};
use qos_vectors::{
    contract::table,
    hook::{Arrival, Hook},
};
use qosbpf::{
    hook::Direction,
    policy::{self, Source},
};

use crate::bound::Bound;

/// Every field, and everything that a rule does.
const POLICY: &str = r#"version = 1
name = "all"
[interface.wan0]
egress = "t"
local = "policy"
[remark.t]
EF = "AF41"
other = "keep"
[[rule]]
name = "counted and logged"
on = "wan0:egress"
match = { length = "0-40", fragment = "no" }
count = true
log = "1/s"
[[rule]]
name = "by every field"
on = "wan0:egress"
match = { proto = ["udp", "tcp"], src-not = "192.0.2.0/24", dst = ["10.0.0.0/8", "2001:db8::/32"], src-port = "1-1023" }
set = "AF31"
[[rule]]
name = "by either port and the tag"
on = "wan0:egress"
match = { port-not = 53, pcp = 5, mark = "0x10/0xf0" }
drop = true
[[rule]]
name = "by type"
on = "wan0:egress"
match = { icmp-type = [8, 128], vlan-not = 7 }
set = "CS1"
[[rule]]
name = "later fragments"
on = "wan0:egress"
match = { fragment = "later", family = "ipv6" }
set = "LE"
[[rule]]
name = "metered"
on = "wan0:egress"
match = { dscp = ["EF", "AF41"], dst-port-not = 5060 }
meter = { type = "trtcm", cir = "1mbit", cbs = "2kB", pir = "2mbit", pbs = "2kB", overhead = 24 }
green = "keep"
yellow = "AF42"
red = "drop"
"#;

/// What an outer header becomes: something else than what it is, whatever is inside.
const ENTRIES: [u8; 64] = [10; 64];

thread_local! {
    static HOOK: RefCell<Hook> = RefCell::new(ready());
}

fn ready() -> Hook {
    let source = Source::new("policy.toml", POLICY.as_bytes().to_vec()).expect("a text");
    let policy = policy::parse(&source).unwrap_or_else(|report| panic!("{}", report.render(false)));
    Bound::of(&policy, "wan0", Direction::Egress).hook().expect("few rules")
}

pub fn hold(input: &[u8]) {
    let Some((head, frame)) = input.split_first_chunk() else { return };
    let mut hook = HOOK.with_borrow(Clone::clone);
    let flags = head[0];
    hook.link = if flags & 1 == 0 { Link::Ethernet } else { Link::Layer3 };
    hook.inside = Inside::from_bits(flags >> 6);
    hook.outer = (flags & 32 != 0).then(|| table(&ENTRIES));
    is_counted_once(&mut hook, &arrival(head, frame.len()), frame);
}

fn arrival(head: &[u8; 7], bytes: usize) -> Arrival {
    let [flags, size, more, segments, mark, tag, id] = *head;
    let has = |bit: u8| flags >> bit & 1 == 1;
    let mut arrival = Arrival::single(bytes, usize::from(has(1)));
    arrival.mark = mark.into();
    arrival.tag = has(1).then_some(u16::from_be_bytes([tag, id]));
    arrival.origin = if has(2) { Origin::Local } else { Origin::Forwarded };
    let size = u32::from(u16::from_le_bytes([size, more])).max(1);
    let gso = has(3).then_some(Gso { size, segments: segments.into() });
    let wire = (has(3) && has(4)).then_some(bytes as u32 + 54 * u32::from(segments));
    arrival.length = Length { gso, wire, ..arrival.length };
    arrival
}

/// As many packets as the kernel knows of segments, and their bytes on the wire where it knows them; what is not IP is one
/// where it knows none.
fn weighs(outcome: Outcome, length: &Length, packets: u64, bytes: u64) {
    let alone = u64::from(length.bytes) + u64::from(length.stripped);
    match (outcome, length.gso, length.wire) {
        (Outcome::Uncounted(_), Some(Gso { segments: 0, .. }), _) | (_, None, _) => {
            assert_eq!((packets, bytes), (1, alone), "{outcome:?}");
        }
        (_, Some(Gso { segments: segments @ 1.., .. }), wire) => {
            assert_eq!(packets, u64::from(segments), "{outcome:?}");
            let tags = packets * u64::from(length.stripped);
            let known = wire.map(|wire| u64::from(wire) + tags);
            assert!(known.map_or(bytes >= alone, |known| known == bytes), "{outcome:?}: {bytes} bytes of {length:?}");
        }
        (_, Some(Gso { size, .. }), _) => {
            let most = u64::from(length.bytes.div_ceil(size.max(1))).max(1);
            assert!((1..=most).contains(&packets) && bytes >= alone, "{outcome:?}: {packets} of {length:?}");
        }
    }
}

fn is_counted_once(hook: &mut Hook, arrival: &Arrival, frame: &[u8]) {
    let mut after = frame.to_vec();
    let outcome = hook.receive(&mut after[..], arrival);
    let counters = hook.counters.as_ref().expect("they are within reach");
    let ds = counters.kept.iter().chain(&counters.changed).flatten();
    let counted: Vec<Counter> = ds.chain(&counters.uncounted).filter(|counter| counter.packets > 0).copied().collect();
    let [Counter { packets, bytes }] = counted[..] else { panic!("{outcome:?} counted as {counted:?}") };
    weighs(outcome, &arrival.length, packets, bytes);
    let changed: Vec<usize> = (0..frame.len()).filter(|at| frame[*at] != after[*at]).collect();
    // In IPv4 the byte of the mark and two of the checksum, nine bytes behind it; in IPv6 two bytes.
    let span = changed.last().zip(changed.first()).map_or(0, |(last, first)| last - first);
    assert!(changed.len() <= 3 && span <= 10, "{outcome:?} changed {changed:?}");
    let remarked: u64 = hook.remarked.iter().flat_map(|half| half.0.iter().flatten()).map(|cell| cell.packets).sum();
    assert_eq!(remarked > 0, !changed.is_empty(), "{outcome:?} changed {changed:?}");
}
