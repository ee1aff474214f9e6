//! Names with every odd character, of interfaces and of rules: each output says them so that its reader gets them whole,
//! and none of them controls a terminal.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::{
        fd::AsFd as _,
        unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    },
    path::Path,
};

use anyhow::{Context as _, ensure};
use qosbpf_tests::{
    binary::Answer,
    bpf::{Kind, load_constant, pin},
    router::{Router, words},
    typed::{find, has, shell},
};
use serde_json::Value;

/// What the kernel takes: no blank, no slash, no colon, no `%`, at most 15 bytes.
const INTERFACES: [&str; 8] = [
    "q\"uo'te`d",
    "a\\b,c;d=e",
    "{x}\\n$HOME",
    "\u{1b}[31mred",
    "bell\u{7}del\u{7f}",
    "lan\u{fc}\u{260e}0",
    "\u{202e}0nal",
    "abcdefghijklmno",
];

/// As a policy has them, in TOML.
const RULES: [(&str, &str); 6] = [
    ("a \"quoted\", 'name'", r#"a \"quoted\", 'name'"#),
    ("100 % of it, a\\b {c}=\"d\"", r#"100 % of it, a\\b {c}=\"d\""#),
    ("\u{260e} caf\u{e9}", "\u{260e} caf\u{e9}"),
    ("=SUM(A1)", "=SUM(A1)"),
    ("<b>&amp;", "<b>&amp;"),
    ("#", "#"),
];

/// What a policy refuses in a name, in TOML.
const REFUSED: [&str; 5] = [r"two\nlines", r"\u001b[31mred", r"tab\there", r"\u0000", r"\u202eright-to-left"];

/// One end in the router, the other nowhere.
fn add(router: &Router, name: &OsStr, number: usize) -> anyhow::Result<()> {
    router.edge().run(|| {
        let mut ip = words("ip link add");
        ip.arg(name).args(["type", "veth", "peer", "name", &format!("peer{number}")]);
        Answer::of(&mut ip)?.expect(0)?;
        let mut up = words("ip link set up dev");
        Answer::of(up.arg(name))?.expect(0).map(drop)
    })
}

fn ask(router: &Router, line: &str, name: &str) -> anyhow::Result<Answer> {
    Answer::of(router.command(line)?.arg(name))
}

/// Quotes of RFC 4180, doubled inside of quotes.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, quoted) {
            ('"', true) if characters.peek() == Some(&'"') => cell.extend(characters.next()),
            ('"', _) => quoted = !quoted,
            (',', false) => row.push(std::mem::take(&mut cell)),
            ('\n', false) => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            ('\r', false) => {}
            (c, _) => cell.push(c),
        }
    }
    rows
}

/// The value of a label in a line of the text format of Prometheus, with its escapes undone.
fn label(line: &str, name: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("{name}=\""))?;
    let (mut value, mut characters) = (String::new(), rest.chars());
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => match characters.next()? {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

fn is_tame(answer: &Answer) -> anyhow::Result<()> {
    let tame = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}'));
    ensure!(tame(&answer.stdout) && tame(&answer.stderr), "{answer:?}");
    Ok(())
}

fn names(document: &Value) -> BTreeSet<&str> {
    document["hooks"].as_array().into_iter().flatten().filter_map(|hook| hook["interface"].as_str()).collect()
}

#[test]
fn interfaces_of_every_name() -> anyhow::Result<()> {
    let router = Router::start()?;
    for (number, name) in INTERFACES.iter().enumerate() {
        add(&router, OsStr::new(name), number)?;
        let attached = ask(&router, "attach --egress", name)?.expect(0)?;
        is_tame(&attached)?;
    }
    // What is no text is in the way of nothing.
    add(&router, OsStr::from_bytes(b"\xff\xfe0"), INTERFACES.len())?;
    router.ask("attach nowhere")?.expect(1)?.complains(&[r"$'\xff\xfe0'"])?;
    let found = find(&router.ask("doctor --sample 0 --json")?, "host", "odd-name")?;
    let renames = format!(r"ip netns exec {} ip link set dev $'\xff\xfe0' name NEW", router.edge().name());
    ensure!(found["advice"] == format!("give it another name: {renames}"), "{found}");
    let document = router.ok("stats --json")?.json()?;
    assert_eq!(names(&document), INTERFACES.into());
    assert_eq!(names(&router.ok("status --json")?.json()?), INTERFACES.into());
    let rows = csv(&router.ok("stats --csv")?.stdout);
    let columns = rows.first().context("a header")?.len();
    let column = rows[0].iter().position(|title| title == "interface").context("a column")?;
    for row in &rows {
        ensure!(row.len() == columns, "{row:?}");
    }
    let metrics = router.ok("stats --prometheus")?.stdout;
    for name in INTERFACES {
        ensure!(rows.iter().any(|row| row[column] == name), "CSV: {name:?}");
        let up = metrics.lines().filter(|line| line.starts_with("qosbpf_hook_up{"));
        ensure!(up.filter_map(|line| label(line, "device")).any(|device| device == name), "{name:?}: {metrics}");
        is_tame(&ask(&router, "stats", name)?.expect(0)?)?;
    }
    for line in ["status", "stats", "stats --rate 0", "policy show"] {
        is_tame(&router.ask(line)?)?;
    }
    for name in INTERFACES {
        is_tame(&ask(&router, "detach", name)?.expect(0)?)?;
    }
    router.ok("status")?.says(&["nothing is attached"])?;
    Ok(())
}

