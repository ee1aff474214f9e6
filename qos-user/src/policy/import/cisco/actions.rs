//! What a class does with its packets.

use std::rc::Rc;

use super::{
    super::{
        Line, dscp,
        matching::dscp_word,
        program::{Act, Marks, Meter, always, by},
    },
    Reader,
    config::Class,
    matching::precedence,
};

/// What queues do.
const OF_QUEUES: [&str; 8] =
    ["bandwidth", "priority", "queue-limit", "fair-queue", "random-detect", "shape", "queue-buffers", "compression"];
const TAKES_LAYER_2: &str =
    "Cisco charges the layer 2 header too, a meter here the IP packet: overhead = 14 says the same on Ethernet";

impl Reader<'_> {
    /// What is done in a class, and the line that says what matters.
    pub fn acts(&mut self, class: &Class) -> (Vec<Act>, Option<Line>) {
        let (mut acts, mut at) = (Vec::new(), None);
        // Cisco marks before it polices, in whatever order the two are written.
        let (policers, others): (Vec<_>, Vec<_>) = class.lines.iter().partition(|(_, words)| words[0] == "police");
        for (line, words) in others.into_iter().chain(policers) {
            match self.act(*line, words, &acts) {
                Ok(Some(act)) => {
                    acts.push(act);
                    at = Some(*line);
                }
                Ok(None) => {}
                Err(reason) => self.read.leave_block(self.lines, &class.block(*line), &reason),
            }
        }
        // What ends the way of a packet is done last.
        acts.sort_by_key(|act| matches!(act, Act::Drop | Act::Meter(_)));
        (acts, at)
    }

    fn act(&mut self, line: Line, words: &[String], before: &[Act]) -> Result<Option<Act>, String> {
        let words = words.iter().map(|word| &**word).collect::<Vec<_>>();
        let words = if words.first() == Some(&"set") && words.get(1) == Some(&"ip") {
            [&["set"], &words[2..]].concat()
        } else {
            words
        };
        match &*words {
            ["set", "dscp", "dscp", "table", name] => Ok(Some(Act::Mark(self.table(name)?))),
            ["set", "dscp", word] => {
                let dscp = dscp::dscp(word).ok_or_else(|| format!("{word} is not a codepoint"))?;
                Ok(Some(Act::Mark(always(dscp))))
            }
            ["set", "precedence", word] => {
                let class = precedence(word).ok_or_else(|| format!("{word} is no precedence"))? * 8;
                self.read.note(self.lines, line, format!("taken as the class selector {}", dscp_word(class)));
                Ok(Some(Act::Mark(always(class))))
            }
            ["drop"] => Ok(Some(Act::Drop)),
            ["police", rest @ ..] => {
                self.read.note(self.lines, line, TAKES_LAYER_2);
                police(rest, before).map(|meter| Some(Act::Meter(Rc::new(meter))))
            }
            ["service-policy", ..] => Err("a policy-map in a class is not carried over".to_owned()),
            ["description", ..] | ["exit"] => {
                self.read.account.beside(line);
                Ok(None)
            }
            [word, ..] if OF_QUEUES.contains(word) => Err(format!("{word} is about queues: it stays with tc")),
            _ => Err(format!("{}: no rule here does that", words.join(" "))),
        }
    }

    /// A table-map; what it does not name stays, or gets its default.
    fn table(&mut self, name: &str) -> Result<Marks, String> {
        let lines = self.config.tables.get(name).ok_or_else(|| format!("there is no table-map {name} in the text"))?;
        self.uses("table-map", name);
        let mut table = [None; 64];
        let mut default = None;
        for (_, words) in lines {
            let value = |at: usize| words.get(at).and_then(|word| dscp::dscp(word));
            match (&*words[0], words.get(2).map(|word| &**word)) {
                ("map", Some(from)) => {
                    let (from, to) = (dscp::dscp(from), value(4));
                    let (from, to) = from.zip(to).ok_or_else(|| format!("{} cannot be read", words.join(" ")))?;
                    table[usize::from(from)] = Some(to);
                }
                ("default", _) => default = value(1),
                _ => return Err(format!("{} cannot be read", words.join(" "))),
            }
        }
        Ok(by(|dscp| table[usize::from(dscp)].or(default).unwrap_or(dscp)))
    }
}

/// `police cir 8000000 bc 1500 conform-action transmit exceed-action drop`
fn police(words: &[&str], before: &[Act]) -> Result<Meter, String> {
    let at = words.iter().position(|word| word.ends_with("-action")).unwrap_or(words.len());
    let (numbers, actions) = words.split_at(at);
    let spelled = spelled_out(numbers)?;
    let numbers = &*spelled.iter().map(|word| &**word).collect::<Vec<_>>();
    let (cir, pir) = (number_of(numbers, "cir", 0)?, number_of(numbers, "pir", 9)?);
    let (bc, be) = (number_of(numbers, "bc", 1)?, number_of(numbers, "be", 2)?);
    let cir = cir.ok_or("a rate in bits a second is wanted")?;
    let green = arrives_as(before)?;
    let (green, yellow, red) = colors(actions, &green)?;
    let burst = |rate: u64| (rate / 32).max(1500);
    let bc = bc.unwrap_or_else(|| burst(cir));
    let word = |kind: &str| format!("\"{kind}\"");
    let parameters = match (pir, red.is_some()) {
        (Some(pir), _) => vec![
            ("type", word("trtcm")),
            ("cir", rate(cir)),
            ("cbs", size(bc)),
            ("pir", rate(pir)),
            ("pbs", size(be.unwrap_or_else(|| burst(pir)))),
        ],
        (None, three) => vec![
            ("type", word("srtcm")),
            ("cir", rate(cir)),
            ("cbs", size(bc)),
            // Two colors have one bucket.
            ("ebs", size(if three { be.unwrap_or(bc) } else { 0 })),
        ],
    };
    let red = red.unwrap_or_else(|| yellow.clone());
    Ok(Meter { parameters, colors: [green, yellow, red] })
}

