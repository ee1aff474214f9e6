//! The TC side: a packet as Linux handles it, which may be a super-packet, lie in pieces, or have a tag beside it.

use core::{cell::Cell, mem::offset_of};

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_csum_update, programs::TcContext};
use network_types::{
    eth::{EthHdr, EtherType},
    ip::{IpProto, Ipv4Hdr, Ipv6Hdr},
    tcp::TcpHdr,
    vlan::VlanHdr,
};
use qos_common::{
    condition::HandOver,
    gso::{Gso, Length},
    inside::{LABEL, MAX_LABELS},
    locate::{Link, MAX_TAGS, is_tag},
    packet::Packet,
    policy::Origin,
    process::{Frame, Outcome, Tables, process},
};

use crate::{
    at_hook::{self, AtHook},
    maps::{self, opaque},
    window::Window,
};

/// Ethernet, four tags and an IPv6 header: the most that has to be in the linear part.
const HEADERS: usize = EthHdr::LEN + MAX_TAGS * VlanHdr::LEN + Ipv6Hdr::LEN;

/// The same for rules, which look at ports behind options and extension headers.
const CLASSIFIED: usize = 192;

/// The same where an IP header may be behind labels, or one in another: without labels, options and extension headers
/// VXLAN over IPv6 with IPv6 inside takes 150.
const CLASSIFIED_INSIDE: usize = CLASSIFIED + MAX_LABELS * LABEL;

/// Bytes of a VLAN tag.
const TAG: u32 = 4;

// As they lie in memory.
const IPV4: u16 = EtherType::Ipv4 as u16;
const IPV6: u16 = EtherType::Ipv6 as u16;

/// Which way the packet goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Into this host.
    Ingress,
    /// Out of it.
    Egress,
}

struct Skb {
    skb: Cell<*mut __sk_buff>,
    direction: Direction,
}

impl Skb {
    #[inline(always)]
    fn fields(&self) -> &__sk_buff {
        // SAFETY: the kernel passes a valid context and translates each access to a field.
        unsafe { &*self.skb.get() }
    }
}

impl Frame for Skb {
    #[inline(always)]
    fn stripped_tags(&self) -> usize {
        usize::from(self.fields().vlan_present != 0)
    }

    #[inline(always)]
    fn length(&self) -> Length {
        let fields = self.fields();
        let stripped = if fields.vlan_present != 0 { TAG } else { 0 };
        let mut length = Length { stripped, ..Length::single(fields.len) };
        if fields.gso_size != 0 {
            length.gso = Some(Gso { size: fields.gso_size, segments: fields.gso_segs });
            length.wire = (self.direction == Direction::Egress).then_some(fields.wire_len);
        }
        length
    }

    #[inline(always)]
    fn origin(&self) -> Origin {
        match self.direction {
            Direction::Egress if self.fields().ingress_ifindex == 0 => Origin::Local,
            _ => Origin::Forwarded,
        }
    }

    #[inline(always)]
    fn may_be_local(&self) -> bool {
        self.direction == Direction::Egress
    }

    #[inline(always)]
    fn is_mpls(&self) -> bool {
        matches!(u16::from_be(self.fields().protocol as u16), 0x8847 | 0x8848)
    }

    #[inline(always)]
    fn tag(&self) -> Option<u16> {
        let fields = self.fields();
        (fields.vlan_present != 0).then_some(fields.vlan_tci as u16)
    }

    #[inline(always)]
    fn mark(&self) -> u32 {
        self.fields().mark
    }

    #[inline(always)]
    fn from(&self) -> u32 {
        match self.direction {
            Direction::Egress => self.fields().ingress_ifindex,
            Direction::Ingress => 0,
        }
    }

    #[inline(always)]
    fn hand_over(&self, what: HandOver) {
        let skb = self.skb.get();
        if let Some(priority) = what.priority {
            // SAFETY: a valid context, of which programs at TC may write this field.
            unsafe { (*skb).priority = priority };
        }
        if let Some((mark, mask)) = what.mark {
            // SAFETY: as above.
            unsafe { (*skb).mark = (*skb).mark & !mask | mark };
        }
    }

    #[inline(always)]
    fn renew(&self) {
        self.skb.set(opaque(self.skb.get() as u64) as *mut __sk_buff);
    }
}

struct SkbWindow<'a> {
    window: Window,
    context: &'a TcContext,
}

impl Packet for SkbWindow<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.window.read(offset)
    }

    #[inline(always)]
    fn edit<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        self.window.edit(offset)
    }

    #[inline(always)]
    fn sum_changed(&mut self, old: [u8; 2], new: [u8; 2]) {
        let difference = u32::from(!u16::from_ne_bytes(old)) + u32::from(u16::from_ne_bytes(new));
        // SAFETY: a valid context. The error for packets without such a sum means that there is nothing to do.
        unsafe { bpf_csum_update(self.context.skb.skb, difference) };
    }

    #[inline(always)]
    fn renew(&mut self) {
        self.window = Window::of_skb(&TcContext::new(opaque(self.context.skb.skb as u64) as *mut __sk_buff));
    }
}

/// A packet at the hook.
#[derive(Clone, Copy)]
struct Tc<const MF: bool, const INSIDE: bool> {
    skb: *mut __sk_buff,
    direction: Direction,
}

