//! A router under traffic with a policy in force, on which faults are tried.

use anyhow::ensure;
use qosbpf::{invocation::COMMANDS, lab::namespace::Namespace};
use qosbpf_tests::{
    binary::Answer,
    flow::{Flow, Outcome},
    left::assert_nothing,
    router::{Router, run_in},
};

/// EF leaves as AF41.
pub const POLICY: &str = "[interface.lan0]\ningress = \"in\"\n[interface.wan0]\negress = \"out\"\n\
                          [remark.in]\nother = \"keep\"\n[remark.out]\nEF = \"AF41\"\nother = \"keep\"\n";
pub const EF: u8 = qosbpf_tests::flow::EF;
pub const AF41: u8 = 34;
pub const AF31: u8 = 26;

/// EF leaves as AF31.
pub fn other_policy() -> String {
    POLICY.replace("AF41", "AF31")
}

/// What a fault did, for the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What happened to traffic.
    pub traffic: String,
    /// What happened to counters.
    pub counters: String,
    /// What qosbpf said.
    pub said: String,
}

pub struct Stage {
    pub router: Router,
    pub flow: Flow,
}

impl Stage {
    /// Both interfaces are attached, the policy is in force, and traffic flows.
    pub fn start(hook: &str) -> anyhow::Result<Self> {
        let router = Router::start()?;
        router.ok(&format!("attach lan0 --hook {hook}"))?;
        router.ok(&format!("attach wan0 --hook {hook}"))?;
        let policy = router.policy("edge", POLICY)?;
        router.ok(&format!("policy apply {policy}"))?;
        Self::of(router)
    }

    /// Traffic alone.
    pub fn of(router: Router) -> anyhow::Result<Self> {
        let flow = Flow::start(&router)?;
        flow.pass(50)?;
        Ok(Self { router, flow })
    }

    /// A tool in the router.
    pub fn run(&self, line: &str) -> anyhow::Result<Answer> {
        run_in(self.edge(), line)
    }

    pub fn edge(&self) -> &Namespace {
        self.router.edge()
    }

    /// `qosbpf`, which has to say no, in these words.
    pub fn refused(&self, line: &str, code: i32, words: &[&str]) -> anyhow::Result<Answer> {
        self.router.ask(line)?.expect(code)?.complains(words)
    }

    /// Ends the flow, a little after the last fault.
    pub fn end(self) -> anyhow::Result<(Router, Outcome)> {
        self.flow.pass(50)?;
        Ok((self.router, self.flow.end()?))
    }

    /// The fault did nothing to the packets: each arrived, was counted at both hooks, and left as AF41.
    pub fn unharmed(self, said: String) -> anyhow::Result<Row> {
        let (router, outcome) = self.end()?;
        let row = unharmed(&router, &outcome, said)?;
        leaves_nothing(&router)?;
        Ok(row)
    }

    /// Nothing but a change of policy, to [`other_policy`] or back: each packet arrived, was counted, and left with the mark of
    /// the one or of the other.
    pub fn changed(self, said: String) -> anyhow::Result<Row> {
        let (router, outcome) = self.end()?;
        ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
        ensure!(outcome.marks.keys().all(|mark| [AF31, AF41].contains(mark)), "{outcome:?}");
        let counted = router.counted("wan0:egress")?.packets()[&EF];
        ensure!(counted == u64::from(outcome.sent), "{counted} of {outcome:?}");
        leaves_nothing(&router)?;
        let traffic = format!("0 of {} lost, each with the mark of the one policy or of the other", outcome.sent);
        Ok(Row { traffic, counters: "go on: every packet".to_owned(), said })
    }
}

/// When all is detached there is no pin, no program and no qdisc of ours at any interface.
pub fn leaves_nothing(router: &Router) -> anyhow::Result<()> {
    router.ok("detach --all")?;
    assert_nothing(router, "detach --all")
}

/// What [`Stage::unharmed`] says, of a flow through a router in which both hooks were attached before it began.
pub fn unharmed(router: &Router, outcome: &Outcome, said: String) -> anyhow::Result<Row> {
    ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
    ensure!(outcome.marks.keys().eq(&[AF41]), "{outcome:?}");
    let all = u64::from(outcome.sent);
    for hook in ["lan0:ingress", "wan0:egress"] {
        let counted = router.counted(hook)?.packets();
        ensure!(counted == [(EF, all)].into(), "{hook}: {counted:?} of {all}");
    }
    Ok(Row { traffic: remarked(outcome), counters: "go on: every packet, at both hooks".to_owned(), said })
}

/// Of a flow of which nothing was lost.
pub fn remarked(outcome: &Outcome) -> String {
    format!("0 of {} lost, all remarked", outcome.sent)
}

/// Of a flow of which nothing was lost, and not all was remarked.
pub fn passed(outcome: &Outcome) -> anyhow::Result<String> {
    ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
    let marks: Vec<_> = outcome.marks.iter().map(|(mark, count)| format!("{count} as {mark}")).collect();
    Ok(format!("0 of {} lost; as DSCP: {}", outcome.sent, marks.join(", ")))
}

/// Of a flow that the fault itself has cut.
pub fn cut(outcome: &Outcome) -> anyhow::Result<String> {
    ensure!(outcome.beyond == 0, "lost beyond the fault: {outcome:?}");
    Ok(format!("{} of {} lost while it lasted, 0 beyond", outcome.within, outcome.sent))
}

/// What a command complained of, as the table quotes it: its first lines, with the paths of this run left out.
pub fn quote(router: &Router, answer: &Answer) -> anyhow::Result<String> {
    complaint(router, &answer.stderr)
}

/// The same of any text that complains: what to do about it has to be said too.
pub fn complaint(router: &Router, text: &str) -> anyhow::Result<String> {
    ensure!(helps(&without_names(router, text)), "nothing is said of what to do about it: {text}");
    Ok(quoted(router, text))
}

/// Whether a complaint has a hint, which is on a line of its own or a field, a command of ours, or a place in a file.
fn helps(text: &str) -> bool {
    let hint = text.lines().skip_while(|line| !line.starts_with("qosbpf: ")).skip(1).any(|line| line.starts_with("  "));
    hint || text.contains("\"hint\":\"")
        || text.contains("--> ")
        || COMMANDS.iter().any(|command| text.contains(&format!("qosbpf {command}")))
}

/// The first lines of what was said.
pub fn quoted(router: &Router, text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3);
    without_names(router, &lines.collect::<Vec<_>>().join(" / "))
}

/// A text as it is in every run, where the names of this one were.
fn without_names(router: &Router, text: &str) -> String {
    let (bpffs, folder, edge) = (router.bpffs.display(), router.folder().display(), router.edge().name());
    let names = [
        (format!(" --netns {edge} --bpffs {bpffs}"), ""),
        (format!(" --etc {folder}/etc/"), ""),
        (format!("ip netns exec {edge} "), ""),
        (bpffs.to_string(), "BPFFS"),
        (folder.to_string(), "FOLDER"),
    ];
    names.iter().fold(text.to_owned(), |text, (name, short)| text.replace(name, short))
}
