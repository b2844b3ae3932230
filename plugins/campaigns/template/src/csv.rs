//! Tables.
use crate::row::{Cell, Row, is_name};
use std::rc::Rc;

/// The rows of a table: comma-separated values as RFC 4180 has them, the names in the first line. Empty lines are
/// passed over.
///
/// # Errors
/// What is wrong with it, and in which line.
pub fn of_csv(text: &str) -> Result<Vec<Row>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let delimiter = delimiter_of(text.lines().next().unwrap_or_default());
    let mut lines = records(text, delimiter)?.into_iter();
    let (_, names) = lines.next().ok_or("it is empty")?;
    for (position, name) in names.iter().enumerate() {
        if !is_name(name) {
            return Err(format!(
                "column `{name}` is no name of a parameter: letters, digits and `_`, a digit not first"
            ));
        }
        if names[..position].contains(name) {
            return Err(format!("column `{name}` stands twice"));
        }
    }
    let names: Vec<Rc<str>> = names.iter().map(|name| Rc::from(name.as_str())).collect();
    let mut rows = Vec::new();
    for (line, cells) in lines {
        if cells.len() != names.len() {
            let (found, wanted) = (cells.len(), names.len());
            return Err(format!("line {line} has {found} cells, and the first line names {wanted}"));
        }
        // where cells are divided otherwise, a comma is what stands in a number in place of a point
        let plain = |cell: String| if delimiter == ',' { cell } else { with_point(&cell).unwrap_or(cell) };
        let cells = cells.into_iter().map(|cell| Rc::new(Cell::Written(plain(cell))));
        rows.push(Row::new(names.iter().cloned().zip(cells)));
    }
    if rows.is_empty() { Err("it has no rows".to_owned()) } else { Ok(rows) }
}

/// What divides cells, by the line of names: what stands in it most often.
fn delimiter_of(heading: &str) -> char {
    let count = |delimiter: char| heading.matches(delimiter).count();
    let most = [',', ';', '\t'].into_iter().rev().max_by_key(|delimiter| count(*delimiter));
    most.filter(|delimiter| count(*delimiter) > 0).unwrap_or(',')
}

/// A number with a decimal comma, with a point.
fn with_point(cell: &str) -> Option<String> {
    let point = cell.trim().replacen(',', ".", 1);
    let in_number = |byte: u8| byte.is_ascii_digit() || b".+-eE".contains(&byte);
    let (whole, _) = point.split_once('.')?;
    let is_number = !whole.is_empty() && point.bytes().all(in_number) && point.parse::<f64>().is_ok();
    (is_number && cell.contains(',')).then_some(point)
}

/// The cells of each line that is not empty, with the number of the line in which it begins. A quote that is not closed
/// is an error: the crate `csv` takes it for closed at the end, and all rows behind it would be one cell, unsaid.
fn records(text: &str, delimiter: char) -> Result<Vec<(usize, Vec<String>)>, String> {
    let (mut all, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begins, mut quoted, mut any) = (1, 1, None, false);
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        line += usize::from(character == '\n');
        match (character, quoted) {
            ('"', Some(_)) if rest.next_if_eq(&'"').is_some() => cell.push('"'),
            ('"', Some(_)) => quoted = None,
            (other, Some(_)) => cell.push(other),
            ('"', None) if cell.is_empty() => (quoted, any) = (Some(line), true),
            (other, None) if other == delimiter => {
                cells.push(std::mem::take(&mut cell));
                any = true;
            }
            ('\r', None) if rest.peek() == Some(&'\n') => {}
            ('\n', None) => {
                if any || !cell.is_empty() {
                    cells.push(std::mem::take(&mut cell));
                    all.push((begins, std::mem::take(&mut cells)));
                }
                (begins, any) = (line, false);
            }
            (other, None) => cell.push(other),
        }
    }
    if let Some(line) = quoted {
        return Err(format!("a quote in line {line} is not closed"));
    }
    if any || !cell.is_empty() {
        cells.push(cell);
        all.push((begins, cells));
    }
    Ok(all)
}
