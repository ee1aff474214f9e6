//! Writes the capture files and their counts into a folder: `cargo run -p qos-vectors --example write-captures tests/data`.

use std::{error::Error, fs, path::PathBuf};

use qos_vectors::{
    capture,
    counts::{Counts, to_json},
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("which folder?")?);
    let captures = capture::all();
    for (name, capture) in &captures {
        fs::write(folder.join(name), capture.to_bytes()?)?;
    }
    let counts = captures.iter().map(|(name, capture)| (*name, Counts::of(capture)));
    Ok(fs::write(folder.join("expected.json"), to_json(counts)?)?)
}
