//! Texts as the tools print them, what becomes of them, and that the meaning is kept.

mod meaning;

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

#[test]
fn iptables() {
    let found = imported(&[("edge.rules", include_str!("data/edge.rules"))], &Options::default());
    assert_eq!((found.kind, found.left.len()), (Kind::Iptables, 3));
    insta::assert_snapshot!(shown(&found));
}

#[test]
fn nft() {
    let found = imported(&[("edge.nft", include_str!("data/edge.nft"))], &Options::default());
    assert_eq!((found.kind, found.left.len()), (Kind::Nft, 2));
    insta::assert_snapshot!(shown(&found));
}

#[test]
fn cisco() {
    let names = [("GigabitEthernet0/0", "lan0"), ("GigabitEthernet0/1", "wan0")];
    let interfaces = names.map(|(old, new)| (old.to_owned(), new.to_owned())).to_vec();
    let options = Options { interfaces, ..Options::default() };
    let found = imported(&[("edge.cisco", include_str!("data/edge.cisco"))], &options);
    assert_eq!((found.kind, found.left.len()), (Kind::Cisco, 3));
    insta::assert_snapshot!(shown(&found));
}

#[test]
fn qosify() {
    let files = [("qosify", include_str!("data/qosify.uci")), ("defaults.conf", include_str!("data/qosify.conf"))];
    let options = Options { interfaces: vec![("wan".to_owned(), "eth1".to_owned())], ..Options::default() };
    let found = imported(&files, &options);
    assert_eq!((found.kind, found.left.len()), (Kind::Qosify, 6));
    insta::assert_snapshot!(shown(&found));
}

#[test]
fn what_cannot_be_read_is_refused() {
    let refused = |text: &str| {
        let input = Input { file: "x".to_owned(), text: text.to_owned() };
        import(vec![input], &Options::default()).unwrap_err().message
    };
    assert_eq!(refused("good morning"), "x: it cannot be told whose rules these are");
    assert_eq!(refused("{\"nftables\": []}"), "x is JSON");
    let circle = "*mangle\n:a - [0:0]\n:b - [0:0]\n-A PREROUTING -j a\n-A a -p tcp -j b\n-A b -p tcp -j a\nCOMMIT\n";
    assert_eq!(refused(circle), "chains jump too deep, or in a circle");
}
