//! Driver and offloads by the ioctl of ethtool, which all kernels have; reading needs no privilege.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, OwnedFd},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::diagnosis::facts::{Feature, Offloads};

const SIOCETHTOOL: u64 = 0x8946;
const GDRVINFO: u32 = 0x03;
const GSTRINGS: u32 = 0x1b;
const GSSET_INFO: u32 = 0x37;
const GFEATURES: u32 = 0x3a;
/// The names of features.
const SS_FEATURES: u32 = 4;
/// Bytes of a name.
const NAME: usize = 32;
/// Words that the kernel has for each 32 features.
const WORDS: usize = 4;

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
    offloads_of(&features(interface).unwrap_or_default())
}

fn offloads_of(features: &[(String, Feature)]) -> Offloads {
    let of = |name: &str| features.iter().find(|(known, _)| known == name).map(|(_, feature)| *feature);
    Offloads { rx_vlan: of("rx-vlan-hw-parse"), lro: of("rx-lro"), gro_hw: of("rx-gro-hw"), rx_sums: of("rx-checksum") }
}

/// Every feature that the kernel knows, by its name.
fn features(interface: &str) -> io::Result<Vec<(String, Feature)>> {
    let count = count(interface)?;
    let names = names(interface, count)?;
    let blocks = count.div_ceil(32);
    let mut request = vec![0u32; 2 + WORDS * blocks];
    (request[0], request[1]) = (GFEATURES, blocks as u32);
    call(interface, &mut request)?;
    Ok(named(names, request.get(2..).unwrap_or_default()))
}

/// The answer to `ETHTOOL_GFEATURES`: of each block of 32, which can be changed, are wanted, are on, never change.
fn named(names: Vec<String>, blocks: &[u32]) -> Vec<(String, Feature)> {
    let bit = |at: usize, word: usize| blocks.get(WORDS * (at / 32) + word).is_some_and(|it| it >> (at % 32) & 1 == 1);
    let feature = |at: usize| Feature { on: bit(at, 2), fixed: !bit(at, 0) || bit(at, 3) };
    names.into_iter().enumerate().map(|(at, name)| (name, feature(at))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as of cards that have all of these on: which can be changed, and which never are.
    fn answered(available: u32, never_changed: u32) -> Offloads {
        let names = ["rx-checksum", "rx-lro", "rx-gro-hw", "tx-nocache-copy", "rx-vlan-hw-parse"];
        offloads_of(&named(names.map(str::to_owned).to_vec(), &[available, 0, 0b00101, never_changed]))
    }

    #[test]
    fn what_cannot_be_changed_is_fixed() {
        let [on, off] = [true, false].map(|on| Some(Feature { on, fixed: true }));
        let all_fixed = Offloads { rx_vlan: off, lro: off, gro_hw: on, rx_sums: on };
        assert_eq!(answered(0, 0), all_fixed, "a virtual card that obeys nobody");
        assert_eq!(answered(0b00100, 0).gro_hw, Some(Feature { on: true, fixed: false }));
        assert_eq!(answered(0b00100, 0b00100).gro_hw, on, "never changed");
        assert_eq!(offloads_of(&[]), Offloads::default());
    }

    #[test]
    fn features_beyond_the_first_block_are_found() {
        let names: Vec<String> = (0..40).map(|at| at.to_string()).collect();
        let found = named(names, &[0, 0, 0, 0, 1 << 7, 0, 1 << 7, 0]);
        assert_eq!(found[39].1, Feature { on: true, fixed: false });
        assert_eq!(found[7].1, Feature { on: false, fixed: true });
    }
}
