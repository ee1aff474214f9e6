//! What can be tried at length, and how.

use anyhow::{bail, ensure};

use super::{record::Tried, since::Since};
use crate::{shell, test};

/// Something that is tried at length.
pub struct Proof {
    /// How it is asked for.
    pub name: &'static str,
    /// The sources that it is about, of which a change makes it one of something else; none where that may be any.
    pub about: Option<&'static [&'static str]>,
    /// Tries it.
    pub run: fn() -> anyhow::Result<Vec<Tried>>,
}

/// All of them, the quick ones first.
pub const PROOFS: [Proof; 5] = [
    Proof { name: "frames", about: Some(&["qos-common/src", "qos-ebpf/src"]), run: frames },
    Proof {
        name: "policies",
        about: Some(&["qos-common/src", "qos-ebpf/src", "qos-user/src/policy/compile", "qos-user/src/policy/walk.rs"]),
        run: policies,
    },
    Proof { name: "kills-detach", about: None, run: || kills("change of `detach") },
    Proof { name: "kills-attach", about: None, run: || kills("change of `attach") },
    Proof { name: "kills-apply", about: None, run: || kills("change of `policy apply") },
];

impl Proof {
    /// What somebody has to know who reads that it was tried at this commit.
    pub fn words(&self, commit: &str, since: Since) -> Option<String> {
        let name = self.name;
        let again = format!("`cargo xtask prove {name}`");
        match (since, self.about) {
            (Since::Same, _) => None,
            (Since::Changed(commits), None) => Some(format!("{name} is of {commit}, {commits} commits ago")),
            (Since::Changed(commits), Some(about)) => Some(format!(
                "STALE: {name} is of {commit}, and {} have changed since, by {commits} commits: {again}",
                about.join(", ")
            )),
            (Since::Unknown, _) => Some(format!(
                "{name} is of {commit}, which this clone does not have (git fetch --unshallow): what has changed since \
                 cannot be told"
            )),
        }
    }
}

/// How many random frames are asked for; all programs and specialisations have their share.
const FRAMES: u64 = 1_000_000;

fn frames() -> anyhow::Result<Vec<Tried>> {
    let asked = [("QOSBPF_AGREEMENT_PACKETS", FRAMES), ("QOSBPF_AGREEMENT_SEED", 1)];
    let (_, said) = tests("agreement", &asked, &[])?;
    let frames: u64 = said.iter().filter_map(|line| share(line)).sum();
    ensure!(frames >= FRAMES, "{frames} random frames were tried, {FRAMES} wanted");
    Ok(vec![Tried {
        what:
            "random frames, in all programs and specialisations: bytes, verdict and counters of the kernel are those \
               of the same code on the host"
                .to_owned(),
        often: format!("{} frames", grouped(frames)),
    }])
}

/// Of `Xdp Ethernet 0: 15625 random frames, QOSBPF_AGREEMENT_SEED=1`.
fn share(line: &str) -> Option<u64> {
    let (before, _) = line.split_once(" random frames, ")?;
    before.rsplit(": ").next()?.parse().ok()
}

/// How many random policies each of the programs gets, and which tests try them.
const POLICIES: u64 = 2_500;
const RULES: [&str; 4] = ["xdp", "xdp_frags", "tc_ingress", "tc_egress"];

fn policies() -> anyhow::Result<Vec<Tried>> {
    let (mut first, mut tried) = (1, 0);
    for test in RULES {
        let asked = [("QOSBPF_POLICIES", POLICIES), ("QOSBPF_POLICY_SEED", first)];
        let (passed, _) = tests("rules", &asked, &["--exact", test])?;
        ensure!(passed == 1, "{passed} tests of the name {test}");
        first += POLICIES;
        tried += POLICIES;
    }
    Ok(vec![Tried {
        what: "random policies with meters and logs: kernel, host and a plain walk from rule to rule agree on each of 100 \
               random packets"
            .to_owned(),
        often: format!("{} policies", grouped(tried)),
    }])
}

