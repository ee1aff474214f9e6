//! Rules that come back into force, and new ones: what a rule had counted before is no traffic of now.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, ensure};
use qosbpf_tests::service::{Lab, eventually};
use serde_json::Value;

const PLAIN: &str = "[interface.lan0]\ningress = \"mark\"\n[remark.mark]\nother = \"keep\"\n";

/// More than two samples.
const SAMPLES: Duration = Duration::from_millis(2500);

/// A policy with a rule that EF matches.
fn with_rule(name: &str) -> String {
    format!("{PLAIN}[[rule]]\nname = \"{name}\"\non = \"lan0:ingress\"\nmatch = {{ dscp = \"EF\" }}\nset = \"AF41\"\n")
}

/// A lab in which the service looks once a second.
fn lab() -> anyhow::Result<Lab> {
    let lab = Lab::start()?;
    fs::write(lab.etc("qosbpf.toml"), "sample = \"1s\"\n")?;
    Ok(lab)
}

/// The row of the one rule in force.
fn row(lab: &Lab) -> anyhow::Result<Value> {
    let document = lab.ok("stats --json lan0:ingress")?.json()?;
    Ok(document["hooks"][0]["rules"].get(0).with_context(|| format!("{document:#}"))?.clone())
}

fn apply(lab: &Lab, policy: &str) -> anyhow::Result<()> {
    lab.ok(&format!("policy apply {policy} --attach"))?;
    thread::sleep(SAMPLES);
    Ok(())
}

#[test]
fn a_rule_that_comes_back_has_the_past_that_it_had() -> anyhow::Result<()> {
    let mut lab = lab()?;
    let with = lab.router.policy("with", &with_rule("EF from phones"))?;
    let without = lab.router.policy("without", PLAIN)?;
    lab.ok(&format!("policy apply {with} --attach"))?;
    lab.router.ping(false, 184, 20)?;
    lab.ok(&format!("policy apply {without} --save"))?;
    lab.serve()?;
    thread::sleep(SAMPLES);
    apply(&lab, &with)?;
    let before = row(&lab)?;
    ensure!(before["packets"] == 20 && before["rates"]["1m"]["packets"] == 0.0, "{before:#}");
    ensure!(before["last_moved"].is_null() && before["peak"].is_null(), "{before:#}");
    lab.router.ping(false, 184, 10)?;
    thread::sleep(SAMPLES);
    let moved = row(&lab)?;
    ensure!(moved["last_moved"].is_string() && moved["peak"].is_object(), "{moved:#}");
    apply(&lab, &without)?;
    apply(&lab, &with)?;
    let again = row(&lab)?;
    ensure!(again["packets"] == 30 && again["rates"]["1m"]["packets"].as_f64() > Some(0.0), "{again:#}");
    for what in ["last_moved", "peak"] {
        ensure!(again[what] == moved[what], "{what}: {moved:#} {again:#}");
    }
    Ok(())
}

#[test]
fn a_new_rule_has_the_rate_of_what_it_counted_before_its_first_sample() -> anyhow::Result<()> {
    let mut lab = lab()?;
    lab.save("plain", PLAIN)?;
    lab.serve()?;
    thread::sleep(SAMPLES);
    let new = lab.router.policy("new", &with_rule("new"))?;
    lab.ok(&format!("policy apply {new}"))?;
    lab.router.ping(false, 184, 20)?;
    eventually(|| Ok(row(&lab)?["peak"].is_object()))?;
    let row = row(&lab)?;
    ensure!(row["packets"] == 20 && row["rates"]["1m"]["packets"].as_f64() > Some(0.5), "{row:#}");
    ensure!(row["last_moved"].is_string() && row["peak"]["packets"].as_f64() > Some(5.0), "{row:#}");
    Ok(())
}
