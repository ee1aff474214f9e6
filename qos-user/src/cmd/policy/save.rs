//! `qosbpf policy save`: the policy that a reboot brings back, written whole or not at all.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::apply::refuse_while_pending;
use crate::{
    cmd::{Context, recovery::recovered},
    command::Command,
    error::{Exit, Failure, is_full},
    kernel::{files, pins::Store},
};

/// Saves the policy in force.
///
/// # Errors
///
/// `no-policy`, `pending`, `not-saved`.
pub fn run(json: bool, context: &Context) -> anyhow::Result<Exit> {
    context.afterwards(|context| save(json, context))
}

fn save(json: bool, context: &Context) -> anyhow::Result<Exit> {
    let (store, _change) = Store::change(&context.bpffs)?;
    let site = recovered(store, context)?;
    refuse_while_pending(&site.store)?;
    let Some(in_force) = &site.policy else {
        return Err(Failure::new("no-policy", "no policy is in force")
            .hint("qosbpf policy apply FILE --save puts one in force and saves it")
            .into());
    };
    let path = context.saved();
    keep(context, &in_force.record.text)?;
    site.remember(&in_force.record)?;
    let (name, hash) = (in_force.policy.name(), in_force.policy.hash());
    if json {
        let policy = json!({ "name": name, "hash": hash, "saved": true });
        context.print(&format!("{}\n", json!({ "schema": 1, "policy": policy, "file": path })))?;
    } else {
        context.print(&format!("policy {name} {hash} is saved to {}\n", path.display()))?;
    }
    Ok(Exit::Done)
}

/// Saves a policy that is in force, and so a good one.
///
/// # Errors
///
/// `not-saved`.
pub fn keep(context: &Context, text: &str) -> anyhow::Result<()> {
    write(&context.saved(), text)?;
    if !files::is_absent(&context.last_good()) {
        note_good(context, text);
    }
    Ok(())
}

/// Keeps a copy of a policy that could be put in force, for a boot at which the saved one cannot.
pub fn note_good(context: &Context, text: &str) {
    let path = context.last_good();
    let same = fs::read_to_string(&path).is_ok_and(|kept| kept == text);
    if !same && let Err(error) = replace(&path, text) {
        tracing::warn!("{}: {error}: no copy of the good policy is kept", path.display());
    }
}

/// Writes the saved policy as it was given, comments and all. Whoever reads meanwhile, or after a crash, finds the old
/// text or the new one. Mode, owner and group stay what they were, as far as this process may see to that.
///
/// # Errors
///
/// `not-saved`, with what the file system says.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    replace(path, text).map_err(|error| {
        let why = files::why_not(path, &error);
        Failure::new("not-saved", format!("{}: {why}; the policy is in force, and lost at reboot", path.display()))
            .hint(format!("{}qosbpf policy save tries again", room(path, &error)))
            .into()
    })
}

/// What has to come first where a file system or a user's share of it is full.
fn room(path: &Path, error: &io::Error) -> String {
    let look = Command::new("df").word(path.parent().unwrap_or(path).display());
    if is_full(error) { format!("make room there ({look}); ") } else { String::new() }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    // A link that somebody made, perhaps into a folder under version control, stays one, also if it leads nowhere for now.
    let path = if files::is_absent(path) { path.to_owned() } else { fs::canonicalize(path)? };
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let fresh = fresh(&path)?;
    let written = fill(&fresh, &path, text).and_then(|()| fs::rename(&fresh, &path));
    if written.is_err() {
        let _absent = fs::remove_file(&fresh);
    }
    written?;
    File::open(folder)?.sync_all()
}

/// The name until it is whole; what a killed process left there is nobody's.
fn fresh(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let fresh = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(fresh),
    }
}

fn fill(fresh: &Path, path: &Path, text: &str) -> io::Result<()> {
    let old = path.metadata().ok();
    let mode = if old.is_some() { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(fresh)?;
    if let Some(old) = old {
        stay_as(&old, &file, path)?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Gives it group, mode and owner of the old file, in this order: nobody may do more with it meanwhile than later, and the
/// mode is set by whom it belongs to, which takes no CAP_FOWNER. Who may not give it away saves the policy all the same.
fn stay_as(old: &Metadata, file: &File, path: &Path) -> io::Result<()> {
    let new = file.metadata()?;
    let mode = old.mode() & 0o7777;
    let has_group = stays("group", (old.gid(), new.gid()), path, |group| fchown(file, None, Some(group)));
    file.set_permissions(Permissions::from_mode(if has_group { mode } else { for_another_group(mode) }))?;
    stays("owner", (old.uid(), new.uid()), path, |owner| fchown(file, Some(owner), None));
    Ok(())
}

/// Whether a number of the old file is, or becomes, the new one's.
fn stays(what: &str, (old, new): (u32, u32), path: &Path, set: impl FnOnce(u32) -> io::Result<()>) -> bool {
    let set = if old == new { Ok(()) } else { set(old) };
    if let Err(error) = &set {
        tracing::warn!(
            "{}: its {what} was {old} and is {new} now, which takes CAP_CHOWN to mend: {error}",
            path.display()
        );
    }
    set.is_ok()
}

/// The mode by which those of another group may do what they could before, as others.
const fn for_another_group(mode: u32) -> u32 {
    mode & (0o1707 | (mode & 0o007) << 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn the_text_is_kept_as_given_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qosbpf/policy.toml");
        for text in ["# why\nversion = 1\n", "short"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(names(path.parent().unwrap()), ["policy.toml"]);
        }
    }

    #[test]
    fn mode_and_links_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real.toml"), folder.path().join("policy.toml"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("real.toml", &link).unwrap();
        write(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn a_link_that_leads_nowhere_stays_and_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("policy.toml");
        std::os::unix::fs::symlink("/mnt/not/here", &link).unwrap();
        let said = write(&link, "new").unwrap_err().to_string();
        assert!(said.contains("it is a link to /mnt/not/here, which is not there; the policy is in force"), "{said}");
        assert!(link.symlink_metadata().unwrap().is_symlink());
    }

    #[test]
    fn who_is_in_another_group_may_do_no_more_than_before() {
        let modes = [0o664, 0o660, 0o640, 0o600, 0o646, 0o2664].map(for_another_group);
        assert_eq!(modes, [0o644, 0o600, 0o600, 0o600, 0o646, 0o644]);
    }

    #[test]
    fn what_a_killed_process_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".policy.toml.new"), "half").unwrap();
        let path = folder.path().join("policy.toml");
        write(&path, "whole").unwrap();
        assert_eq!(names(folder.path()), ["policy.toml"]);
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
    }

    #[test]
    fn a_failure_leaves_the_old_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        fs::write(&path, "old").unwrap();
        fs::create_dir(folder.path().join(".policy.toml.new")).unwrap();
        let error = write(&path, "new").unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().code, "not-saved");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }
}
