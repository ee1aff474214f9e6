//! PPPoE by the kernel itself: the PPP device, and the Ethernet below it that looks into the session.

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    features::left_out,
    pppoe,
    router::{Router, run_in},
    service::{Lab, eventually},
    typed::find,
};

use super::devices::{COUNT, EF, LAYER3, POLICY, exchange, give_addresses_to, pass};

const SESSION: u16 = 7;
const EDGE: [u8; 6] = [2, 0, 0, 0, 2, 1];
const WAN: [u8; 6] = [2, 0, 0, 0, 2, 2];

/// Both ends of a session over the WAN, each with a PPP device of this name; `None` if this kernel has no PPPoE.
fn session(router: &Router, name: &str) -> anyhow::Result<Option<[pppoe::End; 2]>> {
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
        let made = format!("ppp{unit}");
        if made != name {
            run_in(namespace, &format!("ip link set {made} name {name}"))?;
        }
        run_in(namespace, &format!("ip link set {name} up"))?;
        give_addresses_to(name, namespace, &LAYER3, at)?;
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
        let Some(_ends) = session(&router, "t0")? else { return Ok(()) };
        router.ok(&format!("attach wan0 --hook {hook} --inside pppoe"))?;
        let attached = router.ok(&format!("attach t0 --hook {hook}"))?;
        attached.complains(&["t0 is PPPoE over wan0", "counts at both"])?;
        find(&router.ask("doctor --sample 0 --json")?.expect(3)?, "t0", "counted-twice")?;
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

/// Waits until the service has said something so many times, for as long as a guest takes in emulation beside other work.
fn said(lab: &Lab, words: &str, times: usize) -> anyhow::Result<()> {
    let has_said = || Ok(lab.log()?.matches(words).count() >= times);
    let in_time = (0..6).any(|_| eventually(has_said).is_ok());
    ensure!(in_time, "`{words}`, {times} times:\n{}", lab.log()?);
    Ok(())
}

/// How often the provider ends the session.
const REDIALS: usize = 3;

/// Each time it is another device: `run` attaches to it, marks what passes, and its counters begin at zero.
#[test]
fn a_pppoe_session_that_is_dropped_and_made_again_is_marked_by_run_each_time() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("edge", &POLICY.replace("interface.t0", "interface.\"ppp*\""))?;
    lab.serve()?;
    for round in 0..=REDIALS {
        let Some(ends) = session(&lab.router, "ppp0")? else { return Ok(()) };
        // Who asks for the status again and again takes a guest's one processor from it.
        said(&lab, "attached: ", 2 * (round + 1))?;
        pass("ppp0", &LAYER3, &lab.router)
            .with_context(|| format!("session {round}:\n{}", lab.log().unwrap_or_default()))?;
        drop(ends);
        said(&lab, "ppp0 is gone", round + 1)?;
    }
    lab.stop()
}
