//! Tables of Markdown.

/// A table whose columns line up also as plain text.
pub(super) fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut all: Vec<Vec<String>> = vec![heads.iter().map(|head| (*head).to_owned()).collect()];
    all.extend(rows.into_iter().map(|row| row.into_iter().map(|cell| cell.replace('|', "/")).collect()));
    let width = |column: usize| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..heads.len()).map(|column| width(column).unwrap_or(0).max(3)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = format!("|{}\n", widths.iter().map(|width| format!(" {} |", "-".repeat(*width))).collect::<String>());
    let mut lines = all.iter().map(line);
    let head = lines.next().unwrap_or_default();
    head + &rule + &lines.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let text = table(&["a", "bcde"], [vec!["long cell".to_owned(), "x|y".to_owned()]]);
        assert_eq!(text, "| a         | bcde |\n| --------- | ---- |\n| long cell | x/y  |\n");
    }
}
