//! Decisions for people who debug: in the program only if it was loaded for that.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::info;
use qos_common::{
    abi::Uncounted,
    policy::Decision,
    process::{Outcome, Tables as _},
};

use crate::maps::Maps;

/// Logs what became of a packet, if this program logs and has not done so too often.
#[inline(always)]
pub fn log<C: EbpfContext>(context: &C, outcome: Outcome) {
    if Maps::logs() && may_log() {
        write(context, outcome);
    }
}

#[inline(always)]
fn may_log() -> bool {
    let now = Maps.now();
    Maps.counters().is_some_and(|counters| counters.may_log(now, Maps::log_interval()))
}

#[inline(always)]
fn write<C: EbpfContext>(context: &C, outcome: Outcome) {
    match outcome {
        Outcome::Uncounted(Uncounted::NotIp) => info!(context, "not IP"),
        Outcome::Uncounted(Uncounted::Malformed) => info!(context, "malformed"),
        Outcome::Untouched => info!(context, "untouched: no counters"),
        Outcome::Counted(ds, Decision::Keep) => {
            info!(context, "DSCP {} ECN {}: kept", ds.dscp().value(), ds.bits() & 3);
        }
        Outcome::Counted(ds, Decision::Protected) => {
            info!(context, "DSCP {} ECN {}: kept, made by this host", ds.dscp().value(), ds.bits() & 3);
        }
        Outcome::Counted(ds, Decision::Remark(to)) => {
            info!(context, "DSCP {} ECN {}: to DSCP {}", ds.dscp().value(), ds.bits() & 3, to.value());
        }
    }
}
