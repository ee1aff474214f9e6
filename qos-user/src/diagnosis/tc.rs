//! Queueing disciplines and filters of an interface, from `tc -j`.

mod asked;

use serde_json::Value;

use self::asked::{of_protocol, packets};
use super::{Command, facts::Asked, outside::Packets};
use crate::hook::Direction;

/// What tc has on one interface.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Why it could not be asked.
    pub unknown: Option<String>,
    /// Whether an `ingress` qdisc is there.
    pub ingress: bool,
    /// Queueing disciplines that change marks: how each is called.
    pub washes: Vec<Wash>,
    /// Filters that rewrite the DS field.
    pub rewrites: Vec<Filter>,
    /// Filters that run a program, which may do anything, where no hook for programs is.
    pub programs: Vec<Filter>,
    /// Filters that look at the DS field, and drop, redirect or police what has it.
    pub takes: Vec<Filter>,
    /// Filters that send packets by the way out of another interface, by the DS field or not.
    pub redirects: Vec<Filter>,
    /// Filters that run in hardware.
    pub in_hardware: Vec<Filter>,
}

impl Traffic {
    /// With the filters of one more place.
    pub fn add(&mut self, filters: Filters) {
        self.rewrites.extend(filters.rewrites);
        self.programs.extend(filters.programs);
        self.takes.extend(filters.takes);
        self.redirects.extend(filters.redirects);
        self.in_hardware.extend(filters.in_hardware);
    }
}

/// Filters that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Those that rewrite the DS field.
    pub rewrites: Vec<Filter>,
    /// Those that run a program.
    pub programs: Vec<Filter>,
    /// Those that look at the DS field, and take packets away.
    pub takes: Vec<Filter>,
    /// Those that send packets by the way out of another interface.
    pub redirects: Vec<Filter>,
    /// Those that run in hardware.
    pub in_hardware: Vec<Filter>,
}

/// Kinds of queueing disciplines that can change marks.
pub const WASHING: [&str; 2] = ["cake", "dsmark"];

/// A queueing discipline that changes marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wash {
    /// `cake`, `dsmark`.
    pub kind: String,
    /// Its parent: `root`, or a class.
    pub parent: String,
}

/// Where filters are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One of the two lists of clsact; `ingress` has the first.
    List(Direction),
    /// A classful qdisc or a class of one, such as `1:` or `1:10`.
    Parent(String),
    /// The root qdisc that the kernel made, which has no number.
    Root,
}

impl Place {
    /// As tc is told.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::List(direction) => vec![direction.as_str().to_owned()],
            Self::Parent(parent) => vec!["parent".to_owned(), parent.clone()],
            Self::Root => Vec::new(),
        }
    }

    /// Which way packets go there.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        match self {
            Self::List(direction) => *direction,
            Self::Parent(_) | Self::Root => Direction::Egress,
        }
    }

    /// After the interface's name: `egress`, `parent 1:`.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Root => "root".to_owned(),
            _ => self.words().join(" "),
        }
    }
}

/// A filter of tc, by all that tells it from its neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Its kind, such as `flower`.
    pub kind: String,
    /// Where it is.
    pub place: Place,
    /// The block that it is in, if several interfaces share it.
    pub block: Option<u64>,
    /// Which packets it is asked for: `ip`, `all`.
    pub protocol: String,
    /// Those of them that it matches, as far as it looks at the DS field.
    pub packets: Packets,
    /// Its priority.
    pub pref: u16,
    /// Its chain.
    pub chain: u64,
    /// Its handle in its priority, if tc tells it.
    pub handle: Option<String>,
    /// What it does, for a filter that rewrites or runs a program: `pedit`, `ctinfo`, `bpf`.
    pub action: Option<String>,
    /// The interface by whose way out it sends packets, for one that redirects.
    pub to: Option<String>,
}

impl Filter {
    fn new(item: &Value, place: &Place) -> Self {
        let options = &item["options"];
        Self {
            kind: text(&item["kind"]),
            place: place.clone(),
            block: item["block"].as_u64(),
            protocol: text(&item["protocol"]),
            packets: packets(item).unwrap_or_else(|| of_protocol(item)),
            pref: item["pref"].as_u64().and_then(|pref| u16::try_from(pref).ok()).unwrap_or_default(),
            chain: item["chain"].as_u64().unwrap_or_default(),
            handle: handle(&options["fh"]).or_else(|| handle(&options["handle"])),
            action: None,
            to: None,
        }
    }

