//! Datagrams with a DS byte of choice, from a socket as any program has it.

use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd as _,
};

use nix::sys::socket::{setsockopt, sockopt};
use qosbpf::lab::namespace::Namespace;

/// Sends datagrams from one end to another; nobody needs to listen there.
///
/// # Errors
///
/// What the kernel says to the socket.
pub fn send(namespace: &Namespace, from: SocketAddr, to: SocketAddr, ds: u8, count: usize) -> anyhow::Result<()> {
    namespace.run(|| {
        let socket = UdpSocket::bind(from)?;
        match to {
            SocketAddr::V4(_) => setsockopt(&socket.as_fd(), sockopt::Ipv4Tos, &i32::from(ds))?,
            SocketAddr::V6(_) => setsockopt(&socket.as_fd(), sockopt::Ipv6TClass, &i32::from(ds))?,
        }
        for _ in 0..count {
            // An ICMP error for an earlier one is no reason to stop.
            while socket.send_to(&[0; 100], to).is_err() {}
        }
        Ok(())
    })
}