/// What a shell would do something with, or a command take for an option.
const SHELL: [&str; 6] = ["$(>pwned)", "x;>pwned", "`>pwned`", "x&&>pwned", "|tee>pwned", "-q"];

/// A `tcpdump` that says which interface it was told.
const TCPDUMP: &str = "#!/bin/sh\nprintf '%s' \"$6\" > asked\n";

/// Types a line in, in a folder in which no name may have made anything.
fn typed(folder: &Path, line: &str) -> anyhow::Result<()> {
    let answer = shell(&format!("cd {} || exit 9\n{line}", folder.display()), Some(folder))?;
    ensure!(answer.code == 0, "{line}: {answer:?}");
    ensure!(!folder.join("pwned").exists(), "a name was run: {line}");
    Ok(())
}

/// A bridge of that name with a member, an XDP program of somebody else, and hooks that count twice.
fn trouble(router: &Router, name: &str, program: &Path) -> anyhow::Result<()> {
    router.edge().run(|| {
        Answer::of(words("ip link add name").arg(name).args(["type", "bridge"]))?.expect(0)?;
        Answer::of(words("ip link set dev member master").arg(name))?.expect(0)?;
        let slot = ["xdpgeneric", "pinned", &program.display().to_string()].map(str::to_owned);
        Answer::of(words("ip link set up dev").arg(name).args(slot))?.expect(0)
    })?;
    ask(router, "attach --egress --", name)?.expect(0).map(drop)
}

#[test]
fn cures_with_every_name_are_typed_in() -> anyhow::Result<()> {
    let router = Router::start()?;
    let tools = tempfile::tempdir()?;
    let tcpdump = tools.path().join("tcpdump");
    fs::write(&tcpdump, TCPDUMP)?;
    fs::set_permissions(&tcpdump, fs::Permissions::from_mode(0o755))?;
    let program = router.bpffs.join("foreign");
    pin(load_constant(Kind::Xdp, c"foreign", 2)?.as_fd(), &program)?;
    add(&router, OsStr::new("member"), 0)?;
    router.ok("attach member --egress")?;
    for name in INTERFACES.into_iter().chain(SHELL) {
        trouble(&router, name, &program)?;
        let why = ask(&router, "why --sample 0 --json --", &format!("{name}:ingress"))?.expect(3)?;
        let absent = find(&why, &format!("{name}:ingress"), "not-attached")?;
        typed(tools.path(), absent["cure"].as_str().context("a cure")?)?;
        let why = ask(&router, "why --sample 0 --json --", &format!("{name}:egress"))?;
        let further = why.json()?["further"].clone();
        let mut further = further.as_array().into_iter().flatten().filter_map(Value::as_str);
        typed(tools.path(), further.find(|command| command.contains("tcpdump")).context("tcpdump")?)?;
        ensure!(fs::read_to_string(tools.path().join("asked"))? == name, "tcpdump was told another name");
        let script = ask(&router, "doctor --sample 0 --fix-script --", name)?.expect(3)?;
        is_tame(&script)?;
        typed(tools.path(), &script.stdout)?;
        let cured = ask(&router, "doctor --sample 0 --json --", name)?;
        for code in ["xdp-slot-taken", "counted-twice"] {
            ensure!(script.stdout.contains("xdpgeneric off") && !has(&cured, code)?, "{code}: {cured:?} {script:?}");
        }
        ask(&router, "detach --", name)?.expect(0)?;
        router.edge().run(|| Answer::of(words("ip link del dev").arg(name))?.expect(0))?;
    }
    Ok(())
}

/// The kernel itself takes none of them.
#[test]
fn what_is_no_name_is_refused_by_it() -> anyhow::Result<()> {
    let router = Router::start()?;
    for name in ["with space", "sla/sh", "sixteen-bytes-xx", "", "\u{1b}[2J", "a\nb"] {
        let refused = ask(&router, "attach", name)?;
        ensure!([1, 2].contains(&refused.code), "{refused:?}");
        is_tame(&refused)?;
    }
    Ok(())
}

#[test]
fn rules_of_every_name() -> anyhow::Result<()> {
    let router = Router::start()?;
    let rule = |(number, written): (usize, &str)| {
        format!(
            "[[rule]]\nname = \"{written}\"\non = \"wan0:egress\"\nmatch = {{ dst-port = {number} }}\nset = \"CS1\"\n"
        )
    };
    let text: String = RULES.iter().map(|(_, written)| *written).enumerate().map(rule).collect();
    let policy = router.policy("odd", &text)?;
    router.ok("attach wan0 --egress")?;
    is_tame(&router.ok(&format!("policy apply {policy}"))?)?;
    let document = router.ok("stats --json")?.json()?;
    let rules = document["hooks"][0]["rules"].as_array().context("rules")?;
    let names: Vec<&str> = rules.iter().filter_map(|rule| rule["rule"].as_str()).collect();
    assert_eq!(names, RULES.map(|(name, _)| name));
    let rows = csv(&router.ok("stats --csv")?.stdout);
    let metrics = router.ok("stats --prometheus")?.stdout;
    for (name, _) in RULES {
        ensure!(rows.iter().flatten().any(|cell| cell == name), "CSV: {name:?}: {rows:?}");
        ensure!(metrics.lines().filter_map(|line| label(line, "rule")).any(|rule| rule == name), "{name:?}: {metrics}");
    }
    for line in ["status", "stats", "policy show"] {
        is_tame(&router.ok(line)?)?;
    }
    for written in REFUSED {
        let wrong = router.policy("wrong", &rule((1, written)))?;
        is_tame(&router.ask(&format!("policy check {wrong}"))?.expect(2)?)?;
    }
    Ok(())
}
