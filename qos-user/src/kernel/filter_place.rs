//! The place of our filter in a clsact qdisc: who may be there before us.

use super::{
    choice::{is_our_name, program_name},
    mechanism::{HANDLE, PRIORITY, Running, running},
    network::{Filter, Network},
    pins::HookPins,
};
use crate::{command::Command, error::Failure, hook::Via};

/// Before a hook gets its first program: by whatever mechanism that is, packets would meet two of them. One of clsact stays in
/// the kernel when its pins go, as with a bpf file system that is unmounted.
///
/// # Errors
///
/// `foreign-filter`.
pub fn refuse_without_pins(interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    let Some(Running { program_id, .. }) = running(Via::Clsact, pins, net)? else { return Ok(()) };
    // Somebody else's is in the way of a filter alone.
    if program_name(program_id).is_some_and(|name| !is_our_name(&name)) {
        return Ok(());
    }
    let removal = Command::new("tc filter del dev").word(interface).word(pins.direction).words("pref").word(PRIORITY);
    let message = format!(
        "{interface}:{}: a filter is at our priority, of which no pin is known (program {program_id}): left by a bpf file \
         system that was unmounted, or made by qosbpf with another --bpffs",
        pins.direction
    );
    Err(Failure::new("foreign-filter", message).hint(format!("{removal} removes it, if it is without use")).into())
}

/// Refuses our priority where somebody else's filter has it: the kernel adds no filter of another kind there, and no second
/// one of the same handle, and says neither in words.
///
/// # Errors
///
/// Who has it.
pub fn refuse_taken(interface: &str, pins: &HookPins, net: &Network) -> anyhow::Result<()> {
    let filters = net.filters(pins.ifindex, pins.direction)?;
    let is_in_the_way = |it: &&Filter| it.program_id.is_none() || it.handle == u32::from(HANDLE);
    let Some(taken) = filters.iter().filter(|it| it.priority == PRIORITY).find(is_in_the_way) else { return Ok(()) };
    let who = match taken.program_id {
        Some(id) => format!("program {id} \"{}\"", program_name(id).unwrap_or_default()),
        None => "a filter of another kind than bpf".to_owned(),
    };
    let look = Command::new("tc filter show dev").word(interface).word(pins.direction);
    anyhow::bail!("somebody else's filter has our place, pref {PRIORITY}: {who}; it has to have another pref: {look}")
}
