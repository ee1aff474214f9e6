//! Whoever marks on the router: installed on its side towards the LAN, and removed again.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use aya::{
    Ebpf,
    programs::{LinkOrder, Program, TcAttachType, XdpMode, tc::TcAttachOptions},
};
use qosbpf::{kernel::counters, lab::Lab};

use super::{counted, job::Spec, ruleset};
use crate::compile::Objects;

/// The device on which packets come to the router.
pub const DEVICE: &str = "lan0";

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// XDP in the driver.
    Xdp,
    /// TC by a link.
    Tcx,
    /// TC by a filter of the clsact qdisc.
    Clsact,
}

/// Who marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// Nobody.
    Nothing,
    /// Nobody either.
    Twin,
    /// The C program of the same contract.
    Floor(Mechanism),
    /// qosbpf, by its own command.
    Qosbpf(Mechanism),
    /// qosbpf at XDP with another policy first, then switched to the one of the job.
    Switched,
    /// nftables: a named counter for each codepoint, a verdict map for those that change.
    Nft,
    /// nftables: rules as one set of concatenated intervals.
    NftSet,
    /// iptables: a rule for each codepoint to count it, one for each that changes.
    Iptables,
    /// tc: u32 by hash, pedit and csum.
    Tc,
}

impl Candidate {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no marking",
            Self::Twin => "no marking, again",
            Self::Floor(Mechanism::Xdp) => "C floor, XDP",
            Self::Floor(_) => "C floor, TCX",
            Self::Qosbpf(Mechanism::Xdp) => "qosbpf, XDP",
            Self::Qosbpf(Mechanism::Tcx) => "qosbpf, TCX",
            Self::Qosbpf(Mechanism::Clsact) => "qosbpf, clsact",
            Self::Switched => "qosbpf, XDP, after a switch",
            Self::Nft => "nft",
            Self::NftSet => "nft, best set",
            Self::Iptables => "iptables",
            Self::Tc => "tc (u32, pedit)",
        }
    }

    /// Whether it changes marks.
    pub const fn marks(self) -> bool {
        !matches!(self, Self::Nothing | Self::Twin)
    }

    /// Whether it is of this repository; another one may be missing.
    pub const fn is_ours(self) -> bool {
        !matches!(self, Self::Nft | Self::NftSet | Self::Iptables | Self::Tc)
    }

    /// Whether the kernel has to have TCX for it.
    pub const fn is_tcx(self) -> bool {
        matches!(self, Self::Floor(Mechanism::Tcx) | Self::Qosbpf(Mechanism::Tcx))
    }
}

/// Installs and removes.
pub struct Installer<'a> {
    lab: &'a Lab,
    objects: &'a Objects,
    qosbpf: &'a Path,
    job: &'static Spec,
    /// A floor is attached as long as this lives.
    floor: Option<Ebpf>,
}

impl<'a> Installer<'a> {
    /// For the router of a lab and a job.
    pub const fn new(lab: &'a Lab, objects: &'a Objects, qosbpf: &'a Path, job: &'static Spec) -> Self {
        Self { lab, objects, qosbpf, job, floor: None }
    }

    /// Installs a candidate, which marks from now on.
    ///
    /// # Errors
    ///
    /// What it says.
    pub fn install(&mut self, candidate: &Candidate) -> anyhow::Result<()> {
        match candidate {
            Candidate::Nothing | Candidate::Twin => Ok(()),
            Candidate::Floor(mechanism) => self.attach_floor(*mechanism),
            Candidate::Qosbpf(mechanism) => self.attach(*mechanism, &self.job_policy()?),
            Candidate::Switched => self.switch(),
            Candidate::Nft => self.edge("nft", &["-f", "-"], &ruleset::nft(self.job)),
            Candidate::NftSet => self.edge("nft", &["-f", "-"], &ruleset::nft_set(self.job)),
            Candidate::Iptables => self.edge(self.iptables("-restore"), &["-w", "-n"], &ruleset::iptables(self.job)),
            Candidate::Tc => self.edge("tc", &["-batch", "-"], &ruleset::tc(self.job, DEVICE)),
        }
    }

    /// Removes it.
    ///
    /// # Errors
    ///
    /// What it says.
    pub fn remove(&mut self, candidate: &Candidate) -> anyhow::Result<()> {
        match candidate {
            Candidate::Nothing | Candidate::Twin => Ok(()),
            Candidate::Floor(_) => {
                self.floor = None;
                Ok(())
            }
            Candidate::Qosbpf(_) | Candidate::Switched => self.command(&["detach", "--all"]),
            Candidate::Nft | Candidate::NftSet => self.edge("nft", &["flush", "ruleset"], ""),
            Candidate::Iptables => self.edge(self.iptables(""), &["-w", "-t", "mangle", "-F"], ""),
            Candidate::Tc => self.edge("tc", &["qdisc", "del", "dev", DEVICE, "clsact"], ""),
        }
    }

