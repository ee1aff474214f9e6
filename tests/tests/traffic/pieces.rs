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

/// A TAP device that makes each part of a written packet a piece of its own.
fn tap(router: &Router) -> anyhow::Result<File> {
    let wire = router.edge().run(|| {
        let wire = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        let mut name = [0; libc::IFNAMSIZ];
        for (place, byte) in name.iter_mut().zip(b"tap0") {
            *place = byte.cast_signed();
        }
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_NAPI | libc::IFF_NAPI_FRAGS;
        let flags = libc::__c_anonymous_ifr_ifru { ifru_flags: flags as i16 };
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
        let mut wire = tap(&router)?;
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
