//! What was in force before, and the way back to it.

use anyhow::Context as _;
use qosbpf::kernel::{pending::Pending, pins::Store};

use crate::edge::{Edge, KEEP, MARK};

fn numbers(edge: &Edge) -> anyhow::Result<Vec<(u64, String, bool)>> {
    let history = edge.ok("policy history --json")?.json()?;
    let policies = history["policies"].as_array().context("policies")?.iter().map(|past| {
        let name = past["name"].as_str().context("name")?.to_owned();
        Ok((past["number"].as_u64().context("number")?, name, past["in_force"] == true))
    });
    policies.collect()
}

#[test]
fn the_last_ten_are_remembered() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    assert!(numbers(&edge)?.is_empty());
    edge.ask("policy rollback")?.expect(1)?.complains(&["no other policy"])?;
    for name in 1..=12 {
        let file = edge.router.policy(&format!("p{name}"), KEEP)?;
        edge.ok(&format!("policy apply {file}"))?;
    }
    let wanted: Vec<_> = (3..=12).rev().map(|number| (number, format!("p{number}"), number == 12)).collect();
    assert_eq!(numbers(&edge)?, wanted);
    edge.ask("policy rollback 2")?.expect(1)?.complains(&["no policy 2 is remembered", "policy history"])?;
    edge.ok("policy rollback")?.says(&["policy p11"])?;
    edge.ok("policy rollback 5")?.says(&["policy p5"])?;
    assert_eq!(edge.in_force()?, "p5");
    assert_eq!(numbers(&edge)?[..2], [(14, "p5".to_owned(), true), (13, "p11".to_owned(), false)]);
    edge.ok("policy history")?.says(&["now, since", "p11", "root"])?;
    Ok(())
}

/// Whoever applies a file every hour finds what was in force before it all the same.
#[test]
fn the_same_again_is_no_other() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    for _ in 0..12 {
        edge.ok(&format!("policy apply {}", edge.mark))?;
    }
    assert_eq!(numbers(&edge)?, [(2, "mark".to_owned(), true), (1, "keep".to_owned(), false)]);
    // What it says now is what is remembered of it.
    let commented = edge.router.policy("mark", &format!("# why\n{MARK}"))?;
    edge.ok(&format!("policy apply {commented}"))?;
    assert_eq!(numbers(&edge)?.len(), 2);
    edge.ok("policy rollback")?.says(&["policy keep"])?;
    edge.ok("policy rollback")?.says(&["policy mark"])?;
    edge.ok("policy save")?;
    assert_eq!(
        std::fs::read_to_string(edge.router.folder().join("etc/policy.toml"))?,
        std::fs::read_to_string(&commented)?
    );
    Ok(())
}

#[test]
fn a_rollback_is_an_apply_and_may_wait_for_its_confirmation() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    assert_eq!(edge.mark_of_ef()?, 34);
    // The text counts, not the file, which may be gone.
    std::fs::remove_file(&edge.keep)?;
    edge.ok("policy rollback --confirm 1h")?.says(&["policy keep", "in force for 1h"])?;
    assert_eq!(edge.mark_of_ef()?, 46);
    edge.ok("policy rollback")?.says(&["is taken back: back to mark"])?;
    assert_eq!(edge.mark_of_ef()?, 34);
    let names: Vec<_> = numbers(&edge)?.into_iter().map(|(_, name, _)| name).collect();
    assert_eq!(names, ["mark", "keep", "mark", "keep"]);
    Ok(())
}

#[test]
fn attach_with_a_policy_begins_the_history_and_the_last_detach_ends_it() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    edge.ok("detach --all")?;
    edge.ok(&format!("attach lan0 --policy {}", edge.keep))?;
    edge.ok(&format!("attach wan0 --policy {}", edge.keep))?;
    assert_eq!(numbers(&edge)?, [(1, "keep".to_owned(), true)]);
    edge.ok(&format!("policy apply {} --confirm 1h", edge.mark))?;
    edge.ok("detach --all")?;
    assert!(!edge.router.bpffs.join("qosbpf").exists());
    edge.wait_for_timers()
}