    /// As people read it: `u32 protocol ip pref 10 chain 0 handle 800::800`.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { kind, protocol, pref, chain, .. } = self;
        let handle = self.handle.as_deref().map_or_else(String::new, |handle| format!(" handle {handle}"));
        format!("{kind} protocol {protocol} pref {pref} chain {chain}{handle}")
    }

    /// The command that removes it and nothing else; without its handle there is none.
    #[must_use]
    pub fn removal(&self, interface: &str) -> Option<Command> {
        let handle = self.handle.as_ref()?;
        let del = Command::new("tc filter del");
        let del = match self.block {
            Some(block) => del.words("block").word(block),
            None => self.place.words().iter().fold(del.words("dev").word(interface), |del, word| del.word(word)),
        };
        let del = del.words("protocol").word(&self.protocol).words("pref").word(self.pref);
        Some(del.words("chain").word(self.chain).words("handle").word(handle).word(&self.kind))
    }
}

/// Some kinds tell a number, others have it written.
fn handle(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => number.as_u64().map(|number| format!("{number:#x}")),
        Value::String(written) => Some(written.clone()),
        _ => None,
    }
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

/// Reads what tc said of the filters at one place: those that rewrite, run a program, or run in hardware.
///
/// # Errors
///
/// That it is no list of tc.
pub fn filters(said: &str, place: &Place) -> Asked<Filters> {
    let mut found = Filters::default();
    for item in list(said)? {
        let options = &item["options"];
        let plain = Filter::new(&item, place);
        let actions = || options["actions"].as_array().into_iter().flatten();
        let action = |is: fn(&Value) -> bool| {
            let action = actions().find(|action| is(action))?;
            Some(Filter { action: Some(text(&action["kind"])), to: redirected_to(action), ..plain.clone() })
        };
        if options["in_hw"] == true {
            found.in_hardware.push(plain.clone());
        }
        found.rewrites.extend(action(rewrites_mark));
        found.programs.extend(action(|action| action["kind"] == "bpf"));
        found.takes.extend(action(takes).filter(|_| packets(&item).is_some()));
        found.redirects.extend(action(|action| redirected_to(action).is_some()));
        // The lists of clsact are hooks for programs, which are told by their names.
        if plain.kind == "bpf" && plain.handle.is_some() && !matches!(place, Place::List(_)) {
            found.programs.push(Filter { action: Some(plain.kind.clone()), ..plain });
        }
    }
    Ok(found)
}

