//! Decisions for people who debug: in the program only if it was loaded for that.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::info;
use qos_common::{
    abi::Uncounted,
    policy::Decision,
    process::{Outcome, Tables as _},
};

use crate::maps::{self, Maps};

const NOT_IP: u32 = 0;
const MALFORMED: u32 = 1;
const UNTOUCHED: u32 = 2;
const KEPT: u32 = 3;
const PROTECTED: u32 = 4;
const REMARKED: u32 = 5;
const DROPPED: u32 = 6;

/// Logs what became of a packet, if this CPU has not done so too often; whether the packet is dropped.
///
/// Who asks the outcome behind the log asks a register which has a value on some paths alone, and Linux 5.10 refuses that:
/// so it is the word that says it, as a value into which the compiler cannot look.
#[inline(always)]
pub fn log<C: EbpfContext>(context: &C, outcome: Outcome) -> bool {
    let word = maps::opaque(pack(outcome).into()) as u32;
    if may_log() {
        write(context, word);
    }
    word & 0xff == DROPPED
}

/// The outcome as one word: kind, DS field, new DSCP.
///
/// As an enum its payload is undefined on some paths, and copying undefined bits is what the verifier refuses.
#[inline(always)]
fn pack(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Uncounted(Uncounted::NotIp) => NOT_IP,
        Outcome::Uncounted(Uncounted::Malformed) => MALFORMED,
        Outcome::Untouched => UNTOUCHED,
        Outcome::Counted(ds, Decision::Keep) => KEPT | u32::from(ds.bits()) << 8,
        Outcome::Counted(ds, Decision::Protected) => PROTECTED | u32::from(ds.bits()) << 8,
        Outcome::Dropped(ds) | Outcome::Counted(ds, Decision::Drop) => DROPPED | u32::from(ds.bits()) << 8,
        Outcome::Counted(ds, Decision::Remark(to)) => {
            REMARKED | u32::from(ds.bits()) << 8 | u32::from(to.value()) << 16
        }
    }
}

#[inline(always)]
fn may_log() -> bool {
    let mut maps = Maps::<false, false, false, false>;
    let now = maps.now();
    maps.counters().is_some_and(|counters| counters.may_log(now, maps::log_interval()))
}

#[inline(always)]
fn write<C: EbpfContext>(context: &C, word: u32) {
    let (dscp, ecn, to) = (word >> 10 & 63, word >> 8 & 3, word >> 16 & 63);
    match word & 0xff {
        NOT_IP => info!(context, "not IP"),
        MALFORMED => info!(context, "malformed"),
        UNTOUCHED => info!(context, "untouched: no counters"),
        KEPT => info!(context, "DSCP {} ECN {}: kept", dscp, ecn),
        PROTECTED => info!(context, "DSCP {} ECN {}: kept, made by this host", dscp, ecn),
        DROPPED => info!(context, "DSCP {} ECN {}: dropped", dscp, ecn),
        _ => info!(context, "DSCP {} ECN {}: to DSCP {}", dscp, ecn, to),
    }
}
