//! The Rust files of this repository, parsed, without what is compiled for tests alone.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use quote::ToTokens as _;
use syn::{Attribute, Item, visit_mut::VisitMut};

/// One file.
pub struct Source {
    /// Its path from the repository's folder, such as `qos-user/src/cmd/stats.rs`.
    pub path: String,
    /// Its content without tests.
    pub file: syn::File,
}

impl Source {
    /// Parses one file.
    ///
    /// # Errors
    ///
    /// If it is not Rust.
    pub fn parse(path: &str, text: &str) -> anyhow::Result<Self> {
        let file = syn::parse_file(text).with_context(|| path.to_owned())?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Its path in the module tree of its crate; empty for the root.
    pub fn module(&self) -> Vec<&str> {
        let inside = self.path.split_once("/src/").map_or("", |(_, inside)| inside);
        let mut names: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
        if names.last().is_some_and(|name| matches!(*name, "mod" | "lib" | "main")) {
            names.pop();
        }
        names
    }

    /// Whether it is a test, an example or a benchmark as a whole.
    pub fn is_test(&self) -> bool {
        ["tests/", "benches/", "examples/", "fuzz/"]
            .iter()
            .any(|folder| self.path.starts_with(folder) || self.path.contains(&format!("/{folder}")))
    }
}

/// All files of the packages directly below `root`.
///
/// # Errors
///
/// If a file cannot be read or parsed.
pub fn load(root: &Path) -> anyhow::Result<Vec<Source>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root)? {
        let package = entry?.path();
        if package.join("Cargo.toml").exists() {
            collect(&package, &mut paths)?;
        }
    }
    paths.sort();
    let mut sources = Vec::new();
    let mut tests = BTreeSet::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let mut source = Source::parse(&name, &text)?;
        tests.extend(remove_tests(&mut source));
        sources.push(source);
    }
    sources.retain(|source| !tests.contains(&source.path));
    Ok(sources)
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

/// Takes the tests out of a file; the result are the files that it declares as tests.
fn remove_tests(source: &mut Source) -> Vec<String> {
    let mut remover = Remover { modules: Vec::new() };
    remover.visit_file_mut(&mut source.file);
    let folder = match source.path.strip_suffix("/mod.rs").or_else(|| source.path.strip_suffix("/lib.rs")) {
        Some(folder) => folder,
        None => source.path.trim_end_matches("/main.rs").trim_end_matches(".rs"),
    };
    let names = remover.modules.iter();
    names.flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]).collect()
}

struct Remover {
    modules: Vec<String>,
}

impl VisitMut for Remover {
    fn visit_file_mut(&mut self, file: &mut syn::File) {
        self.keep(&mut file.items);
        syn::visit_mut::visit_file_mut(self, file);
    }

    fn visit_item_mod_mut(&mut self, module: &mut syn::ItemMod) {
        if let Some((_, items)) = &mut module.content {
            self.keep(items);
        }
        syn::visit_mut::visit_item_mod_mut(self, module);
    }
}

impl Remover {
    fn keep(&mut self, items: &mut Vec<Item>) {
        for item in items.extract_if(.., |item| attributes(item).iter().any(is_cfg_test)) {
            if let Item::Mod(module) = item {
                self.modules.push(module.ident.to_string());
            }
        }
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_cfg_test(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.meta.to_token_stream().to_string().replace(' ', "") == "cfg(test)"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_taken_out_and_their_files_are_named() -> anyhow::Result<()> {
        let text = "fn kept() {}\n#[cfg(test)] mod cases;\n#[cfg(test)]\nmod tests { fn gone() {} }\n\
            mod inner { #[cfg(test)] use gone; }";
        let mut source = Source::parse("qos-user/src/policy/parse.rs", text)?;
        let files = remove_tests(&mut source);
        assert!(files.contains(&"qos-user/src/policy/parse/cases.rs".to_owned()));
        let left = source.file.to_token_stream().to_string();
        assert!(left.contains("kept") && left.contains("inner") && !left.contains("gone"), "{left}");
        Ok(())
    }

    #[test]
    fn the_module_follows_from_the_path() -> anyhow::Result<()> {
        let module = |path| Source::parse(path, "").map(|source| source.module().join("::"));
        assert_eq!(module("qos-user/src/lib.rs")?, "");
        assert_eq!(module("qos-user/src/kernel/mod.rs")?, "kernel");
        assert_eq!(module("qos-user/src/kernel/pins.rs")?, "kernel::pins");
        Ok(())
    }
}
