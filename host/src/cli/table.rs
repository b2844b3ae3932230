//! `table`: results as rows, for people, spreadsheets and programs.
use super::Session;
use super::output::{JsonList, Listing, print, reader_went_away, tell};
use super::subject::{LATEST, runs_of};
use crate::failure::Failure;
use crate::results::{Column, Sheet, plain, write_csv};
use crate::run::RunDir;
use crate::workspace::read_store;
use clap::{Args, ValueEnum};
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::Duration;

/// Rows that are printed at once.
const PRINTED_AT_ONCE: usize = 1000;

#[derive(Debug, Args)]
pub(super) struct TableArgs {
    /// The runs [default: latest]
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// Every run with this label
    #[arg(long, value_name = "TEXT", conflicts_with = "runs")]
    label: Option<String>,
    /// The form
    #[arg(long, value_enum, default_value_t = TableFormat::Text)]
    format: TableFormat,
    /// A JSON output whose values get columns, by its path; also several
    #[arg(long, value_name = "FILE")]
    fields: Vec<String>,
}

impl TableArgs {
    /// Of a run, for a person.
    pub(super) fn of(dir: &RunDir) -> Self {
        let runs = vec![dir.root().display().to_string()];
        Self { runs, label: None, format: TableFormat::Text, fields: Vec::new() }
    }
}

/// Forms of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TableFormat {
    /// Aligned columns, without those that say nothing
    Text,
    /// Comma-separated values
    Csv,
    /// A list of objects
    Json,
}

pub(super) fn table(session: &Session, arguments: &TableArgs) -> Result<u8, Failure> {
    let names: Vec<String> = match (&arguments.label, arguments.runs.as_slice()) {
        (Some(_), _) => Vec::new(),
        (None, []) => vec![LATEST.to_owned()],
        (None, names) => names.to_vec(),
    };
    let mut sheet = Sheet::new(&arguments.fields);
    let runs = runs_of(session, &names, arguments.label.as_deref())?;
    for dir in &runs {
        sheet.add(dir, &read_store(dir)?)?;
    }
    if session.json || arguments.format == TableFormat::Json {
        print_as_json(&sheet)?;
    } else if arguments.format == TableFormat::Csv {
        print_as_csv(&sheet)?;
    } else {
        print_as_text(&sheet, runs.len())?;
    }
    for path in sheet.missing() {
        tell(&format!(
            "warning: no task left an output `{path}`; what a command leaves is kept if its task names it in `outputs`, or \
             `run` with --output"
        ));
    }
    let (unread, more) = sheet.unread();
    unread.iter().for_each(|why| tell(&format!("warning: {why}")));
    if more > 0 {
        tell(&format!("warning: and {more} more outputs could not be read"));
    }
    Ok(0)
}

/// Prints rows in portions, as long as somebody reads.
fn in_portions<T>(
    rows: impl Iterator<Item = T>,
    mut text_of: impl FnMut(Vec<T>) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        print(&text_of(rows.by_ref().take(PRINTED_AT_ONCE).collect())?)?;
        if reader_went_away(Duration::ZERO) {
            break;
        }
    }
    Ok(())
}

fn print_as_json(sheet: &Sheet) -> Result<(), Failure> {
    let columns = sheet.columns();
    let mut list = JsonList::default();
    in_portions(sheet.rows(), |rows| {
        let objects = rows.into_iter().map(|cells| object(&columns, &cells)).collect::<Result<Vec<_>, Failure>>()?;
        list.rows(&objects)
    })?;
    print(list.end())
}

/// A row with every column, in their order.
fn object(columns: &[Column<'_>], cells: &[Option<&str>]) -> Result<Box<RawValue>, Failure> {
    let mut text = String::from("{");
    for (column, cell) in columns.iter().zip(cells) {
        text += if text.len() > 1 { ", " } else { "" };
        text += &Value::from(column.name).to_string();
        text += ": ";
        text += cell.unwrap_or("null");
    }
    RawValue::from_string(text + "}").map_err(|error| Failure::machine("writing JSON", error))
}

fn print_as_csv(sheet: &Sheet) -> Result<(), Failure> {
    let columns = sheet.columns();
    print(&csv_of(vec![columns.iter().map(|column| column.name.to_owned()).collect()])?)?;
    in_portions(sheet.rows(), |rows| csv_of(rows.iter().map(|cells| cells.iter().map(|cell| plain(*cell)).collect())))
}

fn csv_of(rows: impl IntoIterator<Item = Vec<String>>) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    write_csv(rows, &mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn print_as_text(sheet: &Sheet, runs: usize) -> Result<(), Failure> {
    let columns = sheet.columns();
    let tells = |column: &Column<'_>| column.used && column.name != "path" && (runs > 1 || column.name != "run");
    let chosen: Vec<usize> = (0..columns.len()).filter(|place| tells(&columns[*place])).collect();
    let heading: Vec<String> = chosen.iter().map(|place| columns[*place].name.to_uppercase()).collect();
    if sheet.rows().next().is_none() {
        tell("there are no tasks");
        return Ok(());
    }
    let mut listing = Listing::new(&heading.iter().map(String::as_str).collect::<Vec<_>>());
    in_portions(sheet.rows(), |rows| {
        let cells = |cells: Vec<Option<&str>>| chosen.iter().map(|place| plain(cells[*place])).collect::<Vec<String>>();
        Ok(listing.rows(rows.into_iter().map(cells)))
    })
}