    /// How many packets it says it has counted since it was installed; `None` for who counts nothing.
    ///
    /// # Errors
    ///
    /// That it does not say.
    pub fn counted(&self, candidate: &Candidate) -> anyhow::Result<Option<u64>> {
        let edge = |program: &str, arguments: &[&str]| {
            self.lab.edge().run(|| output_of(Command::new(program).args(arguments)))
        };
        let packets = match candidate {
            Candidate::Nothing | Candidate::Twin => return Ok(None),
            Candidate::Floor(_) => {
                let floor = self.floor.as_ref().context("no floor is attached")?;
                counters::read_maps(floor)?.totals().before.packets
            }
            Candidate::Qosbpf(_) | Candidate::Switched => {
                let mut command = crate::user::command(self.qosbpf, self.lab, &["stats", "--json"]);
                counted::by_qosbpf(&output_of(&mut command)?, DEVICE)?
            }
            Candidate::Nft | Candidate::NftSet => counted::by_nft(&edge("nft", &["-j", "list", "ruleset"])?)?,
            Candidate::Iptables => {
                let text = edge(self.iptables("-save"), &["-c", "-t", "mangle"])?;
                counted::by_iptables(&text, self.job.cycle)
            }
            Candidate::Tc => counted::by_tc(&edge("tc", &["-s", "-j", "filter", "show", "dev", DEVICE, "ingress"])?)?,
        };
        Ok(Some(packets))
    }

    fn iptables(&self, suffix: &str) -> &'static str {
        match (self.job.ipv6, suffix) {
            (false, "") => "iptables",
            (false, "-save") => "iptables-save",
            (false, _) => "iptables-restore",
            (true, "") => "ip6tables",
            (true, "-save") => "ip6tables-save",
            (true, _) => "ip6tables-restore",
        }
    }

    fn edge(&self, program: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
        self.lab.edge().run(|| run(program, arguments, input))
    }

    fn policy(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.lab.folder().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    fn job_policy(&self) -> anyhow::Result<String> {
        self.policy("bench.toml", &ruleset::policy(self.job, DEVICE))
    }

    fn switch(&self) -> anyhow::Result<()> {
        self.attach(Mechanism::Xdp, &self.policy("keep.toml", &ruleset::keep(DEVICE))?)?;
        self.command(&["policy", "apply", &self.job_policy()?])
    }

    fn attach(&self, mechanism: Mechanism, policy: &str) -> anyhow::Result<()> {
        let hook = match mechanism {
            Mechanism::Xdp => "xdp",
            Mechanism::Tcx => "tcx",
            Mechanism::Clsact => "clsact",
        };
        self.command(&["attach", DEVICE, "--ingress", "--hook", hook, "--policy", policy])
    }

    fn command(&self, words: &[&str]) -> anyhow::Result<()> {
        run_command(&mut crate::user::command(self.qosbpf, self.lab, words), "")
    }

    fn attach_floor(&mut self, mechanism: Mechanism) -> anyhow::Result<()> {
        let mut ebpf = self.objects.floors(&self.job.table())?;
        let name = if mechanism == Mechanism::Xdp { "xdp_whole" } else { "tc_whole" };
        self.lab.edge().run(|| match ebpf.program_mut(name).context("no such floor")? {
            Program::Xdp(xdp) => {
                xdp.load()?;
                Ok(xdp.attach(DEVICE, XdpMode::Driver).map(drop)?)
            }
            Program::SchedClassifier(tc) => {
                tc.load()?;
                let options = TcAttachOptions::TcxOrder(LinkOrder::first());
                Ok(tc.attach_with_options(DEVICE, TcAttachType::Ingress, options).map(drop)?)
            }
            _ => bail!("{name} is of another type"),
        })?;
        self.floor = Some(ebpf);
        Ok(())
    }
}

/// Runs a program with this on its standard input.
///
/// # Errors
///
/// That it cannot be started, or what it says.
pub fn run(program: &str, arguments: &[&str], input: &str) -> anyhow::Result<()> {
    run_command(Command::new(program).args(arguments), input)
}

/// Runs a command with this on its standard input.
///
/// # Errors
///
/// Those of [`run`].
pub fn run_command(command: &mut Command, input: &str) -> anyhow::Result<()> {
    said(command.stdout(Stdio::null()), input).map(drop)
}

/// What a command prints.
fn output_of(command: &mut Command) -> anyhow::Result<String> {
    said(command.stdout(Stdio::piped()), "")
}

fn said(command: &mut Command, input: &str) -> anyhow::Result<String> {
    let name = command.get_program().display().to_string();
    let piped = command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().with_context(|| name.clone())?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read what is given says why.
        let _not_read = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