/// `keep`, then `mark`, then `wash`, which waits to be confirmed for so long, or for the time that is soon over.
fn washed(time: Option<&str>) -> anyhow::Result<Edge> {
    let edge = Edge::start()?;
    let soon = format!("{}s", edge.soon.as_secs());
    let time = time.unwrap_or(&soon);
    edge.ok(&format!("policy apply {}", edge.mark))?;
    let wash = edge.router.policy("wash", &KEEP.replace("keep", "DF"))?;
    edge.ok(&format!("policy apply {wash} --confirm {time}"))?;
    Ok(edge)
}

/// The numbers of those that were taken back, the newest first.
fn taken_back(edge: &Edge) -> anyhow::Result<Vec<u64>> {
    let history = edge.ok("policy history --json")?.json()?;
    let policies = history["policies"].as_array().context("policies")?.iter();
    let taken_back = policies.filter(|past| past["taken_back"] == true);
    taken_back.map(|past| past["number"].as_u64().context("number")).collect()
}

/// Whoever wants to go back does not get what was just taken away, unless it is asked for by its number.
#[test]
fn a_policy_that_was_taken_back_is_not_the_one_before() -> anyhow::Result<()> {
    let edge = washed(None)?;
    edge.wait_for_timers()?;
    assert_eq!((edge.in_force()?.as_str(), taken_back(&edge)?), ("mark", vec![3]));
    edge.ok("policy history")?.says(&["taken back, from"])?;
    edge.ok("policy rollback")?.says(&["policy keep"])?;
    edge.ok("policy rollback 3")?.says(&["policy wash"])?;
    assert_eq!(edge.in_force()?, "wash");
    edge.ok("policy rollback")?.says(&["policy keep"])?;
    // It has been in force since without a word against it.
    edge.ok("policy rollback")?.says(&["policy wash"])?;
    Ok(())
}

#[test]
fn what_was_taken_back_by_hand_is_not_either() -> anyhow::Result<()> {
    let edge = washed(Some("1h"))?;
    edge.ok("policy rollback")?.says(&["policy wash", "is taken back: back to mark"])?;
    assert_eq!(taken_back(&edge)?, [3]);
    edge.ok("policy rollback")?.says(&["policy keep"])?;
    assert_eq!(edge.in_force()?, "keep");
    Ok(())
}

/// The command that comes a moment too late has what it wants: the policy is taken back once, and nothing else changes.
#[test]
fn a_rollback_at_the_deadline_goes_back_once() -> anyhow::Result<()> {
    for json in ["", " --json"] {
        let edge = washed(None)?;
        edge.kill_timers()?;
        edge.sleep_past_it();
        let answer = edge.ok(&format!("policy rollback{json}"))?;
        let words = ["policy wash", "was not confirmed in time", "back to mark"];
        let answer = answer.says(&["wash"])?.complains(&words)?;
        assert!(json.is_empty() || answer.json()?["taken_back"]["name"] == "wash");
        assert_eq!((edge.in_force()?.as_str(), edge.mark_of_ef()?), ("mark", 34));
    }
    Ok(())
}

/// What was there had less, and nobody has to say so again.
#[test]
fn a_rollback_takes_away_what_was_not_there() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    let lan = MARK.replace("[interface.wan0]\negress = \"t\"\n", "");
    edge.ok(&format!("policy apply {} --prune", edge.router.policy("lan", &lan)?))?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    let back = edge.ok("policy rollback")?;
    back.says(&["policy lan", "wan0:egress", "not in the file: counts without a policy"])?;
    assert_eq!(edge.mark_of_ef()?, 34);
    Ok(())
}

