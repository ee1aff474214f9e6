//! What candidates say they have counted, in their own words.

use anyhow::Context as _;
use qosbpf_tests::counted::Counted;
use serde_json::Value;

/// `qosbpf stats --json`.
pub fn by_qosbpf(text: &str, device: &str) -> anyhow::Result<u64> {
    let document: Value = serde_json::from_str(text).context("qosbpf stats --json")?;
    Ok(Counted::read(&document, &format!("{device}:ingress"))?.packets().values().sum())
}

/// `nft -j list ruleset`: counters with a name, and those of rules.
pub fn by_nft(text: &str) -> anyhow::Result<u64> {
    fn sum(value: &Value) -> u64 {
        match value {
            Value::Array(all) => all.iter().map(sum).sum(),
            Value::Object(fields) => {
                let own = fields.get("counter").and_then(|counter| counter["packets"].as_u64());
                own.unwrap_or_else(|| fields.values().map(sum).sum())
            }
            _ => 0,
        }
    }
    Ok(sum(&serde_json::from_str(text).context("nft -j")?))
}

/// `iptables-save -c`: of the rules that only count, or, where there are none, of those that mark.
pub fn by_iptables(text: &str, only_counts: bool) -> u64 {
    let rules = text.lines().filter(|line| line.contains("-A PREROUTING"));
    let rules = rules.filter(|line| line.contains(" -j ") != only_counts);
    rules.filter_map(|line| line.strip_prefix('[')?.split(':').next()?.parse::<u64>().ok()).sum()
}

/// `tc -s -j filter show`: of each filter the first action.
pub fn by_tc(text: &str) -> anyhow::Result<u64> {
    let filters: Vec<Value> = serde_json::from_str(text).context("tc -j")?;
    Ok(filters.iter().filter_map(|filter| filter["options"]["actions"][0]["stats"]["packets"].as_u64()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_nft_are_those_with_a_name_and_those_of_rules() {
        let named = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},{"counter":{"family":"ip","name":"c0","table":"bench",
            "handle":1,"packets":3,"bytes":9}},{"counter":{"family":"ip","name":"c1","packets":4,"bytes":9}},
            {"rule":{"expr":[{"counter":{"map":{"key":"x"}}}]}}]}"#;
        assert_eq!(by_nft(named).unwrap(), 7);
        let rule =
            r#"{"nftables":[{"rule":{"family":"ip","expr":[{"match":{}},{"counter":{"packets":5,"bytes":1}}]}}]}"#;
        assert_eq!(by_nft(rule).unwrap(), 5);
        assert!(by_nft("").is_err());
    }

    #[test]
    fn rules_of_iptables_count_or_mark() {
        let text = "*mangle\n:PREROUTING ACCEPT [9:9]\n[2:40] -A PREROUTING -m dscp --dscp 0x00\n\
                    [1:20] -A PREROUTING -m dscp --dscp 0x01\n[2:40] -A PREROUTING -m dscp --dscp 0x00 -j DSCP --set-dscp 0x20\n";
        assert_eq!((by_iptables(text, true), by_iptables(text, false)), (3, 2));
    }

    #[test]
    fn of_each_filter_of_tc_the_first_action_counts() {
        let text = r#"[{"kind":"u32","options":{"fh":"10:"}},{"kind":"u32","options":{"actions":[
            {"order":1,"kind":"pedit","stats":{"packets":6}},{"order":2,"kind":"csum","stats":{"packets":6}}]}},
            {"kind":"u32","options":{"actions":[{"order":1,"kind":"gact","stats":{"packets":1}}]}}]"#;
        assert_eq!(by_tc(text).unwrap(), 7);
    }
}
