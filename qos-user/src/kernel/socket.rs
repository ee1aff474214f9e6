//! Which DS field a TCP connection of this host is marked with: one question to sock_diag(7), without privileges.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
};

use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
/// The attribute with the ToS byte of IPv4, and the bit that asks for it is one lower.
const INET_DIAG_TOS: u16 = 5;
/// The attribute with the traffic class of IPv6.
const INET_DIAG_TCLASS: u16 = 6;
/// `struct nlmsghdr` and `struct inet_diag_msg`.
const BEFORE_ATTRIBUTES: usize = 16 + 72;

/// The DS byte that the kernel gives to packets from `local` to `remote`; `None` if there is no such connection in this
/// network namespace, or the kernel does not tell.
#[must_use]
pub fn ds_byte(local: SocketAddr, remote: SocketAddr) -> Option<u8> {
    let (family, wanted) = match remote.ip() {
        IpAddr::V4(_) => (libc::AF_INET, INET_DIAG_TOS),
        IpAddr::V6(_) => (libc::AF_INET6, INET_DIAG_TCLASS),
    };
    let answer = ask(&question(u8::try_from(family).ok()?, local, remote))?;
    attribute(answer.get(BEFORE_ATTRIBUTES..)?, wanted)
}

fn ask(question: &[u8]) -> Option<Vec<u8>> {
    let (datagram, close) = (SockType::Datagram, SockFlag::SOCK_CLOEXEC);
    let socket = socket(AddressFamily::Netlink, datagram, close, SockProtocol::NetlinkSockDiag).ok()?;
    sendto(socket.as_raw_fd(), question, &NetlinkAddr::new(0, 0), MsgFlags::empty()).ok()?;
    let mut answer = vec![0; 8192];
    // The kernel has answered before sending returned.
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT).ok()?;
    answer.truncate(length);
    (answer.get(4..6)? == SOCK_DIAG_BY_FAMILY.to_ne_bytes()).then_some(answer)
}

/// `struct nlmsghdr`, then `struct inet_diag_req_v2`.
fn question(family: u8, local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let mut body = vec![family, libc::IPPROTO_TCP as u8, 1 << (INET_DIAG_TOS - 1) | 1 << (INET_DIAG_TCLASS - 1), 0];
    // Any state; then ports and addresses in network order; any interface; no cookie.
    body.extend([0xff; 4]);
    body.extend([local.port().to_be_bytes(), remote.port().to_be_bytes()].concat());
    body.extend([sixteen(local.ip()), sixteen(remote.ip())].concat());
    body.extend([0; 4]);
    body.extend([0xff; 8]);
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend([SOCK_DIAG_BY_FAMILY.to_ne_bytes(), NLM_F_REQUEST.to_ne_bytes()].concat());
    message.extend([0; 8]);
    message.extend(body);
    message
}

fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
    }
}

/// The first byte of an attribute in a row of them, each at a multiple of four.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<u8> {
    loop {
        let word = |at: usize| Some(u16::from_ne_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let (length, kind) = (usize::from(word(0)?), word(2)?);
        if kind == wanted {
            return bytes.get(4).copied().filter(|_| length > 4);
        }
        bytes = bytes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn connection(address: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(address).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    fn mark(socket: &TcpStream, level: i32, option: i32, ds: i32) {
        let size = size_of::<i32>() as u32;
        // SAFETY: an integer of the length named.
        let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const ds).cast(), size) };
        assert_eq!(result, 0);
    }

    #[test]
    fn a_connection_tells_its_mark() {
        for (address, level, option) in
            [("127.0.0.1:0", libc::IPPROTO_IP, libc::IP_TOS), ("[::1]:0", libc::IPPROTO_IPV6, libc::IPV6_TCLASS)]
        {
            let (near, _far) = connection(address);
            let (local, remote) = (near.local_addr().unwrap(), near.peer_addr().unwrap());
            assert_eq!(ds_byte(local, remote), Some(0), "{address}");
            mark(&near, level, option, 72);
            assert_eq!(ds_byte(local, remote), Some(72), "{address}");
            assert_eq!(ds_byte(remote, local), Some(0), "{address}: the other end has its own");
        }
    }

    #[test]
    fn none_tells_nothing() {
        let (near, _far) = connection("127.0.0.1:0");
        let nobody = "127.0.0.1:1".parse().unwrap();
        assert_eq!(ds_byte(near.local_addr().unwrap(), nobody), None);
    }

    #[test]
    fn attributes_are_walked_to_their_end() {
        let row = [5, 0, 7, 0, 9, 0, 0, 0, 5, 0, 5, 0, 184, 0, 0, 0];
        assert_eq!(attribute(&row, 5), Some(184));
        assert_eq!(attribute(&row, 6), None);
        assert_eq!(attribute(&row[..13], 6), None);
        assert_eq!(attribute(&[0; 16], 6), None);
    }
}
