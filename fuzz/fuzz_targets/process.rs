//! Any frame, under any table, at any hook: the whole contract of the data path.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qos_vectors::{contract::check, seed};

fuzz_target!(|input: &[u8]| {
    if let Some(case) = seed::decode(input) {
        let _marked = check(&case);
    }
});
