//! The faults that qosbpf has to survive, each made while packets flow through the router.
//!
//! Every fault ends with a row of the table in `docs/reliability.md`: what happened to traffic, to counters, and what was
//! said. `QOSBPF_RECORD=1` writes the table, if all of them passed. Needs root, iproute2, tc and util-linux.

mod bpffs;
mod clsact;
mod devices;
mod files;
mod kills;
mod page;
mod pins;
mod places;
mod service;
mod stage;
mod system;
mod trace;

use std::{
    collections::BTreeMap,
    env,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::bail;
use libtest_mimic::{Arguments, Failed, Trial};

use self::stage::Row;

/// A fault: what it is called in the table, and what makes it.
type Fault = (&'static str, fn() -> anyhow::Result<Row>);

const FAULTS: [&[Fault]; 7] =
    [devices::FAULTS, pins::FAULTS, kills::FAULTS, bpffs::FAULTS, files::FAULTS, service::FAULTS, system::FAULTS];

type Rows = Arc<Mutex<BTreeMap<usize, (&'static str, Row)>>>;

fn trial(number: usize, (name, make): Fault, rows: &Rows) -> Trial {
    let rows = Arc::clone(rows);
    Trial::test(name, move || {
        let row = make().map_err(|error| Failed::from(format!("{error:?}")))?;
        println!("fault: {name}: {} | {} | {}", row.traffic, row.counters, row.said);
        rows.lock().unwrap_or_else(PoisonError::into_inner).insert(number, (name, row));
        Ok(())
    })
}

/// How many at a time, where the other programs of tests are told so.
fn at_a_time() -> Option<usize> {
    env::var("RUST_TEST_THREADS").ok()?.parse().ok()
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or_else(at_a_time);
    let faults: Vec<Fault> = FAULTS.into_iter().flatten().copied().collect();
    let names: Vec<&str> = faults.iter().map(|(name, _)| *name).collect();
    let record = env::var_os("QOSBPF_RECORD").is_some_and(|value| value == "1");
    let rows = Rows::default();
    let mut trials: Vec<Trial> =
        faults.into_iter().enumerate().map(|(number, fault)| trial(number, fault, &rows)).collect();
    let count = trials.len();
    if !record {
        trials.push(Trial::test("the page has these faults", move || {
            page::check(&names).map_err(|error| Failed::from(format!("{error:?}")))
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if record {
        let rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        let rows: Vec<(&str, Row)> = rows.values().cloned().collect();
        if rows.len() != count {
            bail!("not recorded: {} of {count} faults passed", rows.len());
        }
        page::write(&rows)?;
    }
    conclusion.exit()
}
