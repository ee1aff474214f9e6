//! Writes fuzzing seeds into two folders: `cargo run -p qos-vectors --example write-seeds fuzz/corpus`.

use std::{error::Error, fs, path::PathBuf};

use qos_vectors::{Vector, essential, seed, tunnels};

/// A file name of a vector's name.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("which folder?")?);
    let (process, frames) = (folder.join("process"), folder.join("frames"));
    fs::create_dir_all(&process)?;
    fs::create_dir_all(&frames)?;
    // A layer-3 twin is one bit away from its Ethernet frame.
    let seed = |vector: &&Vector| vector.frame.len() <= 160 && !vector.name.ends_with(", layer 3");
    for vector in essential().iter().filter(seed) {
        fs::write(process.join(slug(&vector.name)), seed::encode(vector))?;
    }
    // Made by this host, at a hook that marks outer headers; each second one is a super-packet of two segments.
    for (number, tunnel) in tunnels::all().iter().enumerate() {
        let head = [0b0010_0100 | u8::from(number % 2 == 1) << 3, 8, 0, 2, 0x10, 0xa0, 7];
        fs::write(frames.join(slug(tunnel.name)), [&head[..], &tunnel.frame(&[])].concat())?;
    }
    Ok(())
}
