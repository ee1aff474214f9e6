//! A layer-3 device: no link header, and the mark is where it is.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    process::Stdio,
};

use anyhow::ensure;
use qosbpf_tests::router::{Router, run_in, spawn_in, words};

const COUNT: usize = 10;
/// IPv4 and ICMP headers and the 56 bytes that ping sends.
const LENGTH: usize = 84;

/// The side of a TUN device that plays the wire.
fn tun(router: &Router) -> anyhow::Result<File> {
    let wire = router.edge().run(|| {
        let wire = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        let mut name = [0; libc::IFNAMSIZ];
        for (place, byte) in name.iter_mut().zip(b"tun0") {
            *place = byte.cast_signed();
        }
        let flags = libc::__c_anonymous_ifr_ifru { ifru_flags: (libc::IFF_TUN | libc::IFF_NO_PI) as i16 };
        let mut request = libc::ifreq { ifr_name: name, ifr_ifru: flags };
        // SAFETY: a whole ifreq that outlives the call.
        let result = unsafe { libc::ioctl(wire.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
        ensure!(result == 0, "TUNSETIFF: {}", std::io::Error::last_os_error());
        Ok(wire)
    })?;
    run_in(router.edge(), "ip address add 10.9.0.1/24 dev tun0")?;
    run_in(router.edge(), "ip link set tun0 up")?;
    Ok(wire)
}

/// RFC 1071: a right header sums up to all ones.
fn is_right(header: &[u8]) -> bool {
    let words = header.as_chunks().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let sum = words.sum::<u32>();
    (sum & 0xffff) + (sum >> 16) == 0xffff
}

/// Turns an echo request into its answer: addresses swapped, type 0 and the checksum that follows from it.
fn answer(request: &[u8]) -> Vec<u8> {
    let mut packet = request.to_vec();
    packet[12..16].copy_from_slice(&request[16..20]);
    packet[16..20].copy_from_slice(&request[12..16]);
    packet[20] = 0;
    let sum = u32::from(u16::from_be_bytes([request[22], request[23]])) + 0x0800;
    let sum = (sum & 0xffff) + (sum >> 16);
    packet[22..24].copy_from_slice(&(sum as u16).to_be_bytes());
    packet
}

#[test]
fn ping_over_a_tun_device_is_counted_and_remarked() -> anyhow::Result<()> {
    for hook in ["auto", "clsact"] {
        over_tun(hook)?;
    }
    Ok(())
}

fn over_tun(hook: &str) -> anyhow::Result<()> {
    let router = Router::start()?;
    let mut wire = tun(&router)?;
    let policy = router.policy(
        "tun",
        "[interface.tun0]\negress = \"out\"\ningress = \"in\"\n\
         [remark.out]\nEF = \"AF41\"\nother = \"keep\"\n[remark.in]\nAF41 = \"EF\"\nother = \"keep\"\n",
    )?;
    router.ok(&format!("attach tun0 --hook {hook} --policy {policy}"))?;
    let line = format!("ping -q -n -i 0.002 -W 5 -Q 185 -c {COUNT} 10.9.0.2");
    let mut ping = spawn_in(router.edge(), words(&line).stdout(Stdio::null()))?;
    let mut answered = 0;
    while answered < COUNT {
        let mut packet = [0; 2000];
        let length = wire.read(&mut packet)?;
        let packet = &packet[..length];
        // The device is up, so IPv6 may speak too.
        if packet[0] == 0x45 && packet[9] == 1 {
            assert_eq!((length, packet[1]), (LENGTH, 0x89), "AF41, ECT(1) as sent");
            assert!(is_right(&packet[..20]), "{packet:02x?}");
            wire.write_all(&answer(packet))?;
            answered += 1;
        }
    }
    assert!(ping.wait()?.success(), "not every answer came back");
    let ten = [COUNT as u64, (COUNT * LENGTH) as u64];
    for (name, came, pair) in [("tun0:egress", 185, (46, 34)), ("tun0:ingress", 0x89, (34, 46))] {
        let now = router.counted(name)?;
        assert_eq!(now.before[&("ipv4".to_owned(), came)], ten, "{name} by {hook}: {now:?}");
        assert_eq!(now.remarked, [(pair, ten)].into(), "{name} by {hook}");
    }
    Ok(())
}
