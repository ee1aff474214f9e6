//! Driver and offloads by the ioctl of ethtool, which all kernels have; reading needs no privilege.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::diagnosis::facts::Offloads;

const SIOCETHTOOL: u64 = 0x8946;
const GDRVINFO: u32 = 0x03;
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
/// The names of features.
const SS_FEATURES: u32 = 4;
/// Bytes of a name.
const NAME: usize = 32;

/// The driver of an interface.
#[must_use]
pub fn driver(interface: &str) -> Option<String> {
    let mut info = [0u32; 49];
    info[0] = GDRVINFO;
    call(interface, &mut info).ok()?;
    Some(text(&bytes(info.get(1..9)?))).filter(|name| !name.is_empty())
}

/// The offloads of an interface that matter here.
#[must_use]
pub fn offloads(interface: &str) -> Offloads {
    let features = features(interface).unwrap_or_default();
    let of = |name: &str| features.iter().find(|(known, _)| known == name).map(|(_, on)| *on);
    Offloads { rx_vlan: of("rx-vlan-hw-parse"), lro: of("rx-lro"), gro_hw: of("rx-gro-hw"), hw_tc: of("hw-tc-offload") }
}

/// Every feature that the kernel knows, by its name, and whether it is on.
fn features(interface: &str) -> io::Result<Vec<(String, bool)>> {
    let count = count(interface)?;
    let names = names(interface, count)?;
    let blocks = count.div_ceil(32);
    let mut request = vec![0u32; 2 + 4 * blocks];
    (request[0], request[1]) = (GFEATURES, blocks as u32);
    call(interface, &mut request)?;
    // Of each block of 32: available, requested, active, never changed.
    let active = |at: usize| request.get(2 + 4 * (at / 32) + 2).is_some_and(|block| block >> (at % 32) & 1 == 1);
    Ok(names.into_iter().enumerate().map(|(at, name)| (name, active(at))).collect())
}

fn count(interface: &str) -> io::Result<usize> {
    let mut request = [GSSET_INFO, 0, 1 << SS_FEATURES, 0, 0];
    call(interface, &mut request)?;
    Ok(request[4] as usize)
}

fn names(interface: &str, count: usize) -> io::Result<Vec<String>> {
    let mut request = vec![0u32; 3 + count * NAME / 4];
    (request[0], request[1], request[2]) = (GSTRINGS, SS_FEATURES, count as u32);
    call(interface, &mut request)?;
    Ok(bytes(request.get(3..).unwrap_or_default()).chunks(NAME).map(text).collect())
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// One request; its first word says which, and the kernel writes no further than the request is long.
fn call(interface: &str, request: &mut [u32]) -> io::Result<()> {
    let socket: OwnedFd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: plain integers and a union of them, for which all zero is valid.
    let mut named: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in named.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    named.ifr_ifru.ifru_data = request.as_mut_ptr().cast();
    // SAFETY: the name ends with a zero; each request above has room for what its command gives back.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut named) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
