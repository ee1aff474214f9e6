//! `qosbpf policy import`

use std::path::Path;

use serde_json::json;

use super::{called, read_bounded};
use crate::{
    cli::{ImportArgs, ImportFrom},
    cmd::Context,
    error::{Exit, Failure},
    policy::{
        MAX_BYTES,
        import::{self, Imported, Input, Kind, Options, Remark},
    },
};

/// Prints another tool's rules as a policy, and says on stderr what is not carried over.
///
/// # Errors
///
/// `import-unreadable`: an input that cannot be read, or of which nothing can be made.
pub fn run(args: &ImportArgs, context: &Context) -> anyhow::Result<Exit> {
    let stdin = [Path::new("-").to_owned()];
    let files = if args.files.is_empty() { &stdin[..] } else { &args.files };
    let inputs = files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    let imported = import::import(inputs, &options(args)).map_err(|error| {
        let failure = unreadable(&error.message);
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    if args.json {
        context.document(&format!("{:#}\n", document(&imported)))?;
    } else {
        context.print(&imported.policy)?;
        context.warn(&said(&imported));
    }
    Ok(if imported.left.is_empty() { Exit::Done } else { Exit::No })
}

fn options(args: &ImportArgs) -> Options {
    let kind = match args.from {
        ImportFrom::Auto => None,
        ImportFrom::Iptables => Some(Kind::Iptables),
        ImportFrom::Nft => Some(Kind::Nft),
        ImportFrom::Cisco => Some(Kind::Cisco),
        ImportFrom::Qosify => Some(Kind::Qosify),
    };
    let on = args.on.iter().map(|hook| (hook.interface.clone(), hook.direction)).collect();
    Options { kind, interfaces: args.interface.clone(), on, name: args.name.clone() }
}

fn read(file: &Path) -> Result<Input, Failure> {
    let name = called(file);
    let bytes = read_bounded(file).map_err(|error| unreadable(&format!("{name}: {error}")))?;
    if bytes.len() > MAX_BYTES {
        return Err(unreadable(&format!("{name} has more than {MAX_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_not_text| unreadable(&format!("{name} is not UTF-8")))?;
    Ok(Input { file: name, text })
}

fn unreadable(message: &str) -> Failure {
    Failure::new("import-unreadable", message).exit(Exit::Usage)
}

/// What a person has to know beside the policy.
fn said(imported: &Imported) -> String {
    let line = |word: &str, remark: &Remark| {
        let quoted = if remark.text.is_empty() { String::new() } else { format!("    {}\n", remark.text) };
        format!("{}:{}: {word}: {}\n{quoted}", remark.file, remark.line, remark.reason)
    };
    let mut text = imported.left.iter().map(|remark| line(remark.word(), remark)).collect::<String>();
    text.extend(imported.notes.iter().map(|remark| line("note", remark)));
    let rules = if imported.rules == 1 { "1 rule".to_owned() } else { format!("{} rules", imported.rules) };
    let left = match imported.lines_left {
        0 => "everything is carried over".to_owned(),
        1 => "1 line is not carried over, or not wholly".to_owned(),
        lines => format!("{lines} lines are not carried over, or not wholly"),
    };
    format!("{text}{}: {rules}; {left}\n", imported.kind.as_str())
}

fn document(imported: &Imported) -> serde_json::Value {
    json!({
        "schema": 1,
        "from": imported.kind.as_str(),
        "policy": imported.policy,
        "rules": imported.rules,
        "left": imported.left,
        "notes": imported.notes,
    })
}
