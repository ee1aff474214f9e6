//! Lists of interfaces that are read while interfaces come and go.

use std::{
    collections::HashSet,
    io::Write as _,
    process::{Child, Stdio},
};

use anyhow::{Context as _, ensure};
use qosbpf::{error::Failure, kernel::network::Network};
use qosbpf_tests::router::{Router, words};

/// Pairs of devices that stay: a list takes the kernel many parts.
const STAYING: usize = 300;
/// How often each of two devices comes and goes.
const TURNS: usize = 100;

/// Of two devices, with a number before those of all others and behind them, one is there at each moment.
const FIRST: &str = "link add first0 index 70 type veth peer name first1 index 71\n";
const LAST: &str = "link add last0 index 70000 type veth peer name last1 index 70001\n";

fn ip(lines: &str) -> anyhow::Result<Child> {
    let mut ip = words("ip -batch -").stdin(Stdio::piped()).spawn()?;
    ip.stdin.take().context("stdin")?.write_all(lines.as_bytes())?;
    Ok(ip)
}

fn is_whole(net: &Network) -> anyhow::Result<()> {
    let listed: HashSet<String> = net.interfaces()?.into_iter().map(|interface| interface.name).collect();
    for number in 0..STAYING {
        ensure!(listed.contains(&format!("near{number}")) && listed.contains(&format!("far{number}")), "{number}");
    }
    ensure!(listed.contains("first0") || listed.contains("last0"), "one of two is there all the time");
    Ok(())
}

#[test]
fn a_list_is_whole_or_it_is_said_that_it_cannot_be_had() -> anyhow::Result<()> {
    let router = Router::start()?;
    let staying = (0..STAYING).map(|number| format!("link add near{number} type veth peer name far{number}\n"));
    let staying = format!("{FIRST}{}", staying.collect::<String>());
    let storm = format!("{LAST}link del first0\n{FIRST}link del last0\n").repeat(TURNS);
    router.edge().run(|| {
        ensure!(ip(&staying)?.wait()?.success());
        let net = Network::open()?;
        let mut storm = ip(&storm)?;
        let (mut whole, mut interrupted) = (0, 0);
        let outcome = loop {
            match is_whole(&net) {
                Err(error) if error.downcast_ref::<Failure>().is_some_and(|it| it.code == "interrupted") => {
                    interrupted += 1
                }
                Err(error) => break Err(error),
                Ok(()) => whole += 1,
            }
            if storm.try_wait()?.is_some() {
                break Ok(());
            }
        };
        if outcome.is_err() {
            storm.kill()?;
        }
        ensure!(storm.wait()?.success() || outcome.is_err(), "the storm");
        outcome?;
        ensure!(whole > 0, "none of {interrupted} could be had");
        is_whole(&net)
    })
}
