//! Files that change while the service runs, and files that are wrong.

use std::{fs, process::Stdio, time::SystemTime};

use anyhow::ensure;
use nix::sys::signal::Signal;

use qosbpf_tests::service::{Lab, MARK, OTHER, eventually};

const BROKEN: &str = "[interface.lan0]\ningress = \"mark\"\n[remark.mark]\nEF = \"AF4\"\nother = \"keep\"\n";

/// Makes a file wrong.
type Spoil<'a> = Box<dyn Fn() -> std::io::Result<()> + 'a>;

const SUCCESSFUL: &str = "qosbpf_policy_last_reload_successful";
const TIMESTAMP: &str = "qosbpf_policy_last_reload_success_timestamp_seconds";

#[test]
fn a_broken_file_keeps_the_good_policy_and_says_so() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    assert!(lab.five_become(34)?);
    assert_eq!(lab.metric(SUCCESSFUL)?, Some(1.0));
    let first = lab.metric(TIMESTAMP)?.unwrap_or_default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    assert!((now - 60.0..=now).contains(&first), "{first}");

    lab.save("broken", BROKEN)?;
    lab.signal(Signal::SIGHUP)?;
    lab.says(&["the saved policy is not in force", "policy.toml:6:6", "unknown DSCP `AF4`", "policy edge"])?;
    eventually(|| Ok(lab.metric(SUCCESSFUL)? == Some(0.0)))?;
    assert_eq!(lab.metric(TIMESTAMP)?, Some(first));
    assert!(lab.five_become(34)?, "the good one is in force");
    lab.ask("status")?.says(&["! run: the saved policy is not in force", "unknown DSCP"])?;
    let run = lab.ask("status --json")?.json()?["run"].clone();
    assert_eq!(run["last_reload_successful"], false, "{run}");
    lab.ask("run --reload")?.expect(2)?.complains(&["what was in force stays so", "policy.toml:6:6"])?;

    lab.save("other", OTHER)?;
    lab.ok("run --reload")?;
    assert!(lab.five_become(8)?);
    assert_eq!(lab.metric(SUCCESSFUL)?, Some(1.0));
    assert!(lab.metric(TIMESTAMP)?.unwrap_or_default() >= first);
    Ok(())
}

/// The one that was in force, or the one of the file, whoever has put it there.
#[test]
fn what_was_wrong_is_not_said_any_more_when_the_saved_policy_is_in_force() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let path = lab.etc("policy.toml");
    let is_wrong =
        |lab: &Lab| anyhow::Ok(lab.ask("status")?.stdout.contains("! run: the saved policy is not in force"));
    let good = fs::read(&path)?;
    for by_hand in [false, true] {
        lab.save("broken", BROKEN)?;
        lab.ask("run --reload")?.expect(2)?;
        assert!(is_wrong(&lab)? && lab.metric(SUCCESSFUL)? == Some(0.0));
        if by_hand {
            lab.save("other", OTHER)?;
            assert!(is_wrong(&lab)?, "nobody has put it in force");
            // One that may be taken back again is not in force for good.
            lab.ok(&format!("policy apply {} --confirm 10m", path.display()))?;
            assert!(is_wrong(&lab)?, "it waits");
            lab.ok("policy confirm")?;
            assert_eq!(lab.metric(SUCCESSFUL)?, Some(1.0));
        } else {
            fs::write(&path, &good)?;
        }
        assert!(!is_wrong(&lab)?, "by hand: {by_hand}");
        assert_eq!(lab.metric(SUCCESSFUL)?, Some(1.0));
        assert_eq!(lab.ok("status --json")?.json()?["run"]["last_reload_successful"], true);
    }
    lab.says(&["the saved policy is in force by now"])
}

/// Each line of what a compiler would say is one of the log, with its level.
#[test]
fn a_mistake_is_readable_in_the_log() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    lab.save("broken", BROKEN)?;
    lab.ask("run --reload")?.expect(2)?;
    let log = lab.log()?;
    let lines: Vec<_> = log.lines().skip_while(|line| !line.contains("the saved policy is not in force")).collect();
    let [first, _, place, _, text, caret, ..] = lines.as_slice() else { anyhow::bail!("{log}") };
    assert!(first.contains("policy.toml:6:6: unknown DSCP `AF4`") && first.contains("; policy edge "), "{log}");
    assert!(place.contains("--> ") && text.contains("EF = \"AF4\"") && caret.contains("^^^^^"), "{log}");
    assert!(lines.iter().all(|line| line.trim_start().starts_with("ERROR ")), "{log}");
    Ok(())
}

