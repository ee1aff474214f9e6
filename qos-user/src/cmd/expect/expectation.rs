//! What somebody expects of the counters: `EF=10`, `voice>=1`, `other=0`.

use std::fmt;

use qos_common::ds::Dscp;

use crate::{
    error::{Exit, Failure},
    snapshot::PolicyLabel,
};

/// How a number of packets is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Exactly so many.
    Equal,
    /// So many or more.
    AtLeast,
    /// So many or fewer.
    AtMost,
}

impl Comparison {
    const ALL: [(&'static str, Self); 3] = [(">=", Self::AtLeast), ("<=", Self::AtMost), ("=", Self::Equal)];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, comparison)| *comparison == self).map_or("=", |(word, _)| word)
    }
}

/// One expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The class, codepoint or `other`, as written.
    pub name: String,
    /// The codepoints that are meant.
    pub dscps: Vec<Dscp>,
    /// How the packets are compared.
    pub comparison: Comparison,
    /// With how many.
    pub packets: u64,
}

impl Expectation {
    /// Whether so many packets are as expected.
    #[must_use]
    pub const fn is_met(&self, packets: u64) -> bool {
        match self.comparison {
            Comparison::Equal => packets == self.packets,
            Comparison::AtLeast => packets >= self.packets,
            Comparison::AtMost => packets <= self.packets,
        }
    }

    /// Whether more packets would not help.
    #[must_use]
    pub const fn is_lost(&self, packets: u64) -> bool {
        match self.comparison {
            Comparison::Equal | Comparison::AtMost => packets > self.packets,
            Comparison::AtLeast => false,
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.name, self.comparison.word(), self.packets)
    }
}

/// Reads expectations; a class of the policy is a name too, and `other` is every codepoint that no other one names.
///
/// # Errors
///
/// `expectation`, naming the word that is wrong.
pub fn parse(words: &[String], policy: Option<&PolicyLabel>) -> anyhow::Result<Vec<Expectation>> {
    let mut expectations = words.iter().map(|word| parse_one(word, policy)).collect::<anyhow::Result<Vec<_>>>()?;
    let named: Vec<Dscp> = expectations.iter().flat_map(|expectation| expectation.dscps.clone()).collect();
    for other in expectations.iter_mut().filter(|expectation| expectation.name == "other") {
        other.dscps = Dscp::all().filter(|dscp| !named.contains(dscp)).collect();
    }
    Ok(expectations)
}

fn parse_one(word: &str, policy: Option<&PolicyLabel>) -> anyhow::Result<Expectation> {
    // From the right: `tos=184=10` names a codepoint with a sign of its own.
    let split = Comparison::ALL.iter().filter_map(|(sign, comparison)| {
        let at = word.rfind(sign)?;
        Some((at, sign.len(), *comparison))
    });
    // Of `>=` and the `=` in it the longer sign is meant: it ends at the same place and begins earlier.
    let found = split.max_by_key(|(at, length, _)| (at + length, *length));
    let (at, length, comparison) =
        found.ok_or_else(|| wrong(word, "it needs a number of packets, such as EF=10 or 'EF>=10'"))?;
    let (name, rest) = word.split_at(at);
    let (_sign, packets) = rest.split_at(length);
    let packets =
        packets.parse().map_err(|_not_a_number| wrong(word, &format!("`{packets}` is no number of packets")))?;
    let dscps = resolve(name, policy).ok_or_else(|| wrong(word, &unknown(name, policy)))?;
    Ok(Expectation { name: name.to_owned(), dscps, comparison, packets })
}

fn resolve(name: &str, policy: Option<&PolicyLabel>) -> Option<Vec<Dscp>> {
    if name == "other" {
        return Some(Vec::new());
    }
    let class = policy.and_then(|policy| policy.classes.iter().find(|(class, _)| class == name));
    match class {
        Some((_, dscps)) => Some(dscps.clone()),
        None => name.parse().ok().map(|dscp| vec![dscp]),
    }
}

fn unknown(name: &str, policy: Option<&PolicyLabel>) -> String {
    let why = name.parse::<Dscp>().err().map_or_else(String::new, |error| error.to_string());
    let classes: Vec<_> = policy.iter().flat_map(|policy| &policy.classes).map(|(class, _)| class.as_str()).collect();
    if classes.is_empty() {
        format!("`{name}` is {why}, and no policy with classes is in force")
    } else {
        format!("`{name}` is {why}, nor one of the classes {}", classes.join(", "))
    }
}

fn wrong(word: &str, why: &str) -> anyhow::Error {
    Failure::new("expectation", format!("expectation `{word}`: {why}")).exit(Exit::Usage).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> PolicyLabel {
        PolicyLabel {
            name: "p".to_owned(),
            hash: "00000000".to_owned(),
            saved: false,
            file: "p.toml".to_owned(),
            classes: vec![("voice".to_owned(), vec![Dscp::EF, Dscp::new(44).unwrap()])],
        }
    }

    fn parse_all(words: &[&str]) -> anyhow::Result<Vec<Expectation>> {
        parse(&words.iter().map(ToString::to_string).collect::<Vec<_>>(), Some(&policy()))
    }

    #[test]
    fn every_notation_and_sign_is_read() {
        let all = parse_all(&["EF=10", "voice>=3", "tos=40<=2", "0x22=0"]).unwrap();
        let read: Vec<_> = all.iter().map(|e| (e.dscps.clone(), e.comparison, e.packets)).collect();
        let af11 = Dscp::new(10).unwrap();
        assert_eq!(
            read,
            [
                (vec![Dscp::EF], Comparison::Equal, 10),
                (vec![Dscp::EF, Dscp::new(44).unwrap()], Comparison::AtLeast, 3),
                (vec![af11], Comparison::AtMost, 2),
                (vec![Dscp::new(34).unwrap()], Comparison::Equal, 0),
            ]
        );
        assert_eq!(all[1].to_string(), "voice>=3");
    }

    #[test]
    fn other_is_what_nobody_names() {
        let all = parse_all(&["EF=1", "other=0", "voice=1"]).unwrap();
        assert_eq!(all[1].dscps.len(), 62);
        assert!(!all[1].dscps.contains(&Dscp::EF));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (word, part) in
            [("EF", "needs a number"), ("EF=x", "`x` is no number"), ("vioce=1", "classes voice"), ("=1", "``")]
        {
            let error = parse_all(&[word]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_lost_expectation_is_not_waited_for() {
        let exact = &parse_all(&["EF=10"]).unwrap()[0];
        assert_eq!(
            [9, 10, 11].map(|n| (exact.is_met(n), exact.is_lost(n))),
            [(false, false), (true, false), (false, true)]
        );
    }
}
