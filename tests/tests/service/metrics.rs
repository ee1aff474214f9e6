//! Metrics over HTTP: what a scraper reads, and what one that hangs cannot do.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use qosbpf_tests::{binary::Answer, router::words};

use qosbpf_tests::service::{Lab, MARK};

/// Something of everything that has metrics.
const POLICY: &str = "[classes]\nvoice = [\"EF\", \"VA\"]\n\
    [interface.lan0]\ningress = \"mark\"\n\
    [interface.wan7]\negress = \"mark\"\n\
    [remark.mark]\nvoice = \"AF41\"\nother = \"keep\"\n\
    [[rule]]\nname = \"metered\"\non = \"lan0:ingress\"\nmatch = { dscp = \"CS1\" }\n\
    meter = { type = \"trtcm\", cir = \"8mbit\", cbs = \"64kB\", pir = \"12mbit\", pbs = \"64kB\" }\n\
    green = \"keep\"\nyellow = \"LE\"\nred = \"drop\"\n";

/// The families of the contract, which are there from the start.
const FAMILIES: [&str; 29] = [
    "qosbpf_before_packets_total{device=\"lan0\",direction=\"ingress\",family=\"ipv4\",dscp=\"EF\",ecn=\"0\"}",
    "qosbpf_before_bytes_total{device=\"lan0\",direction=\"ingress\",family=\"ipv6\",dscp=\"VA\",ecn=\"0\"}",
    "qosbpf_after_packets_total{device=\"lan0\",direction=\"ingress\",dscp=\"AF41\"}",
    "qosbpf_after_bytes_total{device=\"lan0\",direction=\"ingress\",dscp=\"AF41\"}",
    "qosbpf_remarked_packets_total{device=\"lan0\",direction=\"ingress\",from=\"EF\",to=\"AF41\"}",
    "qosbpf_remarked_bytes_total{device=\"lan0\",direction=\"ingress\",from=\"EF\",to=\"AF41\"}",
    "qosbpf_remarked_packets_total{device=\"lan0\",direction=\"ingress\",from=\"CS1\",to=\"LE\"}",
    "qosbpf_dropped_packets_total{device=\"lan0\",direction=\"ingress\",dscp=\"CS1\"}",
    "qosbpf_dropped_bytes_total{device=\"lan0\",direction=\"ingress\",dscp=\"CS1\"}",
    "qosbpf_rule_packets_total{device=\"lan0\",direction=\"ingress\",rule=\"metered\"}",
    "qosbpf_rule_bytes_total{device=\"lan0\",direction=\"ingress\",rule=\"metered\"}",
    "qosbpf_meter_packets_total{device=\"lan0\",direction=\"ingress\",rule=\"metered\",color=\"red\"}",
    "qosbpf_meter_ip_bytes_total{device=\"lan0\",direction=\"ingress\",rule=\"metered\",color=\"green\"}",
    "qosbpf_protected_packets_total{device=\"lan0\",direction=\"ingress\"}",
    "qosbpf_protected_bytes_total{device=\"lan0\",direction=\"ingress\"}",
    "qosbpf_uncounted_packets_total{device=\"lan0\",direction=\"ingress\",reason=\"not_ip\"}",
    "qosbpf_uncounted_bytes_total{device=\"lan0\",direction=\"ingress\",reason=\"malformed\"}",
    "qosbpf_limited_packets_total{device=\"lan0\",direction=\"ingress\",reason=\"later_fragment\"}",
    "qosbpf_limited_bytes_total{device=\"lan0\",direction=\"ingress\",reason=\"header_chain_too_long\"}",
    "qosbpf_hook_up{device=\"lan0\",direction=\"ingress\"}",
    "qosbpf_hook_up{device=\"wan7\",direction=\"egress\"}",
    "qosbpf_policy_saved",
    "qosbpf_policy_bypassed{device=\"lan0\",direction=\"ingress\"}",
    "qosbpf_policy_last_reload_successful",
    "qosbpf_policy_last_reload_success_timestamp_seconds",
    "qosbpf_policy_confirm_deadline_timestamp_seconds",
    "qosbpf_class_info{class=\"voice\",dscp=\"EF\"}",
    "qosbpf_class_info{class=\"voice\",dscp=\"VA\"}",
    "qosbpf_build_info{version=\"0.1.0\",revision=",
];

