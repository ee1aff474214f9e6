//! The whole data path.

use core::hint;

use network_types::eth::EthHdr;

use crate::{
    abi::{Counter, Counters, RemarkedHalf, Uncounted},
    classify::Rules,
    condition::{Case, HandOver},
    ds::{DsField, Dscp},
    gso::Length,
    inside::{self, Inside},
    locate::{Family, Header, Link, Located, locate},
    packet::Packet,
    policy::{Decision, Entry, Local, Origin, Verdict, Wanted},
    remark::remark,
};

/// What the hook knows of a packet beside its bytes.
pub trait Frame {
    /// Whether a packet may be a super-packet (GSO) at this hook.
    const MAY_BE_SUPER: bool = true;

    /// How many tags the kernel has moved into packet metadata: 0 or 1.
    fn stripped_tags(&self) -> usize;

    /// How long it is, and whether it is a super-packet.
    fn length(&self) -> Length;

    /// Where it came from.
    fn origin(&self) -> Origin;

    /// Whether a packet may be this host's own at this hook.
    #[inline(always)]
    fn may_be_local(&self) -> bool {
        true
    }

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

/// What a program is specialised for when it is loaded.
pub trait Constants: Copy {
    /// What precedes the IP header on the device.
    fn link(self) -> Link;

    /// Behind which headers to look for IP.
    #[inline(always)]
    fn inside(self) -> Inside {
        Inside::NOTHING
    }

    /// Whether the table or a rule may change a mark; `false` leaves nothing in the program that writes to a packet.
    fn remarks(self) -> bool;

    /// Whether there are rules; `false` leaves nothing of them in the program.
    fn has_rules(self) -> bool;

    /// What the table makes of a codepoint, and whether rules are asked first.
    fn entry(self, dscp: Dscp) -> Entry;

    /// Which of this host's own packets the policy spares.
    fn local(self) -> Local;

    /// Whether the program has nothing but the table.
    #[inline(always)]
    fn is_table_alone(self) -> bool {
        !self.has_rules() && !self.marks_outer() && self.inside().is_nothing()
    }

    /// Whether outer headers that this host has made are marked by what is inside; `false` leaves nothing of it in the
    /// program.
    #[inline(always)]
    fn marks_outer(self) -> bool {
        false
    }

    /// What such an outer header becomes where the inner one has this codepoint.
    #[inline(always)]
    fn outer(self, inner: Dscp) -> Dscp {
        inner
    }
}

/// The counters of a hook and its constants.
pub trait Tables: Rules {
    /// What [`constants`](Self::constants) gives.
    type Constants: Constants;

    /// What the program is specialised for.
    fn constants(&self) -> Self::Constants;

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
    /// Counted as it came; then this was decided and, if it was a new mark, done. Never [`Decision::Drop`]: the verdict of
    /// a program must not be in a register that has no value on some ways.
    Counted(DsField, Decision),
    /// Counted as it came, and goes no further.
    Dropped(DsField),
    /// The counters are out of reach, so nothing was done.
    Untouched,
}

impl Outcome {
    /// Of a packet that was counted.
    #[inline(always)]
    const fn of(ds: DsField, decision: Decision) -> Self {
        if matches!(decision, Decision::Drop) { Self::Dropped(ds) } else { Self::Counted(ds, decision) }
    }

    /// The DS field as it came, and what was decided, of a packet that was counted by it.
    #[must_use]
    pub const fn decided(self) -> Option<(DsField, Decision)> {
        match self {
            Self::Counted(ds, decision) => Some((ds, decision)),
            Self::Dropped(ds) => Some((ds, Decision::Drop)),
            Self::Uncounted(_) | Self::Untouched => None,
        }
    }