/// `rate 8 mbps burst 1500 bytes peak-rate 12 mbps peak-burst 3000 bytes` in the words of `cir`, `bc`, `pir` and `be`.
fn spelled_out(words: &[&str]) -> Result<Vec<String>, String> {
    if words.first() != Some(&"rate") {
        return Ok(words.iter().map(|word| (*word).to_owned()).collect());
    }
    let mut spelled = Vec::new();
    for triple in words.chunks(3) {
        let (name, is_rate) = match triple.first() {
            Some(&"rate") => ("cir", true),
            Some(&"burst") => ("bc", false),
            Some(&"peak-rate") => ("pir", true),
            Some(&"peak-burst") => ("be", false),
            _ => return Err(format!("{} cannot be read", words.join(" "))),
        };
        let factor = match (is_rate, triple.get(2).copied()) {
            (true, Some("bps")) | (false, Some("bytes")) => 1,
            (true, Some("kbps")) | (false, Some("kbytes")) => 1_000,
            (true, Some("mbps")) | (false, Some("mbytes")) => 1_000_000,
            (true, Some("gbps")) => 1_000_000_000,
            (true, _) => return Err("the rate is not in bits a second".to_owned()),
            (false, _) => return Err("the burst is not in bytes".to_owned()),
        };
        let number = triple[1].parse::<u64>().map_err(|_not_digits| format!("{} is not a number", triple[1]))?;
        spelled.extend([name.to_owned(), number.saturating_mul(factor).to_string()]);
    }
    Ok(spelled)
}

/// A number behind its word, or in its place among numbers that have none.
fn number_of(words: &[&str], name: &str, place: usize) -> Result<Option<u64>, String> {
    if words.iter().any(|word| matches!(*word, "percent" | "rate" | "aggregate")) {
        return Err("the rate is not in bits a second".to_owned());
    }
    let read = |word: &&str| word.parse::<u64>().map_err(|_not_digits| format!("{word} is not a number"));
    match words.iter().position(|word| *word == name) {
        Some(at) => words.get(at + 1).map(read).transpose(),
        None if words.iter().all(|word| word.parse::<u64>().is_ok()) => words.get(place).map(read).transpose(),
        // `police 8000000 bc 1500`
        None if place == 0 => words.first().filter(|word| word.parse::<u64>().is_ok()).map(read).transpose(),
        None => Ok(None),
    }
}

/// The mark that a packet has when it comes to the meter.
fn arrives_as(before: &[Act]) -> Result<String, String> {
    match before.iter().rev().find_map(|act| if let Act::Mark(marks) = act { Some(marks) } else { None }) {
        None => Ok("keep".to_owned()),
        Some(marks) if marks.iter().all(|to| *to == marks[0]) => Ok(dscp_word(marks[0])),
        Some(_) => Err("it meters behind a table-map: a packet is decided once here".to_owned()),
    }
}

/// What is done to the colors; without a violate-action there is no third one.
fn colors(words: &[&str], transmitted: &str) -> Result<(String, String, Option<String>), String> {
    let (mut green, mut yellow, mut red) = (transmitted.to_owned(), "drop".to_owned(), None);
    let mut words = words.iter().copied().peekable();
    while let Some(color) = words.next() {
        let verdict = match words.next().unwrap_or_default() {
            "transmit" => transmitted.to_owned(),
            "drop" => "drop".to_owned(),
            "set-dscp-transmit" => set("dscp", words.next().unwrap_or_default())?,
            "set-prec-transmit" => set("precedence", words.next().unwrap_or_default())?,
            // As IOS XR says the same.
            "set" => set(words.next().unwrap_or_default(), words.next().unwrap_or_default())?,
            other => return Err(format!("{other}: no color here does that")),
        };
        match color {
            "conform-action" => green = verdict,
            "exceed-action" => yellow = verdict,
            "violate-action" => red = Some(verdict),
            other => return Err(format!("{other} is no color")),
        }
    }
    Ok((green, yellow, red))
}

/// The mark that a color gets.
fn set(field: &str, word: &str) -> Result<String, String> {
    match field {
        "dscp" => dscp::dscp(word).map(dscp_word).ok_or_else(|| format!("{word} is not a codepoint")),
        "precedence" => {
            precedence(word).map(|class| dscp_word(class * 8)).ok_or_else(|| format!("{word} is no precedence"))
        }
        other => Err(format!("set {other}: no color here does that")),
    }
}

fn rate(bits: u64) -> String {
    match bits {
        _ if bits.is_multiple_of(1_000_000) => format!("\"{}mbit\"", bits / 1_000_000),
        _ if bits.is_multiple_of(1000) => format!("\"{}kbit\"", bits / 1000),
        _ => format!("\"{bits}bit\""),
    }
}

fn size(bytes: u64) -> String {
    format!("\"{bytes}B\"")
}
