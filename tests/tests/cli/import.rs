//! `policy import`: its exit codes, its document, and what a person is told.

use qosbpf_tests::binary::{Answer, command};
use serde_json::json;

const WHOLE: &str = "*mangle\n-A PREROUTING -p udp -m udp --dport 53 -j DSCP --set-dscp-class CS2\nCOMMIT\n";
const PARTLY: &str = "# by hand\n*mangle\n-A PREROUTING -p udp -m udp --dport 53 -j DSCP --set-dscp-class CS2\n\
                      -A PREROUTING -m conntrack --ctstate NEW -j DSCP --set-dscp 0x2e\n\nCOMMIT\n";

fn import(arguments: &[&str], text: &str) -> anyhow::Result<Answer> {
    let mut command = command(&["policy", "import"])?;
    Answer::with_input(command.args(arguments), text.as_bytes())
}

#[test]
fn it_is_0_if_everything_is_carried_over() -> anyhow::Result<()> {
    let answer = import(&[], WHOLE)?.expect(0)?;
    assert_eq!(answer.stderr, "iptables: 1 rule; everything is carried over\n");
    let mut check = command(&["policy", "check", "-"])?;
    Answer::with_input(&mut check, answer.stdout.as_bytes())?.expect(0)?;
    Ok(())
}

#[test]
fn it_is_3_if_a_line_is_left_and_the_policy_is_printed_all_the_same() -> anyhow::Result<()> {
    let answer = import(&[], PARTLY)?.expect(3)?;
    let told = "stdin:4: not carried over: --ctstate: connections are not tracked here\n    \
                -A PREROUTING -m conntrack --ctstate NEW -j DSCP --set-dscp 0x2e\n\
                stdin:1: note: 2 lines have nothing to do with marking: 1, 5\n\
                iptables: 1 rule; 1 line is not carried over, or not wholly\n";
    assert_eq!(answer.stderr, told);
    assert!(answer.stdout.contains("# not carried over, line 4: -A PREROUTING"), "{}", answer.stdout);
    let mut check = command(&["policy", "check", "-"])?;
    Answer::with_input(&mut check, answer.stdout.as_bytes())?.expect(0)?;
    Ok(())
}

/// What differs of a line that is in the policy is said, and that the rest is carried over.
#[test]
fn a_line_that_is_carried_over_in_part_is_said_to_be_so() -> anyhow::Result<()> {
    let text = "*mangle\n-A PREROUTING -p icmp -j TOS --set-tos 0x10/0x3f\nCOMMIT\n";
    let answer = import(&[], text)?.expect(3)?;
    assert!(answer.stderr.starts_with("stdin:2: carried over in part: "), "{}", answer.stderr);
    assert!(answer.stdout.contains("# carried over in part, line 2: -A PREROUTING"), "{}", answer.stdout);
    assert_eq!(import(&["--json"], text)?.expect(3)?.json()?["left"][0]["in_part"], true);
    Ok(())
}

/// Lines are counted, not what is said of them: one with two reasons is listed once, and those of a block are lines too.
#[test]
fn lines_that_are_left_are_counted_once_each() -> anyhow::Result<()> {
    let text = "policy-map out\n class video\n  bandwidth 2000\n  set dscp af41\n class class-default\n  set dscp default\n\
                interface wan0\n service-policy output out\n";
    let answer = import(&["--from", "cisco", "--interface", "wan0=wan0"], text)?.expect(3)?;
    let left = answer.stderr.lines().filter(|line| line.contains("carried over:")).collect::<Vec<_>>();
    let [class, bandwidth] = &*left else { anyhow::bail!("{}", answer.stderr) };
    assert!(class.starts_with("stdin:2: ") && class.contains("no class-map video") && class.ends_with("(with line 4)"));
    assert!(bandwidth.starts_with("stdin:3: "), "{bandwidth}");
    assert!(
        answer.stderr.ends_with("cisco: 1 rule; 3 lines are not carried over, or not wholly\n"),
        "{}",
        answer.stderr
    );
    Ok(())
}

/// A name that is only guessed is to be known, and all that the line says is in the policy.
#[test]
fn a_name_that_is_guessed_is_a_note() -> anyhow::Result<()> {
    let text =
        "policy-map in\n class class-default\n  set dscp ef\ninterface GigabitEthernet0/1\n service-policy input in\n";
    let answer = import(&[], text)?.expect(0)?;
    assert!(answer.stdout.contains("on = \"gi0-1:ingress\""), "{}", answer.stdout);
    let told = "stdin:5: note: GigabitEthernet0/1 is taken as gi0-1: --interface GigabitEthernet0/1=NAME\n";
    assert!(answer.stderr.contains(told), "{}", answer.stderr);
    assert!(answer.stderr.ends_with("cisco: 1 rule; everything is carried over\n"), "{}", answer.stderr);
    Ok(())
}

#[test]
fn the_document_says_the_same() -> anyhow::Result<()> {
    let answer = import(&["--json", "-"], PARTLY)?.expect(3)?;
    assert_eq!(answer.stderr, "");
    let mut document = answer.json()?;
    let policy = document["policy"].take();
    assert_eq!(Some(&*import(&[], PARTLY)?.stdout), policy.as_str());
    let wanted = json!({
        "schema": 1, "from": "iptables", "policy": null, "rules": 1,
        "left": [{
            "file": "stdin", "line": 4, "reason": "--ctstate: connections are not tracked here",
            "text": "-A PREROUTING -m conntrack --ctstate NEW -j DSCP --set-dscp 0x2e",
        }],
        "notes": [{
            "file": "stdin", "line": 1, "reason": "2 lines have nothing to do with marking: 1, 5", "text": "",
        }],
    });
    assert_eq!(document, wanted);
    assert_eq!(import(&["--json"], WHOLE)?.expect(0)?.json()?["left"], json!([]));
    Ok(())
}

#[test]
fn it_is_2_if_nothing_can_be_made_of_the_input() -> anyhow::Result<()> {
    let json = "{\"nftables\": []}";
    import(&[], json)?.expect(2)?.complains(&["stdin is JSON", "`nft list ruleset` is read, without -j"])?;
    import(&[], "good morning\n")?.expect(2)?.complains(&["it cannot be told whose rules these are", "--from"])?;
    import(&["--from", "nft"], "table ip t {\n chain c {\n")?.expect(2)?.complains(&["a bracket is never closed"])?;
    import(&["/nonexistent/rules"], "")?.expect(2)?.complains(&["/nonexistent/rules", "No such file"])?;
    let document = import(&["--json"], "good morning\n")?.expect(2)?.json()?;
    assert_eq!(document["error"]["code"], "import-unreadable", "{document:#}");
    Ok(())
}