#[test]
fn every_family_of_the_contract_is_there_before_the_first_packet() -> anyhow::Result<()> {
    let lab = Lab::serving(POLICY)?;
    let text = lab.metrics()?;
    for family in
        FAMILIES.iter().chain(&["qosbpf_policy_info{name=\"edge\",hash=", "qosbpf_hook_info{device=\"lan0\","])
    {
        assert!(text.lines().any(|line| line.starts_with(family)), "{family}:\n{text}");
    }
    assert_eq!(lab.metric("qosbpf_hook_up{device=\"lan0\",direction=\"ingress\"}")?, Some(1.0));
    assert_eq!(lab.metric("qosbpf_hook_up{device=\"wan7\",direction=\"egress\"}")?, Some(0.0));
    lab.router.ping(false, 184, 5)?;
    let series = "qosbpf_remarked_packets_total{device=\"lan0\",direction=\"ingress\",from=\"EF\",to=\"AF41\"}";
    assert_eq!(lab.metric(series)?, Some(5.0), "read when it is asked for");
    Ok(())
}

/// promtool knows the older format alone, in which the metadata of a counter has the name of its series; beside that it
/// has nothing to say.
#[test]
fn promtool_reads_it_and_the_content_type_is_right() -> anyhow::Result<()> {
    let lab = Lab::serving(POLICY)?;
    let metrics = lab.metrics()?;
    let promtool = Answer::with_input(&mut words("promtool check metrics"), metrics.as_bytes())?;
    let faults: Vec<_> = promtool.stderr.lines().filter(|line| !line.contains("no help text")).collect();
    assert!(faults.is_empty() && [0, 3].contains(&promtool.code), "{promtool:?}");
    let head = |headers: &str| {
        let answer = lab.get("/metrics", headers)?;
        let line = answer.lines().find(|line| line.to_lowercase().starts_with("content-type")).context("a type")?;
        anyhow::Ok(line.split_once(": ").context("a value")?.1.trim().to_owned())
    };
    assert_eq!(head("")?, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(head("Accept: text/plain;version=0.0.4\r\n")?, "text/plain; version=0.0.4; charset=utf-8");
    assert!(lab.get("/healthz", "")?.starts_with("HTTP/1.1 200"));
    assert!(lab.get("/", "")?.starts_with("HTTP/1.1 404"));
    Ok(())
}

/// Some send nothing, some send half a request, some ask and never read.
#[test]
fn scrapers_that_hang_hold_up_nobody() -> anyhow::Result<()> {
    let lab = Lab::serving(MARK)?;
    let asked = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut hanging = Vec::new();
    for number in 0..60 {
        let mut stream = lab.connect()?;
        stream.write_all(&asked[..[0, 20, asked.len()][number % 3]])?;
        hanging.push(stream);
    }
    let start = Instant::now();
    assert!(lab.metrics()?.ends_with("# EOF\n"));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // Nor do they hold up the rest of it: another device is attached, and the files are read again.
    lab.save("edge", &MARK.replace("lan0", "wan0"))?;
    lab.ok("run --reload")?;
    lab.becomes("wan0:ingress", "active")?;
    // No more than the room there is; those behind get the places of those who have been silent longest.
    for _ in 0..20 {
        hanging.push(lab.connect()?);
    }
    let start = Instant::now();
    assert!(lab.metrics()?.ends_with("# EOF\n"));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(hanging);
    Ok(())
}

#[test]
fn it_ends_at_once_though_scrapers_hang() -> anyhow::Result<()> {
    let mut lab = Lab::serving(MARK)?;
    let hanging = [lab.connect()?, lab.connect()?];
    let start = Instant::now();
    lab.stop()?;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    drop(hanging);
    Ok(())
}
