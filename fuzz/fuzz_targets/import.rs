//! Any text as another tool's rules: no panic, and what comes of it is a policy that our own parser takes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qosbpf::policy::{
    self, Source,
    import::{Input, Kind, Options, import},
};

/// The first byte says whose text it is to be, the rest is the text.
fuzz_target!(|input: &[u8]| {
    let Some((first, text)) = input.split_first() else { return };
    let kinds = [None, Some(Kind::Iptables), Some(Kind::Nft), Some(Kind::Cisco), Some(Kind::Qosify)];
    let kind = kinds[usize::from(first % 8).min(kinds.len() - 1)];
    let Ok(text) = std::str::from_utf8(text) else { return };
    let on = vec![("lan0".to_owned(), None)];
    let inputs = vec![Input { file: "input".to_owned(), text: text.to_owned() }];
    match import(inputs, &Options { kind, on, ..Options::default() }) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(imported) => {
            let source = Source::new("imported.toml", imported.policy.clone().into_bytes());
            let parsed = source.and_then(|source| policy::parse(&source));
            // A text without rules makes a policy without any, which our parser says.
            if let Err(report) = parsed {
                panic!("{}\n{}", imported.policy, report.render(false));
            }
        }
    }
});
