//! The command line: the only file that knows how it is parsed.

use std::{env, ffi::OsString, io::Write, path::PathBuf, time::Duration};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

mod diagnosis;
mod policy;
mod seconds;

pub use self::diagnosis::{DoctorArgs, WhyArgs};
pub use self::policy::{
    ApplyArgs, ApplyOptions, BypassArgs, ExplainArgs, ImportArgs, ImportFrom, PacketSource, PolicyCommand, ResumeArgs,
    RollbackArgs,
};
use crate::hook::{HookName, Layer};

/// The folder of the saved policy, unless told otherwise.
pub const ETC: &str = "/etc/qosbpf";

/// Counts, remarks and proves DS fields on a Linux edge router.
#[derive(Debug, Parser)]
#[command(name = "qosbpf", version = crate::FULL_VERSION.as_str(), max_term_width = 100, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, or yes; 1 failed; 2 the command line or a file is wrong; \
    3 the answer is no, or something wanted is not so; 4 could not tell.")]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Why there is nothing to run: the line is wrong, or asks for help or the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unparsed {
    /// Whether the text is what was asked for, and no mistake.
    pub asked_for: bool,
    /// All that is to be said.
    pub text: String,
    /// The same with color.
    pub colored: String,
}

impl Unparsed {
    /// What is wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("error: ")
    }
}

impl Cli {
    /// Parses a command line; `--json`, which each command has of its own, may stand before the command too.
    fn anywhere(arguments: Vec<OsString>) -> clap::error::Result<Self> {
        Self::try_parse_from(&arguments).or_else(|error| match error.kind() {
            ErrorKind::UnknownArgument if arguments.iter().any(|word| word == "--json") => {
                Self::try_parse_from(with_json_last(&arguments))
                    .map_err(|further| if is_about_json(&further) { error } else { further })
            }
            _ => Err(error),
        })
    }

    /// Reads the command line of this process.
    ///
    /// # Errors
    ///
    /// What is to be said instead of running a command.
    pub fn read() -> Result<Self, Unparsed> {
        let arguments: Vec<_> = env::args_os().collect();
        Self::anywhere(arguments).map_err(|error| {
            let text = error.render();
            Unparsed { asked_for: !error.use_stderr(), text: text.to_string(), colored: text.ansi().to_string() }
        })
    }
}

/// Whether the command has no `--json`; another mistake is the one to tell.
fn is_about_json(error: &clap::Error) -> bool {
    matches!(error.get(ContextKind::InvalidArg), Some(ContextValue::String(word)) if word == "--json")
}

/// The same command line with `--json` behind all else that is ours.
fn with_json_last(arguments: &[OsString]) -> Vec<OsString> {
    let ours = arguments.iter().position(|word| word == "--").unwrap_or(arguments.len());
    let (ours, others) = arguments.split_at(ours);
    let rest = ours.iter().filter(|word| *word != "--json").cloned();
    rest.chain(["--json".into()]).chain(others.iter().cloned()).collect()
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Work in this network namespace: a name of `ip netns`, or a path.
    #[arg(long, global = true, value_name = "NAME|PATH")]
    pub netns: Option<String>,
    /// The bpf file system that keeps the pins; mounted if it is not.
    #[arg(long, global = true, value_name = "PATH", default_value = "/sys/fs/bpf")]
    pub bpffs: PathBuf,
    /// The folder of the saved policy.
    #[arg(long, global = true, value_name = "PATH", default_value = ETC)]
    pub etc: PathBuf,
    /// Say more; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Leave out explanations and footnotes.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// How log lines look on stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// When to color; NO_COLOR is heeded.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// When to color.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Count at an interface, pinned: it goes on when this command has ended.
    Attach(AttachArgs),
    /// Remove what `attach` attached, and nothing else.
    Detach(DetachArgs),
    /// Every hook that is wanted or there; exit 3 if something wanted is not there.
    Status(StatusArgs),
    /// Packets and bytes per DSCP, before and after.
    Stats(StatsArgs),
    /// Check, apply and show the remark policy.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Run a command and say whether the counters moved as told.
    Expect(ExpectArgs),
    /// What rules that log tell of packets: `log = "1/s"` in the policy.
    Events(EventsArgs),
    /// Why a counter is zero, or a mark is not what was meant; exit 3 if a fault is found, 4 if it cannot tell.
    Why(WhyArgs),
    /// What this kernel, these privileges and these devices allow, and what helps; exit 3 if something is wrong.
    Doctor(DoctorArgs),
    /// Any notation of a DSCP to every notation, with the filter text of each tool.
    Dscp(DscpArgs),
    /// The service: attach what the policy binds, follow interfaces, keep rates, serve metrics.
    Run(RunArgs),
    /// A lab of its own: a router between two hosts, marked traffic, counters, remarking.
    Demo(DemoArgs),
    /// Wait for deadlines and go back; started by the command that sets one.
    #[command(hide = true)]
    Timer,
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether nobody waits for an answer, and there is a log.
    #[must_use]
    pub const fn serves(&self) -> bool {
        matches!(self, Self::Run(RunArgs { reload: false, .. }))
    }

    /// Whether the answer, and so an error too, is to be JSON.
    #[must_use]
    pub const fn wants_json(&self) -> bool {
        match self {
            Self::Attach(AttachArgs { json, .. })
            | Self::Detach(DetachArgs { json, .. })
            | Self::Status(StatusArgs { json })
            | Self::Stats(StatsArgs { format: StatsFormat { json, .. }, .. })
            | Self::Expect(ExpectArgs { json, .. })
            | Self::Events(EventsArgs { json, .. })
            | Self::Dscp(DscpArgs { json, .. })
            | Self::Why(WhyArgs { json, .. })
            | Self::Doctor(DoctorArgs { json, .. })
            | Self::Policy(
                PolicyCommand::Check { json, .. }
                | PolicyCommand::Show { json, .. }
                | PolicyCommand::Diff { json, .. }
                | PolicyCommand::Apply(ApplyArgs { how: ApplyOptions { json, .. }, .. })
                | PolicyCommand::Rollback(RollbackArgs { how: ApplyOptions { json, .. }, .. })
                | PolicyCommand::Explain(ExplainArgs { json, .. })
                | PolicyCommand::Test { json, .. }
                | PolicyCommand::Confirm { json }
                | PolicyCommand::History { json }
                | PolicyCommand::Save { json }
                | PolicyCommand::Import(ImportArgs { json, .. })
                | PolicyCommand::Bypass(BypassArgs { json, .. })
                | PolicyCommand::Resume(ResumeArgs { json, .. }),
            ) => *json,
            // It is JSON and nothing else.
            Self::Policy(PolicyCommand::Schema) => true,
            Self::Run(_) | Self::Demo(_) | Self::Completions { .. } | Self::Timer => false,
        }
    }
}

