//! MF rules (RFC 2475: multi-field classifier): what the language hands to the compiler and every hook remembers, and the
//! tables that its program looks packets up in.

mod codepoints;
pub mod from;
pub mod model;
pub(crate) mod protocols;
mod text;
mod written;

pub(crate) use self::text::class;
use qos_common::{
    meter::MeterRecord,
    rules::{Page, Plan, Record, Row},
};

/// Unless this setting is 0, forwarding gives IPv4 packets a priority by their TOS, whatever they had (`ip_forward()`; IPv6
/// keeps it).
pub const UPDATE_PRIORITY: &str = "net.ipv4.ip_forward_update_priority";

/// The rules of one hook as its program has them: the same rules give the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTables {
    /// The constants of the program.
    pub plan: Plan,
    /// The codepoints for which rules are asked, a bit each.
    pub asked: u64,
    /// Whether a rule may change a mark.
    pub remarks: bool,
    /// The map `PAGES`.
    pub pages: Vec<Page>,
    /// The map `ROWS`.
    pub rows: Vec<Row>,
    /// The map `RECORDS`, by bit.
    pub records: Vec<Record>,
    /// The map `METERS`: that of each rule which has one, by the number in its record.
    pub meters: Vec<MeterRecord>,
}

impl RuleTables {
    /// Bytes of kernel memory that they take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        let lookup = self.pages.len() * Page::BYTES + self.rows.len() * Row::BYTES;
        lookup + self.records.len() * Record::BYTES + self.meters.len() * MeterRecord::BYTES
    }
}
