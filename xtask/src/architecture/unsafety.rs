//! Where `unsafe` may stand. That each has its SAFETY comment is clippy's part (`undocumented_unsafe_blocks`).

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;

use super::{Finding, Rule};

/// The files that touch memory which Rust does not know.
const ALLOWED: [&str; 7] = [
    "qos-ebpf/src/window.rs",
    "qos-ebpf/src/maps.rs",
    "qos-ebpf/src/buckets.rs",
    "qos-ebpf/src/skb.rs",
    "qos-ebpf/src/xdp.rs",
    "qos-user/src/kernel/",
    "qos-user/build.rs",
];

/// The few places with `unsafe`.
pub const UNSAFE: Rule = Rule {
    name: "`unsafe` only in the adapters: qos-ebpf/src/{window,maps,buckets,skb,xdp}.rs, qos-user/src/kernel/, qos-user/build.rs",
    reason: "whoever looks for the cause of a corruption has these files to read and no others",
    check: |source| {
        if source.is_test() || ALLOWED.iter().any(|allowed| source.path.starts_with(allowed)) {
            return Vec::new();
        }
        let mut findings = Vec::new();
        scan(source.file.to_token_stream(), &mut findings);
        findings
    },
};

fn scan(tokens: TokenStream, findings: &mut Vec<Finding>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => scan(group.stream(), findings),
            TokenTree::Ident(ident) if ident == "unsafe" => {
                // `#[unsafe(no_mangle)]` names a symbol, and does nothing at run time.
                let attribute =
                    matches!(tokens.peek(), Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Parenthesis);
                if !attribute {
                    findings.push(Finding { line: ident.span().start().line, what: "has `unsafe`".to_owned() });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::lines, *};

    #[test]
    fn blocks_functions_and_macros_are_found() -> anyhow::Result<()> {
        let text = "fn f() { unsafe { g() } }\nunsafe fn g() {}\nmacro_rules! m { () => { unsafe { g() } } }";
        assert_eq!(lines(&UNSAFE, "qos-user/src/cmd/demo.rs", text)?, [1, 2, 3]);
        assert!(lines(&UNSAFE, "qos-user/src/kernel/sys.rs", text)?.is_empty());
        Ok(())
    }

    #[test]
    fn attributes_and_words_are_not() -> anyhow::Result<()> {
        let text = "/// unsafe { }\n#[unsafe(no_mangle)]\nstatic X: &str = \"unsafe {\";";
        assert!(lines(&UNSAFE, "qos-ebpf/src/main.rs", text)?.is_empty());
        Ok(())
    }
}
