//! The machine formats, each read by somebody else's parser.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use qos_common::ds::Dscp;
use qosbpf_tests::{binary::Answer, router::Router};
use serde_json::Value;

const POLICY: &str = "[classes]\nvoice = [\"EF\", \"VA\"]\n[interface.wan0]\negress = \"t\"\n\
                      [remark.t]\nvoice = \"AF41\"\nother = \"keep\"\n";

/// Traffic in two marks and both families, a table, and a hook for each side.
fn busy() -> anyhow::Result<Router> {
    let router = Router::start()?;
    let policy = router.policy("edge", POLICY)?;
    router.ok("attach lan0")?;
    router.ok(&format!("policy apply {policy} --attach --prune"))?;
    router.ping(false, 185, 4)?;
    router.ping(true, 32, 3)?;
    Ok(router)
}

#[test]
fn json_has_every_promised_field() -> anyhow::Result<()> {
    let router = busy()?;
    let stats = router.ok("stats --json")?.json()?;
    let names =
        |value: &Value| value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    let has = |value: &Value, wanted: &str| {
        let there = names(value);
        for name in wanted.split(' ') {
            assert!(there.contains(name), "no {name} in {there:?}");
        }
    };
    has(&stats, "schema time host netns version policy hooks");
    has(&stats["policy"], "name hash saved");
    for hook in stats["hooks"].as_array().context("hooks")? {
        has(
            hook,
            "interface ifindex direction hook state since table program_id before after remarked dropped protected",
        );
        has(hook, "rules meters uncounted limited device qdisc");
        has(&hook["device"], "packets bytes drops");
    }
    let egress = stats["hooks"].as_array().context("hooks")?.iter().find(|hook| hook["interface"] == "wan0");
    let egress = egress.context("wan0")?;
    let row = egress["before"].as_array().context("before")?.iter().find(|row| row["ds"] == 185).context("185")?;
    let wanted = serde_json::json!({ "family": "ipv4", "ds": 185, "dscp": 46, "name": "EF", "ecn": 1, "packets": 4, "bytes": 392 });
    assert_eq!(*row, wanted);
    let remarked = serde_json::json!([
        { "from": 44, "to": 34, "packets": 0, "bytes": 0 },
        { "from": 46, "to": 34, "packets": 4, "bytes": 392 },
    ]);
    assert_eq!(egress["remarked"], remarked);
    let status = router.ok("status --json")?.json()?;
    for hook in status["hooks"].as_array().context("hooks")? {
        has(
            hook,
            "interface ifindex direction hook state program_id link_id table policy_hash since reason tcpdump_sees",
        );
        has(hook, "binary_version datapath_version");
    }
    Ok(())
}

/// What a row of `stats --csv` and a series of `stats --prometheus` are called alike.
fn counted_by_csv(csv: &str) -> anyhow::Result<BTreeSet<String>> {
    let cells = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let name = |value: &str| anyhow::Ok(value.parse::<Dscp>()?.to_string());
    let rows = cells.filter(|cells| ["before", "after", "remarked", "dropped"].contains(&cells[2]));
    let named = rows.map(|cells| {
        let dscps = [cells[5], cells[8], cells[9]].into_iter().filter(|cell| !cell.is_empty()).map(name);
        let dscps = dscps.collect::<anyhow::Result<Vec<_>>>()?.join(" ");
        Ok([cells[2], cells[3], &dscps, cells[7], cells[12]].join(" "))
    });
    named.collect()
}

fn counted_by_prometheus(metrics: &str) -> BTreeSet<String> {
    let series = metrics.lines().filter_map(|line| {
        let (counter, rest) = line.strip_prefix("qosbpf_")?.split_once("_packets_total{")?;
        let (labels, packets) = rest.split_once("} ")?;
        let label = |name: &str| {
            labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
        };
        let dscps = ["dscp", "from", "to"].into_iter().filter_map(label).collect::<Vec<_>>().join(" ");
        let [family, ecn] = ["family", "ecn"].map(|name| label(name).unwrap_or_default());
        let is_listed = ["before", "after", "remarked", "dropped"].contains(&counter);
        is_listed.then(|| [counter, family, &dscps, ecn, packets].join(" "))
    });
    series.collect()
}

fn counted_by_json(hook: &Value) -> BTreeSet<String> {
    let name = |value: &Value| Some(Dscp::new(u8::try_from(value.as_u64()?).ok()?)?.to_string());
    let rows = ["before", "after", "remarked", "dropped"].into_iter().flat_map(|counter| {
        let rows = hook[counter].as_array().into_iter().flatten();
        rows.map(move |row| {
            let dscps: Vec<String> = ["dscp", "from", "to"].into_iter().filter_map(|key| name(&row[key])).collect();
            let ecn = row["ecn"].as_u64().map(|ecn| ecn.to_string()).unwrap_or_default();
            let family = row["family"].as_str().unwrap_or_default();
            [counter, family, &dscps.join(" "), &ecn, &row["packets"].to_string()].join(" ")
        })
    });
    rows.collect()
}

