//! The capture files in the repository are what the code makes, byte for byte, and count as they say.

use std::{collections::BTreeMap, fs, path::Path};

use qos_vectors::{
    capture::{self, Capture},
    counts::{Counts, to_json},
};

fn data(name: &str) -> Vec<u8> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data")).join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_files_are_what_the_code_makes() {
    for (name, capture) in capture::all() {
        assert!(capture.to_bytes().unwrap() == data(name), "{name}: run the example write-captures");
    }
    let counts = capture::all().into_iter().map(|(name, capture)| (name, Counts::of(&capture)));
    assert_eq!(to_json(counts).unwrap().as_bytes(), data("expected.json"));
}

#[test]
fn files_are_read_back_as_they_were_written() {
    for (name, capture) in capture::all() {
        assert!(Capture::from_bytes(&data(name)).unwrap() == capture, "{name}");
    }
}

#[test]
fn the_counts_are_read_back_and_add_up() {
    let expected: BTreeMap<String, Counts> = serde_json::from_slice(&data("expected.json")).unwrap();
    assert_eq!(expected.len(), capture::all().len());
    for (name, capture) in capture::all() {
        let counts = &expected[name];
        let by_ds = counts.v4.values().chain(counts.v6.values());
        let (frames, bytes) = by_ds.fold((0, 0), |sum, [frames, bytes]| (sum.0 + frames, sum.1 + bytes));
        assert_eq!(frames + counts.non_ip + counts.bad_ip, counts.packets, "{name}");
        let all_bytes: usize = capture.frames.iter().map(Vec::len).sum();
        assert_eq!(bytes + counts.non_ip_bytes + counts.bad_ip_bytes, all_bytes as u64, "{name}");
    }
}

#[test]
fn the_classes_are_all_there() {
    let counts: BTreeMap<String, Counts> = serde_json::from_slice(&data("expected.json")).unwrap();
    let classes = &counts["classes.pcap"];
    assert_eq!((classes.v4.len(), classes.v6.len(), classes.packets), (256, 256, 512));
}
