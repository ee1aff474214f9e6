//! A router, packets in words, and what is said of them.

use qosbpf_tests::{binary::Answer, router::Router};
use serde_json::Value;

/// Rules of every kind at `lan0:ingress`, and a table at either end.
pub const RULES: &str = r#"
[interface.lan0]
ingress = "in"
[interface.wan0]
egress = "out"
[remark.in]
CS6 = "DF"
other = "keep"
[remark.out]
AF41 = "AF31"
CS6 = "DF"
other = "keep"
[[rule]]
name = "everything"
on = "all"
count = true
[[rule]]
name = "marked echo"
on = "lan0:ingress"
match = { icmp-type = [8, 128], dscp = "EF" }
set = "AF41"
[[rule]]
name = "kept echo"
on = "lan0:ingress"
match = { icmp-type = [8, 128], dscp = "CS1" }
set = "keep"
[[rule]]
name = "out of the LAN"
on = "wan0:egress"
match = { from = "lan0", dscp = "AF21" }
set = "AF22"
[[rule]]
name = "no telnet"
on = "lan0:ingress"
match = { proto = "tcp", dst-port = 23 }
drop = true
"#;

/// Explains a packet in words; `options` come after the hook.
pub fn ask(router: &Router, hook: &str, words: &str, options: &str) -> anyhow::Result<Answer> {
    let mut command = router.command(&format!("policy explain {hook}"))?;
    command.arg(words).args(options.split_whitespace());
    Answer::of(&mut command)
}

/// The same as a document.
pub fn explain(router: &Router, hook: &str, words: &str, options: &str) -> anyhow::Result<Value> {
    ask(router, hook, words, &format!("{options} --json"))?.expect(0)?.json()
}

/// The name of the rule that decided, or the key of the entry, or what else did.
pub fn decider(document: &Value) -> &str {
    let by = &document["decided_by"];
    [&by["rule"], &by["entry"], &by["kind"]].iter().find_map(|word| word.as_str()).unwrap_or_default()
}
