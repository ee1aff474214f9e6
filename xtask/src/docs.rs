//! The documentation, as far as a machine can tell: links lead somewhere, and commands exist.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::CommandFactory as _;
use syn::Item;

/// Checks the Markdown files of the repository.
///
/// # Errors
///
/// If a link or a command leads nowhere; each has been printed.
pub fn run(root: &Path) -> anyhow::Result<()> {
    let commands = Commands { qosbpf: subcommands(root)?, xtask: chores() };
    let mut broken = 0;
    for file in pages(root)? {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let folder = file.parent().unwrap_or(root);
        for (number, line) in text.lines().enumerate() {
            let links = links(line).into_iter().filter(|link| !folder.join(link).exists());
            let links = links.map(|link| format!("no such file: {link}"));
            for fault in links.chain(commands.unknown(line)) {
                println!("{}:{}: {fault}", file.strip_prefix(root).unwrap_or(&file).display(), number + 1);
                broken += 1;
            }
        }
    }
    if broken > 0 {
        bail!("{broken} links or commands in the documentation lead nowhere");
    }
    Ok(())
}

fn pages(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for folder in [root.to_owned(), root.join("docs"), root.join("docs/decisions")] {
        if folder.exists() {
            for entry in fs::read_dir(folder)? {
                pages.push(entry?.path());
            }
        }
    }
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    Ok(pages)
}

/// The files that a line of Markdown links to, without the part behind `#`.
fn links(line: &str) -> Vec<&str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:"));
    files.filter_map(|target| target.split('#').next()).filter(|target| !target.is_empty()).collect()
}

struct Commands {
    qosbpf: Vec<String>,
    xtask: Vec<String>,
}

impl Commands {
    /// The commands of a line that do not exist.
    fn unknown(&self, line: &str) -> Vec<String> {
        let mut unknown = Vec::new();
        for (program, known) in [("cargo xtask ", &self.xtask), ("qosbpf ", &self.qosbpf)] {
            for command in invocations(line, program) {
                if !known.iter().any(|name| name == command) {
                    unknown.push(format!("no such command: {program}{command}"));
                }
            }
        }
        unknown
    }
}

/// The words behind a program's name, where it begins a command: behind a prompt, `sudo` or a backtick, or a line.
fn invocations<'a>(line: &'a str, program: &str) -> Vec<&'a str> {
    let is_start =
        |before: &str| before.is_empty() || ["$ ", "# ", "sudo ", "`"].iter().any(|end| before.ends_with(end));
    let is_word = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let places = line.match_indices(program).map(|(at, _)| line.split_at(at));
    places
        .filter(|(before, _)| is_start(before))
        .filter_map(|(_, command)| command.strip_prefix(program)?.split([' ', '`']).next())
        .filter(|word| !word.starts_with('-'))
        .filter(is_word)
        .collect()
}

fn chores() -> Vec<String> {
    crate::Cli::command().get_subcommands().map(|chore| chore.get_name().to_owned()).collect()
}

/// The commands of qosbpf, from the source of its command line: they are known without building it.
fn subcommands(root: &Path) -> anyhow::Result<Vec<String>> {
    let path = root.join("qos-user/src/cli.rs");
    let file = syn::parse_file(&fs::read_to_string(&path).context("qos-user/src/cli.rs")?)?;
    let commands = file.items.into_iter().find_map(|item| match item {
        Item::Enum(item) if item.ident == "Command" => Some(item.variants),
        _ => None,
    });
    let commands = commands.context("qos-user/src/cli.rs has no `enum Command`")?;
    Ok(commands.iter().map(|command| kebab(&command.ident.to_string())).chain(["help".to_owned()]).collect())
}

fn kebab(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push('-');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_are_found() {
        assert_eq!(
            links("see [a](docs/a.md#top), [b](https://b.example) and [c](#c) or [d](d.md)"),
            ["docs/a.md", "d.md"]
        );
    }

    #[test]
    fn commands_are_found_where_they_begin() {
        let commands = Commands { qosbpf: vec!["stats".to_owned()], xtask: vec!["test".to_owned()] };
        assert!(commands.unknown("$ sudo qosbpf stats wan0, or `cargo xtask test`; qosbpf counts").is_empty());
        assert_eq!(commands.unknown("$ qosbpf stat wan0"), ["no such command: qosbpf stat"]);
        assert_eq!(commands.unknown("cargo xtask tests"), ["no such command: cargo xtask tests"]);
        assert!(commands.unknown("qosbpf --help").is_empty());
    }

    #[test]
    fn the_commands_of_qosbpf_are_known() -> anyhow::Result<()> {
        let commands = subcommands(&qos_build::root())?;
        assert!(commands.contains(&"attach".to_owned()), "{commands:?}");
        assert_eq!(kebab("PolicyShow"), "policy-show");
        Ok(())
    }
}
