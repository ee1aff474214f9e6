//! How much is measured.

use std::time::Duration;

/// Rounds and repetitions.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// For tables and documents.
    pub name: &'static str,
    /// Rounds of a program measurement.
    pub rounds: usize,
    /// How often each program is loaded, to be measured in turn: the kernel puts its machine code somewhere, and where it
    /// lies is worth a nanosecond.
    pub loads: usize,
    /// Repetitions of a test run in a round.
    pub repeat: u32,
    /// Rounds of the router.
    pub router_rounds: usize,
    /// Shots of a candidate in a round; its figure is their lower quartile, since what disturbs makes them dearer.
    pub shots: usize,
    /// Packets in a shot: a multiple of 64, so that each codepoint is sent equally often.
    pub packets: u32,
    /// The share of the time from the first start to the last end in which all CPUs have to be at work in a turn of
    /// several.
    pub at_once: f64,
    /// How often a command is run.
    pub commands: usize,
    /// How long a process is watched that should do nothing: the service looks at everything every 30 seconds.
    pub idle: Duration,
}

impl Effort {
    /// For figures to quote.
    pub const FULL: Self = Self {
        name: "full",
        rounds: 20,
        loads: 5,
        repeat: 400_000,
        router_rounds: 13,
        shots: 4,
        packets: 64 * 320,
        at_once: 0.8,
        commands: 21,
        idle: Duration::from_secs(60),
    };

    /// About a minute: whether everything works, not what it costs.
    pub const QUICK: Self = Self {
        name: "quick",
        rounds: 3,
        loads: 2,
        repeat: 20_000,
        router_rounds: 2,
        shots: 2,
        packets: 64 * 40,
        // Its turns are shorter than a thread may have to wait for its CPU.
        at_once: 0.0,
        commands: 3,
        idle: Duration::from_secs(2),
    };
}
