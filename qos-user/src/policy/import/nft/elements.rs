//! `{ a, b }` and `{ a : b, ... }`.

use super::tokens::Token;

/// A member of a set, or a key of a map with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub key: String,
    pub value: Option<String>,
}

/// The elements between the first bracket and the last.
pub(super) fn read(tokens: &[Token]) -> Vec<Element> {
    let inner = tokens.iter().skip_while(|token| !token.is("{")).skip(1).take_while(|token| !token.is("}"));
    let inner = inner.collect::<Vec<_>>();
    inner.split(|token| token.is(",")).filter_map(element).collect()
}

fn element(tokens: &[&Token]) -> Option<Element> {
    let words = tokens.iter().filter(|token| !token.ends()).map(|token| &*token.text).collect::<Vec<_>>();
    let text = without_statements(&words.join(" "));
    if text.is_empty() {
        return None;
    }
    let split = [" : ", ": ", " :"].iter().find_map(|colon| text.split_once(colon));
    let colons = text.matches(':').count();
    let (key, value) = match split.or_else(|| text.split_once(':').filter(|_| colons == 1)) {
        Some((key, value)) => (key.trim(), Some(value.trim().to_owned())),
        None => (&*text, None),
    };
    // What an element counts or when it ends is no part of it.
    let key = key.split_whitespace().next().unwrap_or_default().to_owned();
    Some(Element { key, value })
}

/// The same without the comment of an element.
fn without_statements(text: &str) -> String {
    text.split(" comment ").next().unwrap_or_default().trim().to_owned()
}
