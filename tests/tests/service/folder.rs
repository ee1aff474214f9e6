//! The folder in which services have their locks and sockets is not as it should be.

use std::{
    fs::{self, Permissions},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixListener,
    },
    path::Path,
};

use nix::mount::{MsFlags, mount};
use qosbpf::cmd::control::{self, FOLDER};
use qosbpf_tests::{
    binary::Answer,
    mounts,
    service::{Lab, MARK},
};
use tempfile::TempDir;

/// `run`, for which another folder is in the place of the one of services.
fn run_with(lab: &Lab, folder: &TempDir, options: MsFlags) -> anyhow::Result<Answer> {
    fs::create_dir_all(FOLDER)?;
    mounts::alone(&lab.router.bpffs, || {
        mounts::bind(folder.path(), Path::new(FOLDER))?;
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | options;
        mount(None::<&str>, FOLDER, None::<&str>, again, None::<&str>)?;
        lab.ask("run --once")
    })
}

#[test]
fn a_folder_that_cannot_be_made_is_said_with_what_to_look_at() -> anyhow::Result<()> {
    let lab = Lab::start()?;
    lab.save("edge", MARK)?;
    let refused = run_with(&lab, &TempDir::new()?, MsFlags::MS_RDONLY)?.expect(1)?;
    refused.complains(&["/run/qosbpf/netns-", "cannot be made", "Read-only file system", "findmnt --target /run"])?;
    Ok(())
}

#[test]
fn a_folder_of_somebody_else_is_refused_with_what_removes_it() -> anyhow::Result<()> {
    let lab = Lab::start()?;
    lab.save("edge", MARK)?;
    let folder = TempDir::new()?;
    chown(folder.path(), Some(65_534), None)?;
    let refused = run_with(&lab, &folder, MsFlags::empty())?.expect(1)?;
    let refused = refused.complains(&["/run/qosbpf does not belong to root: refused", "rm -r /run/qosbpf"])?;
    assert!(!refused.stderr.contains("marks"), "the folder has no pins: {refused:?}");
    Ok(())
}

/// Such as those of network namespaces that are gone. Who serves holds his lock.
#[test]
fn folders_in_which_nobody_serves_are_removed() -> anyhow::Result<()> {
    let lab = Lab::start()?;
    lab.save("edge", MARK)?;
    let folder = TempDir::new()?;
    let [left, served, strange] = ["netns-1", "netns-2", "strange"].map(|name| folder.path().join(name));
    for folder in [&left, &served, &strange] {
        fs::create_dir(folder)?;
        fs::write(folder.join("lock"), "process 1 since 2026-11-21T21:00:03Z")?;
        let _socket = UnixListener::bind(folder.join("control"))?;
    }
    let lock = fs::File::open(served.join("lock"))?;
    lock.lock()?;
    run_with(&lab, &folder, MsFlags::empty())?.expect(0)?;
    assert!(!left.exists() && served.join("control").exists() && strange.exists());
    Ok(())
}

/// What is in it is root's own: the sockets of other services must not be removed.
#[test]
fn a_folder_that_is_only_open_is_closed() -> anyhow::Result<()> {
    let lab = Lab::start()?;
    lab.save("edge", MARK)?;
    let folder = TempDir::new()?;
    fs::create_dir(folder.path().join("netns-1"))?;
    let _socket = UnixListener::bind(folder.path().join("netns-1/control"))?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
    let refused = run_with(&lab, &folder, MsFlags::empty())?.expect(1)?;
    refused.complains(&["can be written by others than root: refused", "chmod go-w /run/qosbpf"])?;
    Ok(())
}

/// Where its network namespace is gone nobody else would remove it.
#[test]
fn a_service_that_ends_leaves_no_folder() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    let folder = lab.router.edge().run(control::folder)?;
    assert!(folder.join("lock").exists() && folder.join("control").exists());
    lab.stop()?;
    assert!(!folder.exists() && Path::new(FOLDER).exists());
    lab.serve()?;
    assert!(folder.join("control").exists());
    lab.stop()
}
