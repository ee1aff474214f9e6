//! Queueing disciplines and filters of an interface, from `tc -j`.

use serde_json::Value;

use super::facts::Asked;
use crate::hook::Direction;

/// What tc has on one interface.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Why it could not be asked.
    pub unknown: Option<String>,
    /// Queueing disciplines that change marks: how each is called.
    pub washes: Vec<Wash>,
    /// Filters that rewrite the DS field.
    pub rewrites: Vec<Filter>,
    /// Filters that run in hardware.
    pub in_hardware: Vec<Filter>,
}

/// A queueing discipline that changes marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wash {
    /// `cake`, `dsmark`.
    pub kind: String,
    /// Its parent: `root`, or a class.
    pub parent: String,
}

/// A filter of tc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its kind, such as `flower`.
    pub kind: String,
    /// Where it is: a direction of clsact.
    pub direction: Direction,
    /// Its priority.
    pub pref: u16,
    /// What it does, for a filter that rewrites: `pedit`, `ctinfo`.
    pub action: Option<String>,
}

/// Reads what tc said of all queueing disciplines, for one interface.
///
/// # Errors
///
/// That it is no list of tc.
pub fn washes(qdiscs: &str, interface: &str) -> Asked<Vec<Wash>> {
    let here = |qdisc: &&Value| qdisc["dev"] == interface;
    let changes = |qdisc: &&Value| match qdisc["kind"].as_str() {
        Some("cake") => qdisc["options"]["wash"] == true,
        Some("dsmark") => true,
        _ => false,
    };
    let wash = |qdisc: &Value| Wash { kind: text(&qdisc["kind"]), parent: parent(qdisc) };
    Ok(list(qdiscs)?.iter().filter(here).filter(changes).map(wash).collect())
}

fn parent(qdisc: &Value) -> String {
    if qdisc["root"] == true { "root".to_owned() } else { format!("parent {}", text(&qdisc["parent"])) }
}

/// Reads what tc said of the filters of one direction: those that rewrite, and those that run in hardware.
///
/// # Errors
///
/// That it is no list of tc.
pub fn filters(said: &str, direction: Direction) -> Asked<(Vec<Filter>, Vec<Filter>)> {
    let (mut rewrites, mut in_hardware) = (Vec::new(), Vec::new());
    for item in list(said)? {
        let options = &item["options"];
        let action = options["actions"].as_array().into_iter().flatten().find(|action| rewrites_mark(action));
        let filter = Filter {
            kind: text(&item["kind"]),
            direction,
            pref: item["pref"].as_u64().and_then(|pref| u16::try_from(pref).ok()).unwrap_or_default(),
            action: action.map(|action| text(&action["kind"])),
        };
        if options["in_hw"] == true {
            in_hardware.push(filter.clone());
        }
        if filter.action.is_some() {
            rewrites.push(filter);
        }
    }
    Ok((rewrites, in_hardware))
}