#[test]
fn every_way_in_which_a_file_can_be_wrong_keeps_the_good_one() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let path = lab.etc("policy.toml");
    let wrong: [(&str, Spoil<'_>); 4] = [
        ("truncated", Box::new(|| fs::write(&path, "version = 1\nname = \"tr"))),
        ("not UTF-8", Box::new(|| fs::write(&path, [0xff, 0xfe, 0x00]))),
        ("a folder", Box::new(|| fs::remove_file(&path).and_then(|()| fs::create_dir(&path)))),
        ("not there", Box::new(|| fs::remove_dir(&path))),
    ];
    for (what, spoil) in wrong {
        spoil()?;
        let refused = lab.ask("run --reload")?.expect(2)?;
        if what == "not there" {
            refused.complains(&["no policy is saved in ", " policy save saves the one in force"])?;
        }
        assert!(lab.five_become(34)?, "{what}");
    }
    Ok(())
}

/// Its own tests are part of a policy.
#[test]
fn a_policy_whose_test_fails_is_not_put_in_force() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let test = "[[test]]\nname = \"EF stays\"\non = \"lan0:ingress\"\n\
        packet = \"udp 192.0.2.2:1 > 198.51.100.2:2 dscp EF\"\nexpect = \"EF\"\n";
    lab.save("fails", &format!("{OTHER}{test}"))?;
    lab.ask("run --reload")?.expect(2)?.complains(&["EF stays"])?;
    assert!(lab.five_become(34)?);
    Ok(())
}

#[test]
fn a_reload_attaches_what_is_new_and_prunes_what_is_gone() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    lab.save("wan", "[interface.wan0]\negress = \"wash\"\n[remark.wash]\nother = \"DF\"\n")?;
    lab.signal(Signal::SIGHUP)?;
    lab.becomes("wan0:egress", "active")?;
    lab.becomes("lan0:ingress", "counting")?;
    lab.says(&["not in the file any more: counts without a policy"])
}

#[test]
fn nothing_is_reloaded_while_a_policy_waits_to_be_confirmed() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let other = lab.router.policy("other", OTHER)?;
    lab.ok(&format!("policy apply {other} --confirm 1h"))?;
    lab.save("third", &MARK.replace("AF41", "AF31"))?;
    let refused = lab.ask("run --reload")?.expect(2)?;
    refused.complains(&[
        "waits to be confirmed",
        " policy confirm keeps it, ",
        " policy rollback goes back at once; then ",
    ])?;
    let (rollback, reload) = (lab.typed("policy rollback"), lab.typed("run --reload"));
    lab.says(&[&format!("{rollback} goes back at once; then {reload}")])?;
    assert!(lab.five_become(8)?);
    let successful = || lab.metric("qosbpf_policy_last_reload_successful");
    assert_eq!(successful()?, Some(0.0));
    let complaint = "the saved policy is not in force";
    lab.ok("status")?.says(&[complaint])?;
    lab.ok("policy confirm")?;
    // What was refused is over, and so are the commands that were named then.
    let settled = lab.ok("status")?.says(&["NOT SAVED"])?;
    assert!(!settled.stdout.contains(complaint), "{settled:?}");
    lab.says(&["is in force, and is not the saved one: "])?;
    assert_eq!(successful()?, Some(1.0));
    lab.ok("run --reload")?;
    assert!(lab.five_become(26)?);
    Ok(())
}

/// It was there, and who asked it is not told that it was not.
#[test]
fn a_service_that_ends_before_it_answers_is_named() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    let service = lab.pid()?;
    lab.signal(Signal::SIGSTOP)?;
    let mut reload = lab.command("run --reload")?;
    let asks = reload.stderr(Stdio::piped()).spawn()?;
    let call = format!("/proc/{}/syscall", asks.id());
    eventually(|| Ok(waits_for_an_answer(&fs::read_to_string(&call)?)))?;
    lab.end_by(Signal::SIGKILL)?;
    let answer = asks.wait_with_output()?;
    let said = String::from_utf8(answer.stderr)?;
    let named = format!("the service (process {service}) has ended without an answer");
    ensure!(answer.status.code() == Some(4) && said.contains(&named), "{said}");
    lab.ask("run --reload")?.expect(1)?.complains(&["no qosbpf run serves this network namespace"]).map(drop)
}

/// A socket is read by either.
fn waits_for_an_answer(call: &str) -> bool {
    [libc::SYS_read, libc::SYS_recvfrom].iter().any(|number| call.starts_with(&format!("{number} ")))
}
