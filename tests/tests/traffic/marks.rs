//! Ten pings are ten packets of their mark at each hook, by every mechanism; a table changes the mark and nothing else.

use std::collections::BTreeMap;

use qosbpf_tests::router::{HOOKS, Router};

use qosbpf_tests::wire::Tcpdump;

/// EF, AF31, CS1, DF, and EF with ECT(1).
const TOS: [u8; 5] = [184, 104, 32, 0, 185];
const COUNT: u32 = 10;

/// Egress has no XDP: there `attach` takes the best that is left.
const MECHANISMS: [&str; 4] = ["xdp", "xdp-generic", "tcx", "clsact"];

fn attached(hook: &str) -> anyhow::Result<Router> {
    assert!(MECHANISMS.contains(&hook));
    let router = Router::start()?;
    for interface in ["lan0", "wan0"] {
        router.ok(&format!("attach {interface} --hook {hook}"))?;
    }
    Ok(router)
}

/// Requests pass lan0:ingress and wan0:egress, the answers, equally marked, the other two.
fn pings_are_counted(hook: &str) -> anyhow::Result<()> {
    let router = attached(hook)?;
    for ipv6 in [false, true] {
        let (family, bytes) = if ipv6 { ("ipv6", 14 + 40 + 64) } else { ("ipv4", 14 + 20 + 64) };
        for tos in TOS {
            let earlier = router.all_counted(&HOOKS)?;
            router.ping(ipv6, tos, COUNT)?;
            let ten = [u64::from(COUNT), u64::from(COUNT) * bytes];
            for ((now, then), name) in router.all_counted(&HOOKS)?.iter().zip(&earlier).zip(HOOKS) {
                let moved = now.since(then);
                let what = format!("{name} by {hook}, {family}, tos {tos}: {moved:?}");
                assert_eq!(moved.before, BTreeMap::from([((family.to_owned(), tos), ten)]), "{what}");
                assert_eq!(moved.after, BTreeMap::from([(tos >> 2, ten)]), "{what}");
                assert!(moved.remarked.is_empty() && moved.frames() == ten, "{what}");
            }
        }
    }
    Ok(())
}

/// EF -> AF41 in one direction of one interface, as the far end sees it.
fn table_is_obeyed(hook: &str) -> anyhow::Result<()> {
    let router = attached(hook)?;
    for name in ["lan0:ingress", "wan0:egress"] {
        let (interface, direction) = name.split_once(':').unwrap();
        let policy = router.policy(
            direction,
            &format!("[interface.{interface}]\n{direction} = \"t\"\n[remark.t]\nEF = \"AF41\"\nother = \"keep\"\n"),
        )?;
        router.ok(&format!("policy apply {policy} --prune"))?;
        for (ipv6, tos) in [(false, 184), (false, 185), (true, 184), (true, 187), (false, 104), (true, 105)] {
            let seen = arrivals(&router, ipv6, tos)?;
            let now = router.counted(name)?;
            let to = if tos >> 2 == 46 { 34 << 2 | tos & 3 } else { tos };
            let words = if ipv6 { mark_of_ipv6(to) } else { mark_of_ipv4(to) };
            assert_eq!(seen.len(), COUNT as usize, "{seen:#?}");
            for packet in seen {
                assert!(packet.contains(&words), "{name} by {hook}, tos {tos}: no `{words}` in {packet}");
                assert!(!packet.contains("bad cksum") && !packet.contains("wrong"), "{packet}");
                assert!(!ipv6 || packet.contains("[icmp6 sum ok]"), "{packet}");
            }
            assert!(now.remarked.keys().all(|pair| *pair == (46, 34)), "{now:?}");
        }
        assert_eq!(router.counted(name)?.remarked[&(46, 34)][0], 4 * u64::from(COUNT), "{name} by {hook}");
    }
    Ok(())
}

fn arrivals(router: &Router, ipv6: bool, tos: u8) -> anyhow::Result<Vec<String>> {
    let filter = if ipv6 { "icmp6 and ip6[40] == 128" } else { "icmp[0] == 8" };
    let wire = Tcpdump::start(router.lab().wan(), "eth0", COUNT, filter)?;
    router.ping(ipv6, tos, COUNT)?;
    wire.packets()
}

/// As tcpdump prints it: the byte, and ECN by name.
fn mark_of_ipv4(tos: u8) -> String {
    match tos & 3 {
        0 => format!("tos 0x{tos:x}, "),
        1 => format!("tos 0x{tos:x},ECT(1), "),
        2 => format!("tos 0x{tos:x},ECT(0), "),
        _ => format!("tos 0x{tos:x},CE, "),
    }
}

fn mark_of_ipv6(class: u8) -> String {
    format!("class 0x{class:x}, ")
}

macro_rules! by_every_mechanism {
    ($($name:ident: $hook:literal),*) => {
        $(mod $name {
            #[test]
            fn pings_are_counted() -> anyhow::Result<()> {
                super::pings_are_counted($hook)
            }

            #[test]
            fn the_table_is_obeyed() -> anyhow::Result<()> {
                super::table_is_obeyed($hook)
            }
        })*
    };
}

by_every_mechanism!(xdp: "xdp", xdp_generic: "xdp-generic", tcx: "tcx", clsact: "clsact");
