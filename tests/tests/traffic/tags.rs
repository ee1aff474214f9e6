//! A VLAN tag is on the wire, so it is counted, wherever the kernel keeps it.

use qosbpf_tests::{lab::Injector, router::Router};

/// EF over IPv4 and UDP, without payload.
const IP: [u8; 28] = [0x45, 0xb8, 0, 28, 0, 0, 0, 0, 9, 17, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1, 0, 9, 0, 9, 0, 8, 0, 0];
const TAG: [u8; 4] = [0x81, 0x00, 0x20, 0x05];

fn frame(tags: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2];
    frame.extend(TAG.repeat(tags));
    frame.extend([0x08, 0x00]);
    frame.extend(IP);
    frame
}

#[test]
fn a_tagged_frame_counts_with_its_tags_by_every_mechanism() -> anyhow::Result<()> {
    let router = Router::start()?;
    let injector = router.lab().lan().run(|| Injector::open("eth0"))?;
    for hook in ["xdp", "xdp-generic", "tcx", "clsact"] {
        router.ok(&format!("attach lan0 --ingress --hook {hook}"))?;
        for tags in 0..=2 {
            let earlier = router.counted("lan0:ingress")?;
            let frame = frame(tags);
            injector.send(&frame)?;
            let moved = router.counted("lan0:ingress")?.since(&earlier);
            let expected = [(("ipv4".to_owned(), 0xb8), [1, frame.len() as u64])];
            assert_eq!(moved.before, expected.into(), "{tags} tags by {hook}: {moved:?}");
        }
        router.ok("detach lan0:ingress")?;
    }
    Ok(())
}