/// Of the commands of this name.
fn kills(names: &str) -> anyhow::Result<Vec<Tried>> {
    let (passed, said) = tests("faults", &[("QOSBPF_KILL_EVERY", 1)], &[names])?;
    let mut tried: Vec<Tried> = said.iter().filter_map(|line| killed(line)).collect();
    ensure!(tried.len() as u64 == passed, "{passed} tests have passed, and {} say how often they kill", tried.len());
    tried.sort_by(|one, other| one.what.cmp(&other.what));
    Ok(tried)
}

/// Of a line of a fault: `fault: kill -9 at every change of NAME: TRAFFIC | COUNTERS | killed at N places; ...`.
fn killed(line: &str) -> Option<Tried> {
    let (_, rest) = line.split_once("fault: kill -9 at every change of ")?;
    let (name, rest) = rest.split_once(": ")?;
    let (traffic, said) = rest.split_once(" | ")?;
    let (_, places) = said.split_once(" | killed at ")?;
    let places = places.split(' ').next()?.parse().ok()?;
    let what = format!("{name}: killed behind each of its system calls");
    Some(Tried { what, often: format!("{} kills; packets: {traffic}", grouped(places)) })
}

/// Runs tests of one program; how many have passed, and what they said.
fn tests(program: &str, asked: &[(&str, u64)], filter: &[&str]) -> anyhow::Result<(u64, Vec<String>)> {
    let mut command = test::of_program(program);
    command.envs(asked.iter().map(|(name, number)| (*name, number.to_string())));
    command.args(["--", "--nocapture"]).args(filter);
    let mut said = Vec::new();
    let (success, reader) = test::read(&mut command, |line| said.push(line.to_owned()))?;
    if !success || reader.sum.passed() == 0 {
        bail!("tests failed: {}", shell::describe(&command));
    }
    if let Some(left_out) = said.iter().find(|line| line.contains("left out: ")) {
        bail!("this kernel does not have all that is to be proved: {left_out}");
    }
    Ok((reader.sum.passed(), said))
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_say_is_counted() {
        assert_eq!(share("Tc(Egress) Layer3 47: 15625 random frames, QOSBPF_AGREEMENT_SEED=1"), Some(15_625));
        assert_eq!(share("changed tunnels Ethernet: QOSBPF_AGREEMENT_SEED=1"), None);
        let line = "fault: kill -9 at every change of `attach`, XDP: 0 of 13830 lost | of the hook begin and end with it | \
            killed at 1897 places; `status`, `attach` and `detach` succeed, nothing leaks";
        let what = "`attach`, XDP: killed behind each of its system calls".to_owned();
        let often = "1,897 kills; packets: 0 of 13830 lost".to_owned();
        assert_eq!(killed(line), Some(Tried { what, often }));
        assert_eq!(killed("fault: link down and up, five times: 13 of 610 lost | go on | nothing"), None);
        assert_eq!([7, 1_000, 2_500_000].map(grouped), ["7", "1,000", "2,500,000"]);
    }

    #[test]
    fn what_has_changed_is_said_loudly_and_what_cannot_be_told_too() {
        let [frames, _, kills, ..] = PROOFS;
        assert_eq!(frames.words("0123456", Since::Same), None);
        let stale = frames.words("0123456", Since::Changed(5)).unwrap_or_default();
        assert!(stale.starts_with("STALE: frames is of 0123456, and qos-common/src, qos-ebpf/src have"), "{stale}");
        assert!(stale.ends_with("by 5 commits: `cargo xtask prove frames`"), "{stale}");
        assert_eq!(
            kills.words("0123456", Since::Changed(9)).as_deref(),
            Some("kills-detach is of 0123456, 9 commits ago")
        );
        for proof in [frames, kills] {
            assert!(proof.words("0123456", Since::Unknown).is_some_and(|words| words.contains("cannot be told")));
        }
    }

    #[test]
    fn what_a_proof_is_about_is_there() {
        for path in PROOFS.iter().flat_map(|proof| proof.about).flatten() {
            assert!(qos_build::root().join(path).exists(), "{path}");
        }
    }
}
