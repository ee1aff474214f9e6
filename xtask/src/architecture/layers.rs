//! Which way the arrows go in userspace: `main -> cmd -> {kernel, policy, render} -> the rest`.

use super::{
    Finding, Rule,
    mentions::{Mention, mentions},
};

/// The arrows.
pub const LAYERS: Rule = Rule {
    name: "main -> cmd -> {kernel, policy, render} -> {snapshot, status, hook, error, ...}; siblings do not meet",
    reason: "what reads the kernel, what decides and what prints can be read, tested and replaced each by itself",
    check: |source| {
        if !source.path.starts_with("qos-user/src/") {
            return Vec::new();
        }
        let module = source.module();
        let from = module.first().copied().unwrap_or("main");
        let targets =
            mentions(source).into_iter().filter_map(|mention| Some((target(&mention, &module)?, mention.line)));
        targets
            .filter(|(to, _)| !may_import(from, to))
            .map(|(to, line)| Finding { line, what: format!("{from} imports {to}") })
            .collect()
    },
};

/// The top module of this crate that a path leads to.
fn target(mention: &Mention, module: &[&str]) -> Option<String> {
    let path: Vec<&str> = mention.path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["crate" | "qosbpf", top, ..] => Some((*top).to_owned()),
        ["super", rest @ ..] => {
            let further = rest.iter().take_while(|segment| **segment == "super").count();
            let parent = &module[..module.len().saturating_sub(1 + further)];
            parent.iter().chain(&rest[further..]).next().map(|top| (*top).to_owned())
        }
        _ => None,
    }
}

fn may_import(from: &str, to: &str) -> bool {
    let is_base = |module: &str| !["cli", "cmd", "kernel", "policy", "render", "main"].contains(&module);
    match from {
        "main" | "cmd" => true,
        "cli" | "kernel" | "policy" | "render" => to == from || is_base(to),
        _ => is_base(to),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::lines, *};

    #[test]
    fn siblings_do_not_meet() -> anyhow::Result<()> {
        let text = "use crate::{error::Failure, policy::compile};\nuse super::super::render::table;\nuse super::pins;";
        assert_eq!(lines(&LAYERS, "qos-user/src/kernel/load.rs", text)?, [1, 2]);
        assert!(lines(&LAYERS, "qos-user/src/cmd/attach.rs", text)?.is_empty());
        Ok(())
    }

    #[test]
    fn nobody_below_main_imports_a_command() -> anyhow::Result<()> {
        for path in ["kernel/load.rs", "render/json.rs", "snapshot.rs", "cli.rs"] {
            assert_eq!(lines(&LAYERS, &format!("qos-user/src/{path}"), "\nuse crate::cmd::stats;")?, [2], "{path}");
        }
        assert!(lines(&LAYERS, "qos-user/src/main.rs", "use qosbpf::cmd::stats;")?.is_empty());
        Ok(())
    }

    #[test]
    fn what_is_below_knows_nothing_above() -> anyhow::Result<()> {
        let text = "use crate::hook::Via;\nfn f() { crate::kernel::load::now(); }";
        assert_eq!(lines(&LAYERS, "qos-user/src/snapshot.rs", text)?, [2]);
        Ok(())
    }
}
