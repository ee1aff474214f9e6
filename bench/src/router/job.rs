//! What the router is asked to do.

use qos_common::policy::Table;

use super::candidate::{Candidate, Mechanism};
use crate::compile::{one_value, twenty};

/// The codepoint of the job with one value: AF11.
pub const VALUE: u8 = 10;

/// A job.
#[derive(Debug)]
pub struct Spec {
    /// Its name.
    pub name: &'static str,
    /// In one sentence.
    pub what: &'static str,
    /// Whether packets come in all codepoints, one after the other; else in DF alone.
    pub cycle: bool,
    /// IPv6; else IPv4.
    pub ipv6: bool,
}

/// All of them.
pub const JOBS: &[Spec] = &[
    Spec {
        name: "table, IPv4",
        what: "packets of 64 codepoints in turn; all are counted, twenty of them become another one",
        cycle: true,
        ipv6: false,
    },
    Spec {
        name: "table, IPv6",
        what: "packets of 64 codepoints in turn; all are counted, twenty of them become another one",
        cycle: true,
        ipv6: true,
    },
    Spec {
        name: "one value, IPv4",
        what: "packets in DF, which are counted and become AF11",
        cycle: false,
        ipv6: false,
    },
];

impl Spec {
    /// What becomes of each codepoint.
    pub fn table(&self) -> Table {
        if self.cycle { twenty() } else { one_value(VALUE) }
    }

    /// The candidates, the router that marks nothing first; its twin shows what no difference looks like.
    pub fn candidates(&self) -> Vec<Candidate> {
        use Mechanism::{Clsact, Tcx, Xdp};
        let hooks = [Xdp, Tcx, Clsact];
        let ours = hooks.into_iter().map(Candidate::Qosbpf);
        let floors = [Xdp, Tcx].into_iter().map(Candidate::Floor);
        let others = [Candidate::Switched, Candidate::Nft, Candidate::Iptables, Candidate::Tc];
        [Candidate::Nothing, Candidate::Twin].into_iter().chain(floors).chain(ours).chain(others).collect()
    }
}
