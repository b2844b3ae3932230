//! Tables that people and instruments write: with semicolons, decimal commas, a byte order mark, rows that repeat.
use std::collections::HashSet;

/// The column that tells rows apart which are otherwise alike.
const NUMBER: &str = "row";

/// A table as text that every reader takes alike: commas between cells, points in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainRows {
    /// Comma-separated values with a line of names.
    pub text: String,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The cells of each row.
    pub rows: Vec<Vec<String>>,
    /// Whether the last column numbers rows that are otherwise alike.
    pub is_numbered: bool,
    /// What was read otherwise than it stands there, for a person.
    pub notes: Vec<String>,
}

/// Why a table is refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RowsError(String);

/// Reads a table.
///
/// # Errors
/// If it has no rows, or rows of different lengths, or is no UTF-8.
pub fn plain_rows(bytes: &[u8]) -> Result<PlainRows, RowsError> {
    let refuse = |what: String| RowsError(what);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        refuse(format!("it is no UTF-8 from byte {} on; save it as `CSV UTF-8`", error.valid_up_to() + 1))
    })?;
    let mut notes = Vec::new();
    let without = text.strip_prefix('\u{feff}').unwrap_or(text);
    // the reader would take everything behind it for one cell, unsaid
    if without.bytes().filter(|byte| *byte == b'"').count() % 2 == 1 {
        return Err(refuse("a quote is not closed".to_owned()));
    }
    let heading = without.lines().next().unwrap_or_default();
    let delimiter = delimiter_of(heading);
    let decimal_comma = delimiter != b',';
    if decimal_comma {
        notes.push(format!("cells are divided by `{}`", (delimiter as char).escape_default()));
    }
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(without.as_bytes());
    let wrong = |error: csv::Error| refuse(error.to_string());
    let columns: Vec<String> = reader.headers().map_err(wrong)?.iter().map(|name| name.trim().to_owned()).collect();
    let mut rows = Vec::new();
    let mut commas = 0_usize;
    for record in reader.records() {
        let cells = record.map_err(wrong)?;
        let plain = cells.iter().map(|cell| match decimal_comma.then(|| with_point(cell)).flatten() {
            Some(number) => {
                commas += 1;
                number
            }
            None => cell.trim().to_owned(),
        });
        rows.push(plain.collect::<Vec<_>>());
    }
    if rows.is_empty() {
        return Err(refuse("it has no rows below its line of names".to_owned()));
    }
    if commas > 0 {
        notes.push(format!("{commas} numbers have a decimal comma"));
    }
    let before = columns.len();
    let columns = numbered(columns, &mut rows, &mut notes);
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in std::iter::once(&columns).chain(&rows) {
        writer.write_record(row).map_err(wrong)?;
    }
    let bytes = writer.into_inner().map_err(|error| refuse(error.to_string()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(PlainRows { text, is_numbered: columns.len() > before, columns, rows, notes })
}

/// What divides cells, by the line of names: what stands in it most often.
fn delimiter_of(heading: &str) -> u8 {
    let count = |delimiter: u8| heading.bytes().filter(|byte| *byte == delimiter).count();
    let most = [b',', b';', b'\t'].into_iter().rev().max_by_key(|delimiter| count(*delimiter));
    most.filter(|delimiter| count(*delimiter) > 0).unwrap_or(b',')
}

/// A number with a decimal comma, with a point.
fn with_point(cell: &str) -> Option<String> {
    let (whole, rest) = cell.trim().split_once(',')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let exponent_is_one = exponent.is_none_or(|exponent| digits(exponent.trim_start_matches(['+', '-'])));
    let is_number = digits(whole.trim_start_matches(['+', '-'])) && digits(fraction) && exponent_is_one;
    is_number.then(|| cell.trim().replacen(',', ".", 1))
}

/// Numbers the rows if any are alike.
fn numbered(mut columns: Vec<String>, rows: &mut [Vec<String>], notes: &mut Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    if rows.iter().all(|row| seen.insert(row.clone())) || columns.iter().any(|column| column == NUMBER) {
        return columns;
    }
    columns.push(NUMBER.to_owned());
    rows.iter_mut().enumerate().for_each(|(place, row)| row.push((place + 1).to_string()));
    notes.push(format!("some rows are alike: a column `{NUMBER}` numbers them"));
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spreadsheets_write_is_read() {
        let read = plain_rows("\u{feff}T;name\r\n1,5;a, b\r\n-2,0e-3;c\r\n".as_bytes()).expect("a table");
        assert_eq!(read.text, "T,name\n1.5,\"a, b\"\n-2.0e-3,c\n");
        assert_eq!((read.rows.len(), read.notes.len()), (2, 2));
        let plain = plain_rows(b"x,y\n1,\"1,5\"\n").expect("a table");
        assert_eq!((plain.text.as_str(), plain.notes.len()), ("x,y\n1,\"1,5\"\n", 0));
        let tabs = plain_rows(b"x\ty\n1\t2\n").expect("a table");
        assert_eq!(tabs.text, "x,y\n1,2\n");
    }

    #[test]
    fn rows_that_are_alike_are_numbered() {
        let read = plain_rows(b"x\n1\n1\n").expect("a table");
        assert_eq!((read.text.as_str(), read.columns.len()), ("x,row\n1,1\n1,2\n", 2));
        assert_eq!(plain_rows(b"x,row\n1,7\n1,7\n").expect("a table").columns.len(), 2);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (bytes, words) in [
            (&b"x,y\n"[..], "no rows"),
            (b"", "no rows"),
            (b"x,y\n1\n", "fields"),
            (b"x\n\xff\n", "no UTF-8 from byte 3"),
            (b"x,y\n\"1,2\n3,4\n", "a quote is not closed"),
        ] {
            let error = plain_rows(bytes).expect_err("a refusal").to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
