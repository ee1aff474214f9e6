//! Small capture files in the classic pcap format, the same bytes on every run.

use std::time::Duration;

use pcap_file::{
    DataLink, Endianness, PcapError, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter},
};
use qos_common::locate::Link;

use crate::{
    essential,
    frame::{Ipv4, Ipv6, ether_type, ethernet, udp},
};

/// Frames of one link layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Ethernet, or layer 3 (link type RAW).
    pub link: Link,
    /// The frames, none of them cut by the capture.
    pub frames: Vec<Vec<u8>>,
}

impl Capture {
    /// The capture as a file: little-endian, microseconds, one frame a millisecond from the epoch on.
    ///
    /// # Errors
    /// A frame is longer than 65,535 bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PcapError> {
        let datalink = if self.link == Link::Ethernet { DataLink::ETHERNET } else { DataLink::RAW };
        let header = PcapHeader {
            datalink,
            endianness: Endianness::Little,
            ts_resolution: TsResolution::MicroSecond,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(Vec::new(), header)?;
        for (index, frame) in (0..).zip(&self.frames) {
            writer.write_packet(&PcapPacket::new(Duration::from_millis(index), frame.len() as u32, frame))?;
        }
        Ok(writer.into_writer())
    }

    /// Reads a file of either link layer.
    ///
    /// # Errors
    /// It is not a pcap file, or of another link type.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PcapError> {
        let mut reader = PcapReader::new(bytes)?;
        let link = match reader.header().datalink {
            DataLink::ETHERNET => Link::Ethernet,
            DataLink::RAW => Link::Layer3,
            _ => return Err(PcapError::InvalidField("link type")),
        };
        let mut frames = Vec::new();
        while let Some(packet) = reader.next_packet() {
            frames.push(packet?.data.into_owned());
        }
        Ok(Self { link, frames })
    }
}

/// The captures of the repository, by file name.
#[must_use]
pub fn all() -> Vec<(&'static str, Capture)> {
    let ethernet = |frames| Capture { link: Link::Ethernet, frames };
    vec![
        ("bad.pcap", ethernet(from_vectors(Link::Ethernet))),
        ("classes.pcap", ethernet(classes())),
        ("raw.pcap", Capture { link: Link::Layer3, frames: from_vectors(Link::Layer3) }),
        ("tags.pcap", ethernet(tags())),
    ]
}

/// The vectors as a capture sees them. Five tags are left out: a capture's reader has no limit to the tags it walks.
fn from_vectors(link: Link) -> Vec<Vec<u8>> {
    let fits = |name: &str| !name.contains("five tags") && !name.contains("six tags") && !name.contains("metadata");
    let vectors = essential().into_iter().filter(|vector| vector.link == link && fits(&vector.name));
    vectors.map(|vector| vector.frame).filter(|frame| frame.len() < 400).collect()
}

/// Every DS field once in each family; a payload as long as the DSCP, so that no two of them have the same bytes.
fn classes() -> Vec<Vec<u8>> {
    let pair = |ds: u8| {
        let payload = udp(&vec![ds; usize::from(ds >> 2)]);
        let v4 = Ipv4 { ds, ..Ipv4::default() }.packet(&payload);
        let v6 = Ipv6 { ds, ..Ipv6::default() }.packet(&payload);
        [ethernet(&[], ether_type::IPV4, &v4), ethernet(&[], ether_type::IPV6, &v6)]
    };
    (0..=255).flat_map(pair).collect()
}

/// No tag to four, each of either type, in each family.
fn tags() -> Vec<Vec<u8>> {
    let stacks = (0..=4u32).flat_map(|count| (0..1u32 << count).map(move |types| (count, types)));
    let frames = stacks.flat_map(|(count, types)| {
        let tpid = |index| if types >> index & 1 == 0 { ether_type::TAG } else { ether_type::SERVICE_TAG };
        let tags: Vec<_> = (0..count).map(|index| (tpid(index), (index as u16) << 13 | 100)).collect();
        let ds = (count << 5 | types << 2) as u8;
        let v4 = Ipv4 { ds, ..Ipv4::default() }.packet(&udp(b"tagged"));
        let v6 = Ipv6 { ds, ..Ipv6::default() }.packet(&udp(b"tagged"));
        [ethernet(&tags, ether_type::IPV4, &v4), ethernet(&tags, ether_type::IPV6, &v6)]
    });
    frames.collect()
}
