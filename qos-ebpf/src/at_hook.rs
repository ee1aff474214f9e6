//! A packet at a hook: what the programs of all hooks do with one, in the same way.

use aya_ebpf::EbpfContext;
use qos_common::process::{Outcome, Tables};

use crate::{
    log::log,
    maps::{self, Maps, apart},
    plain,
};

/// A packet, by the context that the hook has for it.
pub trait AtHook: Copy {
    /// The same, for a way of its own: see [`on_way`](crate::maps::on_way).
    fn on_way<const WAY: u8>(self) -> Self;

    /// Counts, decides and remarks.
    fn process<T: Tables>(self, tables: &mut T) -> Outcome;
}

/// Handles one packet, and says whether it is dropped.
#[inline(always)]
pub fn handle<const MF: bool, const SWAPS: bool, const INSIDE: bool, const OUTER: bool, C: EbpfContext, A: AtHook>(
    context: &C,
    packet: A,
) -> bool {
    if !MF
        && !INSIDE
        && !OUTER
        && let Some(outcome) = plain::process(packet)
    {
        return outcome.drops();
    }
    // Two copies, of which the verifier keeps one: what a log needs to know costs nothing where there is none.
    if maps::logs() {
        apart();
        log(context, packet.process(&mut Maps::<MF, SWAPS, INSIDE, OUTER>))
    } else {
        packet.process(&mut Maps::<MF, SWAPS, INSIDE, OUTER>).drops()
    }
}
