//! A diagnostic for people, in the layout of rustc.

use core::ops::RangeInclusive;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use crate::policy::{
    diagnostic::{Diagnostic, Severity},
    source::{Source, Span},
};

/// Columns of the terminal.
const WIDTH: usize = 100;
/// The most text that is shown as source, in bytes: a policy in one huge line is better not repeated.
const MOST_SOURCE: usize = 16 << 10;
/// The control characters of eight bits (ECMA-48): some terminals take U+009B for ESC and a bracket.
const C1: RangeInclusive<char> = '\u{80}'..='\u{9f}';

pub(super) fn render(source: &Source, diagnostic: &Diagnostic, color: bool) -> String {
    let finding = &diagnostic.finding;
    let level = match finding.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let group = locate(level.primary_title(&*finding.title), source, diagnostic);
    let group = group.elements(finding.help.iter().map(|help| Level::HELP.message(&**help)));
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let text = renderer.term_width(WIDTH).render(&[group]);
    // The source is shown with other control characters made visible, and with these as they are.
    text.replace(|c| C1.contains(&c), "\u{fffd}") + "\n"
}

fn locate<'a>(title: annotate_snippets::Title<'a>, source: &'a Source, diagnostic: &'a Diagnostic) -> Group<'a> {
    let (first, shown) = window(source, diagnostic);
    let text = source.text().get(shown.start..shown.end).unwrap_or_default();
    if text.trim().is_empty() || text.len() > MOST_SOURCE {
        let place = diagnostic.place();
        return title.element(Origin::path(source.file()).line(place.line).char_column(place.column));
    }
    let snippet = Snippet::source(text).path(source.file()).line_start(first);
    title.element(snippet.annotations(annotations(source, diagnostic, shown)))
}

/// The lines from the first place to the last, and the number of the first.
fn window(source: &Source, diagnostic: &Diagnostic) -> (usize, Span) {
    let finding = &diagnostic.finding;
    let line = source.line(finding.span.start);
    let also = finding.also.as_ref().map_or(line, |(span, _)| source.line(span.start));
    let (first, last) = (line.min(also), line.max(also));
    (first, Span { start: source.line_span(first).start, end: source.line_span(last).end })
}

fn annotations<'a>(source: &Source, diagnostic: &'a Diagnostic, shown: Span) -> impl Iterator<Item = Annotation<'a>> {
    let within = |span: Span| {
        // A value of many lines is marked on its first one.
        let end = span.end.min(source.line_span(source.line(span.start)).end).max(span.start);
        span.start - shown.start..end - shown.start
    };
    let finding = &diagnostic.finding;
    let main = AnnotationKind::Primary.span(within(finding.span)).label(finding.label.as_deref());
    let also = finding.also.as_ref().map(|(span, label)| AnnotationKind::Context.span(within(*span)).label(&**label));
    std::iter::once(main).chain(also)
}
