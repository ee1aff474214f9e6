//! Attempts to connect, with a DS byte of choice.

use std::{net::SocketAddr, os::fd::AsRawFd as _};

use anyhow::ensure;
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt},
};
use qosbpf::lab::namespace::Namespace;

/// Sends one SYN from an address and port to a port where nobody listens.
///
/// # Errors
///
/// What the kernel says to the socket; or that somebody has accepted.
pub fn syn(namespace: &Namespace, from: SocketAddr, to: SocketAddr, ds: u8) -> anyhow::Result<()> {
    namespace.run(|| {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        match family {
            AddressFamily::Inet => setsockopt(&socket, sockopt::Ipv4Tos, &i32::from(ds))?,
            _ => setsockopt(&socket, sockopt::Ipv6TClass, &i32::from(ds))?,
        }
        bind(socket.as_raw_fd(), &SockaddrStorage::from(from))?;
        let answer = connect(socket.as_raw_fd(), &SockaddrStorage::from(to));
        ensure!(answer == Err(Errno::ECONNREFUSED), "{to}: {answer:?} instead of a refusal");
        Ok(())
    })
}
