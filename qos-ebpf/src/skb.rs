//! The TC side: a packet as Linux handles it, which may be a super-packet, lie in pieces, or have a tag beside it.

use aya_ebpf::{bindings::__sk_buff, helpers::bpf_csum_update, programs::TcContext};
use qos_common::{
    gso::{Gso, Length},
    packet::Packet,
    policy::Origin,
    process::{Frame, process},
};

use crate::{log::log, maps::Maps, window::Window};

/// Ethernet, four tags and an IPv6 header: what has to be in the linear part.
const HEADERS: u32 = 14 + 16 + 40;

/// Bytes of a VLAN tag.
const TAG: u32 = 4;

/// Which way the packet goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Into this host.
    Ingress,
    /// Out of it.
    Egress,
}

struct Skb<'a> {
    context: &'a TcContext,
    direction: Direction,
}

impl Skb<'_> {
    #[inline(always)]
    fn fields(&self) -> &__sk_buff {
        // SAFETY: the kernel passes a valid context and translates each access to a field.
        unsafe { &*self.context.skb.skb }
    }
}

impl Frame for Skb<'_> {
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
    fn write<const N: usize>(&mut self, offset: usize, bytes: [u8; N]) -> Option<()> {
        self.window.write(offset, bytes)
    }

    #[inline(always)]
    fn sum_changed(&mut self, old: [u8; 2], new: [u8; 2]) {
        let difference = u32::from(!u16::from_ne_bytes(old)) + u32::from(u16::from_ne_bytes(new));
        // SAFETY: a valid context. The error for packets without such a sum means that there is nothing to do.
        unsafe { bpf_csum_update(self.context.skb.skb, difference) };
    }
}

/// Handles one packet.
#[inline(always)]
pub fn handle(context: &TcContext, direction: Direction) {
    let mut window = Window::of_skb(context);
    if window.len() < HEADERS as usize && window.len() < context.len() as usize {
        window = pull(context);
    }
    let skb = Skb { context, direction };
    let mut packet = SkbWindow { window, context };
    // Two copies, of which the verifier keeps one: what a log needs to know costs nothing where there is none.
    if Maps::logs() {
        log(context, process(&mut packet, &skb, &mut Maps));
    } else {
        process(&mut packet, &skb, &mut Maps);
    }
}

/// Brings the headers into the linear part; where the kernel cannot, the packet stays as it is.
#[inline(always)]
fn pull(context: &TcContext) -> Window {
    let _unchanged_on_error = context.pull_data(context.len().min(HEADERS));
    Window::of_skb(context)
}
