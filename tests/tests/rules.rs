//! Rules in the loaded program do what they do on the host by the same tables, and both what the policy says, walked rule
//! by rule: random policies with meters and logs, random packets.
//!
//! `QOSBPF_POLICIES` is how many policies for each program, of 100 packets each (20), `QOSBPF_POLICY_SEED` the number of
//! the first.

use std::{env, sync::Arc};

use anyhow::{Context as _, ensure};
use qos_common::locate::Link;
use qos_vectors::random::Random;
use qosbpf::{
    hook::Direction,
    kernel::object::{Program, Specialisation},
};
use qosbpf_tests::{
    conditioner::Conditioner,
    features::Feature,
    kernel::Kernel,
    large,
    tables::{permutation, wash},
};

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The dearest policy, for each number of words in a row, behind both kinds of link.
fn load(program: Program) -> anyhow::Result<()> {
    for count in [64, 256, 1024] {
        let rules = Some(Arc::new(large::tables(large::fields(program), count)?));
        for (link, log) in [(Link::Ethernet, true), (Link::Layer3, false)] {
            let counting = Specialisation::counting(link);
            let wanted = Specialisation { table: Some(wash()), rules: rules.clone(), log, ..counting };
            let outer = (program == Program::Tc(Direction::Egress)).then(permutation);
            for outer in [None, outer].into_iter().take(1 + usize::from(outer.is_some())) {
                let wanted = Specialisation { outer, ..wanted.clone() };
                let mut kernel = Kernel::load(program, &wanted).with_context(|| format!("{count} rules, {link:?}"))?;
                let verified = kernel.loaded().info()?.verified_instruction_count();
                ensure!(
                    verified.is_none_or(|verified| verified <= large::MOST_VERIFIED),
                    "{count} rules: {verified:?}"
                );
            }
        }
    }
    Ok(())
}

fn agree(program: Program) -> anyhow::Result<()> {
    let fields = large::fields(program);
    let egress = program == Program::Tc(Direction::Egress);
    let forwards = !(egress && Feature::IngressInterface.leaves_out("rules on forwarded packets, in a test run")?);
    let first = number("QOSBPF_POLICY_SEED", 1);
    for seed in first..first + number("QOSBPF_POLICIES", 20) {
        let random = &mut Random::new(seed);
        let run = |mut hook: Conditioner| hook.run(100, forwards, random);
        Conditioner::random(program, fields, &mut Random::new(!seed))
            .and_then(run)
            .with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

#[test]
fn xdp() -> anyhow::Result<()> {
    agree(Program::Xdp)
}

#[test]
fn xdp_frags() -> anyhow::Result<()> {
    if Feature::Frags.leaves_out(Program::XdpFrags.name())? {
        return Ok(());
    }
    agree(Program::XdpFrags)
}

#[test]
fn tc_ingress() -> anyhow::Result<()> {
    agree(Program::Tc(Direction::Ingress))
}

#[test]
fn tc_egress() -> anyhow::Result<()> {
    agree(Program::Tc(Direction::Egress))
}

#[test]
fn xdp_with_all_kinds_of_field_loads() -> anyhow::Result<()> {
    load(Program::Xdp)
}

#[test]
fn xdp_frags_with_all_kinds_of_field_loads() -> anyhow::Result<()> {
    if Feature::Frags.leaves_out(Program::XdpFrags.name())? {
        return Ok(());
    }
    load(Program::XdpFrags)
}

#[test]
fn tc_ingress_with_all_kinds_of_field_loads() -> anyhow::Result<()> {
    load(Program::Tc(Direction::Ingress))
}

#[test]
fn tc_egress_with_all_kinds_of_field_loads() -> anyhow::Result<()> {
    load(Program::Tc(Direction::Egress))
}
