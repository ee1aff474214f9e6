//! The XDP side: a packet before Linux has made anything of it.

use aya_ebpf::{EbpfContext as _, bindings::xdp_md, helpers::bpf_xdp_get_buff_len, programs::XdpContext};
use qos_common::{
    gso::Length,
    packet::Packet,
    policy::Origin,
    process::{Frame, process},
};

use crate::{
    log::log,
    maps::{self, Maps, opaque},
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

struct Received {
    bytes: u32,
}

impl Frame for Received {
    /// A tag that the NIC has stripped is out of sight here: `ethtool -K IFACE rxvlan off` leaves it in.
    #[inline(always)]
    fn stripped_tags(&self) -> usize {
        0
    }

    #[inline(always)]
    fn length(&self) -> Length {
        Length::single(self.bytes)
    }

    #[inline(always)]
    fn origin(&self) -> Origin {
        Origin::Forwarded
    }
}

/// Handles one packet, and says whether it is dropped; `length` says how its bytes are counted.
#[inline(always)]
pub fn handle<const MF: bool, const SWAPS: bool, const INSIDE: bool>(
    context: &XdpContext,
    length: fn(&XdpContext) -> u32,
) -> bool {
    let mut window = XdpWindow { window: Window::of_xdp(context), context };
    let frame = Received { bytes: length(context) };
    // Two copies, of which the verifier keeps one: what a log needs to know costs nothing where there is none.
    if maps::logs() {
        let outcome = process(&mut window, &frame, &mut Maps::<MF, SWAPS, INSIDE, false>);
        log(context, outcome)
    } else {
        process(&mut window, &frame, &mut Maps::<MF, SWAPS, INSIDE, false>).drops()
    }
}

/// The length of a packet in one piece.
#[inline(always)]
pub fn linear_length(context: &XdpContext) -> u32 {
    (context.data_end() - context.data()) as u32
}

/// The length of a packet in any number of pieces, by a helper.
#[inline(always)]
pub fn whole_length(context: &XdpContext) -> u32 {
    // SAFETY: the helper takes the context and returns a length.
    unsafe { bpf_xdp_get_buff_len(context.as_ptr().cast()) as u32 }
}
