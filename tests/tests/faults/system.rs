//! What happens to the machine as a whole, and to its counters.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, ensure};
use aya::maps::{Map, MapData, PerCpuArray, PerCpuValues};
use nix::mount::{MsFlags, mount};
use qos_common::abi::{Counter, Counters};
use qosbpf_tests::mounts;

use crate::{
    Fault,
    stage::{EF, Row, Stage, quoted, remarked},
};

pub const FAULTS: &[Fault] =
    &[("a counter at 2^64 - 1", overflow), ("a CPU goes offline", offline), ("no BTF of the kernel", without_btf)];

/// The pin of the counters of a hook of the one namespace that there is.
fn counters_of(stage: &Stage, interface: &str, direction: &str) -> anyhow::Result<PathBuf> {
    let status = stage.router.ok("status --json")?.json()?;
    let hooks = status["hooks"].as_array().context("hooks")?;
    let hook = hooks.iter().find(|hook| hook["interface"] == interface).context("the interface")?;
    let layout = stage.router.bpffs.join(format!("qosbpf/v{}", qos_common::abi::LAYOUT));
    let namespace = fs::read_dir(layout)?.next().context("a namespace")??.path();
    Ok(namespace.join(format!("if-{}", hook["ifindex"])).join(direction).join("counters"))
}

/// The word of a value of the map in which packets of EF count that are remarked.
const CHANGED_EF: usize = (size_of::<[[Counter; 256]; 2]>() + EF as usize * size_of::<Counter>()) / 8;

fn overflow() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let path = counters_of(&stage, "wan0", "egress")?;
    let map = Map::from_map_data(MapData::from_pin(&path)?)?;
    let mut map: PerCpuArray<_, [u64; Counters::WORDS]> = PerCpuArray::try_from(map)?;
    // At one CPU alone: the sum passes the end of 64 bits, the others do not.
    let values: Vec<_> = map.get(&0, 0)?.iter().copied().collect();
    let near = |(cpu, mut value): (usize, [u64; Counters::WORDS])| {
        let word = &mut value[CHANGED_EF];
        *word = if cpu == 0 { u64::MAX } else { *word };
        value
    };
    map.set(0, PerCpuValues::try_from(values.into_iter().enumerate().map(near).collect::<Vec<_>>())?, 0)?;
    let mut said = Vec::new();
    for _ in 0..2 {
        for line in
            ["stats", "stats --json", "stats --csv", "stats --prometheus", "status", "stats --rate 1", "policy show"]
        {
            let answer = stage.router.ok(line)?;
            ensure!(!answer.stderr.contains("panicked"), "{answer:?}");
        }
        let counted = stage.router.counted("wan0:egress")?.packets()[&EF];
        said.push(counted);
        stage.flow.pass(200)?;
    }
    ensure!(said[1] < u64::from(u32::MAX), "{said:?}: it has not passed the end");
    let (router, outcome) = stage.end()?;
    ensure!(outcome.beyond == 0 && outcome.within == 0, "{outcome:?}");
    let (one, other) = (router.counted("wan0:egress")?, router.counted("wan0:egress")?);
    ensure!(one.packets() == other.packets(), "it stands still with the traffic");
    Ok(Row {
        traffic: remarked(&outcome),
        counters: "pass the end as 64 bits do and go on from 0, in the kernel and in the sum over the CPUs".to_owned(),
        said: "what a counter of 64 bits says; a scraper takes it for a restart".to_owned(),
    })
}

/// Back online, whatever happens meanwhile.
struct Offline(PathBuf);

impl Offline {
    fn set(cpu: u32) -> anyhow::Result<Self> {
        let path = PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/online"));
        fs::write(&path, "0").with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        let _told_by_the_next_test = fs::write(&self.0, "1");
    }
}

/// What it has counted stays in the sums.
fn offline() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let offline = Offline::set(1)?;
    stage.flow.pass(200)?;
    let counted = stage.router.counted("wan0:egress")?.packets()[&EF];
    ensure!(counted >= 200, "{counted}");
    let policy = stage.router.policy("edge", crate::stage::POLICY)?;
    stage.router.ok(&format!("policy apply {policy}"))?;
    stage.router.ok("detach lan0:egress")?;
    stage.router.ok("attach lan0 --egress")?;
    drop(offline);
    stage.flow.pass(200)?;
    stage.router.ok("status")?;
    stage.unharmed("nothing: every CPU that there may be is read, not those that are online".to_owned())
}

/// A mount namespace in which /sys/kernel/btf is empty, as of a kernel that was built without.
fn without_btf() -> anyhow::Result<Row> {
    let stage = Stage::start("auto")?;
    let policy = stage.router.policy("edge", crate::stage::POLICY)?;
    let router = &stage.router;
    let attached = mounts::alone(&router.bpffs, || {
        mount(None::<&str>, "/sys/kernel/btf", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        router.ok("detach lan0:egress")?;
        let attached = router.ok("attach lan0 --egress")?;
        router.ok(&format!("policy apply {policy}"))?;
        router.ok("status")?;
        Ok(attached)
    })?;
    let said = quoted(&stage.router, attached.stdout.lines().next().unwrap_or_default());
    stage.unharmed(said)
}
