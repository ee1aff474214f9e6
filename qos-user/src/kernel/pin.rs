//! What is pinned for a hook, by name.

/// What is pinned for a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// What is known of the hook ([`super::state::HookState`]).
    State,
    /// The same for a switch that is under way.
    NextState,
    /// The link; clsact has none.
    Link,
    /// The program.
    Program,
    /// The program of a switch that is under way.
    NextProgram,
    /// [`qos_common::abi::Counters`].
    Counters,
    /// [`qos_common::abi::RemarkedHalf`], twice.
    Remarked,
    /// [`qos_common::rules::RuleCounters`], twice.
    Rules,
    /// [`qos_common::meter::MeterCounters`].
    Colors,
    /// [`qos_common::meter::Buckets`] with their locks.
    Buckets,
    /// The ring buffer of [`qos_common::event::Event`]s; not there where no rule ever logged.
    Events,
    /// By rule, when the next event may come; not there where no rule ever logged.
    Logged,
    /// Since when the terminal's table counts ([`crate::snapshot::baseline::Baseline`]).
    Baseline,
    /// The device ([`super::device_ref`]).
    Device,
}

impl Pin {
    pub(super) const ALL: [Self; 14] = [
        Self::State,
        Self::NextState,
        Self::Link,
        Self::Program,
        Self::NextProgram,
        Self::Counters,
        Self::Remarked,
        Self::Rules,
        Self::Colors,
        Self::Buckets,
        Self::Events,
        Self::Logged,
        Self::Baseline,
        Self::Device,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::NextState => "next-state",
            Self::Link => "link",
            Self::Program => "program",
            Self::NextProgram => "next-program",
            Self::Counters => "counters",
            Self::Remarked => "remarked",
            Self::Rules => "rules",
            Self::Colors => "colors",
            Self::Buckets => "buckets",
            Self::Events => "events",
            Self::Logged => "logged",
            Self::Baseline => "baseline",
            Self::Device => "device",
        }
    }
}
