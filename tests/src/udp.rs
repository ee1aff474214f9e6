//! Datagrams with a DS byte of choice, from a socket as any program has it, and what DS byte they arrive with.

use std::{
    io::IoSliceMut,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use nix::{
    cmsg_space,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};
use qosbpf::lab::namespace::Namespace;

use crate::hex;

/// How long a datagram may take: a guest in emulation is slow.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket that says of each datagram which DS byte it came with.
#[derive(Debug)]
pub struct Listener(UdpSocket);

impl Listener {
    /// Listens at an address of a namespace.
    ///
    /// # Errors
    ///
    /// What the kernel says to the socket.
    pub fn bind(namespace: &Namespace, at: SocketAddr) -> anyhow::Result<Self> {
        namespace.run(|| {
            let socket = UdpSocket::bind(at).with_context(|| at.to_string())?;
            socket.set_read_timeout(Some(PATIENCE))?;
            match at {
                SocketAddr::V4(_) => setsockopt(&socket.as_fd(), sockopt::IpRecvTos, &true)?,
                SocketAddr::V6(_) => setsockopt(&socket.as_fd(), sockopt::Ipv6RecvTClass, &true)?,
            }
            Ok(Self(socket))
        })
    }

    /// The DS byte of the next datagram, which has to have arrived as [`send`] has sent it.
    ///
    /// # Errors
    ///
    /// That none came, or that it has other bytes.
    pub fn receive(&self) -> anyhow::Result<u8> {
        let (mut bytes, mut control) = ([0; 1 << 16], cmsg_space!(i32));
        let mut pieces = [IoSliceMut::new(&mut bytes)];
        let (socket, flags) = (self.0.as_raw_fd(), MsgFlags::empty());
        let message =
            recvmsg::<SockaddrStorage>(socket, &mut pieces, Some(&mut control), flags).context("no datagram")?;
        let length = message.bytes;
        let ds = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4Tos(ds) => Some(ds),
            ControlMessageOwned::Ipv6TClass(ds) => u8::try_from(ds).ok(),
            _ => None,
        });
        ensure!(bytes[..length] == payload(length), "another payload arrived: {}", hex(&bytes[..length]));
        ds.context("the kernel did not say the DS byte")
    }
}

/// What datagrams have in them: no two bytes that are next to each other are the same.
fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 37 + 11) as u8).collect()
}

/// Sends datagrams from one end to another; nobody needs to listen there.
///
/// # Errors
///
/// What the kernel says to the socket.
pub fn send(namespace: &Namespace, from: SocketAddr, to: SocketAddr, ds: u8, count: usize) -> anyhow::Result<()> {
    send_long(namespace, from, to, ds, count, 100)
}

/// The same, with so many bytes in each.
///
/// # Errors
///
/// Those of [`send`].
pub fn send_long(
    namespace: &Namespace,
    from: SocketAddr,
    to: SocketAddr,
    ds: u8,
    count: usize,
    bytes: usize,
) -> anyhow::Result<()> {
    namespace.run(|| {
        let socket = marking(from, ds)?;
        for _ in 0..count {
            // An ICMP error for an earlier one is no reason to stop.
            while socket.send_to(&payload(bytes), to).is_err() {}
        }
        Ok(())
    })
}

/// Sends so many datagrams at once, of 100 bytes each, which the kernel takes apart (`UDP_SEGMENT`).
///
/// # Errors
///
/// What the kernel says to the socket.
pub fn send_burst(namespace: &Namespace, from: SocketAddr, to: SocketAddr, ds: u8, count: usize) -> anyhow::Result<()> {
    const BYTES: usize = 100;
    namespace.run(|| {
        let socket = marking(from, ds)?;
        setsockopt(&socket.as_fd(), sockopt::UdpGsoSegment, &i32::try_from(BYTES)?)?;
        socket.send_to(&payload(BYTES).repeat(count), to)?;
        Ok(())
    })
}

fn marking(from: SocketAddr, ds: u8) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind(from)?;
    match from {
        SocketAddr::V4(_) => setsockopt(&socket.as_fd(), sockopt::Ipv4Tos, &i32::from(ds))?,
        SocketAddr::V6(_) => setsockopt(&socket.as_fd(), sockopt::Ipv6TClass, &i32::from(ds))?,
    }
    Ok(socket)
}
