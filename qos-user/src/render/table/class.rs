//! The classes of a policy, and what no class has.

use qos_common::ds::Dscp;

use crate::{render::text::shorten, snapshot::PolicyLabel};

/// What leaves room for two counters of 19 digits: `AF41 AF42 AF43`.
const COLUMNS: usize = 14;

/// A class and its codepoints.
pub struct Class {
    name: Option<String>,
    /// Those that it has; for `other`, all that no class has.
    pub dscps: Vec<Dscp>,
}

impl Class {
    /// Its name, or `other`.
    pub fn name(&self) -> String {
        shorten(self.name.as_deref().unwrap_or("other"), COLUMNS)
    }

    /// Its codepoints as text, shortened; nothing for `other`.
    pub fn members(&self) -> String {
        let words: Vec<_> = self.dscps.iter().map(Dscp::to_string).collect();
        if self.name.is_some() { shorten(&words.join(" "), COLUMNS) } else { String::new() }
    }
}

/// The classes in the order of the file, then `other`.
pub fn classes(policy: Option<&PolicyLabel>) -> Vec<Class> {
    let named = policy.map(|policy| policy.classes.as_slice()).unwrap_or_default();
    let rest = Dscp::all().filter(|dscp| !named.iter().any(|(_, dscps)| dscps.contains(dscp))).collect();
    let classes = named.iter().map(|(name, dscps)| Class { name: Some(name.clone()), dscps: dscps.clone() });
    classes.chain([Class { name: None, dscps: rest }]).collect()
}
