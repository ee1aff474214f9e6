//! The XDP side: a packet before Linux has made anything of it.

use core::hint;

use aya_ebpf::{EbpfContext as _, bindings::xdp_md, helpers::bpf_xdp_get_buff_len, programs::XdpContext};
use qos_common::{
    gso::Length,
    packet::Packet,
    policy::Origin,
    process::{Frame, Outcome, Tables, process},
};

use crate::{
    at_hook::{self, AtHook},
    maps::{self, opaque},
    window::Window,
};

struct XdpWindow<'a> {
    window: Window,
    context: &'a XdpContext,
}

impl Packet for XdpWindow<'_> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.window.read(offset)
    }

    #[inline(always)]
    fn edit<const N: usize>(&mut self, offset: usize) -> Option<&mut [u8; N]> {
        self.window.edit(offset)
    }

    #[inline(always)]
    fn renew(&mut self) {
        self.window = Window::of_xdp(&XdpContext::new(opaque(self.context.as_ptr() as u64) as *mut xdp_md));
    }
}

/// Where a packet begins and ends: its length is worked out where it is counted, and in no register until then.
#[derive(Clone, Copy)]
pub struct Received {
    start: usize,
    end: usize,
}

impl Frame for Received {
    const MAY_BE_SUPER: bool = false;

    /// A tag that the NIC has stripped is out of sight here: `ethtool -K IFACE rxvlan off` leaves it in.
    #[inline(always)]
    fn stripped_tags(&self) -> usize {
        0
    }

    #[inline(always)]
    fn length(&self) -> Length {
        let length = self.end - self.start;
        // SAFETY: the kernel gives the end of a packet behind its start, and no packet has 2^32 bytes.
        unsafe { hint::assert_unchecked(length <= u32::MAX as usize) };
        Length::single(length as u32)
    }

    #[inline(always)]
    fn origin(&self) -> Origin {
        Origin::Forwarded
    }

    #[inline(always)]
    fn may_be_local(&self) -> bool {
        false
    }
}

/// A packet at the hook; `received` says how its bytes are counted.
#[derive(Clone, Copy)]
struct Xdp {
    packet: *mut xdp_md,
    received: fn(&XdpContext) -> Received,
}

impl AtHook for Xdp {
    #[inline(always)]
    fn on_way<const WAY: u8>(self) -> Self {
        Self { packet: maps::on_way::<WAY, _>(self.packet), ..self }
    }

    #[inline(always)]
    fn process<T: Tables>(self, tables: &mut T) -> Outcome {
        let context = XdpContext::new(self.packet);
        let frame = (self.received)(&context);
        process(&mut XdpWindow { window: Window::of_xdp(&context), context: &context }, &frame, tables)
    }
}

/// Handles one packet, and says whether it is dropped; `received` says how its bytes are counted.
#[inline(always)]
pub fn handle<const MF: bool, const SWAPS: bool, const INSIDE: bool>(
    context: &XdpContext,
    received: fn(&XdpContext) -> Received,
) -> bool {
    let packet = Xdp { packet: context.as_ptr().cast(), received };
    at_hook::handle::<MF, SWAPS, INSIDE, false, _, _>(context, packet)
}

/// A packet in one piece.
#[inline(always)]
pub fn linear(context: &XdpContext) -> Received {
    Received { start: context.data(), end: context.data_end() }
}

/// A packet in any number of pieces, whose length a helper knows.
#[inline(always)]
pub fn in_pieces(context: &XdpContext) -> Received {
    // SAFETY: the helper takes the context and returns a length.
    Received { start: 0, end: unsafe { bpf_xdp_get_buff_len(context.as_ptr().cast()) } as usize }
}
