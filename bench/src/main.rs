//! Measures qosbpf: programs against floors in C, a router against other tools, commands, and several CPUs.
//!
//! It is started by `cargo xtask bench`, which builds it and installs what it needs.

mod compile;
mod cpu;
mod effort;
mod frames;
mod program;
mod report;
mod samples;
fn main() -> anyhow::Result<()> {
    let objects = compile::Objects::build()?;
    cpu::pin(1)?;
    let cases = program::measure(&objects, &effort::Effort::QUICK, &mut |text| eprintln!("{text}"))?;
    println!("{}", serde_json::to_string_pretty(&cases)?);
    Ok(())
}
