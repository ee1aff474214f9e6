//! The rules of a hook, with what each has decided.

use qos_common::ds::Dscp;

use crate::{
    command::Command,
    render::{
        screen::{Columns, Screen},
        table::NAME,
        text::{count, rate, shorten, span},
    },
    snapshot::{COLORS, Hook, PolicyLabel, RuleCount, rates::HookRates},
};

use super::Since;

/// The longest that a rule's name and its conditions are printed.
const RULE: usize = 44;

/// Two lines for each rule: its name with the numbers, and what it matches.
pub(super) fn rules(rules: &[RuleCount], file: &str, rates: Option<&HookRates>, since: &Since) -> Columns {
    let mut headings = vec![">#", "RULE (FILE:LINE)", ">HITS"];
    headings.extend(rates.map(|_| ">bit/s"));
    headings.extend(["LAST", "RESULT"]);
    let mut columns = Columns::new(&headings);
    for (place, rule) in rules.iter().enumerate() {
        let speed = rates.map(|rates| rates.rules.get(place).map_or("-".to_owned(), |now| rate(now.bits)));
        columns.row(numbers(place, rule, file, speed));
        columns.row(conditions(rule, rates.is_some(), &since.of_rule(place, rule)));
        colors(&mut columns, rule, rates.is_some());
    }
    columns
}

/// What says why, for each rule that was never hit.
pub(super) fn never_hit(screen: &mut Screen, hook: &Hook, policy: Option<&PolicyLabel>) {
    const MOST: usize = 8;
    let never: Vec<_> = hook.rules.iter().filter(|count| count.counted.packets == 0).collect();
    let at = format!("{}:{}", hook.interface, hook.direction);
    for count in never.iter().take(MOST) {
        let why = Command::new("qosbpf why").operand(&at).word(word_for_why(&count.rule.name, policy));
        screen.alert(&format!("never hit: {why}"));
    }
    if never.len() > MOST {
        screen.alert(&format!("never hit: {} more", never.len() - MOST));
    }
}

/// The rule, also where its name reads as something else there.
fn word_for_why(name: &str, policy: Option<&PolicyLabel>) -> String {
    let is_class = policy.is_some_and(|policy| policy.classes.iter().any(|(class, _)| class == name));
    let is_other = is_class || name.parse::<Dscp>().is_ok() || name.starts_with('-') || name.starts_with("rule=");
    if is_other { format!("rule={name}") } else { name.to_owned() }
}

fn numbers(place: usize, count_of: &RuleCount, file: &str, speed: Option<String>) -> Vec<String> {
    let RuleCount { rule, counted, last, .. } = count_of;
    let at = format!("({}:{})", shorten(file, 16), rule.line);
    let name = shorten(&rule.name, RULE.saturating_sub(at.len() + 1));
    let mut cells = vec![(place + 1).to_string(), format!("{name} {at}"), count(counted.packets)];
    cells.extend(speed);
    cells.push(last.map_or_else(|| "never".to_owned(), span));
    cells.push(rule.result());
    cells
}

fn conditions(count_of: &RuleCount, with_speed: bool, since: &str) -> Vec<String> {
    let matches = shorten(&format!("  match {}", count_of.rule.matches()), RULE + NAME / 2);
    let mut cells = vec![String::new(), matches, String::new()];
    cells.extend(with_speed.then(String::new));
    cells.extend([String::new(), since.to_owned()]);
    cells
}

/// A line for each color of a meter: how many, and what that means (RFC 2697: conformed, exceeded, violated).
fn colors(columns: &mut Columns, count_of: &RuleCount, with_speed: bool) {
    let Some((meter, colors)) = count_of.rule.meter().zip(count_of.colors) else { return };
    let words = ["conformed", "exceeded", "violated"];
    for (((color, amount), verdict), word) in COLORS.iter().zip(colors).zip(meter.verdicts()).zip(words) {
        let mut cells = vec![String::new(), format!("    {color}, {word}"), count(amount.packets)];
        cells.extend(with_speed.then(String::new));
        cells.extend([String::new(), verdict.to_string()]);
        columns.row(cells);
    }
}
