//! The arguments of `qosbpf doctor` and `qosbpf why`.

use std::time::Duration;

use clap::Args;

use super::seconds::seconds;
use crate::hook::HookName;

/// `qosbpf doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The interface; none: all of them.
    #[arg(value_name = "IFACE")]
    pub interface: Option<String>,
    /// Compare our counters with the device's over so many seconds; 0 for not at all.
    #[arg(long, value_name = "SECS", default_value = "2", value_parser = seconds)]
    pub sample: Duration,
    /// As JSON.
    #[arg(long, conflicts_with = "fix_script")]
    pub json: bool,
    /// Print the cures as a shell script, to be read before it is run.
    #[arg(long)]
    pub fix_script: bool,
}

/// `qosbpf why`
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Where: IFACE:ingress or IFACE:egress.
    pub hook: HookName,
    /// A codepoint, a class of the policy, or a rule of it (`rule=NAME` if it is called as one of these); none: the hook
    /// as a whole.
    #[arg(value_name = "DSCP|RULE")]
    pub what: Option<String>,
    /// Watch the counters for so many seconds; 0 for not at all.
    #[arg(long, value_name = "SECS", default_value = "1", value_parser = seconds)]
    pub sample: Duration,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}
