//! The unit of the service, as it is shipped, run by a real systemd. Needs root, systemd, iproute2 and util-linux.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
};

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    service::{MARK, OTHER, eventually},
    systemd::{Machine, UNIT},
};

/// The priorities of syslog(3).
const ERROR: &str = "3";
const WARNING: &str = "4";
const INFO: &str = "6";

/// A machine in which the service serves, with EF as AF41.
fn serving() -> anyhow::Result<Machine> {
    let machine = Machine::boot()?;
    machine.save("edge", MARK)?;
    machine.enable()?;
    Ok(machine)
}

#[test]
fn the_unit_starts_the_service_which_marks_before_it_is_ready() -> anyhow::Result<()> {
    let machine = serving()?;
    // It was waited for, and found nothing to complain of.
    let verified = machine.ok("systemd-analyze verify /etc/systemd/system/qosbpf.service")?;
    assert_eq!((verified.stdout.as_str(), verified.stderr.as_str()), ("", ""));
    machine.ok("systemctl status --no-pager qosbpf")?.says(&["active (running)", "Status: \"serving\"", "enabled"])?;
    let hooks = machine.ok("qosbpf status --json")?.json()?["hooks"].clone();
    assert_eq!((&hooks[0]["interface"], &hooks[0]["state"]), (&"lan0".into(), &"active".into()), "{hooks:#}");
    assert!(machine.five_become(34)?);
    assert_eq!(machine.logs("INFO ready")?, INFO);
    assert_eq!(machine.property("Result")?, "success");
    Ok(())
}

#[test]
fn a_reload_takes_what_is_right_and_fails_by_what_is_wrong() -> anyhow::Result<()> {
    let machine = serving()?;
    machine.save("other", OTHER)?;
    machine.ok("systemctl reload qosbpf")?;
    assert!(machine.five_become(8)?);
    machine.save("broken", "[interface")?;
    machine.ask("systemctl reload qosbpf")?.expect(1)?;
    // Why, and where an operator looks for it.
    machine.ok("systemctl status --no-pager qosbpf")?.says(&["policy.toml:3:11: unclosed table", "(running)"])?;
    assert_eq!(machine.logs("ERROR the saved policy is not in force: /etc/qosbpf/policy.toml:3:11")?, ERROR);
    assert_eq!(machine.logs("qosbpf: what was in force stays so")?, ERROR);
    assert!(machine.five_become(8)?);
    machine.save("edge", MARK)?;
    machine.ok("systemctl reload qosbpf")?;
    assert_eq!(machine.property("StatusText")?, "serving");
    assert!(machine.five_become(34)?);
    Ok(())
}

#[test]
fn what_is_attached_outlives_a_stop_and_a_kill() -> anyhow::Result<()> {
    let machine = serving()?;
    machine.ok("systemctl stop qosbpf")?;
    assert_eq!(machine.property("Result")?, "success");
    assert!(machine.five_become(34)?, "nobody serves");
    machine.ok("systemctl start qosbpf")?;
    machine.logs("is in force, as saved")?;
    assert!(machine.five_become(34)?);
    let before = machine.property("MainPID")?;
    machine.ok("systemctl kill --signal KILL --kill-who main qosbpf")?;
    assert!(machine.five_become(34)?, "it was killed");
    machine.becomes("NRestarts", "1")?;
    machine.becomes("ActiveState", "active")?;
    assert_ne!(machine.property("MainPID")?, before);
    machine.ok("qosbpf status")?.says(&["run: active"])?;
    let document = machine.ok("qosbpf stats --json lan0:ingress")?.json()?;
    assert_eq!(qosbpf_tests::service::counted_after(&document, 34), 15, "one hook has counted all the time");
    Ok(())
}

/// The limit of the unit is half a minute, which is too long to wait for.
#[test]
fn the_watchdog_is_fed_and_bites_who_hangs() -> anyhow::Result<()> {
    let machine = serving()?;
    fs::create_dir(machine.path("/etc/systemd/system/qosbpf.service.d"))?;
    machine.write("/etc/systemd/system/qosbpf.service.d/soon.conf", "[Service]\nWatchdogSec=5s\nLimitCORE=0\n")?;
    machine.ok("systemctl daemon-reload")?;
    machine.ok("systemctl restart qosbpf")?;
    let fed = || machine.property("WatchdogTimestampMonotonic");
    let first: u64 = fed()?.parse()?;
    eventually(|| Ok(fed()?.parse::<u64>()? > first + 7_000_000))?;
    assert_eq!(machine.property("NRestarts")?, "0");
    machine.ok("systemctl kill --signal STOP --kill-who main qosbpf")?;
    assert_eq!(machine.logs("Watchdog timeout")?, ERROR);
    machine.becomes("NRestarts", "1")?;
    machine.becomes("ActiveState", "active")
}

