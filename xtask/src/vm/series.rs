//! Which packages are kernels, and which of them is meant by `6.1` or `newest`.

use std::fmt;

/// What the names of kernel packages look like, for apt-cache.
pub const PATTERN: &str = "^linux-(image|binary)-[0-9.]+.*-amd64$";

/// What the names of those for clouds end with, which are small, and of those for all machines.
const CLOUD: &str = "-cloud-amd64";
const FULL: &str = "-amd64";

/// A kernel, as packages have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Between `linux-image-` and the flavour: `6.12.117+deb13`.
    pub version: String,
    /// Whether the kernel and its modules are packages of their own, as in newer ones.
    pub split: bool,
    /// Whether it is for all machines, and not for clouds alone: PPPoE is in no other.
    pub full: bool,
}

impl Package {
    /// What has to be downloaded.
    pub fn names(&self) -> Vec<String> {
        let parts: &[&str] = if self.split { &["binary", "modules"] } else { &["image"] };
        let flavour = if self.full { FULL } else { CLOUD };
        parts.iter().map(|part| format!("linux-{part}-{}{flavour}", self.version)).collect()
    }

    /// All numbers of the version, which put kernels of a series, and series, in order.
    fn numbers(&self) -> Vec<u32> {
        let digits = self.version.split(|c: char| !c.is_ascii_digit());
        digits.filter_map(|digits| digits.parse().ok()).collect()
    }
}

impl fmt::Display for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.version, if self.full { "-full" } else { "" })
    }
}

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The newest of a series, such as `6.1`.
    Series(String),
    /// The same of those for all machines: `6.1-full`.
    Full(String),
    /// The newest of all.
    Newest,
}

impl Wanted {
    /// Reads it.
    pub fn read(text: &str) -> Self {
        match text.strip_suffix("-full") {
            Some(series) => Self::Full(series.to_owned()),
            None if text == "newest" => Self::Newest,
            None => Self::Series(text.to_owned()),
        }
    }

    /// The kernel that is meant, if there is one.
    pub fn choose<'a>(&self, packages: &'a [Package]) -> Option<&'a Package> {
        let of_series = |package: &Package, series: &str| {
            let rest = package.version.strip_prefix(series);
            rest.is_some_and(|rest| rest.is_empty() || !rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let fits = |package: &&Package| match self {
            Self::Newest => !package.full,
            Self::Series(series) => !package.full && of_series(package, series),
            Self::Full(series) => package.full && of_series(package, series),
        };
        packages.iter().filter(fits).max_by_key(|package| (package.numbers(), package.split))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest"),
            Self::Series(series) => f.write_str(series),
            Self::Full(series) => write!(f, "{series}-full"),
        }
    }
}

/// The kernels of a listing by apt-cache. Release candidates and packages that only depend on others have two numbers.
pub fn packages(listing: &str) -> Vec<Package> {
    let names = listing.lines().filter_map(|line| line.split_whitespace().next());
    let read = |name: &str| {
        let (part, rest) = name.strip_prefix("linux-")?.split_once('-')?;
        let (version, full) = match rest.strip_suffix(CLOUD) {
            Some(version) => (version, false),
            // Between the version and that is nothing: not a kernel for real time, and not one without a signature.
            None => (rest.strip_suffix(FULL).filter(|version| !version.ends_with("-rt"))?, true),
        };
        Some(Package { version: version.to_owned(), split: part == "binary", full })
    };
    names.filter_map(read).filter(|package| package.numbers().len() > 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
linux-image-5.10.0-30-cloud-amd64 - Linux 5.10 for x86-64 cloud (signed)
linux-image-5.10.0-46-cloud-amd64 - Linux 5.10 for x86-64 cloud (signed)
linux-image-6.1-cloud-amd64 - Linux for x86-64 cloud (meta-package)
linux-image-6.1.0-0.deb11.50-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-56-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.12.95+deb13-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.117+deb13-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-binary-7.1.4+deb13-cloud-amd64 - Linux 7.1.4 for x86-64 cloud (kernel image)
linux-image-7.1.4+deb13-cloud-amd64 - Linux 7.1.4 for x86-64 cloud
linux-image-6.1.0-56-amd64 - Linux 6.1 for 64-bit PCs (signed)
linux-image-6.1.0-56-rt-amd64 - Linux 6.1 for 64-bit PCs (signed), PREEMPT_RT
linux-binary-7.3-cloud-amd64 - Linux 7.3-rc7 for x86-64 cloud (kernel image)
";

    fn chosen(wanted: &str) -> Option<String> {
        Wanted::read(wanted).choose(&packages(LISTING)).map(ToString::to_string)
    }

    #[test]
    fn the_newest_of_a_series_is_taken_by_numbers() {
        assert_eq!(chosen("5.10").as_deref(), Some("5.10.0-46"));
        assert_eq!(chosen("6.1").as_deref(), Some("6.1.0-56"), "and not 6.12");
        assert_eq!(chosen("6.12").as_deref(), Some("6.12.117+deb13"));
        assert_eq!(chosen("newest").as_deref(), Some("7.1.4+deb13"), "a candidate is no release");
        assert_eq!(chosen("4.19"), None);
        assert_eq!(chosen("6.1-full").as_deref(), Some("6.1.0-56-full"));
        assert_eq!(chosen("5.10-full"), None);
    }

    #[test]
    fn a_kernel_in_two_packages_is_taken_as_such() {
        let packages = packages(LISTING);
        let newest = Wanted::Newest.choose(&packages).map(Package::names);
        let both = ["linux-binary-7.1.4+deb13-cloud-amd64", "linux-modules-7.1.4+deb13-cloud-amd64"];
        assert_eq!(newest, Some(both.map(str::to_owned).to_vec()));
        let old = Wanted::read("5.10").choose(&packages).map(Package::names);
        assert_eq!(old, Some(vec!["linux-image-5.10.0-46-cloud-amd64".to_owned()]));
    }
}
