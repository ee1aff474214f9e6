//! A network card with several queues (virtio). Guests have two, and a cable between them (`cargo xtask vm`).

use std::fs;

use anyhow::{Context as _, bail, ensure};
use qosbpf::lab::namespace::Namespace;
use qosbpf_tests::{
    binary::Answer,
    features,
    router::{Router, run_in, words},
    typed::has,
    udp::{self, Listener},
};

use super::devices::{EF, ETHERNET, Kind, V4, exchange, give_addresses, place};

const CARD: Kind = Kind { name: "virtio", ..ETHERNET };
const QUEUES: usize = 2;
/// So many that hardly all of them share a queue: the other end chooses one by hash.
const FLOWS: u16 = 64;

/// The cards of the guest, none of which is anybody's way to it.
fn cards() -> anyhow::Result<Vec<String>> {
    let mut cards = Vec::new();
    for device in fs::read_dir("/sys/class/net")?.flatten() {
        // `bonding_masters` is a file among them.
        let Ok(driver) = fs::read_link(device.path().join("device/driver")) else { continue };
        if driver.file_name() == Some("virtio_net".as_ref()) {
            cards.push(device.file_name().display().to_string());
        }
    }
    cards.sort();
    Ok(cards)
}

fn insert(card: &str, namespace: &Namespace, end: usize) -> anyhow::Result<()> {
    let line = format!("ip link set {card} netns {} name t0", namespace.name());
    Answer::of(&mut words(&line))?.expect(0)?;
    run_in(namespace, &format!("ethtool -L t0 combined {QUEUES}"))?;
    run_in(namespace, "ip link set t0 up")?;
    give_addresses(namespace, &CARD, end)
}

/// How many packets each queue has received for XDP: drivers of Linux 6.12 on say the others elsewhere.
fn received(namespace: &Namespace) -> anyhow::Result<Vec<u64>> {
    let said = run_in(namespace, "ethtool -S t0")?.stdout;
    let of_queue = |line: &str| {
        let (name, value) = line.trim().split_once(": ")?;
        (name.starts_with("rx") && name.ends_with("_xdp_packets")).then(|| value.parse().ok())?
    };
    Ok(said.lines().filter_map(of_queue).collect())
}

/// Every packet is counted, by whichever queue it comes.
fn by_all_queues(router: &Router) -> anyhow::Result<()> {
    let before = received(router.edge())?;
    let to = place(V4[0], 7999)?;
    let listener = Listener::bind(router.edge(), to)?;
    for port in 0..FLOWS {
        udp::send(router.lab().wan(), place(V4[1], 8000 + port)?, to, EF, 1)?;
        // At once: behind XDP each takes a page, and the socket has room for fewer than there are flows.
        listener.receive()?;
    }
    let counted = router.counted("t0:ingress")?.packets();
    ensure!(counted.get(&EF) == Some(&FLOWS.into()), "{counted:?}");
    let after = received(router.edge())?;
    let busy = before.iter().zip(&after).filter(|(before, after)| after > before).count();
    ensure!(busy >= QUEUES, "of {QUEUES} queues {busy} were used: {before:?}, {after:?}");
    Ok(())
}

#[test]
fn a_card_with_several_queues() -> anyhow::Result<()> {
    if !features::in_guest("a card with several queues") {
        return Ok(());
    }
    let cards = cards()?;
    let [first, second] = cards.as_slice() else { bail!("a guest has two cards of virtio: {cards:?}") };
    let router = Router::start()?;
    insert(first, router.edge(), 0)?;
    insert(second, router.lab().wan(), 1)?;
    merging_is_no_fault(&router)?;
    for hook in ["auto", "clsact"] {
        exchange(&CARD, &router, hook).context(hook)?;
        router.ok("detach --all")?;
    }
    router.ok("attach t0 --ingress")?.says(&["xdp-native"])?;
    router.ask("doctor t0 --sample 0")?.says(&["driver virtio_net"])?;
    by_all_queues(&router)
}

/// The driver switches it off by itself for XDP: nothing is to be done.
fn merging_is_no_fault(router: &Router) -> anyhow::Result<()> {
    let features = run_in(router.edge(), "ethtool -k t0")?.stdout;
    ensure!(features.contains("rx-gro-hw: on\n") || features.contains("large-receive-offload: on\n"), "{features}");
    let doctor = router.ask("doctor t0 --sample 0 --json")?;
    ensure!(!has(&doctor, "merging")? && !has(&doctor, "merging-fixed")?, "{}", doctor.stdout);
    ensure!(!doctor.stdout.contains("no native XDP"), "{}", doctor.stdout);
    Ok(())
}
