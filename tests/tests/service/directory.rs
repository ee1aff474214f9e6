//! A directory service that does not answer when the service asks for the group of its settings: /etc/group is a FIFO to it,
//! which is opened when somebody opens it to write.

use std::{
    fs::{self, File},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::ensure;
use nix::{sys::stat::Mode, unistd::mkfifo};
use qosbpf_tests::{
    binary::Answer,
    mounts,
    router::{run_in, spawn_in, words},
    service::{Lab, OTHER, eventually},
};

use crate::control::{NOBODY, Public};

/// Where groups are.
const GROUPS: &str = "/etc/group";

/// How many threads of the service wait for somebody to open the FIFO.
fn waiting(lab: &Lab) -> anyhow::Result<usize> {
    let tasks = fs::read_dir(format!("/proc/{}/task", lab.pid()?))?.flatten();
    let places = tasks.filter_map(|task| fs::read_to_string(task.path().join("wchan")).ok());
    Ok(places.filter(|place| ["wait_for_partner", "fifo_open"].contains(&place.as_str())).count())
}

fn fifo(lab: &Lab) -> PathBuf {
    lab.router.folder().join("fifo")
}

/// A saved policy marks, and the directory hangs since the service was started.
fn hanging() -> anyhow::Result<Public> {
    let mut public = Public::new("sample = \"1s\"\ngroup = \"netops\"\n")?;
    let (bpffs, fifo) = (public.lab.router.bpffs.clone(), fifo(&public.lab));
    mkfifo(&fifo, Mode::S_IRUSR)?;
    mounts::alone(&bpffs, || {
        mounts::bind(&fifo, Path::new(GROUPS))?;
        public.lab.serve()
    })?;
    ensure!(waiting(&public.lab)? == 1, "it does not hang:\n{}", public.lab.log()?);
    Ok(public)
}

/// Whoever asks from now on is answered, and whoever waits hears that there is no such group.
fn answers(lab: &Lab) -> anyhow::Result<()> {
    let file = lab.router.folder().join("group");
    fs::write(&file, "netops:x:4242:nobody\n")?;
    let mut mount = words(&format!("nsenter --mount=/proc/{}/ns/mnt mount --bind", lab.pid()?));
    Answer::of(mount.arg(file).arg(GROUPS))?.expect(0)?;
    File::options().write(true).open(fifo(lab))?;
    Ok(())
}

#[test]
fn a_directory_that_hangs_keeps_nothing_from_being_marked() -> anyhow::Result<()> {
    let public = hanging()?;
    let lab = &public.lab;
    ensure!(lab.five_become(34)?, "{}", lab.log()?);
    let log = lab.log()?;
    let [attached, asked] =
        ["attached: ", "the group netops cannot be said (no answer within 2s)"].map(|it| log.find(it));
    ensure!(attached.is_some() && attached < asked, "{log}");
    lab.save("other", OTHER)?;
    lab.ok("run --reload")?;
    ensure!(lab.five_become(8)? && waiting(lab)? == 2, "{}", lab.log()?);
    run_in(lab.router.edge(), "ip link set lan0 mtu 1400")?;
    lab.says(&["lan0: MTU 1500 is 1400 now"])
}

/// It does not say that there is no such group.
#[test]
fn a_directory_that_fails_is_said_with_the_cause() -> anyhow::Result<()> {
    let mut public = Public::new("group = \"nogroup\"\n")?;
    let (bpffs, folder) = (public.lab.router.bpffs.clone(), public.lab.router.folder().to_owned());
    let (socket, files) = (folder.join("socket"), folder.join("nsswitch.conf"));
    // Nobody reads a socket, and there is nothing else to ask.
    let _listens = UnixListener::bind(&socket)?;
    fs::write(&files, "passwd: files\ngroup: files\n")?;
    mounts::alone(&bpffs, || {
        mounts::bind(&files, Path::new("/etc/nsswitch.conf"))?;
        mounts::bind(&socket, Path::new(GROUPS))?;
        public.lab.serve()
    })?;
    let refused = public.ask_as(NOBODY, "policy bypass")?.expect(1)?;
    refused.complains(&["whether this host has the group nogroup cannot be said: ENXIO"])?;
    Ok(())
}

#[test]
fn who_asks_as_a_member_waits_for_the_directory_and_nobody_else_does() -> anyhow::Result<()> {
    let public = hanging()?;
    let lab = &public.lab;
    let mut bypass = public.command_as(NOBODY, "policy bypass");
    let mut member = spawn_in(lab.router.edge(), bypass.stdout(Stdio::null()).stderr(Stdio::piped()))?;
    eventually(|| Ok(waiting(lab)? == 2))?;
    lab.ok("status")?.says(&["run: active"])?;
    lab.metrics()?;
    ensure!(member.try_wait()?.is_none() && lab.five_become(34)?, "{}", lab.log()?);
    answers(lab)?;
    let refused = member.wait_with_output()?;
    let why = String::from_utf8_lossy(&refused.stderr);
    ensure!(refused.status.code() == Some(1) && why.contains("there is no group netops"), "{why}");
    public.ask_as(NOBODY, "policy bypass")?.expect(0)?;
    ensure!(lab.five_become(46)?, "{}", lab.log()?);
    lab.ok("status")?.says(&["BYPASS by nobody"])?;
    Ok(())
}
