//! The arguments of `qosbpf policy`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use crate::hook::HookName;

/// `policy`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Read a file, report every mistake, change nothing.
    Check {
        /// TOML or JSON; `-` is stdin.
        file: PathBuf,
        /// Errors as JSON.
        #[arg(long)]
        json: bool,
    },
    /// What runs, with hits.
    Show {
        /// The hooks; none: all.
        #[arg(value_name = "IFACE[:DIR]")]
        hooks: Vec<HookName>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// What a file would change per hook, and how many packets per second now; exit 3 if anything.
    Diff {
        /// TOML or JSON; `-` is stdin.
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// What the program of a hook does with a packet, and why; nothing is sent.
    Explain(ExplainArgs),
    /// Run the [[test]]s of a file, in twins of the programs; exit 3 if one fails.
    Test {
        /// TOML or JSON; `-` is stdin.
        file: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Switch to the policy of a file, at each hook at once.
    Apply(ApplyArgs),
    /// Keep what was applied with --confirm.
    Confirm {
        /// Print what was done as JSON.
        #[arg(long)]
        json: bool,
    },
    /// The last 10 policies that were in force.
    History {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Apply an earlier policy; while one waits to be confirmed and without N, go back at once.
    Rollback(RollbackArgs),
    /// Write the policy in force to /etc/qosbpf/policy.toml, for whatever applies it at boot.
    Save {
        /// Print what was done as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Rules of another tool as a policy on stdout; exit 3 if something is not carried over.
    Import(ImportArgs),
    /// The JSON schema of policies, for editors.
    Schema,
    /// Take the policy out of the path; counts go on.
    Bypass(BypassArgs),
    /// Put it back.
    Resume(ResumeArgs),
}

/// `policy explain`
#[derive(Debug, Args)]
#[command(override_usage = "qosbpf policy explain [OPTIONS] <IFACE:DIR> <PACKET|--pcap FILE|--hex BYTES>")]
pub struct ExplainArgs {
    /// The hook; one that is not attached is tried as TC.
    #[arg(value_name = "IFACE:DIR")]
    pub hook: HookName,
    /// What comes to it.
    #[command(flatten)]
    pub source: PacketSource,
    /// By the policy of this file, in place of the one in force; `-` is stdin.
    #[arg(long, value_name = "POLICY")]
    pub file: Option<PathBuf>,
    /// How many packets of a capture.
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "pcap")]
    pub count: usize,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// A packet in words or bytes, or a capture of many.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct PacketSource {
    /// In words: 'udp 10.20.0.5:5060 > 198.51.100.1:5060 dscp EF', then as in a [[test]] of a policy.
    #[arg(value_name = "PACKET")]
    pub packet: Option<String>,
    /// Packets of a capture (pcap; Ethernet or bare IP).
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// The bytes of one frame in hexadecimal, from the link header on if the device has one.
    #[arg(long, value_name = "BYTES")]
    pub hex: Option<String>,
}

/// `policy apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// TOML or JSON; `-` is stdin.
    pub file: PathBuf,
    /// How it is applied.
    #[command(flatten)]
    pub how: ApplyOptions,
}

/// `policy rollback`
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// A number of `policy history`; none: the latest that is not in force.
    #[arg(value_name = "N")]
    pub number: Option<u64>,
    /// How it is applied.
    #[command(flatten)]
    pub how: ApplyOptions,
}

/// How a policy is applied.
#[derive(Clone, Debug, Default, Args)]
pub struct ApplyOptions {
    /// Go back to what runs now, unless `policy confirm` follows within this time.
    #[arg(long, value_name = "TIME", value_parser = at_least_a_second)]
    pub confirm: Option<Duration>,
    /// Also write it to /etc/qosbpf/policy.toml; with --confirm once it is confirmed.
    #[arg(long)]
    pub save: bool,
    /// Attach what the file binds and is not attached.
    #[arg(long)]
    pub attach: bool,
    /// Hooks that lose their table go on counting without one.
    #[arg(long, conflicts_with = "only")]
    pub prune: bool,
    /// Change this interface alone; the other hooks keep what they run, and `status` says so.
    #[arg(long, value_name = "IFACE")]
    pub only: Option<String>,
    /// Even if a [[test]] fails, or this SSH session would be dropped.
    #[arg(long)]
    pub force: bool,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `policy import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files of one tool; `-` or none is stdin.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Whose rules they are.
    #[arg(long, value_enum, value_name = "TOOL", default_value_t = ImportFrom::Auto)]
    pub from: ImportFrom,
    /// What an interface of the text is called here; may be repeated.
    #[arg(long, value_name = "OLD=NEW", value_parser = renamed)]
    pub interface: Vec<(String, String)>,
    /// Where that goes which the text binds to no interface; may be repeated.
    #[arg(long, value_name = "IFACE[:DIR]")]
    pub on: Vec<HookName>,
    /// The name of the policy.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The policy, and what is not carried over, as one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// Whose rules are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportFrom {
    /// What they look like.
    Auto,
    /// iptables-save, ip6tables-save, and what `ipset save` prints.
    Iptables,
    /// nft list ruleset, or a file for nft -f.
    Nft,
    /// A running-config of Cisco IOS.
    Cisco,
    /// /etc/config/qosify and /etc/qosify/*.conf of OpenWrt.
    Qosify,
}

/// `policy bypass`
#[derive(Debug, Args)]
pub struct BypassArgs {
    /// One interface or hook; none: all.
    #[arg(value_name = "IFACE[:DIR]")]
    pub hook: Option<HookName>,
    /// End by itself after this time.
    #[arg(long = "for", value_name = "TIME", value_parser = at_least_a_second)]
    pub time: Option<Duration>,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `policy resume`
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// One interface or hook; none: all.
    #[arg(value_name = "IFACE[:DIR]")]
    pub hook: Option<HookName>,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `60s`, `10m`, `1h 30m`.
fn at_least_a_second(word: &str) -> Result<Duration, String> {
    match humantime::parse_duration(word) {
        Ok(time) if time >= Duration::from_secs(1) => Ok(time),
        Ok(_) => Err("at least 1s".to_owned()),
        Err(error) => Err(format!("{error}; write 60s or 10m")),
    }
}

/// `GigabitEthernet0/0=wan0`.
fn renamed(word: &str) -> Result<(String, String), String> {
    match word.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("write OLD=NEW, such as GigabitEthernet0/0=wan0".to_owned()),
    }
}
