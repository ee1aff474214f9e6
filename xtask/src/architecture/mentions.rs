//! Every path that a file mentions: in `use`, in code, in attributes, and inside macros, which have no syntax tree.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens as _;

use crate::source::Source;

/// A path such as `aya::maps::Array`, written out or put together from a `use` with braces.
#[derive(Debug, PartialEq, Eq)]
pub struct Mention {
    /// Its segments.
    pub path: Vec<String>,
    /// Where its last part stands.
    pub line: usize,
}

impl Mention {
    /// Whether it begins with these segments.
    pub fn starts_with(&self, prefix: &str) -> bool {
        let mut segments = self.path.iter();
        prefix.split("::").all(|wanted| segments.next().is_some_and(|segment| segment == wanted))
    }

    /// The path as it is written.
    pub fn text(&self) -> String {
        self.path.join("::")
    }
}

/// All paths of a file, of two segments and more, and single names after `use` and `extern crate`.
pub fn mentions(source: &Source) -> Vec<Mention> {
    let mut found = Vec::new();
    scan(source.file.to_token_stream(), &[], &mut found);
    found
}

/// Scans tokens; inside the braces of a `use`, `prefix` is what stands before them.
fn scan(tokens: TokenStream, prefix: &[String], found: &mut Vec<Mention>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Group(group) => scan(group.stream(), &[], found),
            TokenTree::Ident(ident) if *ident == "as" && !prefix.is_empty() => at += 1,
            TokenTree::Ident(ident) if ident != "use" && ident != "pub" => {
                let imported = !prefix.is_empty() || at >= 2 && is_import(&tokens[at - 2]);
                at = path(&tokens, at - 1, prefix, imported, found);
            }
            _ => {}
        }
    }
}

fn is_import(token: &TokenTree) -> bool {
    // The `crate` of `extern crate name`; that of a path is followed by `::`.
    matches!(token, TokenTree::Ident(ident) if ident == "use" || ident == "crate")
}

/// Reads the path that begins at a name, and says where it ends.
fn path(tokens: &[TokenTree], start: usize, prefix: &[String], imported: bool, found: &mut Vec<Mention>) -> usize {
    let mut path = prefix.to_vec();
    let mut line = 0;
    let mut at = start;
    let mut goes_on = true;
    while let (true, Some(TokenTree::Ident(ident))) = (goes_on, tokens.get(at)) {
        line = ident.span().start().line;
        path.push(ident.to_string());
        goes_on = is_separator(tokens, at + 1);
        at += if goes_on { 3 } else { 1 };
    }
    match tokens.get(at) {
        Some(TokenTree::Group(group)) if goes_on && group.delimiter() == Delimiter::Brace => {
            scan(group.stream(), &path, found);
            return at + 1;
        }
        _ if path.len() > 1 || imported => found.push(Mention { path, line }),
        _ => {}
    }
    at
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon = |at: usize| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    is_colon(at) && is_colon(at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> anyhow::Result<Vec<String>> {
        Ok(mentions(&Source::parse("qos-user/src/x.rs", text)?).iter().map(Mention::text).collect())
    }

    #[test]
    fn a_use_is_written_out() -> anyhow::Result<()> {
        assert_eq!(
            texts("pub use a::{b, c::{d, self}, e as f};\nuse g;")?,
            ["a::b", "a::c::d", "a::c::self", "a::e", "g"]
        );
        Ok(())
    }

    #[test]
    fn paths_are_found_everywhere() -> anyhow::Result<()> {
        let text = "#[derive(clap::Parser)] struct S { x: ::aya::Ebpf }\nfn f() { println!(\"{}\", T::now()); g::<h::I>(); S { x } }";
        assert_eq!(texts(text)?, ["clap::Parser", "aya::Ebpf", "T::now", "h::I"]);
        Ok(())
    }

    #[test]
    fn words_in_comments_and_text_are_none() -> anyhow::Result<()> {
        assert!(texts("/// aya::Ebpf\nfn f() { let aya = \"aya::Ebpf\"; }")?.is_empty());
        Ok(())
    }

    #[test]
    fn the_line_is_that_of_the_name() -> anyhow::Result<()> {
        let source = Source::parse("x/src/x.rs", "use a::{\n    b,\n    c,\n};")?;
        assert_eq!(mentions(&source).iter().map(|mention| mention.line).collect::<Vec<_>>(), [2, 3]);
        Ok(())
    }
}
