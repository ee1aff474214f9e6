//! Reads capture files, pcap and pcapng, also those that were damaged on purpose.

use anyhow::{Context as _, bail};
use qos_common::locate::Link;

/// One frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Its link type (the numbers of pcap files).
    pub link_type: u32,
    /// The bytes that were captured.
    pub bytes: Vec<u8>,
    /// How many it had on the wire.
    pub length: u64,
}

/// How a program has to be specialised for a link type; `None` for those that no hook sees (NULL, LOOP, SLL).
#[must_use]
pub const fn link(link_type: u32) -> Option<Link> {
    match link_type {
        1 => Some(Link::Ethernet),
        12 | 14 | 101 | 228 | 229 => Some(Link::Layer3),
        _ => None,
    }
}

/// The frames of a file, up to where it is cut off.
///
/// # Errors
///
/// It is neither pcap nor pcapng.
pub fn read(file: &[u8]) -> anyhow::Result<Vec<Captured>> {
    match file.first_chunk() {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => pcapng(file),
        Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) => pcap(file, u32::from_le_bytes),
        Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]) => pcap(file, u32::from_be_bytes),
        _ => bail!("neither pcap nor pcapng"),
    }
}

type Word = fn([u8; 4]) -> u32;

fn word(bytes: &[u8], at: usize, order: Word) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(order)
}

/// A header of 24 bytes, then records: time 8, captured 4, length 4, bytes.
fn pcap(file: &[u8], order: Word) -> anyhow::Result<Vec<Captured>> {
    let link_type = word(file, 20, order).context("the file ends within its header")? & 0xffff;
    let (mut frames, mut rest) = (Vec::new(), file.get(24..).unwrap_or_default());
    while let (Some(captured), Some(length)) = (word(rest, 8, order), word(rest, 12, order)) {
        let end = 16 + captured as usize;
        let Some(bytes) = rest.get(16..end) else { break };
        frames.push(Captured { link_type, bytes: bytes.to_vec(), length: length.into() });
        rest = &rest[end..];
    }
    Ok(frames)
}

/// Blocks: kind 4, length 4, body, length 4.
fn pcapng(file: &[u8]) -> anyhow::Result<Vec<Captured>> {
    const SECTION: u32 = 0x0a0d_0d0a;
    let (mut frames, mut rest, mut order) = (Vec::new(), file, u32::from_le_bytes as Word);
    // Of each interface its link type and snap length.
    let mut interfaces: Vec<(u32, u32)> = Vec::new();
    loop {
        if word(rest, 0, u32::from_be_bytes) == Some(SECTION) {
            let little = word(rest, 8, u32::from_le_bytes) == Some(0x1a2b_3c4d);
            order = if little { u32::from_le_bytes } else { u32::from_be_bytes };
            interfaces.clear();
        }
        let (Some(kind), Some(length)) = (word(rest, 0, order), word(rest, 4, order)) else { break };
        let Some(block) = rest.get(..length as usize).filter(|block| block.len() >= 12) else { break };
        match kind {
            1 => interfaces.push(interface(block, order).context("an interface block that is cut")?),
            3 | 6 => frames.push(packet(kind, block, &interfaces, order).context("a packet block that is cut")?),
            2 => bail!("an obsolete packet block"),
            _ => {}
        }
        rest = &rest[length as usize..];
    }
    Ok(frames)
}

fn interface(block: &[u8], order: Word) -> Option<(u32, u32)> {
    let link_type = match order([1, 0, 0, 0]) {
        1 => word(block, 8, order)? & 0xffff,
        _ => word(block, 8, order)? >> 16,
    };
    Some((link_type, word(block, 12, order)?))
}

/// An enhanced packet block (6), or a simple one (3), whose bytes end where the snap length or the block does.
fn packet(kind: u32, block: &[u8], interfaces: &[(u32, u32)], order: Word) -> Option<Captured> {
    let number = |at| word(block, at, order);
    let (link_type, captured, length, at) = if kind == 6 {
        (interfaces.get(number(8)? as usize)?.0, number(20)?, number(24)?, 28)
    } else {
        let ((link_type, snap), length) = (*interfaces.first()?, number(8)?);
        let snap = if snap == 0 { length } else { snap };
        (link_type, length.min(snap).min(block.len() as u32 - 16), length, 12)
    };
    let bytes = block.get(at..at + captured as usize)?.to_vec();
    Some(Captured { link_type, bytes, length: length.into() })
}
