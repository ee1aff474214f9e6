//! A screen: lines of at most a hundred columns, with color as an addition.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::{
    Look,
    text::{one_line, shorten, told, width, wrap},
};

/// No line is longer, but those that are typed in.
pub const WIDTH: usize = 100;

/// What a line is, which decides its color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Plain,
    Heading,
    Faint,
    /// Begins with `!`: a person has to do something.
    Alert,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Heading => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Alert => AnsiColor::Red.on_default().bold(),
        }
    }
}

/// Text of a screen before it is broken into lines.
#[derive(Debug)]
enum Text {
    /// As it is.
    Line(String),
    /// Goes on below itself, with this indent.
    Told(usize, String),
}

impl Text {
    /// Its lines, with our commands in it as they are typed here.
    fn lines(&self, look: &Look) -> Vec<String> {
        match self {
            Self::Line(line) => vec![line.clone()],
            Self::Told(indent, text) => told(&one_line(&look.invocation.completed(text)), *indent),
        }
    }
}

/// Lines, from top to bottom.
#[derive(Debug, Default)]
pub struct Screen(Vec<(Tone, Text)>);

impl Screen {
    /// The line above a block.
    pub fn heading(&mut self, text: &str) {
        self.push(Tone::Heading, text);
    }

    /// A line.
    pub fn line(&mut self, text: &str) {
        self.push(Tone::Plain, text);
    }

    /// A line that needs a human.
    pub fn alert(&mut self, text: &str) {
        self.push(Tone::Alert, &format!("! {text}"));
    }

    /// A line behind a lead, under which it goes on; `urgent` if it needs a human, which the lead has to say.
    pub fn told(&mut self, urgent: bool, lead: &str, text: &str) {
        let tone = if urgent { Tone::Alert } else { Tone::Plain };
        self.0.push((tone, Text::Told(width(lead), format!("{lead}{text}"))));
    }

    /// A command behind a lead: one line however long it is, since whoever copies one of two runs another command.
    pub fn command(&mut self, urgent: bool, lead: &str, command: &str) {
        let tone = if urgent { Tone::Alert } else { Tone::Plain };
        self.0.push((tone, Text::Line(one_line(&format!("{lead}{command}")))));
    }

    /// An empty line, except at the top.
    pub fn blank(&mut self) {
        if !self.0.is_empty() {
            self.0.push((Tone::Plain, Text::Line(String::new())));
        }
    }

    /// Definitions and advice at the foot, which `quiet` hides.
    pub fn footnote(&mut self, look: &Look, text: &str) {
        if !look.quiet {
            self.push(Tone::Faint, text);
        }
    }

    /// A table; its first line is the header, and a row that begins with `!` needs a human.
    pub fn table(&mut self, columns: &Columns) {
        for (place, line) in columns.render().lines().enumerate() {
            let tone = match place {
                0 => Tone::Heading,
                _ if line.starts_with('!') => Tone::Alert,
                _ => Tone::Plain,
            };
            self.0.push((tone, Text::Line(line.to_owned())));
        }
    }

    fn push(&mut self, tone: Tone, text: &str) {
        self.0.push((tone, Text::Told(2, text.to_owned())));
    }

    /// The text, with a line end after every line.
    pub fn finish(&self, look: &Look) -> String {
        let mut text = String::new();
        let lines = self.0.iter().flat_map(|(tone, text)| text.lines(look).into_iter().map(move |line| (tone, line)));
        for (tone, line) in lines {
            let line = if look.ascii { ascii(&line) } else { line };
            let style = tone.style();
            if look.color && style != Style::new() {
                text.push_str(&format!("{style}{line}{style:#}\n"));
            } else {
                text.push_str(&line);
                text.push('\n');
            }
        }
        text
    }
}

