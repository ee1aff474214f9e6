//! Words of nft's language, with `define` put in.

use std::collections::HashMap;

use super::super::{Line, account::Account, lines::Lines};

/// A word, a bracket, or the end of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub line: Line,
    pub text: String,
    /// In quotes: never a word of the language.
    pub quoted: bool,
}

impl Token {
    pub fn is(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }

    /// The end of a line or a semicolon.
    pub fn ends(&self) -> bool {
        self.is(";") || self.is("\n")
    }
}

/// All tokens, without comments; a backslash at the end of a line joins it to the next.
pub(super) fn tokens(lines: &Lines, account: &mut Account) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (line, text) in lines.iter() {
        if text.trim_start().starts_with('#') {
            account.beside(line);
        }
        let (text, goes_on) = text.trim_end().strip_suffix('\\').map_or((text, false), |text| (text, true));
        split(line, text, &mut tokens);
        if !goes_on {
            tokens.push(Token { line, text: "\n".to_owned(), quoted: false });
        }
    }
    with_definitions(tokens, account)
}

fn split(line: Line, text: &str, tokens: &mut Vec<Token>) {
    let mut word = String::new();
    let mut quote = false;
    let push = |word: &mut String, quoted: bool, tokens: &mut Vec<Token>| {
        if quoted || !word.is_empty() {
            tokens.push(Token { line, text: std::mem::take(word), quoted });
        }
    };
    for c in text.chars() {
        match c {
            '"' => {
                push(&mut word, quote, tokens);
                quote = !quote;
            }
            _ if quote => word.push(c),
            '#' => break,
            '{' | '}' | ';' | ',' => {
                push(&mut word, false, tokens);
                push(&mut c.to_string(), false, tokens);
            }
            '=' if word.is_empty() || !"!=<>".contains(word.as_str()) => {
                push(&mut word, false, tokens);
                word.push(c);
            }
            _ if c.is_whitespace() => push(&mut word, false, tokens),
            _ => {
                // `==` is one word.
                if word == "==" || word == "=" && c != '=' {
                    push(&mut word, false, tokens);
                }
                word.push(c);
            }
        }
    }
    push(&mut word, quote, tokens);
}

/// Puts the values of `define` where `$NAME` stands.
fn with_definitions(tokens: Vec<Token>, account: &mut Account) -> Vec<Token> {
    let mut known: HashMap<String, Vec<Token>> = HashMap::new();
    let mut all = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        if token.is("define") {
            account.take(token.line);
            let name = tokens.next().map(|name| name.text).unwrap_or_default();
            let mut depth = 0;
            let mut value = Vec::new();
            while let Some(token) = tokens.next_if(|token| depth > 0 || !token.ends()) {
                account.take(token.line);
                depth = depth + usize::from(token.is("{")) - usize::from(token.is("}")).min(depth);
                value.extend(resolved(token, &known));
            }
            value.retain(|token| !token.is("=") && !token.is("\n"));
            known.insert(name, value);
            continue;
        }
        all.extend(resolved(token, &known));
    }
    all
}

fn resolved(token: Token, known: &HashMap<String, Vec<Token>>) -> Vec<Token> {
    let name = token.text.strip_prefix('$').filter(|_| !token.quoted);
    match name.and_then(|name| known.get(name)) {
        Some(value) => value.iter().map(|value| Token { line: token.line, ..value.clone() }).collect(),
        None => vec![token],
    }
}
