//! What `attach` finds there already.

use super::{
    applying,
    attaching::{Asked, has_outgrown, in_pieces, refuse_to_differ, stays},
    conditioner,
    site::Site,
};
use crate::{
    VERSION,
    kernel::{
        choice::Wanted,
        datapath::{self, Hook},
        network::Interface,
        state::HookState,
        translation,
    },
    policy::Policy,
    snapshot::HookPolicy,
};

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is as it was.
    Same,
    /// It has the program of this version.
    Upgraded,
    /// It looks elsewhere, or has what the policy in force says by now.
    Changed,
    /// Its program was interpreted without need, or is for packets in one piece, and its device has others by now.
    Anew,
}

impl Kept {
    /// The same in words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Same => "already attached",
            Self::Upgraded => "upgraded",
            Self::Changed => "changed",
            Self::Anew => "loaded anew",
        }
    }
}

/// A second attach changes nothing, unless the program there is of another version of qosbpf, is to look elsewhere, is that of
/// a device which was away while the policy was changed, or is interpreted without need.
///
/// # Errors
///
/// `attached`, `other-policy`; what the verifier or the kernel says.
pub fn keep(
    hook: &Hook,
    Asked { wanted, inside, .. }: Asked,
    interface: &Interface,
    policy: Option<&Policy>,
    site: &Site,
) -> anyhow::Result<(Hook, Kept)> {
    if let Wanted::Exactly(other) = wanted
        && other != hook.state.via
    {
        return Err(stays(site, hook, other, interface).into());
    }
    let name = interface.name.as_str();
    let rebound = conditioner::rebound(site, policy, hook, name);
    let is_rebound = rebound.is_some();
    let binding = rebound.unwrap_or_else(|| hook.state.binding.clone());
    refuse_to_differ(inside.as_deref(), binding.as_ref(), name)?;
    let inside = inside.or_else(|| hook.state.inside.clone());
    let kept = match hook.state.is_of_this_build() {
        false => Kept::Upgraded,
        true if is_rebound || inside != hook.state.inside => Kept::Changed,
        true if has_outgrown(hook, interface) => return Ok((in_pieces(hook, interface, site)?, Kept::Anew)),
        true if translation::is_left_out(hook.state.program_id) => Kept::Anew,
        true => return Ok((hook.clone(), Kept::Same)),
    };
    let bypass = hook.state.bypass.clone().filter(|_| binding.is_some());
    let state = HookState { version: VERSION.to_owned(), inside, binding, bypass, ..hook.state.clone() };
    let next = if is_rebound { conditioner::next } else { conditioner::as_bound };
    datapath::switch(datapath::prepare(hook, next(site, hook, state.clone())?)?, name, &site.net)?;
    Ok((Hook { state, ..hook.clone() }, kept))
}

/// That a hook which is there already runs another policy than the one in force, as `policy apply --only` leaves it, or one
/// where none is.
#[must_use]
pub fn left_behind(site: &Site, hook: &Hook) -> Option<String> {
    let runs = hook.state.binding.as_ref().map(|binding| &binding.policy);
    let Some(in_force) = site.policy.as_ref().map(|in_force| &in_force.policy) else {
        let HookPolicy { name, hash, .. } = runs.filter(|_| !site.has_policy())?;
        let (hook_name, end) = (site.hook_name(hook), applying::again(site, hook));
        return Some(format!("{hook_name} runs policy {name} {hash}, and none is in force: {end}"));
    };
    let bound = || conditioner::binding(in_force, &site.name_of(hook), hook.pins.direction);
    let runs = match runs {
        Some(policy) if policy.hash == in_force.hash() => return None,
        Some(policy) => format!("policy {} {}", policy.name, policy.hash),
        None => bound().map(|_| "no policy".to_owned())?,
    };
    let (name, hash) = (in_force.name(), in_force.hash());
    Some(format!(
        "{} runs {runs}, and {name} {hash} is in force: {}",
        site.hook_name(hook),
        applying::again(site, hook)
    ))
}
