//! Cells of a table as people and spreadsheets read them.
use crate::failure::Failure;
use std::io::Write;

/// A cell as a person reads it: a text without its quotation marks, and nothing where it is empty.
pub fn plain(json: Option<&str>) -> String {
    match json {
        None => String::new(),
        Some(text) if text.starts_with('"') => serde_json::from_str(text).unwrap_or_else(|_| text.to_owned()),
        Some(text) => text.to_owned(),
    }
}

/// Writes rows as comma-separated values.
///
/// # Errors
/// If `out` does not take them.
pub fn write_csv(rows: impl IntoIterator<Item = Vec<String>>, out: impl Write) -> Result<(), Failure> {
    let mut writer = csv::Writer::from_writer(out);
    for row in rows {
        writer.write_record(row).map_err(|error| Failure::machine("writing CSV", error))?;
    }
    writer.flush().map_err(|error| Failure::io("writing CSV", error))
}
