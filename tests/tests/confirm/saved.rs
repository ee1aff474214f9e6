//! The saved policy: written as it was given, once it is sure.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
};

use anyhow::Context as _;
use qosbpf_tests::{binary::Answer, router::words};

use crate::edge::{Edge, MARK};

impl Edge {
    fn saved(&self) -> Option<String> {
        fs::read_to_string(self.router.folder().join("etc/policy.toml")).ok()
    }
}

#[test]
fn save_writes_what_is_in_force_as_it_was_given() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    edge.ask("policy save")?.expect(1)?.complains(&["no policy is in force"])?;
    let commented = edge.router.policy("commented", &format!("# why\n{}\n\n# the end", crate::edge::KEEP))?;
    edge.ok(&format!("policy apply {commented}"))?;
    edge.ok("status")?.says(&["NOT SAVED: lost at reboot"])?;
    assert_eq!(edge.saved(), None);
    edge.ok("policy save")?.says(&["is saved to", "policy.toml"])?;
    assert_eq!(edge.saved(), Some(fs::read_to_string(&commented)?));
    edge.ok("status")?.says(&[", saved"])?;
    assert_eq!(edge.status()?["policy"]["saved"], true);
    Ok(())
}

/// As after a boot: a policy is meant to be in force, and none is.
#[test]
fn a_saved_policy_that_is_of_no_use_is_a_fault_where_none_is_in_force() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    let path = edge.router.folder().join("etc/policy.toml");
    edge.ask("status")?.expect(0)?;
    let useless = |place: &str| -> anyhow::Result<()> {
        let fault = ["! the saved policy is of no use at the next start: ", place, "policy check "];
        edge.ask("status")?.expect(3)?.says(&fault)?;
        let notes = edge.ask("status --json")?.expect(3)?.json()?["notes"].to_string();
        assert!(notes.contains(place), "{notes}");
        Ok(())
    };
    fs::create_dir_all(&path)?;
    useless("etc/policy.toml")?;
    fs::remove_dir(&path)?;
    symlink("nowhere", &path)?;
    useless("etc/policy.toml")?;
    fs::remove_file(&path)?;
    fs::write(&path, "version = 1\nname = \"edge\"\n[interface.lan0]\ningress = \"nope\"\n")?;
    useless("policy.toml:4:11")?;
    edge.ok(&format!("policy apply {} --save", edge.keep))?;
    edge.ok("status").map(drop)
}

#[test]
fn apply_saves_if_told_to_and_keeps_the_mode() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok("policy save")?;
    let path = edge.router.folder().join("etc/policy.toml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    edge.ok(&format!("policy apply {} --save", edge.mark))?.says(&["saved to"])?;
    assert_eq!(edge.saved(), Some(fs::read_to_string(&edge.mark)?));
    assert_eq!(path.metadata()?.mode() & 0o7777, 0o600);
    Ok(())
}

/// As where a group edits the policy; and where a unit took the capability to leave it to that group.
#[test]
fn a_policy_of_another_group_stays_so_and_is_saved_where_it_cannot() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok("policy save")?;
    let path = edge.router.folder().join("etc/policy.toml");
    chown(&path, None, Some(64001))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664))?;
    let is = || anyhow::Ok(path.metadata().map(|meta| (meta.gid(), meta.mode() & 0o7777))?);
    edge.ok(&format!("policy apply {}", edge.mark))?;
    edge.ok("policy save")?;
    assert_eq!(is()?, (64001, 0o664));
    fs::write(&path, "")?;
    let save = edge.router.command(&format!("--etc {}/etc policy save", edge.router.folder().display()))?;
    let mut without = words("setpriv --bounding-set -chown,-fowner");
    let saved = Answer::of(without.arg(save.get_program()).args(save.get_args()))?.expect(0)?;
    saved.complains(&["WARN", "its group was 64001 and is 0 now, which takes CAP_CHOWN to mend"])?;
    assert_eq!(edge.saved(), Some(fs::read_to_string(&edge.mark)?));
    assert_eq!(is()?, (0, 0o644), "who is in that other group may do no more than before");
    Ok(())
}

#[test]
fn what_waits_for_its_confirmation_is_saved_by_it_and_not_before() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok("policy save")?;
    let keep = edge.saved();
    edge.ok(&format!("policy apply {} --save --confirm 1h", edge.mark))?;
    assert_eq!(edge.saved(), keep);
    edge.ok("policy rollback")?;
    assert_eq!(edge.saved(), keep);
    edge.ok(&format!("policy apply {} --save --confirm 1h", edge.mark))?;
    let deadline = || edge.ok("stats --prometheus").map(|answer| answer.stdout);
    let stays = "qosbpf_policy_confirm_deadline_timestamp_seconds 0";
    assert!(deadline()?.contains("qosbpf_policy_confirm_deadline_timestamp_seconds ") && !deadline()?.contains(stays));
    edge.ok("policy confirm")?.says(&["is confirmed", "saved to"])?;
    assert_eq!(edge.saved(), Some(fs::read_to_string(&edge.mark)?));
    assert!(deadline()?.contains(stays));
    Ok(())
}

#[test]
fn what_cannot_be_saved_is_in_force_all_the_same() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    fs::write(edge.router.folder().join("etc"), "in the way")?;
    let failed = edge.ask(&format!("policy apply {} --save --json", edge.mark))?.expect(1)?;
    let failed = failed.complains(&["the policy is in force, and lost at reboot"])?;
    assert_eq!(failed.json()?["error"]["code"], "not-saved");
    assert_eq!((edge.in_force()?.as_str(), edge.mark_of_ef()?), ("mark", 34));
    Ok(())
}

/// After a reboot the pins are gone, and the file is there.
#[test]
fn a_saved_policy_that_is_not_in_force_is_said_to_be_so() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok("policy save")?;
    assert!(!edge.ok("status")?.stdout.contains("not in force"));
    edge.ok("detach --all")?;
    edge.ask("status")?.expect(3)?.says(&[
        "! policy keep ",
        "is saved, and not in force: qosbpf --netns",
        "policy apply --attach",
    ])?;
    let path = edge.router.folder().join("etc/policy.toml");
    edge.ok(&format!("policy apply {} --attach", path.display()))?;
    assert!(!edge.ok("status")?.stdout.contains("not in force"));
    Ok(())
}

/// What only the saved policy binds has no row beside those of the policy in force, and is named.
#[test]
fn what_only_the_saved_policy_binds_is_said() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let said = |edge: &Edge| {
        let document = edge.ask("status --json")?.json()?;
        let notes = document["notes"].as_array().into_iter().flatten().filter_map(|note| note.as_str());
        let note = notes.filter(|note| note.starts_with("the saved policy keep ")).map(ToOwned::to_owned).next();
        anyhow::Ok((note.unwrap_or_default(), document["hooks"].as_array().map_or(0, Vec::len)))
    };
    edge.ok("policy save")?;
    edge.ok("detach wan0")?;
    assert_eq!(said(&edge)?.0, "", "it is in force, and has a row");
    let (lan, _wan) = MARK.split_once("[interface.wan0]\negress = \"t\"\n").context("two interfaces")?;
    let lan = edge.router.policy("lan", &format!("{lan}[remark.t]\nother = \"keep\"\n"))?;
    edge.ok(&format!("policy apply {lan} --prune"))?;
    let (note, rows) = said(&edge)?;
    assert!(note.ends_with(" binds wan0:egress, where nothing is attached"), "{note}");
    edge.ok("detach --all")?;
    assert_eq!((rows, said(&edge)?), (1, (String::new(), 2)), "without a policy in force both hooks have a row");
    Ok(())
}