impl<const MF: bool, const INSIDE: bool> AtHook for Tc<MF, INSIDE> {
    #[inline(always)]
    fn on_way<const WAY: u8>(self) -> Self {
        Self { skb: maps::on_way::<WAY, _>(self.skb), ..self }
    }

    #[inline(always)]
    fn process<T: Tables>(self, tables: &mut T) -> Outcome {
        let context = TcContext::new(self.skb);
        let mut packet = SkbWindow { window: linear::<MF, INSIDE>(&context), context: &context };
        process(&mut packet, &Skb { skb: Cell::new(self.skb), direction: self.direction }, tables)
    }
}

/// Handles one packet, and says whether it is dropped.
#[inline(always)]
pub fn handle<const MF: bool, const SWAPS: bool, const INSIDE: bool, const OUTER: bool>(
    context: &TcContext,
    direction: Direction,
) -> bool {
    let packet = Tc::<MF, INSIDE> { skb: context.skb.skb, direction };
    at_hook::handle::<MF, SWAPS, INSIDE, OUTER, _, _>(context, packet)
}

/// The linear part of the packet, with the headers in it.
///
/// They nearly always are. Pulling is dear, and makes a private copy: so it is done only for what is really missing.
/// Where the kernel cannot, the packet stays as it is and is counted as too short.
///
/// A super-packet is pulled only where its IP header is not there: a guest may write one so to a TAP device. A list of packets
/// (`NETIF_F_GRO_FRAGLIST`), which can no longer be taken apart once payload was pulled from it, always has its headers.
#[inline(always)]
fn linear<const MF: bool, const INSIDE: bool>(context: &TcContext) -> Window {
    let window = Window::of_skb(context);
    let most = match (MF, INSIDE) {
        (_, true) => CLASSIFIED_INSIDE,
        (true, false) => CLASSIFIED,
        (false, false) => HEADERS,
    };
    let whole = context.len() as usize;
    let enough = || !INSIDE && window.len() >= needed::<MF>(&window);
    let is_listed = || is_super(context) && window.len() >= ip_end(&window);
    if window.len() >= most || window.len() >= whole || enough() || is_listed() {
        return window;
    }
    let _unchanged_on_error = context.pull_data(whole.min(most) as u32);
    Window::of_skb(context)
}

#[inline(always)]
fn is_super(context: &TcContext) -> bool {
    // SAFETY: a valid context.
    unsafe { (*context.skb.skb).gso_size != 0 }
}

/// Where the IP header ends behind its tags; at once if it is not IP that follows.
#[inline(always)]
fn ip_end(window: &Window) -> usize {
    if maps::link() == Link::Layer3 {
        // The shorter of the two headers, not the one byte that is needed: see `Packet::read`.
        return match window.read::<{ Ipv4Hdr::LEN }>(0) {
            Some(bytes) if bytes[0] >> 4 == 4 => Ipv4Hdr::LEN,
            _ => Ipv6Hdr::LEN,
        };
    }
    for tags in 0..=MAX_TAGS {
        let header = EthHdr::LEN + tags * VlanHdr::LEN;
        match window.read::<2>(header - 2).map(u16::from_ne_bytes) {
            Some(IPV4) => return header + Ipv4Hdr::LEN,
            Some(IPV6) => return header + Ipv6Hdr::LEN,
            Some(kind) if is_tag(kind) => {}
            Some(_) => return 0,
            None => return HEADERS,
        }
    }
    0
}

/// How many bytes the headers take that the EtherType promises. With rules up to the end of the TCP header; behind tags,
/// extension headers and on layer-3 devices as many as are ever asked for. Virtio keeps 128 bytes of a longer packet together.
#[inline(always)]
fn needed<const MF: bool>(window: &Window) -> usize {
    if maps::link() == Link::Layer3 {
        return if MF { CLASSIFIED } else { Ipv6Hdr::LEN };
    }
    match window.read::<{ EthHdr::LEN }>(0).map(|bytes| u16::from_ne_bytes([bytes[12], bytes[13]])) {
        Some(IPV4) if MF => behind_ipv4(window),
        Some(IPV6) if MF => behind_ipv6(window),
        Some(IPV4) => EthHdr::LEN + Ipv4Hdr::LEN,
        Some(IPV6) => EthHdr::LEN + Ipv6Hdr::LEN,
        _ if MF => CLASSIFIED,
        _ => HEADERS,
    }
}

/// To the end of a TCP header behind this IPv4 header and its options.
#[inline(always)]
fn behind_ipv4(window: &Window) -> usize {
    match window.read::<2>(EthHdr::LEN) {
        Some([version_ihl, _]) => EthHdr::LEN + usize::from(version_ihl & 0x0f) * 4 + TcpHdr::LEN,
        None => CLASSIFIED,
    }
}

/// The same behind an IPv6 header, unless something else follows than the most common transport headers.
#[inline(always)]
fn behind_ipv6(window: &Window) -> usize {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const ICMP: u8 = IpProto::Ipv6Icmp as u8;
    match window.read::<2>(EthHdr::LEN + offset_of!(Ipv6Hdr, next_hdr)) {
        Some([TCP | UDP | ICMP, _]) => EthHdr::LEN + Ipv6Hdr::LEN + TcpHdr::LEN,
        _ => CLASSIFIED,
    }
}