#[test]
fn a_deadline_is_kept_across_a_restart_and_by_the_service_while_it_serves() -> anyhow::Result<()> {
    let machine = serving()?;
    machine.write("/etc/qosbpf/next.toml", &format!("version = 1\nname = \"next\"\n{OTHER}"))?;
    machine.ok("qosbpf policy apply /etc/qosbpf/next.toml --confirm 15s")?;
    machine.ok("systemctl restart qosbpf")?;
    machine.ok("qosbpf status")?.says(&["NOT CONFIRMED: next"])?;
    assert_eq!(machine.logs("policy next")?, WARNING);
    assert_eq!(machine.logs("was not confirmed in time: back to edge")?, WARNING);
    // Whoever kept it in between ends with it.
    let procs = || fs::read_to_string(machine.path("/sys/fs/cgroup/system.slice/qosbpf.service/cgroup.procs"));
    eventually(|| Ok(procs()?.lines().count() == 1)).with_context(|| procs().unwrap_or_default())?;
    assert!(machine.five_become(34)?);
    machine.ok("qosbpf policy apply /etc/qosbpf/next.toml --confirm 15s")?;
    machine.ok("systemctl stop qosbpf")?;
    machine.logs("(qosbpf-timer) remains running after unit stopped")?;
    eventually(|| Ok(machine.ok("qosbpf policy show")?.stdout.contains("policy edge")))?;
    assert!(machine.five_become(34)?);
    Ok(())
}

/// systemd mounts /sys/fs/bpf for root alone; what the socket answers is open all the same.
#[test]
fn members_of_the_group_change_and_others_ask() -> anyhow::Result<()> {
    let machine = Machine::boot()?;
    machine.save("edge", MARK)?;
    machine.write("/etc/qosbpf/qosbpf.toml", "group = \"netops\"\n")?;
    machine.enable()?;
    machine.ask_as("alice", "qosbpf policy bypass --for 10m")?.expect(0)?;
    assert!(machine.five_become(46)?);
    machine.ok("qosbpf status")?.says(&["BYPASS by alice"])?;
    machine.ask_as("alice", "qosbpf policy resume")?.expect(0)?;
    machine.ask_as("alice", "qosbpf run --reload")?.expect(0)?;
    assert!(machine.five_become(34)?);
    for line in ["policy bypass", "run --reload"] {
        let refused = machine.ask_as("bob", &format!("qosbpf {line}"))?.expect(1)?;
        refused.complains(&["only root and the members of netops may change anything"])?;
    }
    let closed = machine.ask_as("bob", "qosbpf stats")?.expect(1)?;
    closed.complains(&["/sys/fs/bpf is for root alone, as systemd mounts it", "chmod o+x /sys/fs/bpf"])?;
    // As docs/attaching.md says.
    fs::create_dir_all(machine.path("/etc/tmpfiles.d"))?;
    machine.write("/etc/tmpfiles.d/qosbpf.conf", "z /sys/fs/bpf 0711\n")?;
    machine.ok("systemd-tmpfiles --create /etc/tmpfiles.d/qosbpf.conf")?;
    machine.ask_as("bob", "qosbpf stats")?.expect(0)?.says(&["lan0:ingress"])?;
    machine.ask_as("bob", "qosbpf status")?.expect(0)?.says(&["run: active"])?;
    Ok(())
}

