//! Markdown in which text from outside stays text.
use crate::ground::words::{is_unseen, lines};
use serde_json::{Map, Number, Value};
use std::fmt::Write;

/// The longest cell made of a nested value, in characters.
const CELL_MAX: usize = 120;
/// The longest block of JSON, in bytes.
const BLOCK_MAX: usize = 20_000;
/// How deep nested objects get headings of their own.
const HEADING_MAX: usize = 5;

/// Text from outside, so that it can neither mark anything up nor break a line or a table; it must not begin a line.
/// Characters that do not show are written as `\n` or `\u{202e}`.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut before = None;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let special = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '|' | '~' | '&' | '$' | '#' => true,
            // Inside a word it marks nothing up, and ids are full of it.
            '_' => !(word(before) && word(rest.peek().copied())),
            // What would make a link of an address.
            ':' => rest.peek() == Some(&'/'),
            _ => false,
        };
        if is_unseen(c) {
            let shown = match c {
                '\n' => "\\n".to_owned(),
                '\t' => "\\t".to_owned(),
                '\r' => "\\r".to_owned(),
                c => format!("\\u{{{:x}}}", u32::from(c)),
            };
            // A doubled backslash is one backslash when it is shown.
            out.push('\\');
            out.push_str(&shown);
        } else {
            if special {
                out.push('\\');
            }
            out.push(c);
        }
        before = Some(c);
    }
    out
}

/// Text from outside as code where it can be, else as plain text.
pub(super) fn code(text: &str) -> String {
    let safe = |c: char| !c.is_whitespace() && !is_unseen(c) && !matches!(c, '`' | '|' | '\\');
    if !text.is_empty() && text.chars().all(safe) { format!("`{text}`") } else { plain(text) }
}

/// A table; rows beyond `most` are counted instead of kept.
#[derive(Debug)]
pub(super) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
    most: usize,
    more: u64,
}

impl Table {
    /// A table without rows.
    pub(super) fn new(heading: &[&str], most: usize) -> Self {
        let heading = heading.iter().map(|name| (*name).to_owned()).collect();
        Self { heading, rows: Vec::new(), most, more: 0 }
    }

    /// Adds a row of finished Markdown; nothing is built for one that is only counted.
    pub(super) fn push(&mut self, row: impl FnOnce() -> Vec<String>) {
        if self.rows.len() < self.most { self.rows.push(row()) } else { self.more += 1 }
    }

    /// Whether it has no row.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table, with columns as wide as their widest cell, so that it also reads well unrendered.
    pub(super) fn render(&self) -> String {
        let length = |text: &String| text.chars().count().min(CELL_MAX);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> = self
            .heading
            .iter()
            .enumerate()
            .map(|(column, name)| cells(column).map(length).chain([length(name), 3]).max().unwrap_or(3))
            .collect();
        let number = |text: &String| text.is_empty() || text.parse::<f64>().is_ok();
        let numeric: Vec<bool> = (0..widths.len())
            .map(|column| cells(column).all(number) && cells(column).any(|text| !text.is_empty()))
            .collect();
        let mut text = line(&self.heading, &widths, &numeric);
        let rules: Vec<String> = widths
            .iter()
            .zip(&numeric)
            .map(|(width, numeric)| if *numeric { format!("{}:", "-".repeat(width - 1)) } else { "-".repeat(*width) })
            .collect();
        text += &line(&rules, &widths, &numeric);
        for row in &self.rows {
            text += &line(row, &widths, &numeric);
        }
        if self.more > 0 {
            let _ = write!(text, "\nand {} more; evidence.json has them all\n", self.more);
        }
        text
    }
}

/// One line of a table.
pub(super) fn line(cells: &[String], widths: &[usize], numeric: &[bool]) -> String {
    let mut text = String::from("|");
    for (position, cell) in cells.iter().enumerate() {
        let width = widths.get(position).copied().unwrap_or(0);
        if numeric.get(position).copied().unwrap_or(false) {
            let _ = write!(text, " {cell:>width$} |");
        } else {
            let _ = write!(text, " {cell:<width$} |");
        }
    }
    text.push('\n');
    text
}

/// JSON as a block of code that nothing in it can end.
fn block(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    if text.len() > BLOCK_MAX {
        return format!("{} bytes of JSON, too long to show here; evidence.json has them.\n", text.len());
    }
    fenced(&text, "json")
}

/// Lines from outside as a block that nothing in them can end; characters that do not show are written as their
/// numbers.
pub(super) fn fenced(text: &str, language: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", lines(text))
}

/// A number with six digits; evidence.json has the others.
fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => {
            format!("{value:.5e}").parse::<f64>().map_or_else(|_| number.to_string(), |value| format!("{value:?}"))
        }
        _ => number.to_string(),
    }
}

