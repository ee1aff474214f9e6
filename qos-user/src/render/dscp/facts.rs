//! What the RFCs say of each codepoint.

use qos_common::ds::{Dscp, Ecn};

/// The ToS byte of a codepoint with some ECN bits: DSCP x 4 + ECN (RFC 3168 section 5).
#[must_use]
pub const fn tos(dscp: Dscp, ecn: Ecn) -> u8 {
    dscp.value() << 2 | ecn as u8
}

/// ECN codepoints with their names (RFC 3168 section 5), in the order of their bits.
pub const ECN: [(Ecn, &str); 4] =
    [(Ecn::NotEct, "Not-ECT"), (Ecn::Ect1, "ECT(1)"), (Ecn::Ect0, "ECT(0)"), (Ecn::Ce, "CE")];

/// The per-hop behavior and its RFC; `None` for a codepoint that IANA has not assigned.
#[must_use]
pub fn behavior(dscp: Dscp) -> Option<(&'static str, &'static str)> {
    match dscp.name()? {
        "DF" => Some(("Default Forwarding, best effort, CS0", "RFC 2474")),
        "LE" => Some(("Lower Effort", "RFC 8622")),
        "EF" => Some(("Expedited Forwarding", "RFC 3246")),
        "VA" => Some(("VOICE-ADMIT, capacity-admitted traffic", "RFC 5865")),
        "NQB" => Some(("Non-Queue-Building", "RFC 9956")),
        name if name.starts_with("AF") => Some(("Assured Forwarding", "RFC 2597")),
        _ => Some(("Class Selector", "RFC 2474")),
    }
}

/// The service class (RFC 4594, updated by RFC 5865 and RFC 8622); `None` where none has the codepoint.
#[must_use]
pub fn service_class(dscp: Dscp) -> Option<&'static str> {
    let class = match dscp.name()? {
        "CS6" => "Network Control",
        "EF" | "VA" => "Telephony",
        "CS5" => "Signaling",
        "AF41" | "AF42" | "AF43" => "Multimedia Conferencing",
        "CS4" => "Real-Time Interactive",
        "AF31" | "AF32" | "AF33" => "Multimedia Streaming",
        "CS3" => "Broadcast Video",
        "AF21" | "AF22" | "AF23" => "Low-Latency Data",
        "CS2" => "OAM",
        "AF11" | "AF12" | "AF13" => "High-Throughput Data",
        "DF" => "Standard",
        "LE" => "Low-Priority Data",
        "CS1" => "Low-Priority Data (before RFC 8622)",
        _ => return None,
    };
    Some(class)
}

/// The 802.1D and 802.11 user priority (RFC 8325 section 4, updated by RFC 8622 and for NQB by RFC 9956).
///
/// Codepoints that are not in use go to 0, whatever their first three bits (RFC 8325 section 4.3).
#[must_use]
pub fn user_priority(dscp: Dscp) -> u8 {
    match dscp.name() {
        Some("CS6" | "CS7") => 7,
        Some("EF" | "VA") => 6,
        Some("CS5" | "NQB") => 5,
        Some("AF41" | "AF42" | "AF43" | "CS4" | "AF31" | "AF32" | "AF33" | "CS3") => 4,
        Some("AF21" | "AF22" | "AF23") => 3,
        Some("CS1" | "LE") => 1,
        _ => 0,
    }
}

/// IP precedence: the first three bits (RFC 791 section 3.1).
#[must_use]
pub const fn precedence(dscp: Dscp) -> u8 {
    dscp.value() >> 3
}

/// Its name in RFC 791 section 3.1.
#[must_use]
pub const fn precedence_name(dscp: Dscp) -> &'static str {
    match precedence(dscp) {
        0 => "Routine",
        1 => "Priority",
        2 => "Immediate",
        3 => "Flash",
        4 => "Flash Override",
        5 => "CRITIC/ECP",
        6 => "Internetwork Control",
        _ => "Network Control",
    }
}

/// The bits of the ToS byte as RFC 1349 section 4 reads them, with what each asks for. The last one is ECN's now.
pub const RFC1349: [(u8, &str); 4] =
    [(0x10, "min delay"), (0x08, "max throughput"), (0x04, "max reliability"), (0x02, "min cost")];

/// What the ToS byte asks for in RFC 1349's words; empty for normal service.
#[must_use]
pub fn rfc1349(tos: u8) -> Vec<&'static str> {
    RFC1349.into_iter().filter(|(bit, _)| tos & bit != 0).map(|(_, word)| word).collect()
}

