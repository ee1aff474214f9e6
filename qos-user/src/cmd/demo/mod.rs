//! `qosbpf demo`: a router between two hosts, marked traffic, and every answer checked at the far end.
//!
//! It types what an operator would type: each step runs this executable as a command of its own, shows its screen, and
//! checks its machine output against what a receiver on the WAN host saw.

mod counts;
mod operator;
mod scoreboard;
mod steps;
mod traffic;

use self::{operator::Operator, scoreboard::Scoreboard, steps::STEPS, traffic::Traffic};
use crate::{
    cli::DemoArgs,
    cmd::Context,
    error::Exit,
    lab::{Lab, interrupt::Interrupt},
};

const PICTURE: &str = "
  LAN host eth0 ------- lan0 edge router wan0 ------- eth0 WAN host
  192.0.2.2                                           198.51.100.2
  2001:db8:1::2                                       2001:db8:2::2
";

/// What every step works with.
struct Bench<'a> {
    lab: &'a Lab,
    interrupt: &'a Interrupt,
    operator: Operator,
    traffic: Traffic<'a>,
    scoreboard: Scoreboard,
}

/// Runs the demonstration, and removes its lab however it ends: also by Ctrl-C, which it then obeys.
///
/// # Errors
///
/// `no-iproute2`, `privilege`, and what keeps a step from being carried out. A check that fails is [`Exit::No`].
pub fn run(args: &DemoArgs, context: &Context) -> anyhow::Result<Exit> {
    let interrupt = Interrupt::listen()?;
    let outcome = demonstrate(args, context, &interrupt);
    interrupt.obey()?;
    outcome
}

fn demonstrate(args: &DemoArgs, context: &Context, interrupt: &Interrupt) -> anyhow::Result<Exit> {
    let lab = Lab::start()?;
    let operator = Operator::new(&lab, context)?;
    let mut bench =
        Bench { lab: &lab, interrupt, traffic: Traffic::new(&lab)?, scoreboard: Scoreboard::new(context), operator };
    bench.scoreboard.introduce(PICTURE, &bench.operator.prefix())?;
    for (number, (title, step)) in STEPS.iter().enumerate() {
        bench.scoreboard.begin(number + 1, title)?;
        step(&mut bench)?;
    }
    if !args.keep {
        bench.scoreboard.begin(STEPS.len() + 1, steps::DETACH)?;
        steps::detach(&mut bench)?;
    }
    let Bench { scoreboard, operator, .. } = bench;
    if args.keep {
        let around = look_around(&lab, &operator);
        scoreboard.tell(&around, &lab.keep()?)?;
    }
    scoreboard.finish()
}

fn look_around(lab: &Lab, operator: &Operator) -> Vec<String> {
    let qosbpf = operator.prefix();
    let lan = lab.lan().name();
    vec![
        format!("{qosbpf} status"),
        format!("{qosbpf} stats wan0:egress"),
        format!("ip netns exec {lan} ping -c 5 -Q 184 198.51.100.2"),
        format!("ip netns exec {lan} sh"),
    ]
}
