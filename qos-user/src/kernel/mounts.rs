//! What is mounted where, as this process sees it: proc_pid_mountinfo(5).

use std::{ffi::OsString, fs, io, os::unix::ffi::OsStringExt as _, path::PathBuf};

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Such as `0:32`.
    pub device: String,
    /// Where.
    pub place: PathBuf,
    /// Whether it is a bpf file system.
    pub is_bpf: bool,
}

/// All that is mounted, one over the other where several are at one place.
///
/// # Errors
///
/// That /proc does not tell.
pub fn all() -> io::Result<Vec<Mount>> {
    let lines = fs::read("/proc/self/mountinfo")?;
    Ok(lines.split(|byte| *byte == b'\n').filter_map(Mount::read).collect())
}

impl Mount {
    fn read(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ').skip(2);
        let (device, place) = (words.next()?, words.nth(1)?);
        let kind = words.skip_while(|word| *word != b"-").nth(1)?;
        let device = String::from_utf8_lossy(device).into_owned();
        Some(Self { device, place: plain(place), is_bpf: kind == b"bpf" })
    }
}

/// A path as it is: where spaces separate words the kernel writes those in it as `\040`.
fn plain(word: &[u8]) -> PathBuf {
    let (mut path, mut rest) = (Vec::new(), word);
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| *first == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        let meant = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(meant.unwrap_or(*first));
        rest = if meant.is_some() { &behind[3..] } else { behind };
    }
    OsString::from_vec(path).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Mount> {
        Mount::read(line.as_bytes())
    }

    #[test]
    fn a_line_says_what_is_mounted_where() {
        let mount =
            |device: &str, place: &str, is_bpf| Some(Mount { device: device.to_owned(), place: place.into(), is_bpf });
        let usual = "33 24 0:30 / /sys/fs/bpf rw,nosuid shared:11 - bpf bpf rw,mode=700";
        assert_eq!(read(usual), mount("0:30", "/sys/fs/bpf", true));
        let odd = r"90 24 0:44 /sub /tmp/a\040b\134c\1z rw - bpf none rw";
        assert_eq!(read(odd), mount("0:44", r"/tmp/a b\c\1z", true));
        let other = "25 1 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw";
        assert_eq!(read(other), mount("8:1", "/", false));
        assert_eq!(read(""), None);
    }
}
