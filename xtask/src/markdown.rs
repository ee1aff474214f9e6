//! Tables, as Markdown writes them.

/// One line, as the columns of a table.
pub fn row(cells: impl IntoIterator<Item = String>) -> String {
    cells.into_iter().fold("|".to_owned(), |line, cell| format!("{line} {} |", cell.replace('|', "/"))) + "\n"
}

/// The line of titles, and the one below it.
pub fn head(titles: impl IntoIterator<Item = String>) -> String {
    let titles: Vec<String> = titles.into_iter().collect();
    let rule = row(titles.iter().map(|_| "---".to_owned()));
    row(titles) + &rule
}
