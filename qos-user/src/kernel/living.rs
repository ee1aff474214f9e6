//! Which network namespaces there are on this host.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns};

use super::netns;

/// The process that has started all others.
const FIRST: &str = "/proc/1";

/// The numbers of all network namespaces that a process is in or has open, or that have a name or a mount here; `None` if
/// this process may not see all of them.
#[must_use]
pub fn living() -> Option<BTreeSet<u64>> {
    if !netns::sees_all_processes() {
        return None;
    }
    let Files { files, .. } = Files::read().ok()?;
    if !netns::has_cookies() {
        return Some(files.into_keys().collect());
    }
    thread::scope(|scope| scope.spawn(|| files.values().map(cookie_in).collect()).join().ok()?)
}

/// Enters it: the thread is of no other use afterwards.
fn cookie_in(file: &File) -> Option<u64> {
    setns(file.as_fd(), CloneFlags::CLONE_NEWNET).ok()?;
    netns::own_cookie().ok()?
}

/// Network namespaces by inode. As long as they are open, none of them is another.
#[derive(Debug)]
struct Files {
    files: BTreeMap<u64, File>,
    /// Of the file system that they are in.
    device: u64,
}

impl Files {
    /// By process: the namespaces of its threads, those that it has open, and those that are mounted where it is.
    fn read() -> io::Result<Self> {
        let device = fs::metadata(netns::OWN)?.dev();
        let mut files = Self { files: BTreeMap::new(), device };
        let (mut mounts, mut mounted) = (BTreeSet::new(), BTreeSet::new());
        for process in numbered(Path::new("/proc"))? {
            match files.of_process(&process) {
                // It may have more capabilities than this one; its namespace is the host's, which stays.
                Err(_hidden) if process == Path::new(FIRST) => {}
                read => read?,
            }
            if let Ok(place) = fs::metadata(process.join("ns/mnt"))
                && mounts.insert(place.ino())
            {
                mounted.extend(files.of_mounts(&process)?);
            }
        }
        // One that another mount hides is not known to be gone.
        if mounted.iter().all(|inode| files.files.contains_key(inode)) {
            Ok(files)
        } else {
            Err(io::ErrorKind::Other.into())
        }
    }

    fn of_process(&mut self, process: &Path) -> io::Result<()> {
        for thread in numbered(&process.join("task")).or_else(ended)? {
            self.add(&thread.join("ns/net"))?;
        }
        for open in numbered(&process.join("fd")).or_else(ended)? {
            self.add(&open)?;
        }
        Ok(())
    }

    /// `ip netns`, container engines and others keep one by a mount of its file. Gives the inodes of all.
    fn of_mounts(&mut self, process: &Path) -> io::Result<Vec<u64>> {
        let mut mounted = Vec::new();
        for mount in fs::read_to_string(process.join("mountinfo")).unwrap_or_default().lines() {
            let words: Vec<_> = mount.split(' ').collect();
            if let [_, _, _, root, place, ..] = *words
                && let Some(inode) = root.strip_prefix("net:[").and_then(|inode| inode.strip_suffix(']')?.parse().ok())
            {
                mounted.push(inode);
                self.add(&process.join("root").join(place.trim_start_matches('/')))?;
            }
        }
        Ok(mounted)
    }

    /// What is none is passed over.
    fn add(&mut self, path: &Path) -> io::Result<()> {
        let known = match fs::metadata(path) {
            Err(error) => return ended(error).map(|_: Vec<PathBuf>| ()),
            Ok(known) if known.dev() != self.device || self.files.contains_key(&known.ino()) => return Ok(()),
            Ok(known) => known.ino(),
        };
        match File::open(path) {
            Ok(file) if is_network(&file) => self.files.insert(known, file),
            Ok(_) => None,
            Err(error) => return ended(error).map(|_: Vec<PathBuf>| ()),
        };
        Ok(())
    }
}

/// Namespaces of processes, mounts and others have files of the same kind.
fn is_network(file: &File) -> bool {
    /// From `linux/nsfs.h`.
    const NS_GET_NSTYPE: u32 = 0xb703;
    // SAFETY: it takes no argument, and returns a number.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) };
    kind == libc::CLONE_NEWNET
}

/// What is called by a number.
fn numbered(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let is_number = |name: &fs::DirEntry| name.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    let entries: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>().or_else(ended)?;
    Ok(entries.iter().filter(|name| is_number(name)).map(fs::DirEntry::path).collect())
}

/// A process that has ended meanwhile has nothing any more; whatever else is wrong is an error.
fn ended<T>(error: io::Error) -> io::Result<Vec<T>> {
    let gone = error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH);
    if gone { Ok(Vec::new()) } else { Err(error) }
}
