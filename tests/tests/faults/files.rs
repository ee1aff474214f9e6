//! Files that cannot be read or written, and readers that do not read.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use qosbpf_tests::{
    binary::{self, Answer},
    router::words,
};

use crate::{
    Fault,
    stage::{EF, POLICY, Row, Stage, complaint, other_policy, quote, remarked},
};

pub const FAULTS: &[Fault] = &[
    ("policy file cut short", || wrong_file(|whole| whole[..whole.len() * 2 / 3].to_vec())),
    ("policy file empty", || wrong_file(|_| Vec::new())),
    ("policy file not UTF-8", || wrong_file(|whole| [whole, b"# \xff\xfe\n"].concat())),
    ("policy file of nine megabytes", || wrong_file(|whole| [whole, &[b'#'; 9 << 20]].concat())),
    ("policy file without end (/dev/zero)", || refused_file("/dev/zero", 2)),
    ("policy file that is a folder", || refused_file("/etc", 2)),
    ("policy file that may not be read", unreadable),
    ("disk full while saving a policy", full_while_saving),
    ("disk full while exporting", full_while_exporting),
    ("a reader of `stats --watch` that hangs", hanging_reader),
    ("a reader of `events` that hangs", hanging_events),
];

/// Every command that reads it says what is wrong, and the policy in force stays that.
fn refused_file(path: &str, code: i32) -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let said = refused_by_all(&stage, path, code)?;
    stage.unharmed(said)
}

fn refused_by_all(stage: &Stage, path: &str, code: i32) -> anyhow::Result<String> {
    let mut said = String::new();
    for verb in ["check", "diff", "test", "apply"] {
        let refused = stage.router.ask(&format!("policy {verb} {path}"))?.expect(code)?;
        ensure!(!refused.stderr.contains("panicked"), "{refused:?}");
        ensure!(refused.stderr.contains(path), "{refused:?}");
        said = quote(&stage.router, &refused)?;
    }
    stage.router.ok("status")?.says(&["edge"])?;
    Ok(said)
}

fn wrong_file(spoil: fn(&[u8]) -> Vec<u8>) -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let path = stage.router.policy("wrong", &other_policy())?;
    let spoilt = spoil(&fs::read(&path)?);
    fs::write(&path, spoilt)?;
    let said = refused_by_all(&stage, &path, 2)?;
    stage.unharmed(said)
}

/// By root without the right to read what others keep for themselves, as a service has it.
fn unreadable() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let path = stage.router.policy("secret", &other_policy())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000))?;
    let refused = stage.edge().run(|| {
        let mut command = words("setpriv --bounding-set=-all,+net_admin,+bpf,+perfmon --inh-caps=-all");
        command.arg(binary::path()?).arg("--bpffs").arg(&stage.router.bpffs).args(["policy", "apply", &path]);
        Answer::of(&mut command)
    })?;
    ensure!(refused.code == 2, "{refused:?}");
    let said = quote(&stage.router, &refused.complains(&[&path, "Permission denied"])?)?;
    stage.unharmed(said)
}

/// A file system of one page, and what takes it.
fn full_disk(stage: &Stage) -> anyhow::Result<std::path::PathBuf> {
    let folder = stage.router.folder().join("full");
    fs::create_dir(&folder)?;
    mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some("size=8k"))?;
    fs::write(folder.join("policy.toml"), "version = 1\nname = \"older\"\n")?;
    fs::write(folder.join("ballast"), [0; 4096])?;
    Ok(folder)
}

fn full_while_saving() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let folder = full_disk(&stage)?;
    let line = format!("policy save --etc {}", folder.display());
    let refused = stage.router.ask(&line);
    let kept = fs::read_to_string(folder.join("policy.toml"));
    let names = fs::read_dir(&folder).map(Iterator::count);
    let _gone = umount2(&folder, MntFlags::MNT_DETACH);
    let refused = refused?.expect(1)?.complains(&[
        "No space left on device",
        "lost at reboot",
        "make room there (df ",
        "policy save",
    ])?;
    ensure!(kept?.contains("older"), "the saved policy was there before");
    ensure!(names? == 2, "half a file is left");
    let said = quote(&stage.router, &refused)?;
    stage.unharmed(said)
}

fn full_while_exporting() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let mut said = String::new();
    for line in ["stats --json", "stats --csv", "stats --prometheus", "status --json", "policy show", "status"] {
        let mut command = stage.router.command(line)?;
        let full = File::options().write(true).open("/dev/full")?;
        let child = command.stdout(full).stderr(Stdio::piped()).spawn()?;
        let output = child.wait_with_output()?;
        let stderr = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{line}: {:?}", output.status);
        ensure!(stderr.contains("No space left on device"), "{line}: {stderr}");
        ensure!(stderr.contains("stdout"), "{line}: {stderr}");
        said = complaint(&stage.router, &stderr)?;
    }
    stage.unharmed(said)
}

/// It blocks when the pipe is full; nothing else waits for it.
fn hanging_reader() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let mut command = stage.router.command("stats --watch 0.1 --json")?;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let work = || -> anyhow::Result<()> {
        thread::sleep(Duration::from_secs(2));
        let same = stage.router.policy("edge", POLICY)?;
        stage.router.ok(&format!("policy apply {same}"))?;
        stage.router.ok("policy bypass")?;
        stage.router.ok("policy resume")?;
        stage.router.ok("status").map(drop)
    };
    let worked = work();
    let mut first = [0; 1];
    let mut pipe = child.stdout.take().context("stdout")?;
    let read = pipe.read_exact(&mut first);
    child.kill()?;
    child.wait()?;
    worked?;
    read?;
    let (router, outcome) = stage.end()?;
    ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
    let counted = router.counted("wan0:egress")?.packets()[&EF];
    ensure!(counted == u64::from(outcome.sent), "{counted} of {outcome:?}");
    Ok(Row {
        traffic: format!("0 of {} lost", outcome.sent),
        counters: "go on: every packet".to_owned(),
        said: "nothing: changes and other readers do not wait for it".to_owned(),
    })
}

/// The ring buffer is full after some hundred events: packets go on, and the reader hears how many it has missed.
fn hanging_events() -> anyhow::Result<Row> {
    let rule = "[[rule]]\nname = \"seen\"\non = \"wan0:egress\"\nmatch = { dscp = \"EF\" }\nset = \"AF41\"\nlog = \"1000/s\"\n";
    let stage = Stage::start("auto")?;
    let policy = stage.router.policy("logs", &format!("{POLICY}{rule}"))?;
    stage.router.ok(&format!("policy apply {policy}"))?;
    let mut command = stage.router.command("events --json")?;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let passed = stage.flow.pass(3000);
    child.kill()?;
    child.wait()?;
    passed?;
    let (router, outcome) = stage.end()?;
    ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
    let counted = router.counted("wan0:egress")?.packets()[&EF];
    ensure!(counted == u64::from(outcome.sent), "{counted} of {outcome:?}");
    Ok(Row {
        traffic: remarked(&outcome),
        counters: "go on: every packet".to_owned(),
        said: "nothing: an event that finds no room is left out".to_owned(),
    })
}
