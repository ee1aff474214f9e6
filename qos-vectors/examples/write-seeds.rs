//! Writes fuzzing seeds into a folder: `cargo run -p qos-vectors --example write-seeds fuzz/corpus/process`.

use std::{error::Error, fs, path::PathBuf};

use qos_vectors::{Vector, essential, seed};

/// A file name of a vector's name.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("which folder?")?);
    fs::create_dir_all(&folder)?;
    // A layer-3 twin is one bit away from its Ethernet frame.
    let seed = |vector: &&Vector| vector.frame.len() <= 160 && !vector.name.ends_with(", layer 3");
    for vector in essential().iter().filter(seed) {
        fs::write(folder.join(slug(&vector.name)), seed::encode(vector))?;
    }
    Ok(())
}
