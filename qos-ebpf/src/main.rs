//! The kernel programs of qosbpf: adapters between a hook of Linux and [`qos_common::process`]. They decide nothing.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(missing_docs, reason = "the macros of the entry points drop their comments")]

mod at_hook;
mod buckets;
mod log;
mod maps;
mod plain;
mod skb;
mod window;
mod xdp;

use aya_ebpf::{
    bindings::{
        TC_ACT_SHOT, TC_ACT_UNSPEC,
        xdp_action::{XDP_DROP, XDP_PASS},
    },
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

// Each is inlined into the entry that its attribute makes: a call would cost 9 ns a packet.
//
// There are five of each, and two more at TC egress. One that had all ways in it would have the registers and the stack of the longest one on all;
// and two have an instruction for which an older kernel refuses a program, wherever in it that is.

/// XDP on a driver that gives each packet in one piece.
#[xdp]
#[inline(always)]
pub fn qosbpf_xdp(context: XdpContext) -> u32 {
    verdict(xdp::handle::<false, false, false>(&context, xdp::linear))
}

/// The same, with rules.
#[xdp]
#[inline(always)]
pub fn qosbpf_xdp_rules(context: XdpContext) -> u32 {
    verdict(xdp::handle::<true, false, false>(&context, xdp::linear))
}

/// The same, whose meters swap.
#[xdp]
#[inline(always)]
pub fn qosbpf_xdp_swap(context: XdpContext) -> u32 {
    verdict(xdp::handle::<true, true, false>(&context, xdp::linear))
}

/// The same, which looks inside other headers; with rules.
#[xdp]
#[inline(always)]
pub fn qosbpf_xdp_inside(context: XdpContext) -> u32 {
    verdict(xdp::handle::<true, false, true>(&context, xdp::linear))
}

/// The same, whose meters swap.
#[xdp]
#[inline(always)]
pub fn qosbpf_xdp_inside_swap(context: XdpContext) -> u32 {
    verdict(xdp::handle::<true, true, true>(&context, xdp::linear))
}

/// XDP where a packet may come in several pieces (jumbo MTU), from Linux 5.18 on.
#[xdp(frags)]
#[inline(always)]
pub fn qosbpf_xdp_frags(context: XdpContext) -> u32 {
    verdict(xdp::handle::<false, false, false>(&context, xdp::in_pieces))
}

/// The same, with rules.
#[xdp(frags)]
#[inline(always)]
pub fn qosbpf_xdp_frags_rules(context: XdpContext) -> u32 {
    verdict(xdp::handle::<true, false, false>(&context, xdp::in_pieces))
}

/// The same, whose meters swap.
#[xdp(frags)]
#[inline(always)]
pub fn qosbpf_xdp_frags_swap(context: XdpContext) -> u32 {
    verdict(xdp::handle::<true, true, false>(&context, xdp::in_pieces))
}

/// The same, which looks inside other headers; with rules.
#[xdp(frags)]
#[inline(always)]
pub fn qosbpf_xdp_frags_inside(context: XdpContext) -> u32 {
    verdict(xdp::handle::<true, false, true>(&context, xdp::in_pieces))
}

/// The same, whose meters swap.
#[xdp(frags)]
#[inline(always)]
pub fn qosbpf_xdp_frags_inside_swap(context: XdpContext) -> u32 {
    verdict(xdp::handle::<true, true, true>(&context, xdp::in_pieces))
}

/// TC ingress, by TCX or clsact.
#[classifier]
#[inline(always)]
pub fn qosbpf_ingress(context: TcContext) -> i32 {
    action(skb::handle::<false, false, false, false>(&context, skb::Direction::Ingress))
}

/// The same, with rules.
#[classifier]
#[inline(always)]
pub fn qosbpf_ingress_rules(context: TcContext) -> i32 {
    action(skb::handle::<true, false, false, false>(&context, skb::Direction::Ingress))
}

/// The same, whose meters swap.
#[classifier]
#[inline(always)]
pub fn qosbpf_ingress_swap(context: TcContext) -> i32 {
    action(skb::handle::<true, true, false, false>(&context, skb::Direction::Ingress))
}

/// The same, which looks inside other headers; with rules.
#[classifier]
#[inline(always)]
pub fn qosbpf_ingress_inside(context: TcContext) -> i32 {
    action(skb::handle::<true, false, true, false>(&context, skb::Direction::Ingress))
}

/// The same, whose meters swap.
#[classifier]
#[inline(always)]
pub fn qosbpf_ingress_inside_swap(context: TcContext) -> i32 {
    action(skb::handle::<true, true, true, false>(&context, skb::Direction::Ingress))
}

/// TC egress, by TCX or clsact.
#[classifier]
#[inline(always)]
pub fn qosbpf_egress(context: TcContext) -> i32 {
    action(skb::handle::<false, false, false, false>(&context, skb::Direction::Egress))
}

/// The same, with rules.
#[classifier]
#[inline(always)]
pub fn qosbpf_egress_rules(context: TcContext) -> i32 {
    action(skb::handle::<true, false, false, false>(&context, skb::Direction::Egress))
}

/// The same, whose meters swap.
#[classifier]
#[inline(always)]
pub fn qosbpf_egress_swap(context: TcContext) -> i32 {
    action(skb::handle::<true, true, false, false>(&context, skb::Direction::Egress))
}

/// The same, which looks inside other headers; with rules.
#[classifier]
#[inline(always)]
pub fn qosbpf_egress_inside(context: TcContext) -> i32 {
    action(skb::handle::<true, false, true, false>(&context, skb::Direction::Egress))
}

/// The same, whose meters swap.
#[classifier]
#[inline(always)]
pub fn qosbpf_egress_inside_swap(context: TcContext) -> i32 {
    action(skb::handle::<true, true, true, false>(&context, skb::Direction::Egress))
}

/// The same, which marks outer headers by what is inside; it may look inside other headers before.
#[classifier]
#[inline(always)]
pub fn qosbpf_egress_outer(context: TcContext) -> i32 {
    action(skb::handle::<true, false, true, true>(&context, skb::Direction::Egress))
}

/// The same, whose meters swap.
#[classifier]
#[inline(always)]
pub fn qosbpf_egress_outer_swap(context: TcContext) -> i32 {
    action(skb::handle::<true, true, true, true>(&context, skb::Direction::Egress))
}

#[inline(always)]
const fn verdict(drops: bool) -> u32 {
    if drops { XDP_DROP } else { XDP_PASS }
}

#[inline(always)]
const fn action(drops: bool) -> i32 {
    if drops { TC_ACT_SHOT } else { TC_ACT_UNSPEC }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The object's licence: some helpers ask for one that the GPL is compatible with.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
