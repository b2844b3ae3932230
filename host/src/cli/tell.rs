//! `tell`: results that a person has go to a campaign that asks a program.
use super::Session;
use super::control::say_count;
use super::runs::hold;
use super::subject::LATEST;
use crate::failure::Failure;
use crate::ground::files::read_named;
use crate::model::act::Verb;
use crate::model::config::ASK_TELL;
use crate::model::document::sha256;
use crate::model::rows::plain_rows;
use crate::tick::{self, TellError};
use crate::workspace::{Access, act, moment, now_ms, stopwatch};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The largest file of results, in bytes.
const FILE_MAX: u64 = 64 * 1024 * 1024;

impl From<TellError> for Failure {
    fn from(error: TellError) -> Self {
        match error {
            TellError::Control(error) => error.into(),
            TellError::Plan(error) => error.into(),
        }
    }
}

pub(super) fn tell(session: &Session, words: Vec<String>) -> Result<u8, Failure> {
    let (run, file) = match <[String; 2]>::try_from(words) {
        Ok([run, file]) => (run, file),
        Err(words) => (LATEST.to_owned(), words.into_iter().next().unwrap_or_default()),
    };
    let path = Path::new(&file);
    let bytes = read_named(path, FILE_MAX)
        .map_err(|error| Failure::input(format!("`{file}` cannot be read")).because(error))?;
    let mut held = hold(session, &run, Access::Own)?;
    if held.run.config.campaign.plugin != ASK_TELL {
        let what = format!("the campaign of run `{}` takes no table of results", held.run.dir.address());
        return Err(Failure::input(what).hint(format!(
            "{ASK_TELL} does; `matterstack resume {} --set KEY=VALUE` supplies what other campaigns ask for",
            held.run.dir.address()
        )));
    }
    let rows = match path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
        true => of_json(&bytes),
        false => {
            of_table(&bytes, &variables(&held.run.params().map_err(|error| Failure::machine("parameters", error))?))
        }
    };
    let rows = rows.map_err(|what| Failure::input(format!("`{file}`: {what}")))?;
    let count = rows.len() as u64;
    let supplied = json!({"tell": rows}).to_string();
    let act = act(Verb::Tell, json!({"file": file, "sha256": sha256(&bytes), "rows": count}), None);
    tick::tell(&mut held.run, &supplied, &act, moment(now_ms(), &stopwatch()))?;
    let text = format!("{count} result(s) are told; the next `step` or `loop` goes on");
    say_count(session, &held.run, &text, ("told", count))
}

/// The variables of a campaign, with what each may be.
fn variables(params: &str) -> Map<String, Value> {
    let params: Value = serde_json::from_str(params).unwrap_or_default();
    params["variables"].as_object().cloned().unwrap_or_default()
}

fn of_json(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| format!("is no JSON: {error}"))?;
    let list = if document.is_object() { document["trials"].clone() } else { document };
    match list {
        Value::Array(rows) if !rows.is_empty() => Ok(rows),
        Value::Array(_) => Err("has no results".to_owned()),
        _ => Err("is neither a list of results nor an object with a list `trials`".to_owned()),
    }
}

/// The rows of a table: a column `trial` is an id, columns that are called as variables are parameters, and the others
/// results. An empty cell says nothing.
fn of_table(bytes: &[u8], variables: &Map<String, Value>) -> Result<Vec<Value>, String> {
    let table = plain_rows(bytes).map_err(|error| error.to_string())?;
    table.notes.iter().for_each(|note| super::output::tell(note));
    let row = |cells: &Vec<String>| {
        let (mut params, mut result, mut row) = (Map::new(), Map::new(), Map::new());
        for (column, cell) in table.columns.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
            match (column.as_str(), variables.get(column)) {
                ("trial", None) => drop(row.insert("trial".to_owned(), Value::from(cell.as_str()))),
                (_, Some(variable)) => drop(params.insert(column.clone(), value(cell, Some(variable)))),
                // numbers the rows that are alike, and is nobody's
                ("row", None) if table.is_numbered => {}
                (_, None) => drop(result.insert(column.clone(), value(cell, None))),
            }
        }
        if !params.is_empty() {
            row.insert("params".to_owned(), Value::Object(params));
        }
        row.insert("result".to_owned(), Value::Object(result));
        Value::Object(row)
    };
    Ok(table.rows.iter().map(row).collect())
}

/// What a cell says: one of the choices, where the variable has that, else a number or a truth if it is one, else a
/// text.
fn value(cell: &str, variable: Option<&Value>) -> Value {
    let choices = variable.map(|variable| variable.get("choices").unwrap_or(variable));
    let text = Value::from(cell);
    if choices.and_then(Value::as_array).is_some_and(|choices| choices.contains(&text)) {
        return text;
    }
    match serde_json::from_str(cell) {
        Ok(plain @ (Value::Number(_) | Value::Bool(_))) => plain,
        _ => text,
    }
}