/// `run`
#[derive(Clone, Copy, Debug, Args)]
pub struct RunArgs {
    /// Put the saved policy in force, attach what it binds, and end: for images without a service manager.
    #[arg(long)]
    pub once: bool,
    /// Let the service that runs read the saved policy again, and say what came of it.
    #[arg(long, conflicts_with = "once")]
    pub reload: bool,
}

/// `qosbpf events`
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Hooks, such as wan0:egress, or interfaces; none means all.
    #[arg(value_name = "IFACE[:DIR]")]
    pub hooks: Vec<HookName>,
    /// Print what waits, and end; else what comes is printed too, until Ctrl-C.
    #[arg(long)]
    pub once: bool,
    /// Write to systemd's journal instead.
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, default_missing_value = "/run/systemd/journal/socket")]
    pub journal: Option<PathBuf>,
    /// One JSON document a line.
    #[arg(long, conflicts_with = "journal")]
    pub json: bool,
}

/// Where to attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HookChoice {
    /// Ingress: native XDP, else TCX, else clsact. Egress: TCX, else clsact.
    Auto,
    /// Native XDP (ingress).
    Xdp,
    /// Generic XDP (ingress): copies packets, and sees super-packets as one.
    XdpGeneric,
    /// TC by a link (Linux 6.6).
    Tcx,
    /// TC by a filter of the clsact qdisc.
    Clsact,
}

/// `attach`
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The interface, or one hook of it.
    #[arg(value_name = "IFACE[:DIR]")]
    pub place: HookName,
    /// Ingress; neither direction named: both.
    #[arg(long)]
    pub ingress: bool,
    /// Egress.
    #[arg(long)]
    pub egress: bool,
    /// By which mechanism.
    #[arg(long, value_enum, default_value_t = HookChoice::Auto)]
    pub hook: HookChoice,
    /// Look for the IP header behind these too: PPPoE sessions, MPLS labels.
    #[arg(long, value_name = "pppoe,mpls", value_delimiter = ',')]
    pub inside: Vec<Layer>,
    /// The policy to enforce, if none runs yet; a running one is changed by `policy apply`.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Stay, and detach at the end.
    #[arg(long)]
    pub foreground: bool,
    /// Log what was decided on packets, at most ten a second and CPU.
    #[arg(long, requires = "foreground")]
    pub log_decisions: bool,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `detach`
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// The interface, or one hook of it.
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "IFACE[:DIR]")]
    pub hook: Option<HookName>,
    /// Every hook of this network namespace, and its policy.
    #[arg(long)]
    pub all: bool,
    /// Of qosbpf's own programs there, those of which no pin is known here; what is pinned stays.
    #[arg(long, conflicts_with = "all")]
    pub unpinned: bool,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// `stats`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct StatsArgs {
    /// `clear`
    #[command(subcommand)]
    pub command: Option<StatsCommand>,
    /// The hooks; none: all, a line each.
    #[arg(value_name = "IFACE[:DIR]")]
    pub hooks: Vec<HookName>,
    /// How it is printed.
    #[command(flatten)]
    pub format: StatsFormat,
    /// Print again and again, every 2 seconds or SECS, at least 0.1.
    #[arg(long, value_name = "SECS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds::interval)]
    pub watch: Option<Duration>,
    /// One row a codepoint, or one a class of the policy.
    #[arg(long, value_enum, default_value_t = By::Dscp)]
    pub by: By,
    /// Sample this many seconds for rates, 0 for none; else those of the last minute, if `run` keeps them, or 1 second.
    #[arg(long, value_name = "SECS", value_parser = seconds::seconds)]
    pub rate: Option<Duration>,
    /// No cursor movement, even on a terminal.
    #[arg(long)]
    pub no_tty: bool,
}

