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
    /// MF rules by source and destination port, of which the last matches; 0 for a table.
    pub rules: u16,
}

/// All of them.
pub const JOBS: &[Spec] = &[
    Spec {
        name: "table, IPv4",
        what: "packets of 64 codepoints in turn; all are counted, twenty of them become another one",
        cycle: true,
        ipv6: false,
        rules: 0,
    },
    Spec {
        name: "table, IPv6",
        what: "packets of 64 codepoints in turn; all are counted, twenty of them become another one",
        cycle: true,
        ipv6: true,
        rules: 0,
    },
    Spec {
        name: "one value, IPv4",
        what: "packets in DF, which are counted and become AF11",
        cycle: false,
        ipv6: false,
        rules: 0,
    },
    rules(16, "16 rules, IPv4"),
    rules(256, "256 rules, IPv4"),
    rules(1024, "1,024 rules, IPv4"),
];

const fn rules(rules: u16, name: &'static str) -> Spec {
    let what = "packets in DF; of the rules by source network and destination port the last makes AF11 of them";
    Spec { name, what, cycle: false, ipv6: false, rules }
}

/// With more rules than this, chains take too long to be measured.
const LONGEST_CHAIN: u16 = 256;

impl Spec {
    /// What becomes of each codepoint.
    pub fn table(&self) -> Table {
        if self.cycle { twenty() } else { one_value(VALUE) }
    }

    /// The candidates, the router that marks nothing first; its twin shows what no difference looks like.
    pub fn candidates(&self) -> Vec<Candidate> {
        use Mechanism::{Clsact, Tcx, Xdp};
        if self.rules > 0 {
            let chains = [Candidate::Nft, Candidate::Iptables].into_iter().filter(|_| self.rules <= LONGEST_CHAIN);
            let ours = [Candidate::Nothing, Candidate::Twin, Candidate::Qosbpf(Xdp), Candidate::Qosbpf(Tcx)];
            return ours.into_iter().chain([Candidate::NftSet]).chain(chains).collect();
        }
        let hooks = [Xdp, Tcx, Clsact];
        let ours = hooks.into_iter().map(Candidate::Qosbpf);
        let floors = [Xdp, Tcx].into_iter().map(Candidate::Floor);
        let others = [Candidate::Switched, Candidate::Nft, Candidate::Iptables, Candidate::Tc];
        [Candidate::Nothing, Candidate::Twin].into_iter().chain(floors).chain(ours).chain(others).collect()
    }
}
