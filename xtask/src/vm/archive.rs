//! The packages of Debian's kernels, by an apt of our own: the lists and packages of the system stay as they are.
//!
//! It asks the archive that this machine's own apt is set to, for more of its releases. `QOSBPF_VM_ARCHIVE` names
//! another one, where the machine is no Debian: `URI` or, with the archive of security updates, `URI,URI`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};

use super::series::{self, Package};
use crate::shell;

/// Releases of Debian, for the kernels that they have: 5.10, 6.1, 6.12, and what is newer.
const SUITES: [&str; 4] = ["bullseye", "bookworm", "trixie", "trixie-backports"];
/// Those with security updates.
const SECURITY: [&str; 3] = ["bullseye-security", "bookworm-security", "trixie-security"];

/// What signs them.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How old the lists may be.
const FRESH: Duration = Duration::from_secs(3 * 24 * 3600);

/// An archive, with lists and packages in a folder of ours.
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Fetches the lists, unless those that are there are fresh enough.
    ///
    /// # Errors
    ///
    /// That no archive is known; or that nothing can be fetched and nothing was before.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let archive = Self { folder: folder.join("apt") };
        for name in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(archive.folder.join(name)).context("the folder of package lists")?;
        }
        if !archive.is_fresh() {
            fs::write(archive.folder.join("sources.list"), sources(&uris()?))?;
            archive.update()?;
        }
        Ok(archive)
    }

    fn is_fresh(&self) -> bool {
        let fetched = fs::metadata(self.stamp()).and_then(|stamp| stamp.modified());
        let age = fetched.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        age.is_some_and(|age| age < FRESH)
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("fetched")
    }

    /// A release that the archive has dropped makes apt fail, and its other lists are good nevertheless.
    fn update(&self) -> anyhow::Result<()> {
        // Else what cannot be reached is no error to apt, and its kernels would be missed for days.
        let strict = ["-o", "APT::Update::Error-Mode=any"];
        let updated = shell::run(self.apt("apt-get").args(strict).args(["-q", "-q", "update"]));
        if let Err(error) = &updated {
            println!("vm: warning: some package lists were not fetched: {error:#}");
        }
        if self.packages()?.is_empty() {
            bail!("no list of Debian's kernels could be fetched; QOSBPF_VM_ARCHIVE=URI names another archive");
        }
        if updated.is_ok() {
            fs::write(self.stamp(), "")?;
        }
        Ok(())
    }

    /// All kernels of the archive.
    ///
    /// # Errors
    ///
    /// That apt-cache cannot be run.
    pub fn packages(&self) -> anyhow::Result<Vec<Package>> {
        let mut search = self.apt("apt-cache");
        let listing =
            shell::output(search.args(["search", "--names-only", series::PATTERN])).context("apt-cache search")?;
        Ok(series::packages(&listing))
    }

    /// Downloads packages into a folder.
    ///
    /// # Errors
    ///
    /// What apt says.
    pub fn download(&self, packages: &[String], folder: &Path) -> anyhow::Result<()> {
        shell::run(self.apt("apt-get").args(["-q", "-q", "download"]).args(packages).current_dir(folder))
    }

    /// With nothing of the system's but its proxies and credentials.
    fn apt(&self, program: &str) -> Command {
        let mut apt = Command::new(program);
        let folder = self.folder.display();
        for option in [
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            "APT::Sandbox::User=".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "Acquire::Languages=none".to_owned(),
        ] {
            apt.arg("-o").arg(option);
        }
        apt.env("LC_ALL", "C");
        apt
    }
}

/// The archive of releases, and that of security updates.
struct Uris {
    main: String,
    security: Option<String>,
}

fn uris() -> anyhow::Result<Uris> {
    if let Ok(named) = env::var("QOSBPF_VM_ARCHIVE") {
        let (main, security) = named.split_once(',').map_or((named.as_str(), None), |(main, rest)| (main, Some(rest)));
        return Ok(Uris { main: main.to_owned(), security: security.map(str::to_owned) });
    }
    let mut targets = Command::new("apt-get");
    let listing = shell::output(targets.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]));
    let listing = listing.unwrap_or_default();
    let ending = |end: &str| listing.lines().map(|uri| uri.trim_end_matches('/')).find(|uri| uri.ends_with(end));
    let main = ending("/debian").context(
        "kernels come from Debian's archive, and this machine's apt is not set to one: QOSBPF_VM_ARCHIVE=URI names it",
    )?;
    Ok(Uris { main: main.to_owned(), security: ending("/debian-security").map(str::to_owned) })
}

fn sources(uris: &Uris) -> String {
    let line = |uri: &str, suite: &str| format!("deb [arch=amd64 signed-by={KEYS}] {uri} {suite} main\n");
    let main = SUITES.into_iter().map(|suite| line(&uris.main, suite));
    let security = uris.security.iter().flat_map(|uri| SECURITY.into_iter().map(move |suite| line(uri, suite)));
    main.chain(security).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_archive_is_asked_for_its_own_releases() {
        let main = "https://mirror.example/debian".to_owned();
        let all =
            sources(&Uris { main: main.clone(), security: Some("https://mirror.example/debian-security".into()) });
        assert_eq!(all.lines().count(), SUITES.len() + SECURITY.len());
        assert!(all.contains("] https://mirror.example/debian bullseye main\n"));
        assert!(all.contains("] https://mirror.example/debian-security bullseye-security main\n"));
        assert_eq!(sources(&Uris { main, security: None }).lines().count(), SUITES.len());
    }
}
