//! The fuzzer, of the target that `QOSBPF_FUZZ_TARGET` names: `cargo xtask fuzz` builds and runs it.
#![no_main]

use std::{env, sync::LazyLock};

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = env::var("QOSBPF_FUZZ_TARGET").unwrap_or_default();
    qos_fuzz::target(&name).unwrap_or_else(|| panic!("QOSBPF_FUZZ_TARGET={name} is no target"))
});

fuzz_target!(|input: &[u8]| TARGET(input));
