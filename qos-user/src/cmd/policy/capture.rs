//! Packets in bytes, for `policy explain`: captures and hexadecimal digits.

use std::{fs::File, io::Read, path::Path};

use pcap_file::{DataLink, pcap::PcapReader};
use qos_common::locate::{Link, Located, locate};

use crate::error::{Exit, Failure};

/// The first packets of a capture.
#[derive(Debug)]
pub struct Capture {
    /// What precedes the IP header in it.
    pub link: Link,
    /// The frames, cut where the capture has cut them.
    pub frames: Vec<Vec<u8>>,
    /// How many more there are.
    pub left_out: usize,
}

/// Reads the first `count` packets of a file in the classic pcap format.
///
/// # Errors
///
/// `capture`: it cannot be read, or is none, or is of another link type than Ethernet or IP.
pub fn read(file: &Path, count: usize) -> anyhow::Result<Capture> {
    let name = file.display().to_string();
    let opened = File::open(file).map_err(|error| wrong(&name, &error.to_string()))?;
    read_from(opened, &name, count)
}

fn wrong(name: &str, why: &str) -> Failure {
    Failure::new("capture", format!("{name}: {why}")).exit(Exit::Usage)
}

/// The same of what is open already, under the name of a file.
///
/// # Errors
///
/// As [`read`].
pub fn read_from(input: impl Read, name: &str, count: usize) -> anyhow::Result<Capture> {
    let wrong = |why: String| wrong(name, &why);
    let mut reader = PcapReader::new(input).map_err(|error| {
        wrong(format!("not a pcap file: {error}")).hint("a pcapng file becomes one by: tcpdump -r FILE -w OTHER")
    })?;
    let link = match reader.header().datalink {
        DataLink::ETHERNET => Link::Ethernet,
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => Link::Layer3,
        other => {
            let hint = "captures of Ethernet and of bare IP are read: tcpdump -i INTERFACE, not -i any";
            return Err(wrong(format!("link type {}", u32::from(other))).hint(hint).into());
        }
    };
    let mut capture = Capture { link, frames: Vec::new(), left_out: 0 };
    while let Some(packet) = reader.next_packet() {
        let packet =
            packet.map_err(|error| wrong(format!("broken after {} packets: {error}", capture.frames.len())))?;
        if capture.frames.len() < count {
            capture.frames.push(packet.data.into_owned());
        } else {
            capture.left_out += 1;
        }
    }
    Ok(capture)
}

/// Hexadecimal digits, with blanks and colons between them or not.
///
/// # Errors
///
/// `packet`: what is none, or half a byte.
pub fn from_hex(hex: &str) -> anyhow::Result<Vec<u8>> {
    let wrong = |why: String| Failure::new("packet", format!("--hex: {why}")).exit(Exit::Usage);
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let value = |c: char| c.to_digit(16).ok_or_else(|| wrong(format!("`{c}` is not a hexadecimal digit")));
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Ok((value(*high)? << 4 | value(*low)?) as u8),
        _ => Err(wrong(format!("{} digits make no whole bytes", digits.len()))),
    });
    Ok(pairs.collect::<Result<_, _>>()?)
}

/// A frame as it would come to a hook with another link layer: without its Ethernet header, or with one.
#[must_use]
pub fn fitted(frame: &[u8], from: Link, to: Link) -> Vec<u8> {
    const HEADER: usize = 14;
    match (from, to) {
        (Link::Ethernet, Link::Layer3) => {
            let start = match locate(frame, Link::Ethernet, 0) {
                Located::Ip(header) => header.offset,
                Located::NotIp | Located::Malformed => HEADER,
            };
            frame.get(start..).unwrap_or_default().to_vec()
        }
        (Link::Layer3, Link::Ethernet) => {
            let is_v6 = frame.first().is_some_and(|byte| byte >> 4 == 6);
            let mut whole = vec![0; HEADER];
            whole[HEADER - 2..].copy_from_slice(if is_v6 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
            whole.extend(frame);
            whole
        }
        _ => frame.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_fitted_to_its_hook_and_back() {
        for (name, link, frame) in qos_vectors::essential().into_iter().map(|v| (v.name, v.link, v.frame)) {
            if link != Link::Layer3 || !matches!(locate(frame.as_slice(), link, 0), Located::Ip(_)) {
                continue;
            }
            let ethernet = fitted(&frame, Link::Layer3, Link::Ethernet);
            assert!(matches!(locate(ethernet.as_slice(), Link::Ethernet, 0), Located::Ip(_)), "{name}");
            assert_eq!(fitted(&ethernet, Link::Ethernet, Link::Layer3), frame, "{name}");
        }
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "not a capture, and long enough to have a header of one").unwrap();
        let error = read(file.path(), 1).unwrap_err();
        assert!(error.to_string().contains("not a pcap file"), "{error}");
    }
}