/// A value in one cell.
fn cell(value: &Value) -> String {
    let cut = |text: String| {
        if text.chars().count() <= CELL_MAX {
            return plain(&text);
        }
        format!("{}…", plain(&text.chars().take(CELL_MAX).collect::<String>()))
    };
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(value) => number(value),
        Value::String(text) => cut(text.clone()),
        Value::Array(values) if values.iter().all(is_scalar) => {
            cut(values.iter().map(raw).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) if members.values().all(is_scalar) => {
            cut(members.iter().map(|(key, value)| format!("{key} {}", raw(value))).collect::<Vec<_>>().join(", "))
        }
        other => cut(other.to_string()),
    }
}

fn raw(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(value) => number(value),
        other => other.to_string(),
    }
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// A JSON document for a person: what is one value stands in a table of names and values, a list of objects becomes a
/// table, an object a section below a heading of `level`. Tables have at most `most` rows.
pub(super) fn document(value: &Value, level: usize, most: usize) -> String {
    match value {
        Value::Object(members) if members.is_empty() => "None.\n".to_owned(),
        Value::Object(members) => object(members, level, most),
        Value::Array(values) => list(values, most).unwrap_or_else(|| block(value)),
        scalar => format!("It is {}\n", cell(scalar)),
    }
}

fn object(members: &Map<String, Value>, level: usize, most: usize) -> String {
    let small = |value: &Value| match value {
        Value::Array(values) => values.len() <= 20 && values.iter().all(is_scalar),
        Value::Object(members) => members.is_empty(),
        _ => true,
    };
    let mut table = Table::new(&["name", "value"], most);
    for (name, value) in members.iter().filter(|(_, value)| small(value)) {
        table.push(|| vec![plain(name), cell(value)]);
    }
    let mut text = if table.is_empty() { String::new() } else { table.render() };
    for (name, value) in members.iter().filter(|(_, value)| !small(value)) {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = write!(text, "{} {}\n\n", "#".repeat(level), plain(name));
        text += &if level < HEADING_MAX || value.is_array() { document(value, level + 1, most) } else { block(value) };
    }
    text
}

/// A table of a list of objects, with a column for each key; nothing if it is another kind of list.
fn list(values: &[Value], most: usize) -> Option<String> {
    if values.is_empty() {
        return Some("None.\n".to_owned());
    }
    let rows: Vec<&Map<String, Value>> = values.iter().map(Value::as_object).collect::<Option<_>>()?;
    let mut columns: Vec<&str> = Vec::new();
    for key in rows.iter().take(most).flat_map(|row| row.keys()) {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    let heading: Vec<String> = columns.iter().map(|name| plain(name)).collect();
    let mut table = Table::new(&heading.iter().map(String::as_str).collect::<Vec<_>>(), most);
    for row in rows {
        table.push(|| columns.iter().map(|name| row.get(*name).map(cell).unwrap_or_default()).collect());
    }
    Some(table.render())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_from_outside_stays_text() {
        let cases = [
            ("relax-03_a.b", "relax-03_a.b"),
            ("a|b\nc", "a\\|b\\\\nc"),
            ("`x` *y* _z_", "\\`x\\` \\*y\\* \\_z\\_"),
            ("[a](http://b) <i>", "\\[a\\](http\\://b) \\<i>"),
            ("\u{202e}left\u{1b}[2J", "\\\\u{202e}left\\\\u{1b}\\[2J"),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), expected);
        }
        assert_eq!(code("a-b"), "`a-b`");
        assert_eq!(code("a`b"), "a\\`b");
    }

    #[test]
    fn lists_of_objects_become_tables() {
        let value = json!({"best": 0.123_456_789, "ranking": [{"id": "a", "x": 1.5, "f": {"Cr": 0.2}}, {"id": "b|c", "y": [1, 2]}]});
        let expected = "\
| name |    value |
| ---- | -------: |
| best | 0.123457 |

### ranking

| id   |   x | f      | y    |
| ---- | --: | ------ | ---- |
| a    | 1.5 | Cr 0.2 |      |
| b\\|c |     |        | 1, 2 |
";
        assert_eq!(document(&value, 3, 10), expected);
        let cut = document(&json!([{"a": 1}, {"a": 2}, {"a": 3}]), 3, 2);
        assert!(cut.ends_with("\nand 1 more; evidence.json has them all\n"), "{cut}");
    }

    #[test]
    fn a_block_of_code_cannot_be_ended_from_inside() {
        let text = document(&json!([["````"]]), 3, 10);
        assert!(text.starts_with("`````json\n") && text.ends_with("\n`````\n"), "{text}");
        assert_eq!(fenced("a\n```\n\u{1b}[2J", ""), "````\na\n```\n\\u{1b}[2J\n````\n");
    }
}
