//! The whole data path.

use core::hint;

use crate::{
    abi::{Counter, Counters, RemarkedHalf, Uncounted},
    classify::Rules,
    condition::{Case, HandOver},
    ds::{DsField, Dscp},
    gso::Length,
    inside::{self, Inside},
    locate::{Header, Link, Located, locate},
    packet::Packet,
    policy::{Decision, Entry, Local, Origin, Verdict, Wanted},
    remark::remark,
    rules::Constant,
    tunnel,
};

/// What the hook knows of a packet beside its bytes.
pub trait Frame {
    /// How many tags the kernel has moved into packet metadata: 0 or 1.
    fn stripped_tags(&self) -> usize;

    /// How long it is, and whether it is a super-packet.
    fn length(&self) -> Length;

    /// Where it came from.
    fn origin(&self) -> Origin;

    /// Whether the kernel has noted MPLS beside a packet without a link header (RFC 3032): a label may begin like IP.
    #[inline(always)]
    fn is_mpls(&self) -> bool {
        false
    }

    /// The tag that the kernel has moved into packet metadata.
    fn tag(&self) -> Option<u16> {
        None
    }

    /// The skb mark; 0 where there is none.
    fn mark(&self) -> u32 {
        0
    }

    /// The interface that it came in by, at egress; 0 for what this host made.
    fn from(&self) -> u32 {
        0
    }

    /// Gives the packet a priority and bits of a mark, where the hook has such.
    fn hand_over(&self, _what: HandOver) {}

    /// Asks the kernel anew from here on, for the reason of [`Packet::renew`].
    fn renew(&self) {}
}

/// The counters of a hook and what it is specialised for.
pub trait Tables: Rules {
    /// What precedes the IP header on the device.
    fn link(&self) -> Link;

    /// Behind which headers to look for IP.
    #[inline(always)]
    fn inside(&self) -> Inside {
        Inside::NOTHING
    }

    /// Whether the table or a rule may change a mark; `false` leaves nothing in the program that writes to a packet.
    fn remarks(&self) -> bool;

    /// What the table makes of a codepoint, and whether rules are asked first.
    fn entry(&self, dscp: Dscp) -> Entry;

    /// Which of this host's own packets the policy spares.
    fn local(&self) -> Local;

    /// Whether outer headers that this host has made are marked by what is inside.
    #[inline(always)]
    fn marks_outer(&self) -> bool {
        false
    }

    /// What such an outer header gets where the inner one has this codepoint.
    #[inline(always)]
    fn outer(&self, inner: Dscp) -> Dscp {
        inner
    }

    /// The jiffy that it is.
    fn now(&self) -> u64;

    /// This CPU's counters.
    fn counters(&mut self) -> Option<&mut Counters>;

    /// This CPU's half of the remark matrix that has `from`.
    fn remarked(&mut self, from: Dscp) -> Option<&mut RemarkedHalf>;
}

/// What has become of a packet. It passes on, unless a policy said `drop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Counted among the frames that are not IP, or not usable, and untouched.
    Uncounted(Uncounted),
    /// Counted as it came; then this was decided and, if it was a new mark, done.
    Counted(DsField, Decision),
    /// The counters are out of reach, so nothing was done.
    Untouched,
}

impl Outcome {
    /// Whether the packet goes no further.
    #[inline(always)]
    #[must_use]
    pub fn drops(&self) -> bool {
        matches!(self, Self::Counted(_, Decision::Drop))
    }
}

