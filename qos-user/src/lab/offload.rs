//! Checksum offload of a device, switched off.
//!
//! A veth device says that it computes checksums and leaves that to nobody: the frame reaches the far end with a partial
//! checksum. A checksum on the wire can be judged only if the stack had to put the whole one there.

use std::{
    io,
    net::UdpSocket,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::Context as _;

use super::namespace::Namespace;

/// From `linux/ethtool.h`.
const ETHTOOL_STXCSUM: u32 = 0x17;
/// From `linux/sockios.h`.
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// `struct ethtool_value`
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Makes the stack compute every checksum of what a device sends.
///
/// # Errors
///
/// That the device is not there or does not let it be switched off.
pub fn switch_checksums_off(namespace: &Namespace, device: &str) -> anyhow::Result<()> {
    namespace.run(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_lo_is_down| UdpSocket::bind("0.0.0.0:0"))?;
        set(std::os::fd::AsFd::as_fd(&socket), device)
            .with_context(|| format!("switch off the checksum offload of {device} in {}", namespace.name()))
    })
}

fn set(socket: BorrowedFd<'_>, device: &str) -> io::Result<()> {
    let mut value = EthtoolValue { command: ETHTOOL_STXCSUM, data: 0 };
    let mut name = [0; libc::IFNAMSIZ];
    if device.len() >= name.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a device name has at most 15 bytes"));
    }
    for (place, byte) in name.iter_mut().zip(device.bytes()) {
        *place = byte.cast_signed();
    }
    let data = libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() };
    let mut request = libc::ifreq { ifr_name: name, ifr_ifru: data };
    // SAFETY: the request names a device, and points to a whole ethtool_value that outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
