//! Netlink families of which only a question or two is asked: generic netlink, and nf_tables.

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, bail};
use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
            sockopt,
        },
        time::TimeVal,
    },
};

const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A message of a family: what follows its header.
#[derive(Debug)]
pub struct Message {
    /// Its body.
    pub body: Vec<u8>,
}

/// Asks for everything of a kind, and gives all messages of the answer.
///
/// # Errors
///
/// That the kernel has no such family, or refuses.
pub fn dump(protocol: SockProtocol, kind: u16, body: &[u8]) -> anyhow::Result<Vec<Message>> {
    ask(protocol, kind, DUMP, body)
}

/// Asks for one thing.
///
/// # Errors
///
/// That the kernel has no such thing, or refuses.
pub fn get(protocol: SockProtocol, kind: u16, body: &[u8]) -> anyhow::Result<Option<Message>> {
    Ok(ask(protocol, kind, 0, body)?.pop())
}

fn ask(protocol: SockProtocol, kind: u16, flags: u16, body: &[u8]) -> anyhow::Result<Vec<Message>> {
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(2, 0))?;
    sendto(socket.as_raw_fd(), &request(kind, flags, body), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut messages = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let ended = take(buffer.get(..length).unwrap_or_default(), &mut messages)?;
        if ended || flags == 0 {
            return Ok(messages);
        }
    }
}

fn request(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = (16 + body.len()) as u32;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((REQUEST | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}

/// Takes the messages of one datagram, and says whether they end the answer.
fn take(mut datagram: &[u8], messages: &mut Vec<Message>) -> anyhow::Result<bool> {
    while let Some((header, _)) = datagram.split_at_checked(16) {
        let length = u32::from_ne_bytes(header[..4].try_into()?) as usize;
        let kind = u16::from_ne_bytes(header[4..6].try_into()?);
        let body = datagram.get(16..length).context("a netlink message that is cut off")?;
        match kind {
            DONE => return Ok(true),
            ERROR => {
                let code = i32::from_ne_bytes(body.get(..4).context("an empty netlink error")?.try_into()?);
                bail!(Errno::from_raw(-code));
            }
            _ => messages.push(Message { body: body.to_vec() }),
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// An attribute, padded.
#[must_use]
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// The value of the first attribute of a kind; attributes begin at `from`.
#[must_use]
pub fn find(body: &[u8], from: usize, kind: u16) -> Option<&[u8]> {
    /// Nested, and byte order: two flags beside the kind.
    const KIND: u16 = 0x3fff;
    let mut rest = body.get(from..)?;
    loop {
        let (header, _) = rest.split_at_checked(4)?;
        let length = usize::from(u16::from_ne_bytes(header[..2].try_into().ok()?));
        if u16::from_ne_bytes(header[2..].try_into().ok()?) & KIND == kind {
            return rest.get(4..length);
        }
        rest = rest.get(length.next_multiple_of(4).max(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_others() {
        let body = [vec![0; 4], attribute(1, &[1, 2, 3]), attribute(3, &7u64.to_ne_bytes())].concat();
        assert_eq!(find(&body, 4, 3), Some(&7u64.to_ne_bytes()[..]));
        assert_eq!(find(&body, 4, 1), Some(&[1, 2, 3][..]));
        assert_eq!(find(&body, 4, 2), None);
        assert_eq!(find(&body[..body.len() - 2], 4, 3), None, "cut off");
        assert_eq!(find(&[0; 8], 0, 9), None, "no length");
    }

    #[test]
    fn the_end_and_an_error_end_an_answer() {
        let mut messages = Vec::new();
        let datagram = [request(20, 0, &[1, 2, 3, 4]), request(DONE, 0, &[0; 4])].concat();
        assert!(take(&datagram, &mut messages).unwrap());
        assert_eq!(messages[0].body, [1, 2, 3, 4]);
        let refused = request(ERROR, 0, &(-libc::EPERM).to_ne_bytes());
        assert!(take(&refused, &mut messages).unwrap_err().to_string().contains("EPERM"));
    }
}