/// Counts, decides and remarks one packet.
///
/// One counter is updated for a packet that stays as it is, two for one whose mark has really been changed: `changed`
/// first, then the matrix. A reader who takes the matrix first never sees more leave than came.
///
/// ```
/// use qos_common::{
///     abi::{Counters, RemarkedHalf},
///     classify::Rules,
///     ds::{DsField, Dscp},
///     gso::Length,
///     locate::Link,
///     policy::{Decision, Entry, Local, Origin},
///     process::{Frame, Outcome, Tables, process},
/// };
///
/// struct Received(u32);
///
/// impl Frame for Received {
///     fn stripped_tags(&self) -> usize { 0 }
///     fn length(&self) -> Length { Length::single(self.0) }
///     fn origin(&self) -> Origin { Origin::Forwarded }
/// }
///
/// /// Sends everything to DF, on a device without a link header.
/// struct Wash { counters: Counters, remarked: [RemarkedHalf; 2] }
///
/// impl Rules for Wash {}
///
/// impl Tables for Wash {
///     fn link(&self) -> Link { Link::Layer3 }
///     fn remarks(&self) -> bool { true }
///     fn entry(&self, _from: Dscp) -> Entry { Entry::new(Dscp::DF.value()) }
///     fn local(&self) -> Local { Local::KeepControl }
///     fn now(&self) -> u64 { 0 }
///     fn counters(&mut self) -> Option<&mut Counters> { Some(&mut self.counters) }
///     fn remarked(&mut self, from: Dscp) -> Option<&mut RemarkedHalf> {
///         self.remarked.get_mut(RemarkedHalf::of(from) as usize)
///     }
/// }
///
/// let mut wash = Wash { counters: Counters::ZERO, remarked: [RemarkedHalf::ZERO, RemarkedHalf::ZERO] };
/// let mut packet = [0; 40];
/// packet[..2].copy_from_slice(&[0x6b, 0xa0]); // IPv6, EF, ECT(0)
///
/// let outcome = process(&mut packet[..], &Received(40), &mut wash);
///
/// assert_eq!(outcome, Outcome::Counted(DsField::new(0xba), Decision::Remark(Dscp::DF)));
/// assert_eq!(packet[..2], [0x60, 0x20]); // ECT(0) stays
/// assert_eq!(wash.counters.changed[1][0xba].packets, 1);
/// assert_eq!(wash.remarked[1].cell_mut(Dscp::EF, Dscp::DF).bytes, 40);
/// ```
#[inline(always)]
pub fn process<P: Packet + ?Sized, F: Frame, T: Tables>(packet: &mut P, frame: &F, tables: &mut T) -> Outcome {
    let header = match outermost(packet, frame, tables) {
        Located::Ip(header) if tables.inside().is_nothing() && !tables.marks_outer() => header,
        // It may be at so many offsets that the verifier would go on from each with all that follows.
        Located::Ip(header) => {
            packet.renew();
            frame.renew();
            header.settled(tables)
        }
        Located::NotIp => return uncounted(Uncounted::NotIp, frame, tables),
        Located::Malformed => return uncounted(Uncounted::Malformed, frame, tables),
    };
    let (ds, now) = (header.ds, tables.now());
    let weight = frame.length().weigh(packet, &header);
    let entry = tables.entry(ds.dscp());
    if tables.constant(Constant::Words) != 0 && entry.asks_rules() {
        // A way of its own to the end, so that the other one is what it would be if there were no rules.
        hint::cold_path();
        let (header, weight) = (header.settled(tables), settled(weight, tables));
        packet.renew();
        frame.renew();
        let seen = Seen { header, weight, now };
        let decision = Case { packet: &*packet, header: &header, frame, weight, now }.decision(entry, tables);
        return conclude(packet, &seen, decision, tables);
    }
    if let Some(inner) = carried(packet, &header, frame, tables) {
        packet.renew();
        frame.renew();
        // Of these the table is not asked, as of those on which a rule decides.
        if let Some(counters) = tables.counters() {
            counters.ruled_mut(ds.dscp()).add(weight);
        }
        let decision = by_inner(inner, tables).decide(ds, || frame.origin());
        return conclude(packet, &Seen { header, weight, now }, decision, tables);
    }
    let by_table = Wanted { verdict: Verdict::mark(entry.target()), local: tables.local() };
    let decision = if tables.remarks() { by_table.decide(ds, || frame.origin()) } else { Decision::Keep };
    conclude(packet, &Seen { header, weight, now }, decision, tables)
}

