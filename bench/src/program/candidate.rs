//! A loaded program to be run on frames.

use anyhow::{Context as _, bail};
use aya::{
    Ebpf,
    programs::{Program as Loaded, TestRun as _, TestRunOptions},
};
use qos_common::{
    locate::Link,
    policy::{Local, Table},
};
use qosbpf::{
    hook::Direction,
    kernel::object::{self, Program, Specialisation},
};

use crate::{
    compile::{Objects, involution},
    cpu,
    frames::Sample,
};

/// The names of candidates, which ratios are made of.
pub const EMPTY: &str = "empty";
pub const EMPTY_AGAIN: &str = "empty, again";
pub const LEAST_COUNT: &str = "C, least, count";
pub const LEAST: &str = "C, least, count and remark";
pub const LEAN_COUNT: &str = "C, lean, count";
pub const LEAN: &str = "C, lean, count and remark";
pub const WHOLE_COUNT: &str = "C, whole, count";
pub const WHOLE: &str = "C, whole, count and remark";
pub const OURS_COUNTING: &str = "qosbpf, counting";
pub const OURS: &str = "qosbpf, with a table";

/// A hook, by the programs that are written for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// XDP.
    Xdp,
    /// TC, either way.
    Tc(Direction),
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::Tc(Direction::Ingress), Self::Tc(Direction::Egress)];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "XDP",
            Self::Tc(Direction::Ingress) => "TC ingress",
            Self::Tc(Direction::Egress) => "TC egress",
        }
    }

    /// Whether such a frame comes here: XDP has no super-packets, and is not told who made one.
    pub const fn takes(self, sample: &Sample) -> bool {
        matches!(self, Self::Tc(_)) || (sample.gso.is_none() && sample.ingress == 0)
    }

    /// The floors of this hook.
    const fn floors(self) -> [(&'static str, &'static str); 8] {
        let [pass, least_count, least, lean_count, lean, whole_count, whole] = match self {
            Self::Xdp => [
                "xdp_pass",
                "xdp_least_count",
                "xdp_least",
                "xdp_lean_count",
                "xdp_lean",
                "xdp_whole_count",
                "xdp_whole",
            ],
            Self::Tc(direction) => {
                let [whole_count, whole] = match direction {
                    Direction::Ingress => ["tc_whole_count", "tc_whole"],
                    Direction::Egress => ["tc_egress_whole_count", "tc_egress_whole"],
                };
                ["tc_pass", "tc_least_count", "tc_least", "tc_lean_count", "tc_lean", whole_count, whole]
            }
        };
        [
            (EMPTY, pass),
            (EMPTY_AGAIN, pass),
            (LEAST_COUNT, least_count),
            (LEAST, least),
            (LEAN_COUNT, lean_count),
            (LEAN, lean),
            (WHOLE_COUNT, whole_count),
            (WHOLE, whole),
        ]
    }

    /// The program of a floor by the name of the candidate.
    ///
    /// # Errors
    ///
    /// That there is none.
    pub fn floor(self, name: &str) -> anyhow::Result<&'static str> {
        let program = self.floors().into_iter().find_map(|(known, program)| (known == name).then_some(program));
        program.context("no such floor")
    }

    /// The program of qosbpf.
    pub const fn ours(self) -> Program {
        match self {
            Self::Xdp => Program::Xdp,
            Self::Tc(direction) => Program::Tc(direction),
        }
    }
}

/// A program in the kernel.
#[derive(Debug)]
pub struct Candidate {
    /// Its name in tables.
    pub name: &'static str,
    program: &'static str,
    object: Object,
}

#[derive(Debug)]
enum Object {
    Floor(Box<Ebpf>),
    Ours(Box<object::Loaded>),
}

impl Candidate {
    /// All candidates of a hook, the empty one and its twin first.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn load_all(objects: &Objects, hook: Hook) -> anyhow::Result<Vec<Self>> {
        let floors = hook.floors().into_iter().map(|(name, program)| Self::floor(objects, name, program));
        let mut all = floors.collect::<anyhow::Result<Vec<_>>>()?;
        all.push(Self::ours(hook, None)?);
        all.push(Self::ours(hook, Some(involution()))?);
        Ok(all)
    }

    /// What qosbpf loads with a table or without, and the floor of the same contract.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn pair(objects: &Objects, hook: Hook, table: Option<Table>) -> anyhow::Result<(Self, Self)> {
        let name = if table.is_some() { WHOLE } else { WHOLE_COUNT };
        Ok((Self::ours(hook, table)?, Self::floor(objects, name, hook.floor(name)?)?))
    }

    fn floor(objects: &Objects, name: &'static str, program: &'static str) -> anyhow::Result<Self> {
        let mut ebpf = objects.floors(&involution())?;
        match ebpf.program_mut(program).with_context(|| format!("no program {program}"))? {
            Loaded::Xdp(xdp) => xdp.load(),
            Loaded::SchedClassifier(tc) => tc.load(),
            _ => bail!("{program} is of another type"),
        }
        .with_context(|| program)?;
        Ok(Self { name, program, object: Object::Floor(Box::new(ebpf)) })
    }

    fn ours(hook: Hook, table: Option<Table>) -> anyhow::Result<Self> {
        let name = if table.is_some() { OURS } else { OURS_COUNTING };
        let wanted = Specialisation { table, local: Local::KeepControl, ..Specialisation::counting(Link::Ethernet) };
        Self::specialised(name, hook, &wanted)
    }

    /// What qosbpf loads for a policy.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn specialised(name: &'static str, hook: Hook, wanted: &Specialisation) -> anyhow::Result<Self> {
        let loaded = object::load(hook.ours(), wanted, None)?;
        Ok(Self { name, program: hook.ours().entry(wanted.form()), object: Object::Ours(Box::new(loaded)) })
    }

    /// The object's maps and programs.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        match &mut self.object {
            Object::Floor(ebpf) => ebpf,
            Object::Ours(loaded) => loaded.ebpf(),
        }
    }

    /// Runs it, `repeat` times on the same bytes; they are not put back in between. The bytes as they left are in
    /// `output`, if one is given.
    ///
    /// # Errors
    ///
    /// What bpf(2) says.
    pub fn run(&mut self, sample: &Sample, repeat: u32, output: Option<&mut [u8]>) -> anyhow::Result<u32> {
        let (name, context) = (self.program, sample.context());
        let options = TestRunOptions {
            data_in: Some(&sample.frame),
            data_out: output,
            ctx_in: context.as_ref().map(<[u8; 192]>::as_slice),
            repeat,
            ..TestRunOptions::default()
        };
        let result = match self.ebpf().program(name).with_context(|| format!("no program {name}"))? {
            Loaded::Xdp(xdp) => xdp.test_run(options),
            Loaded::SchedClassifier(tc) => tc.test_run(options),
            _ => bail!("{name} is of another type"),
        };
        Ok(result.with_context(|| format!("test run of {name} on {}", sample.name))?.return_value)
    }

    /// CPU time of one repetition, in ns.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    pub fn time(&mut self, sample: &Sample, repeat: u32) -> anyhow::Result<f64> {
        let before = cpu::thread_ns()?;
        self.run(sample, repeat, None)?;
        Ok((cpu::thread_ns()? - before) / f64::from(repeat))
    }
}
