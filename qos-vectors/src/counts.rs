//! What a capture has to count as: packets and bytes for each DS field, and what is not counted by DS field.

use std::collections::BTreeMap;

use qos_common::locate::{Family, Located};
use serde::{Deserialize, Serialize};

use crate::{capture::Capture, reader};

/// Frames and bytes of one DS field, by its value in hexadecimal (`0xb8`).
pub type ByDs = BTreeMap<String, [u64; 2]>;

/// The counts of one capture file. Bytes are those of the frames on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// IPv4 by DS field.
    pub v4: ByDs,
    /// IPv6 by DS field.
    pub v6: ByDs,
    /// Frames that are not directly IP.
    pub non_ip: u64,
    /// Frames that are cut, or in `bad_ip`, or too short for their link header or tags.
    pub malformed: u64,
    /// Frames that say they are IP, without a usable header.
    pub bad_ip: u64,
    /// Frames that the capture has cut.
    pub truncated: u64,
    /// The bytes of `non_ip`.
    pub non_ip_bytes: u64,
    /// The bytes of `bad_ip`.
    pub bad_ip_bytes: u64,
    /// All frames.
    pub packets: u64,
}

impl Counts {
    /// Counts a capture by the [`reader`].
    #[must_use]
    pub fn of(capture: &Capture) -> Self {
        let mut counts = Self::default();
        for frame in &capture.frames {
            let reading = reader::read(frame, capture.link, 0);
            counts.add(frame.len() as u64, reading);
        }
        counts
    }

    fn add(&mut self, bytes: u64, reading: reader::Reading) {
        self.packets += 1;
        self.malformed += u64::from(reading.too_short || reading.located == Located::Malformed);
        match reading.located {
            Located::NotIp => (self.non_ip, self.non_ip_bytes) = (self.non_ip + 1, self.non_ip_bytes + bytes),
            Located::Malformed => (self.bad_ip, self.bad_ip_bytes) = (self.bad_ip + 1, self.bad_ip_bytes + bytes),
            Located::Ip(header) => {
                let family = if header.family == Family::V4 { &mut self.v4 } else { &mut self.v6 };
                let entry = family.entry(format!("{:#04x}", header.ds.bits())).or_default();
                *entry = [entry[0] + 1, entry[1] + bytes];
            }
        }
    }
}

/// The counts of several files as one JSON object, one file a line.
///
/// # Errors
/// None in practice: every key is a string.
pub fn to_json<'a>(files: impl IntoIterator<Item = (&'a str, Counts)>) -> Result<String, serde_json::Error> {
    let line = |(name, counts)| Ok(format!("{}: {}", serde_json::to_string(name)?, serde_json::to_string(&counts)?));
    let lines: Result<Vec<String>, serde_json::Error> = files.into_iter().map(line).collect();
    Ok(format!("{{\n{}\n}}\n", lines?.join(",\n")))
}