const RULES: &str = "[[rule]]\nname = \"no\"\non = \"wan0:egress\"\nmatch = { dscp = \"CS3\" }\ndrop = true\n\
    [[rule]]\nname = \"seen\"\non = \"wan0:egress\"\nmatch = { dscp = \"CS4\" }\ncount = true\n\
    [[rule]]\nname = \"demoted\"\non = \"wan0:egress\"\nmatch = { dscp = \"CS2\" }\nset = \"CS1\"\n\
    [[rule]]\nname = \"policed\"\non = \"wan0:egress\"\nmatch = { dscp = \"AF31\" }\n\
    meter = { type = \"srtcm\", cir = \"8mbit\", cbs = \"64kB\", ebs = \"64kB\" }\n\
    green = \"keep\"\nyellow = \"AF32\"\nred = \"drop\"\n";

/// The first packet that a rule drops or marks is a step from zero for whoever compares two readings.
#[test]
fn what_a_policy_names_is_there_at_zero_and_in_every_format_alike() -> anyhow::Result<()> {
    let router = Router::start()?;
    let policy = router.policy("edge", &format!("{POLICY}{RULES}"))?;
    router.ok(&format!("policy apply {policy} --attach"))?;
    let all = || -> anyhow::Result<_> {
        let json = router.ok("stats wan0:egress --json")?.json()?;
        let csv = counted_by_csv(&router.ok("stats wan0:egress --csv")?.stdout)?;
        let prometheus = counted_by_prometheus(&router.ok("stats wan0:egress --prometheus")?.stdout);
        Ok([counted_by_json(&json["hooks"][0]), csv, prometheus])
    };
    let [json, csv, prometheus] = all()?;
    let rows = [
        "before ipv4 CS4 0 0",
        "before ipv6 EF 0 0",
        "after  CS4  0",
        "remarked  EF AF41  0",
        "remarked  CS2 CS1  0",
        "remarked  AF31 AF32  0",
        "dropped  CS3  0",
        "dropped  AF31  0",
    ];
    for row in rows {
        assert!(json.contains(row), "{row}: {json:#?}");
    }
    assert_eq!((&csv, &prometheus), (&json, &json));
    router.ping(false, 64, 3)?;
    let [json, csv, prometheus] = all()?;
    assert!(json.contains("remarked  CS2 CS1  3") && json.len() == csv.len(), "{json:#?}");
    assert_eq!((&csv, &prometheus), (&json, &json));
    Ok(())
}

#[test]
fn csv_is_a_header_and_rows_of_the_same_width() -> anyhow::Result<()> {
    let router = busy()?;
    let text = router.ok("stats --csv")?.stdout;
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert!(rows.len() > 5 && rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
    let row = rows.iter().find(|row| row.contains(&"wan0") && row.contains(&"before") && row.contains(&"392"));
    assert!(row.is_some_and(|row| row.contains(&"4")), "{text}");
    Ok(())
}

#[test]
fn promtool_reads_the_metrics() -> anyhow::Result<()> {
    let router = busy()?;
    let metrics = router.ok("stats --prometheus")?.stdout;
    let mut promtool = Command::new("promtool");
    let checked = Answer::with_input(promtool.args(["check", "metrics"]), metrics.as_bytes())
        .context("promtool: apt-get install prometheus, or your distribution's package")?;
    assert_ne!(checked.code, 1, "it cannot be parsed: {checked:?}");
    // promtool reads the older format, which has no word for a family: in OpenMetrics the help of NAME_total is NAME's.
    for complaint in checked.stderr.lines() {
        let family = complaint.strip_suffix("_total no help text").unwrap_or_else(|| panic!("{complaint}"));
        assert!(metrics.contains(&format!("# HELP {family} ")), "{complaint}");
    }
    assert!(metrics.ends_with("# EOF\n") && metrics.matches("# EOF").count() == 1);
    let series = |name: &str, labels: &[&str]| {
        let found = metrics
            .lines()
            .find(|line| line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label)));
        found.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    let wan = "device=\"wan0\"";
    let before = series("qosbpf_before_packets_total", &[wan, "dscp=\"EF\"", "family=\"ipv4\"", "ecn=\"1\""]);
    assert_eq!(before, Some(4.0), "{metrics}");
    assert_eq!(series("qosbpf_remarked_bytes_total", &[wan, "from=\"EF\"", "to=\"AF41\""]), Some(392.0), "{metrics}");
    assert_eq!(series("qosbpf_after_packets_total", &[wan, "dscp=\"EF\""]), Some(0.0), "named, so from the start");
    Ok(())
}

/// Each line is a whole document, and the next one is not before its time.
#[test]
fn watch_prints_a_document_a_line() -> anyhow::Result<()> {
    let router = busy()?;
    let mut watch = router.command("stats wan0:egress --watch 0.1 --json")?.stdout(Stdio::piped()).spawn()?;
    let lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().context("stdout")?));
    let documents: Vec<Value> =
        lines.take(3).map(|line| Ok(serde_json::from_str(&line?)?)).collect::<anyhow::Result<_>>()?;
    watch.kill()?;
    watch.wait()?;
    let times: BTreeSet<&str> = documents.iter().filter_map(|document| document["time"].as_str()).collect();
    assert_eq!(times.len(), 3, "{documents:?}");
    assert!(documents.iter().all(|document| document["hooks"][0]["interface"] == "wan0"), "{documents:?}");
    Ok(())
}
