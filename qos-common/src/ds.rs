//! The DS field (RFC 2474, updated by RFC 3260), its two halves, and the names of the codepoints.

use core::fmt;

/// A Differentiated Services codepoint, 0 to 63: the upper six bits of the DS field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Dscp(u8);

/// Explicit Congestion Notification, the lower two bits (RFC 3168).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// Not ECN-capable.
    NotEct = 0,
    /// ECN-capable transport, codepoint 1 (L4S, RFC 9331).
    Ect1 = 1,
    /// ECN-capable transport, codepoint 0.
    Ect0 = 2,
    /// Congestion experienced.
    Ce = 3,
}

/// The whole byte: DSCP and ECN. Operators still call it the ToS byte (RFC 791) or the traffic class (RFC 8200).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct DsField(u8);

impl Dscp {
    /// Default forwarding, the same codepoint as CS0 and "best effort".
    pub const DF: Self = Self(0);
    /// Lower effort (RFC 8622).
    pub const LE: Self = Self(1);
    /// Expedited forwarding (RFC 3246).
    pub const EF: Self = Self(46);
    /// Class selector 6, network control (RFC 4594).
    pub const CS6: Self = Self(48);
    /// Class selector 7, reserved for network control.
    pub const CS7: Self = Self(56);
    /// How many there are.
    pub const COUNT: usize = 64;

    /// The codepoint `value`, or `None` above 63.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if value < 64 { Some(Self(value)) } else { None }
    }

    /// The 6-bit value.
    #[inline(always)]
    #[must_use]
    pub const fn value(self) -> u8 {
        self.0
    }

    /// The same as an index, which the compiler knows to be below 64.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> usize {
        (self.0 & 63) as usize
    }

    /// All 64, in order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + Clone {
        (0..64).map(Self)
    }

    /// Whether routers talk to each other in it: CS6 or CS7 (RFC 4594 section 3.1).
    #[inline(always)]
    #[must_use]
    pub const fn is_network_control(self) -> bool {
        // 110000 and 111000 differ in one bit.
        self.0 & !0b00_1000 == Self::CS6.0
    }

    /// Its name in the IANA registry, in the shortest form in use; `None` for the 40 that have none.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(value, _)| *value == self.0).map(|(_, name)| *name)
    }

    /// The codepoint that a name means, whatever its case: the registry's names, `BE`, `VOICE-ADMIT`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let known = NAMES.iter().chain(ALIASES);
        known.clone().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(value, _)| Self(*value))
    }
}

/// The registry "Differentiated Services Field Codepoints", one name a codepoint.
const NAMES: &[(u8, &str)] = &[
    (0, "DF"),
    (1, "LE"),
    (8, "CS1"),
    (10, "AF11"),
    (12, "AF12"),
    (14, "AF13"),
    (16, "CS2"),
    (18, "AF21"),
    (20, "AF22"),
    (22, "AF23"),
    (24, "CS3"),
    (26, "AF31"),
    (28, "AF32"),
    (30, "AF33"),
    (32, "CS4"),
    (34, "AF41"),
    (36, "AF42"),
    (38, "AF43"),
    (40, "CS5"),
    (44, "VA"),
    (45, "NQB"),
    (46, "EF"),
    (48, "CS6"),
    (56, "CS7"),
];

const ALIASES: &[(u8, &str)] = &[(0, "CS0"), (0, "BE"), (44, "VOICE-ADMIT")];

impl fmt::Display for Dscp {
    /// The name, or the decimal value where there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl fmt::Debug for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dscp({} {})", self.0, self)
    }
}

impl DsField {
    /// Any byte is a DS field.
    #[inline(always)]
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        Self(bits)
    }

    /// The byte.
    #[inline(always)]
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The upper six bits.
    #[inline(always)]
    #[must_use]
    pub const fn dscp(self) -> Dscp {
        Dscp(self.0 >> 2)
    }

    /// The lower two bits.
    #[must_use]
    pub const fn ecn(self) -> Ecn {
        match self.0 & 3 {
            0 => Ecn::NotEct,
            1 => Ecn::Ect1,
            2 => Ecn::Ect0,
            _ => Ecn::Ce,
        }
    }

    /// The same ECN bits under another codepoint.
    #[inline(always)]
    #[must_use]
    pub const fn with_dscp(self, dscp: Dscp) -> Self {
        Self(dscp.0 << 2 | self.0 & 3)
    }
}
