//! The policy that a reboot brings back, as it is found.

use std::{fs::File, io::ErrorKind, path::Path};

use nix::unistd::geteuid;

use super::{
    Context,
    policy::{self, WrongPolicy},
    site,
};
use crate::{command::Command, kernel::files, policy::Policy};

/// What is saved.
#[derive(Debug)]
pub enum Saved {
    /// Nothing, or what this user may not read.
    Nothing,
    /// A policy.
    Good(Box<Policy>),
    /// What cannot be put in force at the next start, and why.
    Useless(String),
}

impl Saved {
    /// Reads it.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        if files::is_absent(path) || is_hidden(path) {
            return Self::Nothing;
        }
        match policy::read_policy(path) {
            Ok((_, policy)) => Self::Good(Box::new(policy)),
            Err(error) => {
                let wrong = error.downcast_ref::<WrongPolicy>();
                Self::Useless(wrong.map_or_else(|| format!("{error:#}"), WrongPolicy::in_one_line))
            }
        }
    }

    /// The policy, if it is one.
    #[must_use]
    pub fn good(&self) -> Option<&Policy> {
        match self {
            Self::Good(policy) => Some(policy),
            Self::Nothing | Self::Useless(_) => None,
        }
    }

    /// That it is of no use, if that is so, in words.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let Self::Useless(why) = self else { return None };
        Some(format!("the saved policy is of no use at the next start: {why}"))
    }
}

/// What shows all that is wrong with it, without the name of the program.
#[must_use]
pub fn check(path: &Path) -> Command {
    Command::new("policy check").word(path.display())
}

/// Whether the copy of the last good policy is the one with this hash.
#[must_use]
pub fn is_last_good(context: &Context, hash: &str) -> bool {
    site::saved_hash(&context.last_good()).is_some_and(|kept| kept == hash)
}

/// Whoever is not root need not be shown it, which says nothing about the next start.
fn is_hidden(path: &Path) -> bool {
    !geteuid().is_root() && File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_is_no_policy_is_told_from_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(matches!(Saved::read(&path("none")), Saved::Nothing));
        symlink("nowhere", path("link")).unwrap();
        fs::write(path("typo"), "version = 1\nname = \"edge\"\n[interface.lan0]\ningress = \"nope\"\n").unwrap();
        fs::write(path("good"), "version = 1\nname = \"edge\"\n").unwrap();
        for useless in [folder.path().to_owned(), path("link")] {
            assert!(Saved::read(&useless).fault().is_some(), "{useless:?}");
        }
        let fault = Saved::read(&path("typo")).fault().unwrap();
        assert!(fault.contains("typo:4") && fault.contains("nope"), "{fault}");
        let good = Saved::read(&path("good"));
        assert!(good.good().is_some_and(|policy| policy.name() == "edge") && good.fault().is_none(), "{good:?}");
    }
}
