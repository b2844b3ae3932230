//! Printing: data to standard output, everything else to standard error.
use crate::failure::Failure;
use crate::model::time::Time;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::io::{ErrorKind, Write};

/// Prints text to standard output. A reader that has gone away is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::machine("standard output", error)),
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::machine("writing JSON", error))?;
    print(&(text + "\n"))
}

/// Tells something that is not data.
pub(super) fn tell(text: &str) {
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A time as RFC 3339 in UTC with milliseconds.
pub(super) fn time(ms: i64) -> String {
    Time(ms).to_string()
}

/// A table with a heading, as wide as the terminal.
pub(super) fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(heading.to_vec());
    for row in rows {
        table.add_row(row.into_iter().map(|cell| one_line(&cell)).collect::<Vec<_>>());
    }
    let text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    text
}

/// Text from outside, so that it can neither break a table nor command a terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c }).collect()
}

/// Characters that are not seen themselves and change how others are: marks of direction, joiners, tags, line separators.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn what_turns_or_hides_text_is_not_printed() {
        assert_eq!(one_line("a\u{202e}b\u{2066}c\u{feff}d\ne\u{1b}[2J"), "a b c d e [2J");
        assert_eq!(one_line("größe 日本 …"), "größe 日本 …");
    }
}