    /// Whether the packet goes no further.
    #[inline(always)]
    #[must_use]
    pub fn drops(&self) -> bool {
        matches!(self, Self::Dropped(_))
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
///     process::{Constants, Frame, Outcome, Tables, process},
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
/// #[derive(Clone, Copy)]
/// struct ToDf;
///
/// impl Constants for ToDf {
///     fn link(self) -> Link { Link::Layer3 }
///     fn remarks(self) -> bool { true }
///     fn has_rules(self) -> bool { false }
///     fn entry(self, _from: Dscp) -> Entry { Entry::new(Dscp::DF.value()) }
///     fn local(self) -> Local { Local::KeepControl }
/// }
///
/// impl Tables for Wash {
///     type Constants = ToDf;
///
///     fn constants(&self) -> ToDf { ToDf }
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
    let constants = tables.constants();
    if constants.is_table_alone() {
        return by_table_alone(packet, frame, tables);
    }
    let header = match outermost(packet, frame, constants) {
        Located::Ip(header) if constants.inside().is_nothing() && !constants.marks_outer() => header,
        // It may be at so many offsets that the verifier would go on from each with all that follows.
        Located::Ip(header) => {
            packet.renew();
            frame.renew();
            header.settled(tables)
        }
        Located::NotIp => return uncounted(Uncounted::NotIp, frame, count_on(tables)),
        Located::Malformed => return uncounted(Uncounted::Malformed, frame, count_on(tables)),
    };
    if constants.marks_outer() || (constants.has_rules() && constants.entry(header.ds.dscp()).asks_rules()) {
        // A way of its own to the end, so that the other one is what it would be if there were no rules.
        hint::cold_path();
        return by_more_than_the_table(packet, header, frame, tables);
    }
    let Some(counters) = count_on(tables) else {
        return Outcome::Untouched;
    };
    by_table(packet, header, frame, constants, counters).noted(tables)
}

/// For programs that have nothing but the table. The counters come first: what is known before a call of the kernel is kept
/// in memory over it. Then each family has two ways of its own to the end, right behind the Ethernet header and elsewhere, on
/// which nothing that is known is asked again: the four look alike, and to the compiler they are not.
#[inline(always)]
fn by_table_alone<P: Packet + ?Sized, F: Frame, T: Tables>(packet: &mut P, frame: &F, tables: &mut T) -> Outcome {
    let constants = tables.constants();
    let Some(counters) = count_on(tables) else {
        return Outcome::Untouched;
    };
    let Header { family, offset, ds } = match outermost(packet, frame, constants) {
        Located::Ip(header) => header,
        Located::NotIp => return uncounted(Uncounted::NotIp, frame, Some(counters)),
        Located::Malformed => return uncounted(Uncounted::Malformed, frame, Some(counters)),
    };
    match (family, offset) {
        (family @ Family::V4, offset @ EthHdr::LEN) => {
            by_table(packet, Header { family, offset, ds }, frame, constants, counters).noted(tables)
        }
        (family @ Family::V6, offset @ EthHdr::LEN) => {
            by_table(packet, Header { family, offset, ds }, frame, constants, counters).noted(tables)
        }
        (family @ Family::V4, offset) => {
            by_table(packet, Header { family, offset, ds }, frame, constants, counters).noted(tables)
        }
        (family @ Family::V6, offset) => {
            by_table(packet, Header { family, offset, ds }, frame, constants, counters).noted(tables)
        }
    }
}

/// Does and counts what the table says.
#[inline(always)]
fn by_table<P, F, C>(packet: &mut P, header: Header, frame: &F, constants: C, counters: &mut Counters) -> Concluded
where
    P: Packet + ?Sized,
    F: Frame,
    C: Constants,
{
    let ds = header.ds;
    // Weighed in two places, or what only counts would have the registers of what remarks.
    if !constants.remarks() {
        let weight = frame.length().weigh(packet, &header);
        counters.kept_mut(header.family, ds).add(weight);
        return Concluded { seen: Seen { header, weight }, decision: Decision::Keep, marked: None };
    }
    let seen = Seen { header, weight: frame.length().weigh(packet, &header) };
    let local = if frame.may_be_local() { constants.local() } else { Local::Policy };
    let by_table = Wanted { verdict: Verdict::mark(constants.entry(ds.dscp()).target()), local };
    let decision = by_table.decide(ds, || frame.origin());
    let marked = seen.conclude(packet, decision, true, counters);
    Concluded { seen, decision, marked }
}

/// Finds the IP header, as far inside as this hook looks.
#[inline(always)]
fn outermost<P: Packet + ?Sized, F: Frame, C: Constants>(packet: &P, frame: &F, constants: C) -> Located {
    let (link, inside) = (constants.link(), constants.inside());
    match (link, inside) {
        (Link::Layer3, _) if frame.is_mpls() && inside.has(Inside::MPLS) => inside::behind_labels(packet, 0),
        (Link::Layer3, _) if frame.is_mpls() => Located::NotIp,
        (_, Inside::NOTHING) => locate(packet, link, frame.stripped_tags()),
        _ => inside::locate(packet, link, inside, frame.stripped_tags()),
    }
}

/// For codepoints that a rule may match, and where outer headers are marked by what is inside.
#[inline(always)]
fn by_more_than_the_table<P, F, T>(packet: &mut P, header: Header, frame: &F, tables: &mut T) -> Outcome
where
    P: Packet + ?Sized,
    F: Frame,
    T: Tables,
{
    let constants = tables.constants();
    let entry = constants.entry(header.ds.dscp());
    let weight = settled::<F, T>(frame.length().weigh(packet, &header), tables);
    let (header, now) = (header.settled(tables), tables.now());
    packet.renew();
    frame.renew();
    let (decision, decided) = Case { packet: &*packet, header: &header, frame, weight, now }.decision(entry, tables);
    if constants.marks_outer() {
        packet.renew();
    }
    let seen = Seen { header, weight };
    let Some(counters) = count_on(tables) else {
        return Outcome::Untouched;
    };
    if decided {
        counters.ruled_mut(header.ds.dscp()).add(weight);
    }
    let marked = seen.conclude(packet, decision, constants.remarks(), counters);
    Concluded { seen, decision, marked }.noted(tables)
}

/// The same, of which the verifier knows nothing: of a super-packet it would go on with many. No packet has 2^32 bytes.
#[inline(always)]
fn settled<F: Frame, T: Tables>(weight: Counter, tables: &T) -> Counter {
    if !F::MAY_BE_SUPER {
        return weight;
    }
    let [packets, bytes] = tables.settle([weight.packets as u32, weight.bytes as u32]);
    Counter { packets: packets.into(), bytes: bytes.into() }
}

/// An IP packet: where its header is, and what it weighs.
struct Seen {
    header: Header,
    weight: Counter,
}

impl Seen {
    /// Does and counts what was decided; the codepoint that the packet has now, if it is another one.
    #[inline(always)]
    fn conclude<P: Packet + ?Sized>(
        &self,
        packet: &mut P,
        decision: Decision,
        remarks: bool,
        counters: &mut Counters,
    ) -> Option<Dscp> {
        let Self { header, weight } = self;
        match decision {
            Decision::Remark(dscp) if remarks && remark(packet, header, dscp).is_some() => {
                counters.changed_mut(header.family, header.ds).add(*weight);
                return Some(dscp);
            }
            Decision::Drop => {
                counters.changed_mut(header.family, header.ds).add(*weight);
                counters.dropped_mut(header.ds.dscp()).add(*weight);
            }
            Decision::Protected => {
                counters.kept_mut(header.family, header.ds).add(*weight);
                counters.protected.add(*weight);
            }
            Decision::Keep | Decision::Remark(_) => counters.kept_mut(header.family, header.ds).add(*weight),
        }
        None
    }
}

/// A packet of which all but the matrix is done and counted.
struct Concluded {
    seen: Seen,
    decision: Decision,
    /// The codepoint that it has now, if it is another one.
    marked: Option<Dscp>,
}

impl Concluded {
    /// Counts in the matrix of changes.
    #[inline(always)]
    fn noted<T: Tables>(self, tables: &mut T) -> Outcome {
        let Seen { header, weight } = self.seen;
        let from = header.ds.dscp();
        if let Some(dscp) = self.marked
            && let Some(half) = tables.remarked(from)
        {
            half.cell_mut(from, dscp).add(weight);
        }
        Outcome::of(header.ds, self.decision)
    }
}

/// The counters, with the time of a packet in them.
#[inline(always)]
fn count_on<T: Tables>(tables: &mut T) -> Option<&mut Counters> {
    let now = tables.now();
    let counters = tables.counters()?;
    counters.last = now;
    Some(counters)
}

#[inline(always)]
fn uncounted<F: Frame>(reason: Uncounted, frame: &F, counters: Option<&mut Counters>) -> Outcome {
    let Some(counters) = counters else {
        return Outcome::Untouched;
    };
    counters.uncounted_mut(reason).add(frame.length().opaque());
    Outcome::Uncounted(reason)
}
