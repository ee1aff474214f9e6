//! A policy of a thousand rules: how long it is compiled, prepared and switched.

use std::{fmt::Write as _, fs, hint::black_box, time::Instant};

use anyhow::{Context as _, bail};
use qos_common::rules::RULE_SLOTS;
use qosbpf::{
    hook::Direction,
    policy::{
        Policy, Source,
        classifier::{Input, compile},
        parse,
    },
};

use crate::{
    report::Fact,
    samples::Samples,
    user::{Desk, fact},
};

const RULES: usize = 1_000;

/// What is promised of each phase, in ms, by the name of its fact.
pub const PROMISED: [(&str, f64); 3] = [
    ("policy of 1,000 rules: parsed, checked and compiled", 100.0),
    ("policy of 1,000 rules: prepared", 250.0),
    ("policy of 1,000 rules: switched", 50.0),
];

/// Rules of several kinds, each with values of its own; `to` is what they set.
fn text(to: &str) -> String {
    let mut text = "version = 1\nname = \"thousand\"\n".to_owned();
    for number in 0..RULES {
        let (high, low, port) = (number / 250, number % 250, 1024 + number);
        let matched = match number % 4 {
            0 => format!("src = \"10.{high}.{low}.0/24\", proto = \"udp\", dst-port = {port}"),
            1 => format!("dst = [\"192.0.{high}.{low}\", \"2001:db8:{number:x}::/48\"], dscp = [\"EF\", \"AF41\"]"),
            2 => format!("proto = \"tcp\", src-port = \"{port}-{}\", length = \"64-1500\"", port + 3),
            _ => format!("src-not = \"10.{high}.{low}.0/25\", dst-port = {port}, family = 4"),
        };
        let _infallible = write!(
            text,
            "[[rule]]\nname = \"rule {number}\"\non = \"lan0:ingress\"\nmatch = {{ {matched} }}\nset = \"{to}\"\n"
        );
    }
    text
}

/// Measures each phase with the binary, but for compiling, which is measured in this process.
pub(crate) fn measure(desk: &Desk<'_>) -> anyhow::Result<Vec<Fact>> {
    let folder = desk.lab.folder();
    let files =
        [("one.toml", text("AF21")), ("other.toml", text("AF31"))].map(|(name, text)| (folder.join(name), text));
    for (path, text) in &files {
        fs::write(path, text)?;
    }
    let mut samples: [Samples; 3] = Default::default();
    desk.time(&["attach", "lan0", "--ingress"])?;
    for round in 0..desk.times {
        let (path, text) = &files[round % 2];
        samples[0].push(compiled(text)?);
        let [prepared, switched] = applied(desk, &path.display().to_string())?;
        samples[1].push(prepared);
        samples[2].push(switched);
    }
    desk.time(&["detach", "--all"])?;
    Ok(PROMISED.iter().zip(&samples).map(|((name, _), samples)| fact(*name, "ms", samples.spread())).collect())
}

/// From the text to the tables of its one hook, in ms.
fn compiled(text: &str) -> anyhow::Result<f64> {
    let start = Instant::now();
    let source =
        Source::new("thousand.toml", text.as_bytes().to_vec()).map_err(|report| anyhow::anyhow!("{report:?}"))?;
    let policy: Policy = parse(&source).map_err(|report| anyhow::anyhow!("{report:?}"))?;
    let rules = policy.rules_for("lan0", Direction::Ingress);
    let slots: Vec<u16> = (0..rules.len() as u16).map(|slot| slot % RULE_SLOTS as u16).collect();
    let input = Input { rules: &rules, slots: &slots, meter_slots: &vec![0; rules.len()], interfaces: &[] };
    black_box(compile(&input)?);
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// What `policy apply` says of its two phases, in ms.
fn applied(desk: &Desk<'_>, file: &str) -> anyhow::Result<[f64; 2]> {
    let output = desk.command(&["-v", "--log-format", "json", "policy", "apply", file]).output().context("qosbpf")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("qosbpf policy apply {file}: {said}");
    }
    let phase = |name: &str| -> anyhow::Result<f64> {
        let lines = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let mut took = lines.filter(|line| line["fields"]["message"] == name).map(|line| line["fields"]["us"].as_f64());
        Ok(took.next().flatten().with_context(|| format!("it does not say how long it {name}: {said}"))? / 1e3)
    };
    Ok([phase("prepared")?, phase("switched")?])
}
