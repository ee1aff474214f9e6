//! Rules that look at an address which is another one by then: at egress the source is that after SNAT, at ingress the
//! destination that before DNAT. `apply` warns where a packet filter of this host translates.

use super::plan::Item;
use crate::{
    diagnosis::{outside::Outside, translated_address},
    hook::HookName,
    kernel::survey,
    rules::model::{Field, Rule},
};

/// A line for each such rule. The packet filters are asked only if a rule looks at an address that may be translated.
pub fn warnings(items: &[Item<'_>]) -> Vec<String> {
    let asked: Vec<(HookName, &Rule)> = items.iter().flat_map(looking).collect();
    if asked.is_empty() {
        return Vec::new();
    }
    let outside = survey::outside();
    asked.iter().filter_map(|(hook, rule)| warning(hook, rule, &outside)).collect()
}

fn looking<'i>(item: &'i Item<'_>) -> Vec<(HookName, &'i Rule)> {
    let Ok(hook) = item.name.parse::<HookName>() else { return Vec::new() };
    let rules = item.binding.iter().flat_map(|binding| &binding.rules);
    let looks =
        |rule: &&Rule| rule.conditions.iter().any(|condition| matches!(condition.field, Field::Src(_) | Field::Dst(_)));
    rules.filter(looks).map(|rule| (hook.clone(), rule)).collect()
}

fn warning(hook: &HookName, rule: &Rule, outside: &Outside) -> Option<String> {
    let found = translated_address(&hook.interface, hook.direction?, rule, outside)?;
    let by = found.details.first().map_or_else(String::new, |by| format!(" ({})", by.text));
    Some(format!("{}{by}", found.text))
}
