//! The faults that qosbpf has to survive, each made while packets flow through the router.
//!
//! Every fault ends with a row of the table in `docs/reliability.md`: what happened to traffic, to counters, and what was
//! said. `QOSBPF_RECORD=1` writes the table, if all of them passed; without it, what came of each has to be what the table
//! says, but for numbers. Needs root, iproute2, tc and util-linux.

mod bpffs;
mod clsact;
mod devices;
mod files;
mod fixed;
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

fn trial(number: usize, (name, make): Fault, rows: &Rows, record: bool) -> Trial {
    let rows = Arc::clone(rows);
    Trial::test(name, move || {
        let row = make().map_err(failed)?;
        println!("fault: {name}: {} | {} | {}", row.traffic, row.counters, row.said);
        if !record {
            page::says(name, &row).map_err(failed)?;
        }
        rows.lock().unwrap_or_else(PoisonError::into_inner).insert(number, (name, row));
        Ok(())
    })
}

fn failed(error: anyhow::Error) -> Failed {
    format!("{error:?}").into()
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
        faults.into_iter().enumerate().map(|(number, fault)| trial(number, fault, &rows, record)).collect();
    let count = trials.len();
    if !record {
        trials.push(Trial::test("the page has these faults", move || page::check(&names).map_err(failed)));
        trials.push(Trial::test("a changed message is told from another number", || {
            fixed::tells_runs_from_changes().map_err(failed)
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
