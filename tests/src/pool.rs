//! Loaded programs that are used again: loading one takes a hundred times as long as running it on a capture.

use std::sync::Mutex;

use qosbpf::kernel::object::{Program, Specialisation};

use crate::kernel::Kernel;

static IDLE: Mutex<Vec<(String, Kernel)>> = Mutex::new(Vec::new());

/// Does `work` with a program whose counters are all zero, and that nobody else uses meanwhile.
///
/// # Errors
///
/// Those of `work`, or that the program cannot be loaded or its counters be reset.
pub fn with<T>(
    program: Program,
    wanted: &Specialisation,
    work: impl FnOnce(&mut Kernel) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let key = format!("{program:?} {wanted:?}");
    let mut kernel = match take(&key) {
        Some(kernel) => kernel,
        None => Kernel::load(program, wanted)?,
    };
    kernel.reset()?;
    let result = work(&mut kernel);
    kernel.detach();
    idle().push((key, kernel));
    result
}

fn take(key: &str) -> Option<Kernel> {
    let mut idle = idle();
    let index = idle.iter().position(|(found, _)| found == key)?;
    Some(idle.swap_remove(index).1)
}

fn idle() -> std::sync::MutexGuard<'static, Vec<(String, Kernel)>> {
    IDLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
