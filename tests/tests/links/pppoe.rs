//! PPPoE by the kernel itself: the PPP device, and the Ethernet below it that looks into the session.

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    features::left_out,
    pppoe,
    router::{Router, run_in},
};

use super::devices::{COUNT, EF, LAYER3, exchange, give_addresses};

const SESSION: u16 = 7;
const EDGE: [u8; 6] = [2, 0, 0, 0, 2, 1];
const WAN: [u8; 6] = [2, 0, 0, 0, 2, 2];

/// Both ends of a session over the WAN, each with a PPP device `t0`; `None` if this kernel has no PPPoE.
fn session(router: &Router) -> anyhow::Result<Option<[pppoe::End; 2]>> {
    let ends = [(router.edge(), "wan0", WAN), (router.lab().wan(), "eth0", EDGE)];
    let mut open = Vec::new();
    for (at, (namespace, device, peer)) in ends.into_iter().enumerate() {
        let (end, unit) = match pppoe::open(namespace, device, peer, SESSION) {
            Err(error) if is_unsupported(&error) => {
                left_out("PPPoE", "this kernel has no PPPoE");
                return Ok(None);
            }
            made => made?,
        };
        run_in(namespace, &format!("ip link set ppp{unit} name t0"))?;
        run_in(namespace, "ip link set t0 up")?;
        give_addresses(namespace, &LAYER3, at)?;
        open.push(end);
    }
    Ok(Some(open.try_into().ok().context("two ends")?))
}

fn is_unsupported(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.raw_os_error() == Some(libc::EAFNOSUPPORT))
}

#[test]
fn a_ppp_device_and_the_ethernet_below_it_have_the_same_packets() -> anyhow::Result<()> {
    for hook in ["auto", "clsact"] {
        let router = Router::start()?;
        let Some(_ends) = session(&router)? else { return Ok(()) };
        router.ok(&format!("attach wan0 --hook {hook} --inside pppoe"))?;
        let attached = router.ok(&format!("attach t0 --hook {hook}"))?;
        attached.complains(&["t0 is PPPoE over wan0", "counts at both"])?;
        exchange(&LAYER3, &router, hook).with_context(|| hook.to_owned())?;
        // Ethernet, PPPoE and PPP, IP and UDP.
        let bytes = |header: usize| (COUNT * (14 + 8 + header + 8 + 100)) as u64;
        let sums = [("ipv4", [COUNT as u64, bytes(20)]), ("ipv6", [COUNT as u64, bytes(40)])];
        for (name, ds) in [("wan0:egress", 0x89), ("wan0:ingress", 0x8a)] {
            let counted = router.counted(name)?;
            for (family, sum) in sums {
                ensure!(counted.before.get(&(family.to_owned(), ds)) == Some(&sum), "{name} by {hook}: {counted:?}");
            }
            ensure!(!counted.before.keys().any(|(_, ds)| *ds == EF), "{name}: t0 has remarked it: {counted:?}");
        }
    }
    Ok(())
}
