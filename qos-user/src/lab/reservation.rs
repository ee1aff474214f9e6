//! The name of a lab, `qosbpf-<pid>` or `qosbpf-<pid>-<n>`, and its folder in /run, which is made first and removed
//! last: as long as anything of a lab is left, its folder is there and says whose it was.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{iproute, unmount};

/// Where the folders of labs are: only root can write there.
const PARENT: &str = "/run";
/// Where `ip netns` keeps its names.
const NAMED: &str = "/run/netns";
/// In the folder of a lab that outlives its process on purpose.
const KEPT: &str = "kept";

/// Which of the three a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The LAN host.
    Lan,
    /// The edge router.
    Edge,
    /// The WAN host.
    Wan,
}

impl Role {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Lan, Self::Edge, Self::Wan];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Edge => "edge",
            Self::Wan => "wan",
        }
    }
}

/// A name that no other lab has.
#[derive(Debug)]
pub struct Reservation {
    name: String,
    folder: PathBuf,
    /// Whether /run/netns was a mount before; if not, `ip netns add` makes it one.
    found_mounted: bool,
}

impl Reservation {
    /// Takes the first name that is free for this process.
    ///
    /// # Errors
    ///
    /// That the folder cannot be made.
    pub fn make() -> anyhow::Result<Self> {
        let pid = std::process::id();
        let found_mounted = is_mount(Path::new(NAMED));
        let mut number = 1_u32;
        loop {
            let name = if number == 1 { format!("qosbpf-{pid}") } else { format!("qosbpf-{pid}-{number}") };
            let folder = Path::new(PARENT).join(&name);
            match fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Self { name, folder, found_mounted }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error).with_context(|| format!("create {}", folder.display())),
            }
        }
    }

    /// The name of one of the namespaces.
    #[must_use]
    pub fn namespace(&self, role: Role) -> String {
        format!("{}-{}", self.name, role.as_str())
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the bpf file system is mounted.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        self.folder.join("bpffs")
    }

    /// Says that the lab is no leftover although its process has ended.
    ///
    /// # Errors
    ///
    /// What writing to the folder says.
    pub fn mark_kept(&self) -> anyhow::Result<()> {
        let path = self.folder.join(KEPT);
        fs::write(&path, "").with_context(|| path.display().to_string())
    }

    /// The commands that do what [`remove`](Self::remove) does.
    #[must_use]
    pub fn removal(&self) -> Vec<String> {
        let mut commands = Role::ALL.map(|role| format!("ip netns del {}", self.namespace(role))).to_vec();
        commands.push(format!("umount {}", self.bpffs().display()));
        commands.push(format!("rm -r {}", self.folder.display()));
        commands
    }

    /// Removes namespaces, mount and folder, as far as they are there.
    pub fn remove(&self) {
        for role in Role::ALL {
            let name = self.namespace(role);
            if Path::new(NAMED).join(&name).exists()
                && let Err(error) = iproute::run(&["netns", "del", &name])
            {
                tracing::warn!("{error:#}");
            }
        }
        // The pins go with the mount, and what they attached with the pins.
        unmount(&self.bpffs());
        if let Err(error) = fs::remove_dir_all(&self.folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.folder.display(), %error, "not removed");
        }
        if !self.found_mounted {
            give_back_netns_folder();
        }
    }
}

/// Removes the labs of processes that are gone.
pub fn remove_leftovers() {
    let Ok(entries) = fs::read_dir(PARENT) else { return };
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let folder = entry.path();
        if owner(&name).is_some_and(|pid| !is_alive(pid)) && !folder.join(KEPT).exists() {
            tracing::info!(lab = name, "removed what a killed process left");
            Reservation { name, folder, found_mounted: true }.remove();
        }
    }
}

/// The process whose lab has this name.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("qosbpf-")?;
    let (pid, number) = rest.split_once('-').unwrap_or((rest, "1"));
    number.parse::<u32>().ok()?;
    pid.parse().ok()
}

/// A process that has ended and was not waited for has no executable any more.
fn is_alive(pid: u32) -> bool {
    fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

fn is_mount(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().filter_map(|line| line.split(' ').nth(1)).any(|mounted| Path::new(mounted) == path)
}

/// The first `ip netns add` since boot mounts /run/netns on itself, so that its names show in every mount namespace.
/// Both calls refuse while somebody has a namespace there.
fn give_back_netns_folder() {
    let unmounted = nix::mount::umount(NAMED);
    let removed = fs::remove_dir(NAMED);
    tracing::debug!(?unmounted, ?removed, "{NAMED}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_labs_have_an_owner() {
        assert_eq!(owner("qosbpf-77"), Some(77));
        assert_eq!(owner("qosbpf-77-2"), Some(77));
        for name in ["qosbpf", "qosbpf-", "qosbpf-x", "qosbpf-77-x", "qosbpf-77-", "other-77", "qosbpf-77-2-3"] {
            assert_eq!(owner(name), None, "{name}");
        }
    }

    #[test]
    fn this_process_is_alive_and_the_last_possible_one_is_not() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(u32::MAX));
    }
}
