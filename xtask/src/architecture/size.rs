//! How large files and functions are.

use std::{collections::BTreeSet, fmt};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::visit::{self, Visit};

use super::{Finding, Rule};
use crate::source::Source;

const FILE_LINES: usize = 300;
const FUNCTION_LINES: usize = 60;

/// Files.
pub const FILES: Rule = Rule {
    name: "no file over 300 lines of code; blank lines, comments and tests are not counted",
    reason: "one idea a file: what does not fit is two ideas",
    check: |source| {
        let lines = code_lines(source);
        let what = format!("{lines} lines of code");
        (lines > FILE_LINES).then_some(Finding { line: 1, what }).into_iter().collect()
    },
};

/// Functions.
pub const FUNCTIONS: Rule = Rule {
    name: "no function over 60 lines",
    reason: "a function is read at one glance",
    check: |source| {
        let long = functions(source).into_iter().filter(|function| function.lines > FUNCTION_LINES);
        long.map(|function| Finding { line: function.line, what: format!("a function of {} lines", function.lines) })
            .collect()
    },
};

/// How large the code is as a whole.
pub struct Report {
    files: usize,
    code: usize,
    /// The lengths of all functions, in order.
    functions: Vec<usize>,
}

impl Report {
    /// Measures.
    pub fn of(sources: &[Source]) -> Self {
        let mut lengths: Vec<usize> = sources.iter().flat_map(functions).map(|function| function.lines).collect();
        lengths.sort_unstable();
        Self { files: sources.len(), code: sources.iter().map(code_lines).sum(), functions: lengths }
    }

    /// The length that a share of the functions does not exceed.
    fn quantile(&self, tenths: usize) -> usize {
        self.functions.get(self.functions.len() * tenths / 10).or(self.functions.last()).copied().unwrap_or(0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, code, functions } = self;
        write!(f, "{files} files, {code} lines of code, {} functions: ", functions.len())?;
        let (median, ninth) = (self.quantile(5), self.quantile(9));
        write!(f, "median {median} lines, nine in ten at most {ninth}, longest {}", self.quantile(10))
    }
}

struct Function {
    line: usize,
    lines: usize,
}

fn functions(source: &Source) -> Vec<Function> {
    let mut found = Functions(Vec::new());
    found.visit_file(&source.file);
    found.0
}

struct Functions(Vec<Function>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let line = signature.fn_token.span.start().line;
        let end = block.brace_token.span.close().end().line;
        self.0.push(Function { line, lines: end + 1 - line });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn code_lines(source: &Source) -> usize {
    let mut lines = BTreeSet::new();
    scan(source.file.to_token_stream(), &mut lines);
    lines.len()
}

fn scan(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut rest = tokens.as_slice();
    while let [token, behind @ ..] = rest {
        rest = behind_comment(rest).unwrap_or(behind);
        if rest.len() != behind.len() {
            continue;
        }
        match token {
            TokenTree::Group(group) => {
                lines.extend([group.span_open().start().line, group.span_close().end().line]);
                scan(group.stream(), lines);
            }
            _ => lines.extend(token.span().start().line..=token.span().end().line),
        }
    }
}

/// What follows a doc comment, if one begins here: to the parser it is an attribute, `#[doc = ""]` or `#![doc = ""]`.
fn behind_comment(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    let is = |token: &TokenTree, wanted| matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted);
    let (attribute, rest) = match tokens {
        [mark, inner, attribute, rest @ ..] if is(mark, '#') && is(inner, '!') => (attribute, rest),
        [mark, attribute, rest @ ..] if is(mark, '#') => (attribute, rest),
        _ => return None,
    };
    let TokenTree::Group(group) = attribute else { return None };
    let first = group.stream().into_iter().next()?;
    matches!(first, TokenTree::Ident(name) if name == "doc").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::{super::tests::lines, *};

    fn source(text: &str) -> anyhow::Result<Source> {
        Source::parse("qos-user/src/x.rs", text)
    }

    #[test]
    fn comments_and_blank_lines_are_no_code() -> anyhow::Result<()> {
        let text = "//! What.\n\n/// More.\n#[must_use]\nfn f() -> u8 {\n    // why\n\n    1\n}\n";
        assert_eq!(code_lines(&source(text)?), 4);
        assert_eq!(code_lines(&source("const S: &str = \"a\nb\nc\";")?), 3);
        Ok(())
    }

    #[test]
    fn files_end_at_300_lines() -> anyhow::Result<()> {
        let text = |lines| "static S: u8 = 0;\n".repeat(lines);
        assert!(lines(&FILES, "qos-user/src/x.rs", &text(300))?.is_empty());
        assert_eq!(lines(&FILES, "qos-user/src/x.rs", &text(301))?, [1]);
        Ok(())
    }

    #[test]
    fn functions_end_at_60_lines_methods_too() -> anyhow::Result<()> {
        let text = |lines: usize| format!("struct S;\nimpl S {{\n    fn f() {{{}}}\n}}", "\n".repeat(lines - 1));
        assert!(lines(&FUNCTIONS, "qos-user/src/x.rs", &text(60))?.is_empty());
        assert_eq!(lines(&FUNCTIONS, "qos-user/src/x.rs", &text(61))?, [3]);
        Ok(())
    }

    #[test]
    fn the_report_is_of_all_functions() -> anyhow::Result<()> {
        let short = "fn a() {}\n".repeat(9);
        let report = Report::of(&[source(&format!("{short}fn b() {{\n\n}}"))?]);
        let wanted = "1 files, 11 lines of code, 10 functions: median 1 lines, nine in ten at most 3, longest 3";
        assert_eq!(report.to_string(), wanted);
        Ok(())
    }
}