/// Its time was not over, and nobody says so.
#[test]
fn a_rollback_after_an_apply_that_was_cut_short_says_that() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    edge.ok(&format!("policy apply {} --confirm 1h", edge.mark))?;
    edge.kill_timers()?;
    edge.router.edge().run(|| {
        let store = Store::open(&edge.router.bpffs)?;
        let change = Pending::read(&store)?.context("a change")?;
        Pending { complete: false, ..change }.write(&store)
    })?;
    let told = edge
        .ok("policy rollback")?
        .says(&["policy mark", "is taken back: it was cut short while it was being applied"])?;
    assert!(!told.stdout.contains("time"), "{told:?}");
    assert_eq!(edge.mark_of_ef()?, 46);
    Ok(())
}

/// `status` has the times of the history, whatever has happened.
#[test]
fn status_and_history_have_one_time() -> anyhow::Result<()> {
    let edge = washed(Some("1h"))?;
    let is_one = || -> anyhow::Result<()> {
        let (status, history) = (edge.status()?, edge.ok("policy history --json")?.json()?);
        let policies = history["policies"].as_array().context("policies")?;
        let now = policies.iter().find(|past| past["in_force"] == true).context("in force")?;
        let applied = &status["applied"];
        assert_eq!([&applied["time"], &applied["by"], &applied["file"]], [&now["time"], &now["by"], &now["file"]]);
        let screen = edge.ok("policy history")?.stdout;
        let time = screen.split("now, since ").nth(1).and_then(|rest| rest.split_whitespace().next());
        edge.ok("status")?.says(&[&format!("applied {} by", time.context("a time")?)]).map(drop)
    };
    is_one()?;
    assert_eq!(edge.status()?["confirm"]["since"], edge.status()?["applied"]["time"]);
    edge.ok("policy rollback")?;
    is_one()?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    is_one()?;
    let before = edge.status()?["applied"].clone();
    // The same policy from another file, as somebody has applied it by then.
    let copy = edge.router.folder().join("copy").display().to_string();
    std::fs::copy(&edge.mark, &copy)?;
    edge.ok(&format!("policy apply {copy}"))?;
    is_one()?;
    let applied = &edge.status()?["applied"];
    assert!(applied["file"] == copy.as_str() && applied["time"] != before["time"], "{before:#} {applied:#}");
    edge.ok("policy rollback")?;
    is_one()
}

#[test]
fn status_says_what_was_taken_back_until_something_else_is_in_force() -> anyhow::Result<()> {
    let edge = washed(None)?;
    assert!(edge.status()?["taken_back"].is_null());
    edge.wait_for_timers()?;
    let taken_back = edge.status()?["taken_back"].clone();
    assert_eq!((&taken_back["name"], &taken_back["why"]), (&"wash".into(), &"late".into()));
    assert!(taken_back["by"].is_null());
    let history = edge.ok("policy history --json")?.json()?;
    assert_eq!([&taken_back["applied"], &taken_back["time"]], [1, 0].map(|at| &history["policies"][at]["time"]));
    edge.ok("status")?.says(&["! policy wash", "was taken back at", "it was not confirmed in time"])?;
    edge.ok(&format!("policy apply {}", edge.mark))?;
    assert!(edge.status()?["taken_back"].is_null(), "somebody has applied a policy since");
    edge.ok(&format!("policy apply {} --confirm 1h", edge.keep))?;
    edge.ok("policy rollback")?;
    let screen = edge.ok("status")?.says(&["policy keep", "was taken back at"])?;
    assert!(!screen.stdout.contains("! policy keep"), "somebody wanted it: {screen:?}");
    let taken_back = &edge.status()?["taken_back"];
    assert_eq!([&taken_back["why"], &taken_back["by"]], ["by", "root"]);
    Ok(())
}