/// One column for one column, so that what is aligned stays aligned.
fn ascii(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars() {
        match c {
            '…' => text.push('~'),
            c if c.is_ascii() => text.push(c),
            c => text.extend(std::iter::repeat_n('?', width(c.encode_utf8(&mut [0; 4])))),
        }
    }
    text
}

/// Aligned columns without lines; the last one takes what is left and wraps.
#[derive(Debug)]
pub struct Columns {
    header: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// Columns by their headings; `>` before a heading aligns the column to the right.
    pub fn new(headings: &[&'static str]) -> Self {
        Self {
            header: headings.iter().map(|heading| heading.trim_start_matches('>')).collect(),
            right: headings.iter().map(|heading| heading.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// A row, a cell a column.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| one_line(cell)).collect());
    }

    fn render(&self) -> String {
        let last = self.header.len().saturating_sub(1);
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(self.header.iter().copied());
        for row in &self.rows {
            let room = WIDTH.saturating_sub(self.room_before(last));
            let cells = row.iter().enumerate();
            table.add_row(cells.map(
                |(place, cell)| {
                    if place == last { wrap(cell, room, 0).join("\n") } else { shorten(cell, WIDTH) }
                },
            ));
        }
        for (column, right) in table.column_iter_mut().zip(&self.right) {
            column.set_padding((0, 2));
            column.set_cell_alignment(if *right { CellAlignment::Right } else { CellAlignment::Left });
        }
        let lines = table.lines().map(|line| line.trim_end().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    }

    /// How many columns of the terminal the columns before the last take, with two between each.
    fn room_before(&self, last: usize) -> usize {
        let widest = |place: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(place)).map(|cell| width(cell));
            cells.chain([width(self.header[place])]).max().unwrap_or(0)
        };
        (0..last).map(|place| widest(place) + 2).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{invocation::Invocation, render::sample};

    #[test]
    fn color_adds_nothing_but_color() {
        let mut screen = Screen::default();
        screen.heading("a heading");
        screen.alert("look here");
        screen.line("a line");
        let plain = screen.finish(&sample::look());
        let colored = screen.finish(&Look { color: true, ..sample::look() });
        assert_ne!(plain, colored);
        let mut bare = String::new();
        let mut escape = false;
        for c in colored.chars() {
            match c {
                '\x1b' => escape = true,
                'm' if escape => escape = false,
                c if !escape => bare.push(c),
                _ => {}
            }
        }
        assert_eq!(bare, plain);
    }

    #[test]
    fn a_command_is_not_broken_where_it_can_be_told_from_the_text() {
        let invocation = Invocation { netns: Some("edge".to_owned()), etc: None, bpffs: Some("/b".repeat(20)) };
        let look = Look { invocation, ..sample::look() };
        let attach = look.invocation.command("attach lan0");
        let said = |text: &str| {
            let mut screen = Screen::default();
            screen.line(text);
            screen.finish(&look)
        };
        let text = said("lan0:ingress  bound by lan0, not attached, as everybody can see: qosbpf attach lan0");
        assert_eq!(text, format!("lan0:ingress  bound by lan0, not attached, as everybody can see:\n  {attach}\n"));
        assert_eq!(said("not attached: qosbpf attach lan0"), format!("not attached: {attach}\n"));
        let text = said(&format!("{}: qosbpf attach lan0 attaches it; see there", "word ".repeat(12).trim_end()));
        assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
    }

    #[test]
    fn ascii_keeps_the_columns() {
        assert_eq!(ascii("édge-st… 日"), "?dge-st~ ??");
    }

    #[test]
    fn the_last_column_wraps_under_itself() {
        let mut columns = Columns::new(&["NAME", ">PACKETS", "WHY"]);
        columns.row(vec!["EF".to_owned(), "1".to_owned(), "word ".repeat(40)]);
        let text = columns.render();
        assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
        assert_eq!(text.matches("word").count(), 40);
        assert!(text.lines().nth(2).unwrap().starts_with("               word"), "{text}");
    }
}
