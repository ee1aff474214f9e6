//! What we count at egress is what the device sent and what its qdisc dropped, together.

use std::{
    net::UdpSocket,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use qosbpf::lab::topology::WAN_HOST;
use qosbpf_tests::router::{Router, run_in, spawn_in, words};

const PATIENCE: Duration = Duration::from_secs(60);

/// 200 datagrams of 1000 bytes at once into 4 Mbit/s with room for a few.
#[test]
fn a_narrowed_link_drops_what_the_device_did_not_send() -> anyhow::Result<()> {
    let router = Router::start()?;
    run_in(router.edge(), "tc qdisc add dev wan0 root tbf rate 4mbit burst 3000 limit 10000")?;
    router.ok("attach wan0")?;
    let socket = router.lab().lan().run(|| Ok(UdpSocket::bind("0.0.0.0:0")?))?;
    for _ in 0..200 {
        socket.send_to(&[0; 1000], (WAN_HOST.v4, 9))?;
    }
    let start = Instant::now();
    loop {
        let now = router.counted("wan0:egress")?;
        let (seen, sent, dropped) = (now.frames()[0], now.device[0], now.qdisc_drops);
        if seen >= 200 && seen == sent + dropped {
            assert!(dropped > 100, "{now:?}");
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{now:?}");
        thread::sleep(Duration::from_millis(20));
    }
    let screen = router.ok("stats wan0:egress --rate 0")?.stdout;
    assert!(screen.contains("qdisc tbf:") && screen.contains("dropped after our count"), "{screen}");
    Ok(())
}

/// Counts of device and hook begin at the same moment, whatever the device had done before.
#[test]
fn the_device_s_earlier_life_is_not_ours() -> anyhow::Result<()> {
    let router = Router::start()?;
    router.ping(false, 0, 10)?;
    for interface in ["lan0", "wan0"] {
        router.ok(&format!("attach {interface}"))?;
    }
    router.ping(false, 184, 10)?;
    router.ping(true, 184, 5)?;
    for hook in qosbpf_tests::router::HOOKS {
        let now = router.counted(hook)?;
        let [packets, bytes] = now.frames();
        assert_eq!((packets, now.device[0], now.device[2]), (15, 15, 0), "{hook}: {now:?}");
        // What a driver counts as the bytes of a frame that came in is its own business: some leave out the link header.
        assert!(hook.ends_with("ingress") || now.device[1] == bytes, "{hook}: {now:?}");
    }
    Ok(())
}

/// Packets that come while the program takes its place are in both counts, or in none, but for the few that come while a
/// counter is read.
#[test]
fn counts_of_device_and_hook_begin_together_also_under_traffic() -> anyhow::Result<()> {
    let router = Router::start()?;
    let mut flood = words(&format!("ping -q -n -f {}", WAN_HOST.v4));
    flood.stdout(Stdio::null());
    for hook in ["xdp", "tcx"] {
        let mut flood = spawn_in(router.lab().lan(), &mut flood)?;
        let attached = router.ok(&format!("attach lan0 --ingress --hook {hook}"));
        thread::sleep(Duration::from_millis(300));
        kill(Pid::from_raw(i32::try_from(flood.id())?), Signal::SIGINT)?;
        anyhow::ensure!(flood.wait()?.success(), "ping was not answered");
        attached?;
        let now = router.counted("lan0:ingress")?;
        let [packets, _] = now.frames();
        assert!(packets > 100, "{hook}: {now:?}");
        assert!(packets.abs_diff(now.device[0]) <= 50, "{hook}: {now:?}");
        router.ok("detach lan0")?;
    }
    Ok(())
}
