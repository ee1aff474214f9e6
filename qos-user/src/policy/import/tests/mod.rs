//! Texts as the tools print them, what becomes of them, and that the meaning is kept.

mod account;
mod families;
mod meaning;
mod order;
mod words;

use std::fmt::Write as _;

use super::{Imported, Input, Kind, Options, import};

fn imported(texts: &[(&str, &str)], options: &Options) -> Imported {
    let inputs = texts.iter().map(|(file, text)| Input { file: (*file).to_owned(), text: (*text).to_owned() });
    import(inputs.collect(), options).unwrap_or_else(|error| panic!("{error}"))
}

/// The policy, and what was left and noted.
fn shown(imported: &Imported) -> String {
    let mut text = imported.policy.clone();
    for (word, remarks) in [("left", &imported.left), ("note", &imported.notes)] {
        for remark in remarks {
            let _infallible =
                write!(text, "\n{word} {}:{} {}\n  {}", remark.file, remark.line, remark.reason, remark.text);
        }
    }
    text
}

/// Texts that belong together, and how they are to be taken.
struct Sample {
    kind: Kind,
    files: Vec<(&'static str, &'static str)>,
    options: Options,
    left: usize,
}

impl Sample {
    fn new(kind: Kind, files: &[(&'static str, &'static str)], interfaces: &[(&str, &str)], left: usize) -> Self {
        let interfaces = interfaces.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect();
        Self { kind, files: files.to_vec(), options: Options { interfaces, ..Options::default() }, left }
    }

    fn inputs(&self) -> Vec<Input> {
        self.files.iter().map(|(file, text)| Input { file: (*file).to_owned(), text: (*text).to_owned() }).collect()
    }
}

fn samples() -> [Sample; 5] {
    let qosify = [("qosify", include_str!("data/qosify.uci")), ("defaults.conf", include_str!("data/qosify.conf"))];
    let iptables = [("edge.rules", include_str!("data/edge.rules")), ("edge.rules6", include_str!("data/edge.rules6"))];
    let cisco = [("GigabitEthernet0/0", "lan0"), ("GigabitEthernet0/1", "wan0")];
    [
        Sample::new(Kind::Iptables, &iptables, &[], 3),
        Sample::new(Kind::Nft, &[("edge.nft", include_str!("data/edge.nft"))], &[], 2),
        Sample::new(Kind::Nft, &[("maps.nft", include_str!("data/maps.nft"))], &[], 1),
        Sample::new(Kind::Cisco, &[("edge.cisco", include_str!("data/edge.cisco"))], &cisco, 4),
        Sample::new(Kind::Qosify, &qosify, &[("wan", "eth1")], 6),
    ]
}

#[test]
fn samples_become_policies() {
    for sample in samples() {
        let found = imported(&sample.files, &sample.options);
        assert_eq!(found.kind, sample.kind);
        insta::assert_snapshot!(sample.files[0].0, shown(&found));
        assert_eq!(found.left.len(), sample.left, "{}", sample.kind.as_str());
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let refused = |text: &str| {
        let input = Input { file: "x".to_owned(), text: text.to_owned() };
        import(vec![input], &Options::default()).unwrap_err().message
    };
    assert_eq!(refused("good morning"), "x: it cannot be told whose rules these are");
    assert_eq!(refused("{\"nftables\": []}"), "x is JSON");
    assert_eq!(
        refused("table ip t {\nchain c {\ntype filter hook prerouting priority 0\n}\n"),
        "a bracket is never closed"
    );
    let circle = "*mangle\n:a - [0:0]\n:b - [0:0]\n-A PREROUTING -j a\n-A a -p tcp -j b\n-A b -p tcp -j a\nCOMMIT\n";
    assert_eq!(refused(circle), "chains jump too deep, or in a circle");
}