/// The codepoint inside a packet that this host has encapsulated, where the policy asks and it can be seen.
#[inline(always)]
pub(crate) fn carried<P: Packet + ?Sized, F: Frame, T: Tables>(
    packet: &P,
    header: &Header,
    frame: &F,
    tables: &T,
) -> Option<Dscp> {
    const NONE: u32 = Dscp::COUNT as u32;
    if !tables.marks_outer() || frame.origin() != Origin::Local {
        return None;
    }
    let found = tunnel::inner(packet, header).map_or(NONE, |dscp| dscp.value().into());
    let [found] = tables.settle([found]);
    Dscp::new(found as u8)
}

/// What an outer header becomes. The policy speaks of this host's own packets there, so `local` spares none.
#[inline(always)]
pub(crate) fn by_inner<T: Tables>(inner: Dscp, tables: &T) -> Wanted {
    Wanted { verdict: Verdict::mark(tables.outer(inner)), local: Local::Policy }
}

/// Finds the IP header, as far inside as this hook looks.
#[inline(always)]
fn outermost<P: Packet + ?Sized, F: Frame, T: Tables>(packet: &P, frame: &F, tables: &T) -> Located {
    let (link, inside) = (tables.link(), tables.inside());
    match (link, inside) {
        (Link::Layer3, _) if frame.is_mpls() && inside.has(Inside::MPLS) => inside::behind_labels(packet, 0),
        (Link::Layer3, _) if frame.is_mpls() => Located::NotIp,
        (_, Inside::NOTHING) => locate(packet, link, frame.stripped_tags()),
        _ => inside::locate(packet, link, inside, frame.stripped_tags()),
    }
}

/// The same, of which the verifier knows nothing: of a super-packet it would go on with many. No packet has 2^32 bytes.
#[inline(always)]
fn settled<T: Tables>(weight: Counter, tables: &T) -> Counter {
    let [packets, bytes] = tables.settle([weight.packets as u32, weight.bytes as u32]);
    Counter { packets: packets.into(), bytes: bytes.into() }
}

/// An IP packet: where its header is, what it weighs, and when it came.
struct Seen {
    header: Header,
    weight: Counter,
    now: u64,
}

/// Does and counts what was decided.
#[inline(always)]
fn conclude<P: Packet + ?Sized, T: Tables>(packet: &mut P, seen: &Seen, decision: Decision, tables: &mut T) -> Outcome {
    let Seen { header, weight, now } = *seen;
    let (ds, remarks) = (header.ds, tables.remarks());
    let Some(counters) = tables.counters() else {
        return Outcome::Untouched;
    };
    counters.last = now;
    match decision {
        Decision::Remark(dscp) if remarks && remark(packet, &header, dscp).is_some() => {
            counters.changed_mut(header.family, ds).add(weight);
            if let Some(half) = tables.remarked(ds.dscp()) {
                half.cell_mut(ds.dscp(), dscp).add(weight);
            }
        }
        Decision::Drop => {
            counters.changed_mut(header.family, ds).add(weight);
            counters.dropped_mut(ds.dscp()).add(weight);
        }
        Decision::Protected => {
            counters.kept_mut(header.family, ds).add(weight);
            counters.protected.add(weight);
        }
        Decision::Keep | Decision::Remark(_) => counters.kept_mut(header.family, ds).add(weight),
    }
    Outcome::Counted(ds, decision)
}

#[inline(always)]
fn uncounted<F: Frame, T: Tables>(reason: Uncounted, frame: &F, tables: &mut T) -> Outcome {
    let now = tables.now();
    let Some(counters) = tables.counters() else {
        return Outcome::Untouched;
    };
    counters.last = now;
    counters.uncounted_mut(reason).add(frame.length().opaque());
    Outcome::Uncounted(reason)
}
