//! Many who ask for metrics at once, and many who only hold connections to them: what the service does for them is bounded.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use qosbpf_tests::service::{Lab, MARK, PATIENCE, eventually};

use crate::{crowded::in_a_crowd, remembered::trends};

/// As many connections as there may be.
const ROOM: usize = 64;

const RULES: usize = 1024;

const HOOKS: usize = 3;

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// The largest policy, at three hooks.
fn thousand() -> String {
    let bound = "[interface.lan0]\ningress = \"mark\"\negress = \"mark\"\n[interface.wan0]\negress = \"mark\"\n\
        [remark.mark]\nother = \"keep\"\n\
        [[rule]]\nname = \"rule 0\"\non = \"all\"\nmatch = { dscp = \"EF\" }\nset = \"AF41\"\n";
    let rule = |number: usize| {
        format!("[[rule]]\nname = \"rule {number}\"\non = \"all\"\nmatch = {{ dst-port = {number} }}\nset = \"CS1\"\n")
    };
    (1..RULES).map(rule).fold(bound.to_owned(), |policy, rule| policy + &rule)
}

/// The most memory that the service has had since the last question, in KiB.
fn peak(lab: &Lab) -> anyhow::Result<usize> {
    let folder = format!("/proc/{}", lab.pid()?);
    let status = fs::read_to_string(format!("{folder}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    fs::write(format!("{folder}/clear_refs"), "5")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn read_all(mut stream: &TcpStream) -> anyhow::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

const SCRAPED: &str = "counters are read for metrics";

const REMEMBERED: &str = "what is remembered of hooks is put together";

/// How often the service has said that it read something. It has to say everything.
fn readings(lab: &Lab, of: &str) -> anyhow::Result<usize> {
    Ok(lab.log()?.matches(of).count())
}

/// All of them connect, then all ask, then all read.
fn scrape_at_once(lab: &Lab) -> anyhow::Result<Vec<String>> {
    let streams: Vec<TcpStream> = (0..ROOM).map(|_| lab.connect()).collect::<Result<_, _>>()?;
    let start = Barrier::new(ROOM);
    let scrape = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        start.wait();
        stream.write_all(REQUEST)?;
        read_all(stream)
    };
    thread::scope(|scope| {
        let scrapes: Vec<_> = streams.iter().map(|stream| scope.spawn(|| scrape(stream))).collect();
        scrapes.into_iter().map(|scrape| scrape.join().expect("no panic")).collect()
    })
}

#[test]
fn sixty_four_scrapers_at_once_share_their_readings() -> anyhow::Result<()> {
    let mut lab = Lab::start()?;
    lab.save("large", &thousand())?;
    lab.serve_by(&mut lab.command("-vv run")?)?;
    lab.router.ping(false, 184, 5)?;
    let one = lab.metrics()?.len() >> 10;
    let (before, usual) = (readings(&lab, SCRAPED)?, peak(&lab)?);
    let answers = scrape_at_once(&lab)?;
    let (read, most) = (readings(&lab, SCRAPED)? - before, peak(&lab)?);
    eprintln!("{ROOM} scrapes of {one} KiB: {read} readings, {usual} KiB at most before, {most} KiB meanwhile");
    for answer in answers {
        ensure!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("# EOF\n"), "{answer}");
        let rules = answer.matches("qosbpf_rule_packets_total{").count();
        ensure!(rules == RULES * HOOKS, "{rules} rules");
        let counted = "qosbpf_rule_packets_total{device=\"lan0\",direction=\"ingress\",rule=\"rule 0\"} 5\n";
        ensure!(answer.contains(counted), "{answer}");
    }
    ensure!((1..=ROOM / 8).contains(&read), "{read} readings for {ROOM} scrapes");
    ensure!(most < usual + 8 * one, "{most} KiB for {ROOM} scrapes of {one} KiB, {usual} KiB for one");
    Ok(())
}

/// Each asks again as soon as it has its answer.
#[test]
fn those_who_ask_for_rates_all_the_time_share_their_readings() -> anyhow::Result<()> {
    const ASKERS: usize = 16;
    const QUESTIONS: usize = 20;
    let mut lab = Lab::start()?;
    lab.save("edge", MARK)?;
    lab.serve_by(&mut lab.command("-vv run")?)?;
    lab.router.ping(false, 184, 5)?;
    eventually(|| Ok(trends(&lab)?.len() == 1))?;
    let before = readings(&lab, REMEMBERED)?;
    let ask = || (0..QUESTIONS).try_for_each(|_| trends(&lab).map(|trends| assert_eq!(trends.len(), 1)));
    thread::scope(|scope| {
        let askers: Vec<_> = (0..ASKERS).map(|_| scope.spawn(ask)).collect();
        askers.into_iter().try_for_each(|asker| asker.join().expect("no panic"))
    })?;
    let (read, asked) = (readings(&lab, REMEMBERED)? - before, ASKERS * QUESTIONS);
    ensure!((1..=asked / 4).contains(&read), "{read} readings for {asked} questions");
    Ok(())
}

#[test]
fn connections_that_are_held_keep_no_scraper_waiting() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let connect = |_| {
        let stream = lab.connect()?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let sent_away = in_a_crowd(4, ROOM / 2, connect, || {
        for _ in 0..5 {
            let start = Instant::now();
            ensure!(lab.metrics()?.ends_with("# EOF\n"));
            ensure!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        }
        Ok(())
    })?;
    ensure!(sent_away > 0, "nobody had to go: it was no crowd");
    Ok(())
}
