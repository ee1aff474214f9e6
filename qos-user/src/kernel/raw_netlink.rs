//! Netlink, asked one thing at a time: what is listed is listed whole, or it is an error.
//!
//! The kernel lists in parts, and says on one of them, or at the end, that the list has changed between two of them: what was
//! there all the time may be missing then.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

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

use crate::error::Failure;

const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`.
const INTERRUPTED: u16 = 0x10;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Bytes of a `struct nlmsghdr`.
pub const HEADER: usize = 16;

/// How often a list is read that changes meanwhile, and how long its changes are waited for each time.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// A message of a family: what follows its header.
#[derive(Debug)]
pub struct Message {
    /// Its type.
    pub kind: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// A socket of a family, in the network namespace in which it was made.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    /// The number of the last request.
    last: AtomicU32,
}

/// An answer, as far as it has come.
#[derive(Debug, Default)]
struct Answer {
    messages: Vec<Message>,
    interrupted: bool,
    ended: bool,
}

impl Socket {
    /// Opens one.
    ///
    /// # Errors
    ///
    /// That the kernel has no such family.
    pub fn open(protocol: SockProtocol) -> anyhow::Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol);
        let socket = socket.context("netlink")?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(2, 0))?;
        Ok(Self { fd: socket, last: AtomicU32::new(0) })
    }

    /// Asks for everything of a kind, and gives all messages of the answer; once more if that was interrupted.
    ///
    /// # Errors
    ///
    /// That the kernel refuses, now or in the midst of it; `interrupted`.
    pub fn dump(&self, kind: u16, body: &[u8]) -> anyhow::Result<Vec<Message>> {
        whole(|| self.ask(kind, DUMP, body).context("netlink"), || thread::sleep(PAUSE))
    }

    /// Asks for one thing.
    ///
    /// # Errors
    ///
    /// That the kernel has no such thing, or refuses.
    pub fn get(&self, kind: u16, body: &[u8]) -> anyhow::Result<Option<Message>> {
        Ok(self.ask(kind, 0, body).context("netlink")?.messages.pop())
    }

    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> anyhow::Result<Answer> {
        let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let request = message(kind, REQUEST | flags, number, body);
        sendto(self.fd.as_raw_fd(), &request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let mut answer = Answer::default();
        let mut buffer = vec![0; 1 << 16];
        while !(answer.ended || flags == 0 && !answer.messages.is_empty()) {
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                length => answer.take(buffer.get(..length?).unwrap_or_default(), number)?,
            }
        }
        Ok(answer)
    }
}

/// The first answer that was not interrupted.
fn whole(ask: impl Fn() -> anyhow::Result<Answer>, pause: impl Fn()) -> anyhow::Result<Vec<Message>> {
    for _ in 0..TRIES {
        let answer = ask()?;
        if !answer.interrupted {
            return Ok(answer.messages);
        }
        pause();
    }
    let message = format!("netlink: what the kernel lists has changed each of the {TRIES} times that it was read");
    Err(Failure::new("interrupted", message).hint("repeat the command when fewer interfaces come and go").into())
}

/// The same by a socket of its own.
///
/// # Errors
///
/// Those of [`Socket::open`] and [`Socket::dump`].
pub fn dump(protocol: SockProtocol, kind: u16, body: &[u8]) -> anyhow::Result<Vec<Message>> {
    Socket::open(protocol)?.dump(kind, body)
}

/// The same of one thing.
///
/// # Errors
///
/// Those of [`Socket::open`] and [`Socket::get`].
pub fn get(protocol: SockProtocol, kind: u16, body: &[u8]) -> anyhow::Result<Option<Message>> {
    Socket::open(protocol)?.get(kind, body)
}

/// A message with its header.
#[must_use]
pub fn message(kind: u16, flags: u16, number: u32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u32;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(number.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

impl Answer {
    /// Takes the messages of one datagram that answer the request of this number.
    fn take(&mut self, mut datagram: &[u8], number: u32) -> anyhow::Result<()> {
        while let Some((header, _)) = datagram.split_at_checked(HEADER) {
            let length = u32::from_ne_bytes(header[..4].try_into()?) as usize;
            let [kind, flags] = [4, 6].map(|at| u16::from_ne_bytes([header[at], header[at + 1]]));
            let body = datagram.get(HEADER..length).context("a netlink message that is cut off")?;
            if header[8..12] == number.to_ne_bytes() {
                self.interrupted |= flags & INTERRUPTED != 0;
                match kind {
                    DONE | ERROR => {
                        self.ended = true;
                        refused(body)?;
                    }
                    _ => self.messages.push(Message { kind, body: body.to_vec() }),
                }
            }
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The error by which an answer ends, if by one: in the midst of a list, too.
fn refused(body: &[u8]) -> anyhow::Result<()> {
    match body.first_chunk().copied().map(i32::from_ne_bytes) {
        Some(0..) => Ok(()),
        Some(code) => bail!(Errno::from_raw(code.saturating_neg())),
        None => bail!("a netlink answer that ends without a word"),
    }
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

    const NUMBER: u32 = 7;

    fn taken(messages: &[Vec<u8>]) -> anyhow::Result<Answer> {
        let mut answer = Answer::default();
        messages.iter().try_for_each(|datagram| answer.take(datagram, NUMBER))?;
        Ok(answer)
    }

    fn part(kind: u16, flags: u16, code: i32) -> Vec<u8> {
        message(kind, flags, NUMBER, &code.to_ne_bytes())
    }

    #[test]
    fn the_end_and_an_error_end_an_answer() {
        let answer = taken(&[[part(20, 0, 9), message(20, 0, 6, &[0]), part(DONE, 0, 0)].concat()]).unwrap();
        let bodies: Vec<_> = answer.messages.iter().map(|message| (message.kind, &*message.body)).collect();
        assert_eq!(bodies, [(20, &9_i32.to_ne_bytes()[..])], "and of no earlier request");
        assert!(answer.ended && !answer.interrupted);
        assert!(!taken(&[part(20, 0, 9)]).unwrap().ended);
        for kind in [ERROR, DONE] {
            let error = taken(&[part(20, 0, 9), part(kind, 0, -libc::EPERM)]).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Errno::EPERM), "{kind}");
        }
        assert!(taken(&[message(DONE, 0, NUMBER, &[])]).is_err());
        assert!(taken(&[part(20, 0, 9)[..18].to_vec()]).is_err(), "cut off");
    }

    /// The kernel says so with any part of a list, or with its end.
    #[test]
    fn a_list_that_has_changed_meanwhile_is_read_again() {
        let list = |flags: [u16; 3]| {
            let parts = [(20, flags[0]), (20, flags[1]), (DONE, flags[2])];
            taken(&parts.map(|(kind, flags)| part(kind, flags, 0))).unwrap()
        };
        for interrupted in [[INTERRUPTED, 0, 0], [2, 2 | INTERRUPTED, 2], [2, 2, 2 | INTERRUPTED]] {
            assert!(list(interrupted).interrupted, "{interrupted:?}");
            let tries = std::cell::Cell::new(0);
            let ask = |good| {
                tries.set(tries.get() + 1);
                Ok(list(if tries.get() == good { [2; 3] } else { interrupted }))
            };
            assert_eq!(whole(|| ask(3), || {}).unwrap().len(), 2);
            assert_eq!(tries.get(), 3);
            tries.set(0);
            let error = whole(|| ask(TRIES + 1), || {}).unwrap_err();
            assert_eq!(error.downcast_ref::<Failure>().map(|failure| failure.code), Some("interrupted"));
            assert_eq!(tries.get(), TRIES);
        }
    }
}
