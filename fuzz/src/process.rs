//! Any frame, under any table, at any hook: the whole contract of the data path.

use qos_vectors::{contract::check, seed};

pub fn hold(input: &[u8]) {
    if let Some(case) = seed::decode(input) {
        let _marked = check(&case);
    }
}
