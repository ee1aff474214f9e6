//! Programs that have nothing but the table: a copy for each link and task, of which the verifier keeps one. One constant
//! says which, before all else, where the others would be read each by itself.

use qos_common::{
    abi::{Counters, RemarkedHalf, Settings},
    classify::Rules,
    ds::Dscp,
    locate::Link,
    policy::{Entry, Local},
    process::{Constants, Outcome, Tables},
};

use crate::{
    at_hook::AtHook,
    maps::{self, Maps, ReadOnly},
};

/// The constants of every program.
const READ_ONLY: ReadOnly<false, false, false> = ReadOnly;

/// The maps of a program for a link, which changes marks or not.
struct Plain<const LAYER3: bool, const REMARKS: bool>(Maps<false, false, false, false>);

#[derive(Clone, Copy)]
struct Fixed<const LAYER3: bool, const REMARKS: bool>;

impl<const LAYER3: bool, const REMARKS: bool> Constants for Fixed<LAYER3, REMARKS> {
    #[inline(always)]
    fn link(self) -> Link {
        if LAYER3 { Link::Layer3 } else { Link::Ethernet }
    }

    #[inline(always)]
    fn remarks(self) -> bool {
        REMARKS
    }

    #[inline(always)]
    fn has_rules(self) -> bool {
        false
    }

    #[inline(always)]
    fn entry(self, dscp: Dscp) -> Entry {
        READ_ONLY.entry(dscp)
    }

    #[inline(always)]
    fn local(self) -> Local {
        READ_ONLY.local()
    }
}

impl<const LAYER3: bool, const REMARKS: bool> Rules for Plain<LAYER3, REMARKS> {}

impl<const LAYER3: bool, const REMARKS: bool> Tables for Plain<LAYER3, REMARKS> {
    type Constants = Fixed<LAYER3, REMARKS>;

    #[inline(always)]
    fn constants(&self) -> Self::Constants {
        Fixed
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        self.0.now()
    }

    #[inline(always)]
    fn counters(&mut self) -> Option<&mut Counters> {
        self.0.counters()
    }

    #[inline(always)]
    fn remarked(&mut self, from: Dscp) -> Option<&mut RemarkedHalf> {
        self.0.remarked(from)
    }
}

/// Handles one packet; `None`, and nothing done, where decisions are logged.
#[inline(always)]
pub fn process<A: AtHook>(packet: A) -> Option<Outcome> {
    const ETHERNET_COUNTS: u8 = Settings::mode(0, 0, 0);
    const ETHERNET_REMARKS: u8 = Settings::mode(0, 1, 0);
    const LAYER3_COUNTS: u8 = Settings::mode(1, 0, 0);
    const LAYER3_REMARKS: u8 = Settings::mode(1, 1, 0);
    match maps::mode() {
        ETHERNET_COUNTS => Some(packet.on_way::<ETHERNET_COUNTS>().process(&mut Plain::<false, false>(Maps))),
        ETHERNET_REMARKS => Some(packet.on_way::<ETHERNET_REMARKS>().process(&mut Plain::<false, true>(Maps))),
        LAYER3_COUNTS => Some(packet.on_way::<LAYER3_COUNTS>().process(&mut Plain::<true, false>(Maps))),
        LAYER3_REMARKS => Some(packet.on_way::<LAYER3_REMARKS>().process(&mut Plain::<true, true>(Maps))),
        _ => None,
    }
}
