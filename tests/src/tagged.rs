//! Frames as they arrive, each with the VLAN tag that the kernel has taken out of it: a packet socket with
//! `PACKET_AUXDATA`.

use std::{
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
};

use anyhow::ensure;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::lab::index;

/// How long a frame may take, in milliseconds: a guest in emulation is slow.
const PATIENCE: u16 = 5000;

/// A frame, without its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// PCP, DEI and VID (IEEE 802.1Q), where there was a tag.
    pub tag: Option<u16>,
    /// The rest.
    pub frame: Vec<u8>,
}

/// Receives the frames that come in by an interface.
#[derive(Debug)]
pub struct Tagged(OwnedFd);

impl Tagged {
    /// Begins; what comes in from now on is received.
    ///
    /// # Errors
    ///
    /// What socket(2) and bind(2) say.
    pub fn start(interface: &str) -> anyhow::Result<Self> {
        let all = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: plain integers.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        ensure!(socket >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: the kernel has just made this descriptor for us.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        let on: libc::c_int = 1;
        // SAFETY: the option's value is valid for its length.
        let set = unsafe {
            let value = (&raw const on).cast();
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_AUXDATA, value, size_of_val(&on) as u32)
        };
        ensure!(set == 0, "PACKET_AUXDATA: {}", io::Error::last_os_error());
        // SAFETY: a structure of integers, for which all zero is valid.
        let mut place: libc::sockaddr_ll = unsafe { mem::zeroed() };
        place.sll_family = libc::AF_PACKET as u16;
        place.sll_protocol = all;
        place.sll_ifindex = index(interface)? as i32;
        // SAFETY: the address is valid for its length.
        let bound =
            unsafe { libc::bind(socket.as_raw_fd(), (&raw const place).cast(), size_of::<libc::sockaddr_ll>() as u32) };
        ensure!(bound == 0, "bind to {interface}: {}", io::Error::last_os_error());
        Ok(Self(socket))
    }

    /// The next frame that came in, not one that was sent.
    ///
    /// # Errors
    ///
    /// That none came, or what recvmsg(2) says.
    pub fn receive(&self) -> anyhow::Result<Received> {
        loop {
            let mut wait = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            ensure!(poll(&mut wait, PollTimeout::from(PATIENCE))? > 0, "no frame came in");
            if let Some(received) = self.one()? {
                return Ok(received);
            }
        }
    }

    /// The next frame of which this is so.
    ///
    /// # Errors
    ///
    /// Those of [`receive`](Self::receive).
    pub fn receive_until(&self, wanted: impl Fn(&[u8]) -> bool) -> anyhow::Result<Vec<u8>> {
        loop {
            let frame = self.receive()?.frame;
            if wanted(&frame) {
                return Ok(frame);
            }
        }
    }

    fn one(&self) -> anyhow::Result<Option<Received>> {
        let mut frame = vec![0; 1 << 16];
        let mut control = [0_u64; 16];
        let mut piece = libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() };
        // SAFETY: structures of integers and pointers, for which all zero is valid.
        let (mut from, mut message): (libc::sockaddr_ll, libc::msghdr) = unsafe { (mem::zeroed(), mem::zeroed()) };
        message.msg_name = (&raw mut from).cast();
        message.msg_namelen = size_of_val(&from) as u32;
        (message.msg_iov, message.msg_iovlen) = (&raw mut piece, 1);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: all that the message points to lives until the call is over.
        let length = unsafe { libc::recvmsg(self.0.as_raw_fd(), &raw mut message, 0) };
        ensure!(length >= 0, "recvmsg: {}", io::Error::last_os_error());
        frame.truncate(length.cast_unsigned());
        let sent = from.sll_pkttype == libc::PACKET_OUTGOING;
        Ok((!sent).then(|| Received { tag: tag(&message), frame }))
    }
}

/// The tag in what the kernel says beside a frame.
fn tag(message: &libc::msghdr) -> Option<u16> {
    // SAFETY: the kernel has filled the message, and the buffer that it points to lives in the caller.
    let auxiliary: libc::tpacket_auxdata = unsafe {
        let header = libc::CMSG_FIRSTHDR(message).as_ref()?;
        let ours = header.cmsg_level == libc::SOL_PACKET && header.cmsg_type == libc::PACKET_AUXDATA;
        ours.then(|| ptr::read_unaligned(libc::CMSG_DATA(header).cast()))?
    };
    (auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID != 0).then_some(auxiliary.tp_vlan_tci)
}
