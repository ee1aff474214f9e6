//! Whether there is something by a name, as the file system says.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Whether nothing has this name: not a link that leads nowhere, on its way there either, as into what is not mounted yet; and
/// not what cannot be looked at.
#[must_use]
pub fn is_absent(path: &Path) -> bool {
    let is_unknown = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
    path.symlink_metadata().is_err_and(is_unknown)
        && path.parent().is_none_or(|folder| folder.metadata().is_ok() || is_absent(folder))
}

/// Why a file cannot be read: of a link that leads nowhere the file system says no more than that there is no such file.
#[must_use]
pub fn why_not(path: &Path, error: &io::Error) -> String {
    match stray_link(path).filter(|_| error.kind() == io::ErrorKind::NotFound) {
        Some((link, target)) if link == path => format!("it is a link to {}, which is not there", target.display()),
        Some((link, target)) => format!("{} is a link to {}, which is not there", link.display(), target.display()),
        None => error.to_string(),
    }
}

/// The link on the way to a name that leads nowhere, and where it would lead.
fn stray_link(path: &Path) -> Option<(&Path, PathBuf)> {
    let there = path.ancestors().find(|part| part.symlink_metadata().is_ok())?;
    let target = there.read_link().ok()?;
    there.metadata().is_err().then_some((there, target))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn only_what_has_no_name_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        symlink("nowhere", at("stray")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for (name, absent) in [
            ("file", false),
            ("stray", false),
            ("loop", false),
            ("stray/policy.toml", false),
            ("stray/qosbpf/policy.toml", false),
            ("file/policy.toml", false),
            ("none", true),
            ("no/folder/either", true),
        ] {
            assert_eq!(is_absent(&at(name)), absent, "{name}");
        }
        assert!(is_absent(Path::new("no-such-file-here")) && !is_absent(Path::new("Cargo.toml")));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let stray = folder.path().join("etc");
        symlink("/mnt/not/here", &stray).unwrap();
        let why = |path: &Path| why_not(path, &fs::read(path).unwrap_err());
        assert_eq!(why(&stray), "it is a link to /mnt/not/here, which is not there");
        let below = format!("{} is a link to /mnt/not/here, which is not there", stray.display());
        assert_eq!(why(&stray.join("policy.toml")), below);
        assert_eq!(why(&folder.path().join("none")), "No such file or directory (os error 2)");
    }
}