/// Where no policy was in force before, none is then, and that is not all there is to say.
#[test]
fn status_says_what_was_taken_back_where_there_is_no_policy() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    edge.ok(&format!("policy apply {} --confirm {}s", edge.mark, edge.soon.as_secs()))?;
    edge.wait_for_timers()?;
    let words = ["no policy", "! policy mark", "was taken back at", "it was not confirmed in time"];
    edge.ok("status")?.says(&words)?;
    let status = edge.status()?;
    assert!(status["policy"].is_null() && status["applied"].is_null(), "{status:#}");
    assert_eq!(status["taken_back"]["name"], "mark");
    // Applied once more it is in force from then on, and not since it was tried.
    edge.ok(&format!("policy apply {}", edge.mark))?;
    assert!(edge.status()?["taken_back"].is_null());
    assert_eq!(numbers(&edge)?, [(2, "mark".to_owned(), true), (1, "mark".to_owned(), false)]);
    Ok(())
}

/// What was taken back is not taken back again by an apply of it that was killed before the history had it.
#[test]
fn an_apply_that_was_cut_short_rewrites_nothing() -> anyhow::Result<()> {
    let edge = Edge::bare()?;
    edge.ok(&format!("policy apply {} --confirm 1h", edge.mark))?;
    edge.kill_timers()?;
    let store = || Store::open(&edge.router.bpffs);
    let change = edge.router.edge().run(|| Pending::read(&store()?)?.context("a change"))?;
    edge.ok("policy rollback")?;
    let before = edge.status()?["taken_back"].clone();
    edge.router.edge().run(|| Pending { complete: false, ..change }.write(&store()?))?;
    edge.ok("status")?.complains(&["was cut short while it was being applied"])?;
    assert_eq!((&edge.status()?["taken_back"], &before["why"]), (&before, &"by".into()));
    Ok(())
}

/// Lines are those of the text that was in force: the file may have another one by now, or be where nobody answers.
#[test]
fn a_rollback_warns_of_the_text_that_was_in_force() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let unused = "[remark.unused]\nother = \"keep\"\n";
    let file = edge.router.policy("edited", &format!("{KEEP}{unused}"))?;
    let place = |name: &str| format!("--> {name}:9:9");
    edge.ok(&format!("policy apply {file}"))?.complains(&[&place(&file), "[remark.unused]"])?;
    edge.ok(&format!("policy apply {}", edge.keep))?;
    let told = place(&format!("policy 2 of the history ({file})"));
    edge.ok("policy rollback 2")?.complains(&[&told, "[remark.unused]"])?;
    edge.ok(&format!("policy apply {}", edge.keep))?;
    // Whoever opens it waits for ever.
    std::fs::remove_file(&file)?;
    nix::unistd::mkfifo(file.as_str(), nix::sys::stat::Mode::S_IRWXU)?;
    edge.ok("policy rollback 2")?.complains(&[&told])?;
    assert_eq!(edge.status()?["applied"]["file"], file, "where it came from is where it came from");
    Ok(())
}

/// So are those of a test that fails.
#[test]
fn a_rollback_names_a_failing_test_in_the_text_that_was_in_force() -> anyhow::Result<()> {
    let edge = Edge::start()?;
    let test = "[[test]]\nname = \"voice\"\non = \"lan0:ingress\"\npacket = \"udp 192.0.2.2:5060 > 198.51.100.2:5060 dscp EF\"\n\
                expect = \"CS1\"\n";
    let file = edge.router.policy("tested", &format!("{KEEP}{test}"))?;
    let place = format!("test \"voice\" ({file}:9) fails");
    edge.ask(&format!("policy apply {file}"))?.expect(3)?.complains(&[&place, &format!("policy test {file}")])?;
    edge.ok(&format!("policy apply {file} --force"))?;
    edge.ok(&format!("policy apply {}", edge.keep))?;
    edge.router.policy("tested", MARK)?;
    let told = format!("test \"voice\" (policy 2 of the history ({file}):9) fails");
    let refused = edge.ask("policy rollback 2")?.expect(3)?.complains(&[&told, "--force goes on without them"])?;
    assert!(!refused.stderr.contains("policy test"), "that would run others: {refused:?}");
    let refused = edge.ask("policy rollback 2 --json")?.expect(3)?.json()?;
    assert_eq!(refused["error"]["file"], file, "machines get a path");
    Ok(())
}
