//! That something has changed about links or their filters, as the kernel tells it: what, is read anew.
//!
//! What an event says is not trusted to be the whole story, since the kernel drops events when nobody reads them in
//! time. So an event is a nudge, a lost one is a nudge too, and the truth is the list of all links.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
    },
};
use tokio::io::unix::AsyncFd;

use super::raw_netlink::HEADER;

/// `RTMGRP_LINK` and `RTMGRP_TC`.
const GROUPS: u32 = 0x1 | 0x8;

const NEW_LINK: u16 = 16;
const DELETED_LINK: u16 = 17;
const DELETED_QDISC: u16 = 37;
const DELETED_FILTER: u16 = 45;

/// More than one message of the kernel has.
const BUFFER: usize = 64 << 10;

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Changed {
    /// A link has come, or is not what it was.
    Links,
    /// A link has gone, perhaps to another namespace; by now another one may have its number and its name.
    Gone,
    /// A filter or a qdisc has gone, perhaps with a program of ours.
    Filters,
    /// There were more events than the socket holds, and nobody knows which.
    Lost,
}

/// A socket that hears of links and filters in the network namespace in which it was made.
#[derive(Debug)]
pub struct LinkEvents {
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

impl LinkEvents {
    /// Listens, with room for `buffer` bytes of events. Within a runtime of tokio.
    ///
    /// # Errors
    ///
    /// What the kernel says to a netlink socket.
    pub fn listen(buffer: usize) -> anyhow::Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        // Above the host's limit only with CAP_NET_ADMIN.
        setsockopt(&socket, sockopt::RcvBufForce, &buffer)
            .or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &buffer))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS)).context("netlink: listen to links")?;
        // SAFETY: the descriptor is open, and stays the same one until the socket is dropped together with its place here.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket, buffer: vec![0; BUFFER] })
    }

    /// Waits until something has changed, and takes all that waits: the worst of it, and the numbers of links that
    /// have gone.
    ///
    /// # Errors
    ///
    /// What the kernel says to reading; lost events are no error.
    pub async fn changed(&mut self) -> io::Result<(Changed, HashSet<u32>)> {
        loop {
            let mut ready = self.socket.readable().await?;
            let (mut worst, mut gone) = (None, HashSet::new());
            loop {
                match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                    Ok(length) => {
                        let (changed, deleted) = of_messages(self.buffer.get(..length).unwrap_or_default());
                        worst = worst.max(changed);
                        gone.extend(deleted);
                    }
                    Err(Errno::ENOBUFS) => worst = Some(Changed::Lost),
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break ready.clear_ready(),
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(changed) = worst {
                return Ok((changed, gone));
            }
        }
    }
}

/// What the messages of a datagram (`struct nlmsghdr`: length 4, type 2, flags 2, ...) tell, and the numbers of links that have gone.
fn of_messages(mut datagram: &[u8]) -> (Option<Changed>, Vec<u32>) {
    let (mut worst, mut gone) = (None, Vec::new());
    while let (Some(length), Some(kind)) = (number(datagram, 0), kind(datagram)) {
        worst = worst.max(match kind {
            NEW_LINK => Some(Changed::Links),
            DELETED_LINK => {
                gone.extend(deleted(datagram));
                Some(Changed::Gone)
            }
            DELETED_QDISC | DELETED_FILTER => Some(Changed::Filters),
            _ => None,
        });
        // Each begins at a multiple of four, and none is shorter than its header.
        let next = (length as usize).max(HEADER).next_multiple_of(4);
        datagram = datagram.get(next..).unwrap_or_default();
    }
    (worst, gone)
}

/// The number in a `struct ifinfomsg`: family 1, type 2, number 4. A port that leaves its bridge (`AF_BRIDGE`) has not gone.
fn deleted(message: &[u8]) -> Option<u32> {
    (message.get(HEADER) == Some(&0)).then(|| number(message, HEADER + 4)).flatten()
}

fn kind(message: &[u8]) -> Option<u16> {
    message.get(4..)?.first_chunk().copied().map(u16::from_ne_bytes)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::{super::raw_netlink, *};

    #[test]
    fn a_link_that_has_gone_is_named() {
        let mut link = message(DELETED_LINK, 16);
        link[HEADER + 4..HEADER + 8].copy_from_slice(&77_u32.to_ne_bytes());
        assert_eq!(of_messages(&link), (Some(Changed::Gone), vec![77]));
        link[HEADER] = 7;
        assert_eq!(of_messages(&link), (Some(Changed::Gone), vec![]), "a port that left its bridge");
    }

    /// As the kernel writes one of a change that this host's own tools made: with flags and a number.
    fn message(kind: u16, body: usize) -> Vec<u8> {
        raw_netlink::message(kind, 0x600, 77, &vec![0; body])
    }

    #[test]
    fn the_worst_of_a_datagram_counts() {
        let of = |kinds: &[u16]| of_messages(&kinds.iter().flat_map(|kind| message(*kind, 5)).collect::<Vec<_>>()).0;
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[36, 44]), None, "what comes is not what goes");
        assert_eq!(of(&[NEW_LINK]), Some(Changed::Links));
        assert_eq!(of(&[DELETED_LINK, NEW_LINK]), Some(Changed::Gone), "one made again in its place hides nothing");
        assert_eq!(of(&[NEW_LINK, DELETED_FILTER, DELETED_LINK]), Some(Changed::Filters));
    }

    #[test]
    fn a_broken_datagram_ends() {
        for length in 0..40 {
            let mut bytes = message(NEW_LINK, 24);
            bytes.truncate(length);
            of_messages(&bytes);
            bytes.iter_mut().take(4).for_each(|byte| *byte = 0);
            of_messages(&bytes);
            bytes.iter_mut().take(4).for_each(|byte| *byte = 0xff);
            of_messages(&bytes);
        }
    }
}
