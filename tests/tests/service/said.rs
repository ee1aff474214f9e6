//! What the service's log says: of the hook that is meant, and with commands that work as they are typed from there.

use std::fs;

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    binary::Answer,
    router::run_in,
    service::{Lab, MARK, OTHER, eventually},
    typed,
};

use crate::{
    control::{NOBODY, Public},
    pins::serving,
};

/// The command of ours in the line of the log that has these words.
fn cure(lab: &Lab, words: &str) -> anyhow::Result<String> {
    lab.says(&[words])?;
    let log = lab.log()?;
    let line = log.lines().find(|line| line.contains(words)).context("the line")?;
    let line = line.split(" hook=").next().unwrap_or(line);
    Ok(line[line.rfind(": qosbpf ").context("a command")? + 2..].to_owned())
}

/// The service has a network namespace, a bpf file system and a folder of its own, and whoever reads the log has none of them.
#[test]
fn a_command_in_the_log_is_about_what_the_service_is_about() -> anyhow::Result<()> {
    let lab = serving(&["attach wan0 --egress --hook tcx"])?;
    lab.ok("policy bypass")?;
    eventually(|| Ok(lab.hook("lan0:ingress")?.is_some_and(|hook| hook["state"] == "bypassed")))?;
    fs::remove_dir_all(lab.router.hook_folder("wan0", "egress")?)?;
    let detach = cure(&lab, "its pins in")?;
    lab.becomes("wan0:egress", "counting")?;
    lab.says(&["counting, no policy is bound to it"])?;
    ensure!(typed::shell(&detach, None)?.code == 0 && lab.hook("wan0:egress")?.is_none(), "{detach}: {}", lab.log()?);
    fs::remove_dir_all(lab.router.hook_folder("lan0", "ingress")?)?;
    lab.says(&["BYPASSED by "])?;
    let resume = cure(&lab, "BYPASSED by ")?;
    lab.becomes("lan0:ingress", "bypassed")?;
    ensure!(typed::shell(&resume, None)?.code == 0, "{resume}");
    lab.becomes("lan0:ingress", "active")?;
    ensure!(lab.five_become(34)?);
    Ok(())
}

/// The same where each line is a document.
#[test]
fn a_command_in_a_log_of_documents_is_typed_in_the_same_way() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    lab.save("edge", MARK)?;
    lab.serve_by(&mut lab.command("--log-format json run")?)?;
    lab.save("other", &MARK.replace("AF41", "CS1"))?;
    lab.stop()?;
    let policy = lab.router.policy("third", &MARK.replace("AF41", "CS2"))?;
    lab.ok(&format!("policy apply {policy}"))?;
    lab.serve_by(&mut lab.command("--log-format json run")?)?;
    lab.says(&["stays in force"])?;
    let log = lab.log()?;
    let line = log.lines().find(|line| line.contains("stays in force")).context("the line")?;
    let line: serde_json::Value = serde_json::from_str(line)?;
    let said = line["fields"]["message"].as_str().context("a message")?;
    ensure!(said.contains(&format!("{} keeps it, ", lab.typed("policy save"))), "{said}");
    let file = lab.etc("policy.toml");
    ensure!(said.contains(&lab.typed(&format!("policy apply --attach {}", file.display()))), "{said}");
    Ok(())
}

/// What the service does by itself, what it does for others, and why it ends: each has a level, and is one document.
#[test]
fn every_line_of_a_log_of_documents_is_one() -> anyhow::Result<()> {
    let mut public = Public::new("group = \"nogroup\"\n")?;
    let mut run = public.lab.command("--log-format json run")?;
    public.lab.serve_by(&mut run)?;
    let lab = &public.lab;
    public.ask_as(NOBODY, "policy bypass lan0:ingress --for 1s")?.expect(0)?;
    lab.says(&["lan0:ingress is in the policy's path again: the bypass by nobody ended"])?;
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other} --confirm 1s"))?;
    lab.says(&["was not confirmed in time: back to edge"])?;
    let refused = Answer::of(&mut run)?.expect(1)?;
    let lines = lab.log()? + &refused.stderr;
    let lines = lines.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
    let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>()?;
    let said = |level: &str, words: &str| {
        let is_it = |line: &&serde_json::Value| {
            line["fields"]["message"].as_str().is_some_and(|said| said == words || said.ends_with(words))
        };
        let line = lines.iter().find(is_it).with_context(|| format!("`{words}`: {lines:#?}"))?;
        ensure!(line["level"] == level, "{line:#}");
        Ok(line)
    };
    said("WARN", "lan0:ingress is in the policy's path again: the bypass by nobody ended")?;
    let command = said("INFO", &lab.typed("policy bypass --for 1s lan0:ingress"))?;
    ensure!(command["fields"]["who"] == "nobody" && command["fields"]["code"] == 0, "{command:#}");
    let ended = lines.last().context("why the second one ended")?;
    ensure!(
        ended["level"] == "ERROR"
            && ended["fields"]["message"].to_string().contains("serves this network namespace already"),
        "{ended:#}"
    );
    Ok(())
}

/// Another device has its number by then.
#[test]
fn a_hook_whose_device_is_gone_is_named_by_that_device() -> anyhow::Result<()> {
    let lab = Lab::serving("[interface.dyn0]\negress = \"wash\"\n[remark.wash]\nother = \"DF\"\n")?;
    let edge = lab.router.edge();
    run_in(edge, "ip link add dyn0 index 77 type veth peer name peer0")?;
    lab.becomes("dyn0:egress", "active")?;
    let lines = lab.router.folder().join("links");
    fs::write(&lines, "link del dyn0\nlink add guest0 index 77 type veth peer name peer0\n")?;
    run_in(edge, &format!("ip -batch {}", lines.display()))?;
    lab.says(&["gone: pins removed"])?;
    let log = lab.log()?;
    let line = log.lines().find(|line| line.contains("gone: pins removed")).context("the line")?;
    ensure!(line.contains("dyn0:egress") && !line.contains("guest0"), "{line}");
    Ok(())
}
