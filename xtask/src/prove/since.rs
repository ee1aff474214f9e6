//! Whether something has changed since a commit.

use std::path::Path;

use crate::shell::git;

/// What there is to say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It is as it was.
    Same,
    /// It has changed, by so many commits that touch it; none if it is not committed yet.
    Changed(usize),
    /// The commit is not here: a shallow clone, or no clone at all.
    Unknown,
}

/// Whether these paths are as they were at a commit, also by what is not committed yet.
pub fn since(root: &Path, commit: &str, paths: &[&str]) -> Since {
    if git(root, &["cat-file", "-e", &format!("{commit}^{{commit}}")]).is_none() {
        return Since::Unknown;
    }
    let of_paths = |arguments: &[&str]| git(root, &[arguments, &["--"], paths].concat());
    if of_paths(&["diff", "--quiet", commit]).is_some() {
        return Since::Same;
    }
    let commits = of_paths(&["rev-list", "--count", &format!("{commit}..HEAD")]);
    commits.and_then(|count| count.parse().ok()).map_or(Since::Unknown, Since::Changed)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf, process};

    use anyhow::Context as _;

    use super::*;

    /// A repository of its own, gone with the test.
    struct Repository(PathBuf);

    impl Repository {
        fn new() -> anyhow::Result<Self> {
            let folder = env::temp_dir().join(format!("qosbpf-since-{}", process::id()));
            fs::create_dir_all(&folder)?;
            let repository = Self(folder);
            repository.git(&["init", "--quiet"])?;
            Ok(repository)
        }

        fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
            let who = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"];
            git(&self.0, &[&who, arguments].concat()).with_context(|| arguments.join(" "))
        }

        /// Commits a file with this in it; the commit.
        fn commit(&self, file: &str, text: &str) -> anyhow::Result<String> {
            fs::write(self.0.join(file), text)?;
            self.git(&["add", "."])?;
            self.git(&["commit", "--quiet", "-m", file])?;
            self.git(&["rev-parse", "HEAD"])
        }
    }

    impl Drop for Repository {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_what_it_is_about_counts_as_changed() -> anyhow::Result<()> {
        let repository = Repository::new()?;
        let first = repository.commit("code.rs", "1")?;
        repository.commit("page.md", "1")?;
        let code = |commit: &str| since(&repository.0, commit, &["code.rs"]);
        assert_eq!(code(&first), Since::Same, "the page is no code");
        assert_eq!(since(&repository.0, &first, &["."]), Since::Changed(1));
        fs::write(repository.0.join("code.rs"), "2")?;
        assert_eq!(code(&first), Since::Changed(0), "not committed yet");
        let second = repository.commit("code.rs", "2")?;
        assert_eq!((code(&first), code(&second)), (Since::Changed(1), Since::Same));
        assert_eq!(code("0123456789ab"), Since::Unknown, "as in a shallow clone");
        assert_eq!(since(Path::new("/"), &first, &["code.rs"]), Since::Unknown, "no clone");
        Ok(())
    }
}
