//! A layer-3 interface of which the test holds the other end: frames of any length, the shortest included.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    mem,
    os::fd::{AsFd as _, AsRawFd as _},
};

use anyhow::{Context as _, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What precedes each packet on the descriptor: 2 bytes of flags, and the EtherType.
const INFORMATION: [u8; 4] = [0, 0, 0x08, 0x00];

/// The other end of a tun interface, which lives as long as this.
#[derive(Debug)]
pub struct Tun(File);

impl Tun {
    /// Makes the interface in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// There is no `/dev/net/tun`, or this process may not make an interface.
    pub fn make(name: &str) -> anyhow::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("/dev/net/tun")?;
        // SAFETY: integers and unions of them, for which all zero is valid.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = libc::IFF_TUN as libc::c_short;
        // SAFETY: the kernel reads and writes a structure of this type.
        let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        ensure!(made == 0, "tun {name}: {}", io::Error::last_os_error());
        Ok(Self(file))
    }

    /// Makes the interface one of another type (`ARPHRD_*`); it has to be down.
    ///
    /// # Errors
    ///
    /// What ioctl(2) says.
    pub fn become_kind(&self, kind: u16) -> anyhow::Result<()> {
        // SAFETY: the argument is an integer, and the descriptor is that of a tun device.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::TUNSETLINK, libc::c_int::from(kind)) };
        ensure!(done == 0, "type {kind}: {}", io::Error::last_os_error());
        Ok(())
    }

    /// Lets a packet come in by the interface.
    ///
    /// # Errors
    ///
    /// What write(2) says.
    pub fn deliver(&mut self, packet: &[u8]) -> io::Result<()> {
        self.0.write_all(&[&INFORMATION, packet].concat())
    }

    /// The next packet that left by the interface, waiting for it up to three seconds.
    ///
    /// # Errors
    ///
    /// None came.
    pub fn receive(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut wait = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wait, PollTimeout::from(3000_u16))? == 0 {
            bail!("no packet left by the interface");
        }
        let mut packet = vec![0; 1 << 16];
        let length = self.0.read(&mut packet)?;
        Ok(packet.get(INFORMATION.len()..length).context("no packet information")?.to_vec())
    }
}
