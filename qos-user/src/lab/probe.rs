//! Marked UDP datagrams that can be told apart where they arrive.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use nix::sys::socket::{MsgFlags, SockaddrStorage, sendto, setsockopt, sockopt};
use qos_common::{ds::DsField, locate::Family};

use super::{namespace::Namespace, topology::End};

/// The port that probes go to unless another is wanted; a [`Capture`](super::capture::Capture) keeps it open.
pub const PORT: u16 = 40_000;

/// What a probe's payload begins with.
const MAGIC: [u8; 12] = *b"qosbpf probe";

/// Bytes of a probe's payload.
pub const PAYLOAD: usize = MAGIC.len() + 8;

/// A number of equal datagrams, a pause apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Where to.
    pub to: SocketAddr,
    /// The DS field, ECN included. UDP sockets send all eight bits as they are told.
    pub ds: DsField,
    /// By which they are found again.
    pub id: u32,
    /// How many.
    pub count: u32,
    /// The pause after each.
    pub pace: Duration,
}

/// What a probe's payload says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// The probe's id.
    pub id: u32,
    /// Which of its datagrams, from 0.
    pub sequence: u32,
}

impl Probe {
    /// Ten datagrams, a millisecond apart, to the default port.
    #[must_use]
    pub const fn new(to: &End, family: Family, ds: DsField, id: u32) -> Self {
        let to = SocketAddr::new(to.address(family), PORT);
        Self { to, ds, id, count: 10, pace: Duration::from_millis(1) }
    }
}

impl Label {
    /// The payload that carries it.
    #[must_use]
    pub fn payload(self) -> [u8; PAYLOAD] {
        let mut payload = [0; PAYLOAD];
        let (magic, label) = payload.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        label[..4].copy_from_slice(&self.id.to_be_bytes());
        label[4..].copy_from_slice(&self.sequence.to_be_bytes());
        payload
    }

    /// What a payload carries, if it is a probe's.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let label: [u8; 8] = payload.strip_prefix(&MAGIC)?.try_into().ok()?;
        let [id @ .., _, _, _, _] = label;
        let [_, _, _, _, sequence @ ..] = label;
        Some(Self { id: u32::from_be_bytes(id), sequence: u32::from_be_bytes(sequence) })
    }
}

/// Sends the probes, one after the other, from a network namespace, with whole checksums.
///
/// # Errors
///
/// What the kernel says to the first datagram that it does not send.
pub fn send(namespace: &Namespace, probes: &[Probe]) -> anyhow::Result<()> {
    let (v4, v6) = namespace.run(|| Ok((UdpSocket::bind("0.0.0.0:0")?, UdpSocket::bind("[::]:0")?)))?;
    for probe in probes {
        let socket = if probe.to.is_ipv4() { &v4 } else { &v6 };
        send_one(socket, probe).with_context(|| format!("send {probe:?}"))?;
    }
    Ok(())
}

fn send_one(socket: &UdpSocket, probe: &Probe) -> anyhow::Result<()> {
    let ds = i32::from(probe.ds.bits());
    match probe.to {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4Tos, &ds)?,
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6TClass, &ds)?,
    }
    for sequence in 0..probe.count {
        send_whole(socket, &Label { id: probe.id, sequence }.payload(), probe.to)?;
        thread::sleep(probe.pace);
    }
    Ok(())
}

/// Hands a datagram over in two pieces. Of one in a single piece Linux leaves the checksum to the device, if that says
/// that it computes checksums, and a veth device, which says so, passes it on as it is. Of one in pieces Linux computes
/// the checksum itself.
fn send_whole(socket: &UdpSocket, payload: &[u8], to: SocketAddr) -> anyhow::Result<()> {
    let (first, rest) = payload.split_at(payload.len() / 2);
    sendto(socket.as_raw_fd(), first, &SockaddrStorage::from(to), MsgFlags::from_bits_retain(libc::MSG_MORE))?;
    socket.send_to(rest, to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_as_it_was_written() {
        let label = Label { id: 0x0102_0304, sequence: u32::MAX };
        let payload = label.payload();
        assert_eq!(Label::read(&payload), Some(label));
        assert_eq!(Label::read(&payload[..PAYLOAD - 1]), None, "cut short");
        assert_eq!(Label::read(&[&payload[..], &[0]].concat()), None, "followed by something");
        assert_eq!(Label::read(b"qosbpf Probe\0\0\0\0\0\0\0\0"), None, "another first word");
    }
}