/// With the capabilities of the unit; and with those of one that somebody has tightened.
#[test]
fn what_a_member_confirms_is_saved_though_the_file_is_of_a_group() -> anyhow::Result<()> {
    const GROUP: u32 = 64001;
    let machine = Machine::boot()?;
    machine.save("edge", MARK)?;
    machine.write("/etc/qosbpf/qosbpf.toml", "group = \"netops\"\n")?;
    let saved = machine.path("/etc/qosbpf/policy.toml");
    chown(&saved, None, Some(GROUP))?;
    fs::set_permissions(&saved, fs::Permissions::from_mode(0o664))?;
    machine.enable()?;
    let confirmed = |name: &str, text: &str| {
        let next = format!("version = 1\nname = \"{name}\"\n{text}");
        machine.write("/etc/qosbpf/next.toml", &next)?;
        machine.ok("qosbpf policy apply /etc/qosbpf/next.toml --confirm 10m --save")?;
        machine.ask_as("alice", "qosbpf policy confirm")?.expect(0)?.says(&["saved to /etc/qosbpf/policy.toml"])?;
        machine.ok("qosbpf status")?.says(&[", saved"])?;
        ensure!(fs::read_to_string(&saved)? == next, "{}", fs::read_to_string(&saved)?);
        let meta = saved.metadata()?;
        anyhow::Ok((meta.gid(), meta.mode() & 0o7777))
    };
    assert_eq!(confirmed("next", OTHER)?, (GROUP, 0o664));
    let tight = UNIT.lines().find(|line| line.starts_with("CapabilityBoundingSet=")).context("what it keeps")?;
    let tight = format!("[Service]\nCapabilityBoundingSet=\n{}\n", tight.replace("CAP_CHOWN ", ""));
    fs::create_dir(machine.path("/etc/systemd/system/qosbpf.service.d"))?;
    machine.write("/etc/systemd/system/qosbpf.service.d/tight.conf", &tight)?;
    machine.ok("systemctl daemon-reload")?;
    machine.ok("systemctl restart qosbpf")?;
    assert_eq!(confirmed("third", MARK)?, (0, 0o644));
    assert_eq!(machine.logs(&format!("its group was {GROUP} and is 0 now"))?, WARNING);
    Ok(())
}

#[test]
fn files_of_somebody_else_are_read_and_metrics_are_where_they_say() -> anyhow::Result<()> {
    let machine = serving()?;
    machine.save("other", OTHER)?;
    machine.write("/etc/qosbpf/qosbpf.toml", "listen = [\"127.0.0.2:9999\", \"[::1]:9998\"]\n")?;
    for file in ["policy.toml", "qosbpf.toml", ""] {
        let path = machine.path(&format!("/etc/qosbpf/{file}"));
        chown(&path, Some(64001), Some(64001))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(if file.is_empty() { 0o700 } else { 0o600 }))?;
    }
    machine.ok("systemctl reload qosbpf")?;
    assert!(machine.five_become(8)?);
    machine.ok("systemctl restart qosbpf")?;
    for address in ["127.0.0.2:9999", "[::1]:9998"] {
        machine.logs(&format!("metrics at http://{address}/metrics"))?;
    }
    Ok(())
}

/// What cannot be guessed around ends it for good; what may come yet it waits for.
#[test]
fn a_namespace_that_comes_late_is_served_and_one_that_cannot_be_read_is_not() -> anyhow::Result<()> {
    let machine = Machine::boot()?;
    machine.save("edge", MARK)?;
    machine.write("/etc/qosbpf/qosbpf.toml", "netns = 7\n")?;
    machine.enable().expect_err("it cannot start");
    machine.becomes("ActiveState", "failed")?;
    assert_eq!((machine.property("ExecMainStatus")?.as_str(), machine.property("NRestarts")?.as_str()), ("2", "0"));
    assert_eq!(machine.logs("may name a network namespace, and cannot be read so far")?, ERROR);
    machine.write("/etc/qosbpf/qosbpf.toml", "netns = \"late\"\n")?;
    machine.ask("systemctl start --no-block qosbpf")?.expect(0)?;
    eventually(|| Ok(machine.property("NRestarts")?.parse::<u32>()? >= 2))?;
    assert_eq!(machine.property("StartLimitIntervalUSec")?, "0", "it never gives up");
    assert_eq!(machine.logs("network namespace late: /run/netns/late: No such file or directory")?, ERROR);
    machine.ok("ip netns add late")?;
    machine.ok("ip -n late link add lan0 type veth peer name far0")?;
    machine.becomes("ActiveState", "active")?;
    // It may have begun before there was the interface.
    let serves =
        |said: &str| ["network namespace late", "lan0:ingress", "run: active"].iter().all(|word| said.contains(word));
    eventually(|| Ok(serves(&machine.ask("qosbpf --netns late status")?.stdout)))
}
