//! A text kept in the kernel: a pinned array map whose values are its pieces.
//!
//! What is known of a hook (its table, since when, how it is attached) lives as long as its counters do and in the same
//! folder. A file elsewhere could outlast them, or be lost before them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use aya::maps::{Array, Map, MapData};
use serde::{Serialize, de::DeserializeOwned};

use super::{bpffs, shortage, sys};
use crate::{command::Command, error::Failure};

const PIECE: usize = 4096;

/// What the name of a pin begins with until it has its own.
pub const FRESH: &str = "new-";

/// The largest text in bytes: the largest policy file, of which each character may have to be escaped, and as much again
/// for what its rules and sets are written out to.
pub const MAX: usize = 32 << 20;

/// Writes `value` under `path`, whole or not at all: whoever reads meanwhile sees the old text or the new one.
///
/// # Errors
///
/// That the text is too large, or what the kernel says to the map, the pin or the renaming.
pub fn write<T: Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    let text = serde_json::to_vec(value)?;
    if text.len() > MAX {
        let message = format!("{}: {} bytes are more than the {MAX} that a pin may have", path.display(), text.len());
        return Err(Failure::new("too-large", message).hint("name fewer addresses, or fewer rules").into());
    }
    pinned(path, &text).map_err(|error| shortage::named(format_args!("the pin {}", path.display()), error))
}

fn pinned(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    let pieces = text.chunks(PIECE);
    let mut map = Array::<MapData, [u8; PIECE]>::create(u32::try_from(pieces.len())?, 0)?;
    for (index, bytes) in (0..).zip(pieces) {
        let mut piece = [0; PIECE];
        piece[..bytes.len()].copy_from_slice(bytes);
        map.set(index, piece, 0)?;
    }
    let fresh = unfinished(path);
    // What a killed process left is nobody's.
    let _absent = fs::remove_file(&fresh);
    map.pin(&fresh).with_context(|| format!("pin {}", fresh.display()))?;
    super::pins::readable_by_all(&fresh)?;
    fs::rename(&fresh, path).with_context(|| format!("pin {}", path.display()))
}

/// The same of a text that no hook has to itself: what is wrong with it is said with what removes it.
///
/// # Errors
///
/// `spoiled-pin`, where it is another's, something else, or not to be understood; that it cannot be read now.
pub fn read_own<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    bpffs::check_pin(path).and_then(|()| read(path)).or_else(|error| without(path, error))
}

/// A pin that is not there, or not any more, is none.
fn without<T>(path: &Path, error: anyhow::Error) -> anyhow::Result<Option<T>> {
    match error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()) {
        Some(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        // What the kernel says of a pin that is no map.
        Some(cause) if cause.raw_os_error() != Some(libc::EINVAL) => Err(error),
        _ => Err(spoiled(path, &error)),
    }
}

fn spoiled(path: &Path, error: &anyhow::Error) -> anyhow::Error {
    let remove = Command::new("rm").word(path.display());
    Failure::new("spoiled-pin", format!("{error:#}"))
        .hint(format!("another version of qosbpf may read it; without: {remove}; hooks go on as they are"))
        .into()
}

/// How many bytes the text of `value` has.
///
/// # Errors
///
/// That it has none.
pub fn size<T: Serialize>(value: &T) -> serde_json::Result<usize> {
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, value)?;
    Ok(counted.0)
}

/// What is written into it is counted and forgotten.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a text is before it takes its place; after a kill in between it stays there, and is nobody's.
fn unfinished(path: &Path) -> PathBuf {
    path.with_file_name(format!("{FRESH}{}", path.file_name().and_then(|name| name.to_str()).unwrap_or("text")))
}

/// Reads what [`write()`] wrote; `None` where there is no such pin.
///
/// # Errors
///
/// That the pin is something else, or not readable.
pub fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let context = || format!("pin {}", path.display());
    let pin = match sys::open_pin(path, true) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        pin => pin.with_context(context)?,
    };
    let map = MapData::from_fd(pin).with_context(context)?;
    let map = Map::from_map_data(map).with_context(context)?;
    let map: Array<_, [u8; PIECE]> = Array::try_from(map).with_context(context)?;
    let mut text = Vec::new();
    for piece in map.iter() {
        text.extend_from_slice(&piece.with_context(context)?);
    }
    let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    serde_json::from_slice(&text[..end]).with_context(context).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: anyhow::Error) -> Option<&'static str> {
        let error = without::<()>(Path::new("/pin"), error).err()?;
        Some(error.downcast_ref::<Failure>().map_or("as it is", |failure| failure.code))
    }

    #[test]
    fn only_what_stays_wrong_is_spoiled() {
        let kernel = |number| anyhow::Error::from(io::Error::from_raw_os_error(number)).context("pin /pin");
        assert_eq!(of(kernel(libc::ENOENT)), None);
        for number in [libc::EACCES, libc::EPERM, libc::ENOMEM, libc::EMFILE, libc::EIO] {
            assert_eq!(of(kernel(number)), Some("as it is"), "{number}");
        }
        assert_eq!(of(kernel(libc::EINVAL)), Some("spoiled-pin"));
        assert_eq!(of(Failure::new("foreign-pin", "not root's").into()), Some("spoiled-pin"));
        let text = serde_json::from_str::<u8>("{").unwrap_err();
        assert_eq!(of(anyhow::Error::from(text).context("pin /pin")), Some("spoiled-pin"));
    }
}
