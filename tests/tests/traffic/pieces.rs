//! Packets whose headers are not in the linear part: rules see their ports all the same, and they are remarked.

use std::{
    fs::{File, OpenOptions},
    io::{self, IoSlice, Write as _},
    os::fd::AsRawFd as _,
};

use anyhow::ensure;
use qos_vectors::frame::{self, Ipv4, Ipv6, ether_type};
use qosbpf_tests::router::{Router, run_in};

/// SCTP: the kernel joins no packets of it, and so leaves its headers where they came.
const SCTP: u8 = 132;
const PORT: u16 = 5060;
const COUNT: u64 = 5;
const ETHERNET: usize = 14;
const EF: u8 = 46 << 2;

/// A TAP device that takes what is written to it as the flags say.
fn tap(router: &Router, flags: libc::c_int) -> anyhow::Result<File> {
    let wire = router.edge().run(|| {
        let wire = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        let mut name = [0; libc::IFNAMSIZ];
        for (place, byte) in name.iter_mut().zip(b"tap0") {
            *place = byte.cast_signed();
        }
        let flags = libc::__c_anonymous_ifr_ifru { ifru_flags: (libc::IFF_TAP | libc::IFF_NO_PI | flags) as i16 };
        let mut request = libc::ifreq { ifr_name: name, ifr_ifru: flags };
        // SAFETY: a whole ifreq that outlives the call.
        let result = unsafe { libc::ioctl(wire.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
        ensure!(result == 0, "TUNSETIFF: {}", io::Error::last_os_error());
        Ok(wire)
    })?;
    run_in(router.edge(), "ip link set tap0 up")?;
    Ok(wire)
}

fn frames(port: u16) -> [Vec<u8>; 2] {
    let payload = [[0x13, 0x88], port.to_be_bytes(), [0; 2], [0; 2]].concat();
    let v4 = Ipv4 { ds: EF, protocol: SCTP, ..Ipv4::default() }.packet(&payload);
    let v6 = Ipv6 { ds: EF, next: SCTP, ..Ipv6::default() }.packet(&payload);
    [frame::ethernet(&[], ether_type::IPV4, &v4), frame::ethernet(&[], ether_type::IPV6, &v6)]
}

#[test]
fn ports_in_a_piece_of_their_own_are_seen_by_rules() -> anyhow::Result<()> {
    for hook in ["tcx", "clsact"] {
        let router = Router::start()?;
        // Each part of a written packet is a piece of its own.
        let mut wire = tap(&router, libc::IFF_NAPI | libc::IFF_NAPI_FRAGS)?;
        let text = format!(
            "[interface.tap0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n[[rule]]\nname = \"signalling\"\n\
             on = \"tap0:ingress\"\nmatch = {{ proto = \"sctp\", dst-port = {PORT} }}\nset = \"AF31\"\n"
        );
        let policy = router.policy("pieces", &text)?;
        router.ok(&format!("attach tap0 --ingress --hook {hook} --policy {policy}"))?;
        for (port, _) in [(PORT, "ruled"), (PORT + 1, "not")] {
            for frame in frames(port) {
                let (link, rest) = frame.split_at(ETHERNET);
                for _ in 0..COUNT {
                    let written = wire.write_vectored(&[IoSlice::new(link), IoSlice::new(rest)])?;
                    ensure!(written == frame.len(), "{written} of {} bytes", frame.len());
                }
            }
        }
        let counted = router.counted("tap0:ingress")?;
        let marked = |to: u8| counted.remarked.get(&(46, to)).map_or(0, |[packets, _]| *packets);
        assert_eq!((marked(26), marked(0)), (2 * COUNT, 2 * COUNT), "{hook}: {counted:?}");
        let stats = router.ok("stats tap0:ingress --json")?.json()?;
        assert_eq!(stats["hooks"][0]["rules"][0]["packets"], 2 * COUNT, "{hook}");
    }
    Ok(())
}

/// As `struct virtio_net_hdr` (virtio 1.2, 5.1.6) says it of UDP that is to be cut up, and of headers that end before IP's.
const SUPER_PACKET: [u8; 10] = {
    let [[length, _], [size, more]] = [(ETHERNET as u16).to_le_bytes(), SEGMENT.to_le_bytes()];
    [0, GSO_UDP, length, 0, size, more, 0, 0, 0, 0]
};
const GSO_UDP: u8 = 3;
const SEGMENT: u16 = 1400;
/// More than a page: less would be put together all the same.
const PAYLOAD: usize = 6000;

/// A guest says how much of its packet is linear, and would have it pass unmarked.
#[test]
fn a_super_packet_whose_ip_header_lies_in_a_piece_is_remarked() -> anyhow::Result<()> {
    for (hook, tags) in [("tcx", 0), ("clsact", 0), ("tcx", 1), ("tcx", 2)] {
        let router = Router::start()?;
        let mut wire = tap(&router, libc::IFF_VNET_HDR)?;
        let policy = router.policy("p", "[interface.tap0]\ningress = \"t\"\n[remark.t]\nother = \"DF\"\n")?;
        router.ok(&format!("attach tap0 --ingress --hook {hook} --policy {policy}"))?;
        let tags = vec![(ether_type::TAG, 100); tags];
        let packet = frame::udp(&[0; PAYLOAD]);
        let v4 = frame::ethernet(&tags, ether_type::IPV4, &Ipv4 { ds: EF, ..Ipv4::default() }.packet(&packet));
        let v6 = frame::ethernet(&tags, ether_type::IPV6, &Ipv6 { ds: EF, ..Ipv6::default() }.packet(&packet));
        for frame in [v4, v6] {
            wire.write_all(&[&SUPER_PACKET[..], &frame].concat())?;
        }
        let counted = router.counted("tap0:ingress")?;
        let segments = 2 * PAYLOAD.div_ceil(usize::from(SEGMENT)) as u64;
        let marked = counted.remarked.get(&(46, 0)).map(|[packets, _]| *packets);
        assert_eq!(marked, Some(segments), "{hook}, {} tags: {counted:?}", tags.len());
    }
    Ok(())
}
