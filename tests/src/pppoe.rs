//! A PPPoE session without its negotiation: the kernel's own channel and PPP device, as pppd leaves them once LCP and
//! IPCP are done.

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, ensure};
use qosbpf::lab::namespace::Namespace;

/// `PX_PROTO_OE`.
const OVER_ETHERNET: u32 = 0;

// linux/ppp-ioctl.h: 't', the number, and an int.
const GET_CHANNEL: libc::Ioctl = 0x8004_7437_u32 as libc::Ioctl;
const ATTACH_CHANNEL: libc::Ioctl = 0x4004_7438_u32 as libc::Ioctl;
const CONNECT: libc::Ioctl = 0x4004_743a_u32 as libc::Ioctl;
const NEW_UNIT: libc::Ioctl = 0xc004_743e_u32 as libc::Ioctl;

/// `struct sockaddr_pppox` of linux/if_pppox.h, for Ethernet.
#[repr(C, packed)]
struct Address {
    family: u16,
    protocol: u32,
    session: u16,
    peer: [u8; 6],
    device: [u8; libc::IFNAMSIZ],
}

/// One end; its PPP device is there as long as it is.
#[derive(Debug)]
#[expect(dead_code, reason = "held, not read")]
pub struct End {
    session: OwnedFd,
    channel: File,
    unit: File,
}

/// Makes a PPP device, `ppp` and the number that is returned, over a session on an Ethernet device.
///
/// # Errors
///
/// `EAFNOSUPPORT` in it if this kernel has no PPPoE; else what it says.
pub fn open(namespace: &Namespace, device: &str, peer: [u8; 6], session: u16) -> anyhow::Result<(End, i32)> {
    namespace.run(|| {
        let socket = connect(device, peer, session)?;
        let ppp = || OpenOptions::new().read(true).write(true).open("/dev/ppp").context("/dev/ppp");
        let (channel, unit) = (ppp()?, ppp()?);
        let (mut number, mut of_unit) = (0, -1);
        ask(socket.as_raw_fd(), GET_CHANNEL, &mut number).context("PPPIOCGCHAN")?;
        ask(channel.as_raw_fd(), ATTACH_CHANNEL, &mut number).context("PPPIOCATTCHAN")?;
        ask(unit.as_raw_fd(), NEW_UNIT, &mut of_unit).context("PPPIOCNEWUNIT")?;
        ask(channel.as_raw_fd(), CONNECT, &mut of_unit).context("PPPIOCCONNECT")?;
        Ok((End { session: socket, channel, unit }, of_unit))
    })
}

fn connect(device: &str, peer: [u8; 6], session: u16) -> anyhow::Result<OwnedFd> {
    // SAFETY: plain integers.
    let socket = unsafe { libc::socket(libc::AF_PPPOX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error()).context("a socket for PPPoE");
    }
    // SAFETY: the kernel has just made this descriptor for us.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let family = libc::AF_PPPOX as u16;
    let mut address = Address { family, protocol: OVER_ETHERNET, session: session.to_be(), peer, device: [0; 16] };
    ensure!(device.len() < libc::IFNAMSIZ, "{device}");
    address.device[..device.len()].copy_from_slice(device.as_bytes());
    // SAFETY: the address is valid for its length.
    let connected = unsafe {
        libc::connect(socket.as_raw_fd(), (&raw const address).cast(), size_of::<Address>() as libc::socklen_t)
    };
    ensure!(connected == 0, "connect to a session over {device}: {}", io::Error::last_os_error());
    Ok(socket)
}

fn ask(file: RawFd, request: libc::Ioctl, number: &mut libc::c_int) -> io::Result<()> {
    // SAFETY: each of these requests reads or writes one int.
    match unsafe { libc::ioctl(file, request, &raw mut *number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
