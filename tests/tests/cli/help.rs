//! The help of every command; it is what users read, so a change of it is meant.

use clap::CommandFactory as _;
use qosbpf::cli::Cli;
use qosbpf_tests::binary::{Answer, command};

/// Every command with its subcommands, as words on a command line.
fn commands(command: &clap::Command, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        commands(sub, format!("{path} {}", sub.get_name()).trim(), all);
    }
}

#[test]
fn every_command_has_its_help() -> anyhow::Result<()> {
    let mut all = Vec::new();
    commands(&Cli::command(), "", &mut all);
    assert!(all.iter().any(|path| path == "policy apply") && all.iter().any(|path| path == "stats clear"), "{all:?}");
    for path in all {
        let mut words: Vec<&str> = path.split_whitespace().collect();
        words.push("--help");
        let answer = Answer::of(&mut command(&words)?)?.expect(0)?;
        assert_eq!(answer.stderr, "");
        assert!(answer.stdout.lines().all(|line| line.chars().count() <= 100), "{}", answer.stdout);
        let name = if path.is_empty() { "qosbpf".to_owned() } else { path.replace(' ', "-") };
        insta::assert_snapshot!(format!("help-{name}"), answer.stdout);
    }
    Ok(())
}

#[test]
fn the_version_is_one_line() -> anyhow::Result<()> {
    let answer = Answer::of(&mut command(&["--version"])?)?.expect(0)?;
    assert_eq!(answer.stdout, format!("qosbpf {} ({})\n", qosbpf::VERSION, qosbpf::REVISION));
    Ok(())
}
