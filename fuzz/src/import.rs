//! Any text as another tool's rules: what comes of it is a policy that our own parser takes.

use qosbpf::policy::{
    self, Source,
    import::{Input, Kind, Options, import},
};

/// Whose text it is to be, by the first byte; none: whoever it looks like.
const KINDS: [Option<Kind>; 5] = [None, Some(Kind::Iptables), Some(Kind::Nft), Some(Kind::Cisco), Some(Kind::Qosify)];

pub fn hold(input: &[u8]) {
    let Some((first, text)) = input.split_first() else { return };
    let kind = KINDS.get(usize::from(first % 8)).copied().flatten();
    let Ok(text) = str::from_utf8(text) else { return };
    let on = vec![("lan0".to_owned(), None)];
    let inputs = vec![Input { file: "input".to_owned(), text: text.to_owned() }];
    match import(inputs, &Options { kind, on, ..Options::default() }) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(imported) => {
            let source = Source::new("imported.toml", imported.policy.clone().into_bytes());
            if let Err(report) = source.and_then(|source| policy::parse(&source)) {
                panic!("{}\n{}", imported.policy, report.render(false));
            }
        }
    }
}