/// Which of the registry's pools it is from (RFC 2474 section 6, RFC 8436).
#[must_use]
pub const fn pool(dscp: Dscp) -> (u8, &'static str) {
    match dscp.value() & 0b11 {
        0b01 => (3, "standards action"),
        0b11 => (2, "experimental or local use"),
        _ => (1, "standards action"),
    }
}

/// What remains of a codepoint on a path that rewrites it, by RFC 9435's names (section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Residues {
    /// Bleach-DSCP: nothing.
    pub bleach_dscp: u8,
    /// Bleach-ToS-Precedence: the last three bits.
    pub bleach_tos_precedence: u8,
    /// Bleach-some-ToS: the same, unless the first two bits are 11.
    pub bleach_some_tos: u8,
    /// Bleach-low: the first three bits.
    pub bleach_low: u8,
    /// Bleach-some-low: the same, unless the first two bits are 11.
    pub bleach_some_low: u8,
}

/// What remains of it.
#[must_use]
pub const fn residues(dscp: Dscp) -> Residues {
    let value = dscp.value();
    let control = value >> 4 == 0b11;
    Residues {
        bleach_dscp: 0,
        bleach_tos_precedence: value & 0b00_0111,
        bleach_some_tos: if control { value } else { value & 0b00_0111 },
        bleach_low: value & 0b11_1000,
        bleach_some_low: if control { value } else { value & 0b11_1000 },
    }
}

/// The named codepoints of which Bleach-ToS-Precedence leaves this one, which has no name itself: 2, 4 and 6.
#[must_use]
pub fn residue_of(dscp: Dscp) -> Vec<Dscp> {
    if dscp.name().is_some() || dscp.value() > 7 {
        return Vec::new();
    }
    Dscp::all().filter(|from| from.name().is_some() && from.value() & 7 == dscp.value()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dscp(word: &str) -> Dscp {
        word.parse().unwrap()
    }

    #[test]
    fn every_assigned_codepoint_has_a_behavior() {
        for dscp in Dscp::all() {
            assert_eq!(dscp.name().is_some(), behavior(dscp).is_some(), "{dscp:?}");
        }
    }

    #[test]
    fn user_priorities_are_those_of_the_rfcs() {
        let expected = [
            ("CS7", 7),
            ("CS6", 7),
            ("EF", 6),
            ("VA", 6),
            ("CS5", 5),
            ("NQB", 5),
            ("AF43", 4),
            ("CS4", 4),
            ("AF31", 4),
            ("CS3", 4),
            ("AF22", 3),
            ("CS2", 0),
            ("AF13", 0),
            ("DF", 0),
            ("CS1", 1),
            ("LE", 1),
            ("47", 0),
            ("63", 0),
        ];
        for (word, priority) in expected {
            assert_eq!(user_priority(dscp(word)), priority, "{word}");
        }
    }

    #[test]
    fn the_old_reading_of_ef() {
        assert_eq!((precedence(Dscp::EF), precedence_name(Dscp::EF)), (5, "CRITIC/ECP"));
        assert_eq!(rfc1349(0xb8), ["min delay", "max throughput"]);
        assert_eq!(rfc1349(0xba), ["min delay", "max throughput", "min cost"]);
        assert_eq!(rfc1349(0), [""; 0]);
    }

    #[test]
    fn residues_are_those_of_rfc_9435() {
        let bleached = |word| (residues(dscp(word)).bleach_tos_precedence, residues(dscp(word)).bleach_low);
        assert_eq!(bleached("EF"), (6, 40));
        assert_eq!(bleached("AF41"), (2, 32));
        assert_eq!(bleached("VA"), (4, 40));
        assert_eq!(bleached("NQB"), (5, 40));
        assert_eq!(bleached("LE"), (1, 0));
        assert_eq!(residues(Dscp::CS6).bleach_some_tos, 48);
        assert_eq!(residue_of(dscp("2")), ["AF11", "AF21", "AF31", "AF41"].map(dscp));
        assert!(residue_of(dscp("LE")).is_empty());
    }

    #[test]
    fn pools_are_those_of_the_registry() {
        assert_eq!((pool(Dscp::EF).0, pool(dscp("63")).0, pool(Dscp::LE).0, pool(dscp("NQB")).0), (1, 2, 3, 3));
    }
}
