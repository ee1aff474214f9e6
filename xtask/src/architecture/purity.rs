//! What computes, and does nothing else.

use super::{Finding, Rule, mentions::mentions};

/// The modules that are functions of their arguments.
const PURE: [&str; 6] = ["policy", "snapshot", "status", "render", "netdev", "diagnosis"];

/// What they would reach the world by. Addresses are in `core::net`, which opens no socket.
const WORLD: [&str; 12] = [
    "tokio",
    "futures_util",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "nix",
    "libc",
    "rtnetlink",
    "netlink_packet_route",
    "aya",
];

/// No clock, no file, no socket.
pub const PURITY: Rule = Rule {
    name: "policy, snapshot, status, netdev, diagnosis and render know no clock, file, socket or runtime",
    reason: "the same input gives the same output, in a test as on a router: time and files are arguments",
    check: |source| {
        let pure = source.module().first().is_some_and(|top| PURE.contains(top));
        if !pure || !source.path.starts_with("qos-user/src/") {
            return Vec::new();
        }
        let mentions = mentions(source).into_iter();
        let reaching = mentions.filter(|mention| {
            let clock = mention.path.last().is_some_and(|last| last == "now");
            clock || WORLD.iter().any(|prefix| mention.starts_with(prefix))
        });
        reaching.map(|mention| Finding { line: mention.line, what: format!("mentions {}", mention.text()) }).collect()
    },
};

#[cfg(test)]
mod tests {
    use super::{super::tests::lines, *};

    #[test]
    fn clocks_files_and_sockets_are_found() -> anyhow::Result<()> {
        let text = "use std::{fmt, fs};\nuse std::time::SystemTime;\nfn f() { SystemTime::now(); }\n\
            fn g() { assert!(jiff::Timestamp::now() > x); }\nuse std::net::UdpSocket;";
        for path in ["policy/parse.rs", "snapshot.rs", "render/table.rs"] {
            assert_eq!(lines(&PURITY, &format!("qos-user/src/{path}"), text)?, [1, 3, 4, 5], "{path}");
        }
        assert!(lines(&PURITY, "qos-user/src/cmd/stats.rs", text)?.is_empty());
        Ok(())
    }
}