fn list(said: &str) -> Asked<Vec<Value>> {
    // Where there is nothing, some versions print nothing.
    let said = if said.trim().is_empty() { "[]" } else { said };
    // Each condition of u32 has the same key: numbered, none is lost.
    let mut parts = said.split("\"match\":");
    let first = parts.next().unwrap_or_default().to_owned();
    let said = parts.enumerate().fold(first, |said, (at, part)| said + &format!("\"match {at}\":") + part);
    serde_json::from_str(&said).map_err(|error| format!("its JSON cannot be read: {error}"))
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

/// What is dropped, sent elsewhere or policed does not go on, or not all of it.
fn takes(action: &Value) -> bool {
    match action["kind"].as_str() {
        Some("gact") => matches!(action["control_action"]["type"].as_str(), Some("drop" | "stolen" | "trap")),
        Some("mirred") => action["mirred_action"] == "redirect",
        Some("police") => true,
        _ => false,
    }
}

/// Into the way in of an interface no qdisc sees it.
fn redirected_to(action: &Value) -> Option<String> {
    let is_out = action["kind"] == "mirred" && action["mirred_action"] == "redirect" && action["direction"] == "egress";
    action["to_dev"].as_str().filter(|_| is_out).map(str::to_owned)
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
    use qos_common::ds::Dscp;

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

    /// As iproute2 6.1 prints; guests have it for real (`tests/tests/real.rs`).
    fn flower(htype: &str, mask: &str, hardware: bool) -> String {
        format!(
            r#"[{{"protocol":"ip","pref":10,"kind":"flower","chain":0}},
            {{"protocol":"ip","pref":10,"kind":"flower","chain":0,"options":{{"handle":1,"keys":{{"eth_type":"ipv4"}},
            "in_hw":{hardware},"actions":[{{"order":1,"kind":"pedit","control_action":{{"type":"pass"}},"nkeys":1,
            "index":1,"ref":1,"bind":1,
            "keys":[{{"htype":"{htype}","offset":0,"cmd":"set","val":"b80000","mask":"{mask}"}}]}}]}}}}]"#
        )
    }

    const EGRESS: Place = Place::List(Direction::Egress);

    #[test]
    fn pedit_of_the_six_bits_is_found_and_nothing_else() {
        let rewrites = |htype, mask| {
            let found = filters(&flower(htype, mask, false), &EGRESS).unwrap();
            found.rewrites.iter().map(|filter| filter.pref).collect::<Vec<_>>()
        };
        assert_eq!(rewrites("ipv4", "ff00ffff"), [10]);
        assert_eq!(rewrites("network", "ff03ffff"), [10]);
        assert_eq!(rewrites("ipv6", "f03fffff"), [10]);
        assert!(rewrites("ipv4", "fffcffff").is_empty(), "ECN alone");
        assert!(rewrites("tcp", "ff00ffff").is_empty());
    }

    #[test]
    fn filters_in_hardware_are_found() {
        let place = Place::List(Direction::Ingress);
        let found = filters(&flower("tcp", "0", true), &place).unwrap();
        let words: Vec<_> = found.in_hardware.iter().map(Filter::words).collect();
        assert_eq!(words, ["flower protocol ip pref 10 chain 0 handle 0x1"]);
        assert_eq!((&found.in_hardware[0].place, found.in_hardware[0].action.is_none()), (&place, true));
    }

    /// What tc 6.1 said on Linux 6.18, but that the action was another one.
    fn u32(front: &str) -> String {
        format!(
            r#"[{{{front}"protocol":"ip","pref":5,"kind":"u32","chain":3}},{{{front}"protocol":"ip","pref":5,"kind":"u32",
            "chain":3,"options":{{"fh":"800:","ht_divisor":1}}}},{{{front}"protocol":"ip","pref":5,"kind":"u32","chain":3,
            "options":{{"fh":"800::800","order":2048,"key_ht":"800","bkt":"0","not_in_hw":true,"match":
            {{"value":"b80000","mask":"fc0000","offmask":"","off":0}},"actions":[{{"order":1,"kind":"ctinfo","zone":0,
            "control_action":{{"type":"pipe"}},"dscp":["0xfc000000","0x1000000"],"index":3,"ref":1,"bind":1}}]}}}}]"#
        )
    }

    #[test]
    fn the_cure_removes_one_filter_and_none_of_its_neighbours() {
        let removal = |front, place: Place| {
            let found = filters(&u32(front), &place).unwrap().rewrites;
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].removal("x;reboot").unwrap().to_string()
        };
        let which = "protocol ip pref 5 chain 3 handle 800::800 u32";
        let cases = [
            (Place::List(Direction::Ingress), "ingress "),
            (Place::Parent("1:10".to_owned()), "parent 1:10 "),
            (Place::Root, ""),
        ];
        for (place, words) in cases {
            assert_eq!(removal("", place), format!("tc filter del dev 'x;reboot' {words}{which}"));
        }
        assert_eq!(removal(r#""block":7,"#, EGRESS), format!("tc filter del block 7 {which}"));
        let mut nameless = filters(&u32(""), &EGRESS).unwrap().rewrites.remove(0);
        nameless.handle = None;
        assert_eq!(nameless.removal("wan0"), None);
    }

    #[test]
    fn a_program_is_told_where_no_hook_for_programs_is() {
        let bpf = r#"[{"protocol":"all","pref":4,"kind":"bpf","chain":0},{"protocol":"all","pref":4,"kind":"bpf","chain":0,
            "options":{"handle":"0x1","bpf_name":"x","direct-action":true,"not_in_hw":true,"prog":{"id":9}}}]"#;
        let count = |said: &str, place: &Place| filters(said, place).unwrap().programs.len();
        assert_eq!([count(bpf, &EGRESS), count(bpf, &Place::Parent("1:".to_owned()))], [0, 1]);
        assert_eq!(count(&u32("").replace("ctinfo", "bpf"), &EGRESS), 1);
    }

    /// What tc 6.1 said on Linux 6.18.
    #[test]
    fn a_filter_that_only_classifies_is_none() {
        let said = r#"[{"protocol":"all","pref":5,"kind":"u32","chain":0},{"protocol":"all","pref":5,"kind":"u32",
            "chain":0,"options":{"fh":"800:","ht_divisor":1}},{"protocol":"all","pref":5,"kind":"u32","chain":0,
            "options":{"fh":"800::800","order":2048,"key_ht":"800","bkt":"0","flowid":"1:1","not_in_hw":true,
            "match":{"value":"b80000","mask":"fc0000","offmask":"","off":0}}}]"#;
        assert_eq!(filters(said, &EGRESS).unwrap(), Filters::default());
    }

    fn codepoints(filter: &Filter) -> Vec<u8> {
        Dscp::all().map(Dscp::value).filter(|dscp| filter.packets.dscps >> dscp & 1 == 1).collect()
    }

    /// What tc 6.1 said on Linux 6.18; of two conditions each has the key `match`.
    #[test]
    fn a_filter_that_takes_away_what_has_a_mark_is_found_with_codepoints_and_family() {
        let said = |protocol: &str, conditions: &str| {
            format!(
                r#"[{{"protocol":"{protocol}","pref":9,"kind":"u32","chain":0,"options":{{"fh":"801::800","order":2048,
                "key_ht":"801","bkt":"0","not_in_hw":true,{conditions},"actions":[{{"order":1,"kind":"mirred",
                "mirred_action":"redirect","direction":"egress","to_dev":"y0","control_action":{{"type":"stolen"}},
                "index":1,"ref":1,"bind":1}}]}}}}]"#
            )
        };
        let ef = r#""match":{"value":"b80000","mask":"fc0000","offmask":"","off":0}"#;
        let to = r#""match":{"value":"a000000","mask":"ff000000","offmask":"","off":16}"#;
        for conditions in [ef.to_owned(), format!("{ef},{to}"), format!("{to},{ef}")] {
            let found = filters(&said("ip", &conditions), &EGRESS).unwrap().takes;
            assert_eq!((codepoints(&found[0]), found[0].packets.families), (vec![46], [true, false]), "{conditions}");
            assert_eq!(found[0].action.as_deref(), Some("mirred"));
        }
        assert!(filters(&said("ip", to), &EGRESS).unwrap().takes.is_empty(), "it does not look at the mark");
        let six = r#""match":{"value":"b800000","mask":"fc00000","offmask":"","off":0}"#;
        for protocol in ["ipv6", "all"] {
            let found = filters(&said(protocol, six), &EGRESS).unwrap().takes;
            assert_eq!(codepoints(&found[0]), [46], "{protocol}");
        }
        let redirects = |said: &str| filters(said, &EGRESS).unwrap().redirects;
        let all = redirects(&said("ip", to));
        assert_eq!((all.len(), all[0].to.as_deref()), (1, Some("y0")), "by whatever it looks at");
        assert!(redirects(&said("ip", to).replace("\"direction\":\"egress\"", "\"direction\":\"ingress\"")).is_empty());
        let mirror = said("ip", ef).replace("redirect", "mirror");
        assert!(redirects(&mirror).is_empty());
        assert!(filters(&mirror, &EGRESS).unwrap().takes.is_empty(), "a copy is sent, and nothing is taken");
        let class = said("ip", &ef.replace("b80000", "880000").replace("fc0000", "e00000"));
        assert_eq!(codepoints(&filters(&class, &EGRESS).unwrap().takes[0]), (32..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_flower_that_drops_by_tos_is_found() {
        let drop = flower("tcp", "0", false).replace("pedit", "gact").replace("\"pass\"", "\"drop\"");
        let found = |tos: &str| {
            let keys = format!("\"keys\":{{{tos}\"eth_type\"");
            filters(&drop.replacen("\"keys\":{\"eth_type\"", &keys, 1), &EGRESS).unwrap().takes
        };
        assert_eq!(codepoints(&found(r#""ip_tos":184,"ip_tos_mask":"fc","#)[0]), [46]);
        assert_eq!(codepoints(&found(r#""ip_tos":184,"#)[0]), [46]);
        assert_eq!(codepoints(&found(r#""ip_tos":"0xb8/fc","#)[0]), [46]);
        assert_eq!(codepoints(&found(r#""ip_tos":"0xb8","#)[0]), [46]);
        assert!(found(r#""ip_tos":"0x1/3","#).is_empty() && found("").is_empty(), "ECN, or nothing");
    }
}
