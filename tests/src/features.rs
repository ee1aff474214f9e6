//! What this kernel lacks of what the tests use: asked of the kernel, never concluded from its version.
//!
//! A test that needs such a thing says so in one line of standard error, and which line is the same everywhere:
//! `left out: WHAT: WHY`. The matrix of kernels prints them.

use std::{env, io, os::fd::AsFd as _, process::Command, sync::OnceLock};

use anyhow::bail;
use qosbpf::kernel::testrun::{Input, SkBuff, test_run};

use crate::{
    binary::Answer,
    bpf::{self, Kind},
    lab,
};

/// Something that not every kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// XDP programs for packets in several pieces (Linux 5.18).
    Frags,
    /// TC programs by a link (Linux 6.6).
    Tcx,
    /// Test runs that check the sum beside a packet (Linux 6.1).
    ChecksumComplete,
    /// Test runs of a packet that came in by an interface.
    IngressInterface,
    /// VLAN devices (the module 8021q).
    Vlan,
    /// Flowtables of nft, and rules that put flows into them.
    Flowtable,
}

impl Feature {
    const fn what(self) -> &'static str {
        match self {
            Self::Frags => "XDP with packets in several pieces",
            Self::Tcx => "TCX",
            Self::ChecksumComplete => "the check of the sum beside a packet in a test run",
            Self::IngressInterface => "the interface of a packet in a test run",
            Self::Vlan => "VLAN devices (8021q)",
            Self::Flowtable => "flowtables of nft",
        }
    }

    /// Whether the kernel has it.
    ///
    /// # Errors
    ///
    /// What the kernel says to a question that every kernel can answer: that this is not root, for one.
    pub fn is_here(self) -> anyhow::Result<bool> {
        static ANSWERS: [OnceLock<bool>; 6] = [const { OnceLock::new() }; 6];
        let answer = &ANSWERS[self as usize];
        if let Some(here) = answer.get() {
            return Ok(*here);
        }
        bpf::lift_memory_limit();
        let here = self.ask()?;
        Ok(*answer.get_or_init(|| here))
    }

    fn ask(self) -> anyhow::Result<bool> {
        match self {
            Self::Frags => known(bpf::load_xdp_frags().map(drop)),
            Self::Tcx => known(bpf::query_tcx()),
            Self::ChecksumComplete => known(run(Input { checksum_complete: true, ..PACKET })),
            Self::IngressInterface => known(run(Input { context: Some(&SkBuff::from_interface(LOOPBACK)), ..PACKET })),
            Self::Vlan => has_vlan_devices(),
            Self::Flowtable => has_flowtables(),
        }
    }

    /// Whether `what` has to be left out for want of it; then it has been said.
    ///
    /// # Errors
    ///
    /// Those of [`is_here`](Self::is_here).
    pub fn leaves_out(self, what: &str) -> anyhow::Result<bool> {
        let here = self.is_here()?;
        if !here {
            left_out(what, &format!("this kernel does not have {}", self.what()));
        }
        Ok(!here)
    }
}

/// Says what a test leaves out, and why.
#[expect(clippy::print_stderr, reason = "what a test leaves out is said beside its result")]
pub fn left_out(what: &str, why: &str) {
    eprintln!("left out: {what}: {why}");
}

/// Whether this machine is a guest that `cargo xtask vm` has booted; else it is said what is left out.
#[must_use]
pub fn in_guest(what: &str) -> bool {
    let guest = env::var_os("QOSBPF_GUEST").is_some();
    if !guest {
        left_out(what, "this machine is not a guest that is thrown away (cargo xtask vm)");
    }
    guest
}

/// Whether there is bpftool, which not every distribution has a package of; else it is said what is left out.
#[must_use]
pub fn has_bpftool(what: &str) -> bool {
    let here = Command::new("bpftool").arg("version").output().is_ok_and(|output| output.status.success());
    if !here {
        left_out(what, "bpftool is not installed");
    }
    here
}

/// The interface that every network namespace has.
const LOOPBACK: u32 = 1;

/// An EtherType that nobody looks into, and enough behind it.
const FRAME: [u8; 64] = {
    let mut frame = [0; 64];
    (frame[12], frame[13]) = (0x88, 0xb5);
    frame
};

const PACKET: Input<'static> = Input { frame: &FRAME, context: None, checksum_complete: false };

/// `EINVAL` is what bpf(2) says to what it has never heard of.
fn known(answer: io::Result<()>) -> anyhow::Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// To make one is the question: a kernel with the module loads it then.
fn has_vlan_devices() -> anyhow::Result<bool> {
    let made = lab::in_namespace(|| {
        lab::cable()?;
        Ok(lab::ip(&format!("link add link {} name vlan type vlan id 1\n", lab::NEAR)))
    })?;
    match made {
        Ok(()) => Ok(true),
        Err(error) if error.to_string().contains("Unknown device type") => Ok(false),
        Err(error) => Err(error),
    }
}

/// nft says the same of a kernel without them as of a chain or a device that is not there, so it is asked where all is.
fn has_flowtables() -> anyhow::Result<bool> {
    const RULESET: &str = "table inet t {
        flowtable ft { hook ingress priority 0; devices = { near }; }
        chain c { type filter hook forward priority 0; ip protocol udp flow add @ft; }
    }";
    let answer = lab::in_namespace(|| {
        lab::cable()?;
        Answer::of(Command::new("nft").arg(RULESET.replace("near", lab::NEAR)))
    })?;
    let lacks = ["No such file or directory", "Operation not supported"];
    match answer.code {
        0 => Ok(true),
        _ if lacks.iter().any(|lack| answer.stderr.contains(lack)) => Ok(false),
        _ => bail!("nft: {}", answer.stderr),
    }
}

fn run(input: Input<'_>) -> io::Result<()> {
    const TC_ACT_OK: i32 = 0;
    let program = bpf::load_constant(Kind::Classifier, c"constant", TC_ACT_OK)?;
    test_run(program.as_fd(), &input).map(drop)
}
