//! Since when the policy in force is that, and what was taken back for it: the history says so, and `status` the same.

use super::site::Site;
use crate::{
    kernel::past,
    status::{Applied, UndonePolicy},
};

/// When and by whom the policy in force was put there. A history that cannot be read is no reason to say nothing.
#[must_use]
pub fn applied(site: &Site) -> Option<Applied> {
    let in_force = site.policy.as_ref()?;
    let last = past::newest(&site.store).unwrap_or_default();
    let last = last.filter(|last| last.policy.hash == in_force.policy.hash() && !last.taken_back);
    let record = &in_force.record;
    let (when, by) = last.map_or_else(|| (record.applied, record.by.clone()), |last| (last.when, last.by));
    Some(Applied { when, by, file: record.file.clone() })
}

/// The policy that was taken back, if that is the latest that has happened.
#[must_use]
pub fn taken_back(site: &Site) -> Option<UndonePolicy> {
    let past = past::just_taken_back(&site.store).unwrap_or_default()?;
    Some(UndonePolicy { name: past.policy.name, hash: past.policy.hash, applied: past.when, undone: past.undone })
}