/// `stats clear`
#[derive(Debug, Subcommand)]
pub enum StatsCommand {
    /// Let the terminal's table count from now; machine output is always since attach.
    Clear {
        /// The hooks; none: all.
        #[arg(value_name = "IFACE[:DIR]")]
        hooks: Vec<HookName>,
    },
}

/// The machine formats.
#[derive(Clone, Copy, Debug, Args)]
#[group(multiple = false)]
pub struct StatsFormat {
    /// One JSON document; with --watch one a line.
    #[arg(long)]
    pub json: bool,
    /// One row a counter, with a header line.
    #[arg(long)]
    pub csv: bool,
    /// The text that a Prometheus scraper reads.
    #[arg(long)]
    pub prometheus: bool,
}

/// Rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// One a codepoint.
    Dscp,
    /// One a class.
    Class,
}

impl StatsFormat {
    /// Whether a machine reads it.
    #[must_use]
    pub const fn is_machine(&self) -> bool {
        self.json || self.csv || self.prometheus
    }

    /// Whether it has fields for what the service remembers.
    #[must_use]
    pub const fn wants_trends(&self) -> bool {
        self.json
    }
}

/// `expect`
#[derive(Debug, Args)]
pub struct ExpectArgs {
    /// Where: IFACE:ingress or IFACE:egress.
    pub hook: HookName,
    /// What: EF=10, 'voice>=1', other=0; other is every codepoint that no expectation names.
    #[arg(required = true, value_name = "CLASS=N")]
    pub expectations: Vec<String>,
    /// Packets as they came to the hook.
    #[arg(long, conflicts_with = "after")]
    pub before: bool,
    /// Packets as they left it (the default).
    #[arg(long)]
    pub after: bool,
    /// Wait at most this long for what is under way when the command has ended: until `>=` is met, until nothing has
    /// come for 0.2 s where `=` and `<=` are met.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub within: Duration,
    /// The verdict as JSON; the command's output goes to stderr.
    #[arg(long)]
    pub json: bool,
    /// The command that makes the traffic. If it fails and all that was met is "none came", the answer is 4.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// `dscp`
#[derive(Debug, Args)]
pub struct DscpArgs {
    /// EF, 46, 0x2e, 0b101110, tos=184; none: the whole table.
    #[arg(value_name = "VALUE")]
    pub values: Vec<String>,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave the lab standing, and say how to look around and how to remove it.
    #[arg(long)]
    pub keep: bool,
}

/// Writes a completion script for a shell.
pub fn completions(shell: clap_complete::Shell, out: &mut impl Write) {
    clap_complete::generate(shell, &mut Cli::command(), "qosbpf", out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation;

    #[test]
    fn json_may_stand_before_the_command() {
        let read = |line: &str| Cli::anywhere(line.split(' ').map(OsString::from).collect());
        for line in ["qosbpf --json status", "qosbpf status --json", "qosbpf --netns edge policy --json show"] {
            assert!(read(line).unwrap().command.wants_json(), "{line}");
        }
        let expect = read("qosbpf --json expect a:egress EF=1 -- ls --json").unwrap().command;
        let Command::Expect(ExpectArgs { json: true, command, .. }) = expect else { panic!("{expect:?}") };
        assert_eq!(command, ["ls", "--json"]);
        let wrong = |line: &str| read(line).unwrap_err().to_string();
        assert!(wrong("qosbpf --jsn status").contains("'--jsn'"));
        assert!(wrong("qosbpf --json demo").contains("'--json'"), "{}", wrong("qosbpf --json demo"));
        assert!(!read("qosbpf status").unwrap().command.wants_json());
    }

    #[test]
    fn the_commands_are_those_of_the_command_line() {
        let without = ["run", "dscp", "demo", "timer", "completions"];
        let line = Cli::command();
        let names = line.get_subcommands().map(clap::Command::get_name).filter(|name| !without.contains(name));
        let known: Vec<_> = invocation::COMMANDS.into_iter().filter(|command| !command.starts_with("run ")).collect();
        assert_eq!(names.collect::<Vec<_>>(), known);
    }
}
