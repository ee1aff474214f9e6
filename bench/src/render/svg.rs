//! Charts of horizontal bars, in plain SVG that reads on light and dark pages.

use std::fmt::Write as _;

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it stands for.
    pub label: String,
    /// Where it ends.
    pub value: f64,
    /// The spread, from and to.
    pub spread: (f64, f64),
    /// Whether it is qosbpf's.
    pub ours: bool,
}

/// Bars under a heading.
#[derive(Clone, Debug)]
pub struct Group {
    /// The heading.
    pub name: String,
    /// Its bars.
    pub bars: Vec<Bar>,
}

const WIDTH: f64 = 760.0;
const LABELS: f64 = 230.0;
const VALUES: f64 = 70.0;
const LINE: f64 = 20.0;
const OURS: &str = "#0a7d5a";
const OTHERS: &str = "#8a93a0";

/// A chart; all groups have the same scale, which begins at zero.
pub fn bars(title: &str, note: &str, groups: &[Group]) -> String {
    let lines = groups.iter().map(|group| group.bars.len() as f64 + 1.5).sum::<f64>();
    let height = 60.0 + lines * LINE;
    let most = groups.iter().flat_map(|group| &group.bars).map(|bar| bar.spread.1.max(bar.value)).fold(1e-9, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
        font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, (12.0, 22.0), "font-size=\"15\" font-weight=\"bold\"", title);
    text(&mut svg, (12.0, 40.0), "fill=\"#5a6270\"", note);
    let mut y = 60.0;
    for group in groups {
        text(&mut svg, (12.0, y + 14.0), "font-weight=\"bold\"", &group.name);
        y += LINE;
        for each in &group.bars {
            bar(&mut svg, y, each, most);
            y += LINE;
        }
        y += LINE / 2.0;
    }
    svg + "</svg>\n"
}

fn bar(svg: &mut String, y: f64, bar: &Bar, most: f64) {
    let scale = (WIDTH - LABELS - VALUES) / most;
    let at = |value: f64| LABELS + value.max(0.0) * scale;
    let (end, color) = (at(bar.value), if bar.ours { OURS } else { OTHERS });
    text(svg, (LABELS - 8.0, y + 14.0), "text-anchor=\"end\"", &bar.label);
    let _infallible = writeln!(
        svg,
        "<rect x=\"{LABELS}\" y=\"{:.1}\" width=\"{:.1}\" height=\"13\" fill=\"{color}\"/>",
        y + 3.0,
        end - LABELS
    );
    let (from, to) = (at(bar.spread.0), at(bar.spread.1));
    let middle = y + 9.5;
    let _infallible =
        writeln!(svg, "<path d=\"M{from:.1} {middle:.1}H{to:.1}\" stroke=\"#1b2027\" stroke-width=\"1.5\"/>");
    text(svg, (end.max(to) + 6.0, y + 14.0), "", &super::number(bar.value));
}

fn text(svg: &mut String, (x, y): (f64, f64), attributes: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _infallible = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_takes_the_width_and_markup_is_escaped() {
        let bar = |value, ours| Bar { label: "a < b & c".into(), value, spread: (value, value), ours };
        let svg = bars("T", "n", &[Group { name: "g".into(), bars: vec![bar(50.0, true), bar(100.0, false)] }]);
        assert!(svg.contains("width=\"460.0\" height=\"13\" fill=\"#8a93a0\""), "{svg}");
        assert!(svg.contains("width=\"230.0\" height=\"13\" fill=\"#0a7d5a\""), "{svg}");
        assert!(svg.contains("a &lt; b &amp; c") && svg.ends_with("</svg>\n"));
    }
}