fn list(said: &str) -> Asked<Vec<Value>> {
    // Where there is nothing, some versions print nothing.
    let said = if said.trim().is_empty() { "[]" } else { said };
    serde_json::from_str(said).map_err(|error| format!("its JSON cannot be read: {error}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// pedit of the six bits, in the first word of either IP header; ctinfo that restores a DSCP from the connection.
fn rewrites_mark(action: &Value) -> bool {
    match action["kind"].as_str() {
        Some("ctinfo") => !action["dscp"].is_null() || !action["dscpmask"].is_null(),
        Some("pedit") => action["keys"].as_array().into_iter().flatten().any(touches_mark),
        _ => false,
    }
}

fn touches_mark(key: &Value) -> bool {
    const IPV4: u32 = 0x00fc_0000;
    const IPV6: u32 = 0x0fc0_0000;
    let kept = key["mask"].as_str().and_then(|mask| u32::from_str_radix(mask, 16).ok()).unwrap_or_default();
    let bits = match key["htype"].as_str() {
        Some("ipv4") => IPV4,
        Some("ipv6") => IPV6,
        Some("network") => IPV4 | IPV6,
        _ => 0,
    };
    key["offset"] == 0 && !kept & bits != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As q_cake.c of iproute2 6.x prints; the kernel of the tests has no CAKE.
    #[test]
    fn cake_that_washes_and_dsmark_are_found() {
        let cake = |wash: bool| {
            format!(
                r#"[{{"kind":"cake","handle":"8001:","dev":"wan0","root":true,"refcnt":2,"options":{{
                "bandwidth":"unlimited","diffserv":"diffserv3","flowmode":"triple-isolate","nat":false,"wash":{wash},
                "ingress":false,"ack-filter":"disabled","split_gso":true,"rtt":100000,"raw":true,"overhead":0}}}},
                {{"kind":"clsact","handle":"ffff:","dev":"wan0","parent":"ffff:fff1","options":{{}}}}]"#
            )
        };
        let found = |text: &str| washes(text, "wan0").unwrap();
        assert_eq!(found(&cake(true)), [Wash { kind: "cake".to_owned(), parent: "root".to_owned() }]);
        assert!(found(&cake(false)).is_empty());
        let dsmark = r#"[{"kind":"dsmark","handle":"2:","dev":"wan0","parent":"1:1","options":{}}]"#;
        assert_eq!(found(dsmark), [Wash { kind: "dsmark".to_owned(), parent: "parent 1:1".to_owned() }]);
        assert!(
            found("").is_empty() && washes("no", "wan0").is_err() && washes(&cake(true), "lan0").unwrap().is_empty()
        );
    }

    /// As f_flower.c and m_pedit.c of iproute2 6.x print; the kernel of the tests has neither.
    fn flower(htype: &str, mask: &str, hardware: bool) -> String {
        format!(
            r#"[{{"protocol":"ip","pref":10,"kind":"flower","chain":0}},
            {{"protocol":"ip","pref":10,"kind":"flower","chain":0,"options":{{"handle":1,"keys":{{"eth_type":"ipv4"}},
            "in_hw":{hardware},"actions":[{{"order":1,"kind":"pedit","control_action":{{"type":"pass"}},"nkeys":1,
            "index":1,"ref":1,"bind":1,
            "keys":[{{"htype":"{htype}","offset":0,"cmd":"set","val":"b80000","mask":"{mask}"}}]}}]}}}}]"#
        )
    }

    #[test]
    fn pedit_of_the_six_bits_is_found_and_nothing_else() {
        let rewrites = |htype, mask| {
            let (rewrites, _) = filters(&flower(htype, mask, false), Direction::Egress).unwrap();
            rewrites.iter().map(|filter| filter.pref).collect::<Vec<_>>()
        };
        assert_eq!(rewrites("ipv4", "ff00ffff"), [10]);
        assert_eq!(rewrites("network", "ff03ffff"), [10]);
        assert_eq!(rewrites("ipv6", "f03fffff"), [10]);
        assert!(rewrites("ipv4", "fffcffff").is_empty(), "ECN alone");
        assert!(rewrites("tcp", "ff00ffff").is_empty());
    }

    #[test]
    fn filters_in_hardware_are_found() {
        let (_, hardware) = filters(&flower("tcp", "0", true), Direction::Ingress).unwrap();
        let filter = Filter { kind: "flower".to_owned(), direction: Direction::Ingress, pref: 10, action: None };
        assert_eq!(hardware, [filter]);
    }

    /// What tc 6.1 said on Linux 6.18.
    #[test]
    fn a_filter_that_only_classifies_is_none() {
        let said = r#"[{"protocol":"all","pref":5,"kind":"u32","chain":0},{"protocol":"all","pref":5,"kind":"u32",
            "chain":0,"options":{"fh":"800:","ht_divisor":1}},{"protocol":"all","pref":5,"kind":"u32","chain":0,
            "options":{"fh":"800::800","order":2048,"key_ht":"800","bkt":"0","flowid":"1:1","not_in_hw":true,
            "match":{"value":"b80000","mask":"fc0000","offmask":"","off":0}}}]"#;
        assert_eq!(filters(said, Direction::Egress).unwrap(), (Vec::new(), Vec::new()));
    }
}
