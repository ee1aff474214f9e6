//! Which crate is known where.

use super::{Finding, Rule, mentions::mentions};
use crate::source::Source;

/// The kernel's side of userspace.
pub const AYA: Rule = Rule {
    name: "`aya::` only in qos-user/src/kernel/",
    reason: "everything else runs and is tested without a kernel, and a change of aya is a change of one folder",
    check: |source| {
        if !source.path.starts_with("qos-user/src/") || source.path.starts_with("qos-user/src/kernel/") {
            return Vec::new();
        }
        crates(source, &["aya", "aya_log", "aya_obj"])
    },
};

/// The command line.
pub const CLAP: Rule = Rule {
    name: "`clap` only in qos-user/src/cli.rs and main.rs",
    reason: "a command takes plain values, so that tests and other commands can call it",
    check: |source| {
        let allowed = ["qos-user/src/cli.rs", "qos-user/src/main.rs"].contains(&source.path.as_str());
        if allowed || !source.path.starts_with("qos-user/src/") {
            return Vec::new();
        }
        crates(source, &["clap", "clap_complete"])
    },
};

/// The data path.
pub const COMMON: Rule = Rule {
    name: "qos-common is no_std, without unsafe, and knows no aya",
    reason: "the same code runs in the kernel and in host tests: what is proved on one side holds on the other",
    check: |source| {
        if !source.path.starts_with("qos-common/src/") {
            return Vec::new();
        }
        let mut findings = crates(source, &["aya", "aya_ebpf", "aya_log_ebpf", "std", "alloc"]);
        if source.path == "qos-common/src/lib.rs" {
            findings.extend(attributes(source));
        }
        findings
    },
};

fn crates(source: &Source, names: &[&str]) -> Vec<Finding> {
    let mentions = mentions(source).into_iter();
    mentions
        .filter(|mention| names.iter().any(|name| mention.starts_with(name)))
        .map(|mention| Finding { line: mention.line, what: format!("mentions {}", mention.text()) })
        .collect()
}

fn attributes(source: &Source) -> Vec<Finding> {
    let text = |attribute: &syn::Attribute| quote::ToTokens::to_token_stream(&attribute.meta).to_string();
    let attributes: Vec<String> = source.file.attrs.iter().map(text).collect();
    let missing =
        ["no_std", "forbid (unsafe_code)"].into_iter().filter(|wanted| !attributes.iter().any(|a| a == wanted));
    missing.map(|wanted| Finding { line: 1, what: format!("has no #![{}]", wanted.replace(' ', "")) }).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::lines, *};

    #[test]
    fn aya_is_at_home_in_kernel_alone() -> anyhow::Result<()> {
        let text = "use std::fs;\nuse aya::{Ebpf, maps};";
        assert_eq!(lines(&AYA, "qos-user/src/cmd/stats.rs", text)?, [2, 2]);
        assert!(lines(&AYA, "qos-user/src/kernel/load.rs", text)?.is_empty());
        Ok(())
    }

    #[test]
    fn clap_is_at_home_in_the_command_line_alone() -> anyhow::Result<()> {
        let text = "#[derive(clap::Args)]\nstruct Args;";
        assert_eq!(lines(&CLAP, "qos-user/src/cmd/stats.rs", text)?, [1]);
        assert!(lines(&CLAP, "qos-user/src/cli.rs", text)?.is_empty());
        Ok(())
    }

    #[test]
    fn the_data_path_is_plain() -> anyhow::Result<()> {
        let good = "#![no_std]\n#![forbid(unsafe_code)]\nuse core::fmt;";
        assert!(lines(&COMMON, "qos-common/src/lib.rs", good)?.is_empty());
        assert_eq!(lines(&COMMON, "qos-common/src/lib.rs", "#![no_std]")?, [1]);
        assert_eq!(lines(&COMMON, "qos-common/src/x.rs", "\nuse std::fmt;")?, [2]);
        Ok(())
    }
}
