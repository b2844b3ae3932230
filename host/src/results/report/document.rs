//! A document of somebody else's for a person: values in tables, lists of objects with a row each.
use super::scale::number;
use super::table::{numbers_of, table, words_of};
use crate::results::fields::flatten;
use minijinja::context;
use serde_json::Value;

/// Rows of a list.
const ROWS: usize = 100;
/// Columns of a list.
const COLUMNS: usize = 24;
/// The longest text of a cell, in characters.
const CELL: usize = 200;

/// What a document is told by: a text, or its values in a table and its lists below headings.
pub(super) fn document(name: &str, value: &Value) -> Vec<minijinja::Value> {
    let part = |heading: Option<&str>, text: Option<String>, table: Option<_>, list: Option<_>| {
        context! { heading, text, table, list }
    };
    let Value::Object(members) = value else {
        return vec![match rows_of(value) {
            Some(rows) => part(None, None, None, Some(list(name, rows))),
            None => part(None, Some(cell(value)), None, None),
        }];
    };
    let (mut single, mut lists) = (Vec::new(), Vec::new());
    for (key, value) in members {
        match rows_of(value) {
            Some(rows) => lists.push(part(Some(key), None, None, Some(list(key, rows)))),
            None => flatten(key.clone(), value.clone(), &mut |name, value| single.push(vec![name, cell(&value)])),
        }
    }
    let more = single.len().saturating_sub(ROWS);
    single.truncate(ROWS);
    if !single.is_empty() {
        let values = table(name, &[words_of("name"), words_of("value")], single, more);
        lists.insert(0, part(None, None, Some(values), None));
    }
    lists
}

/// The rows of a list of objects.
fn rows_of(value: &Value) -> Option<&Vec<Value>> {
    value.as_array().filter(|rows| !rows.is_empty() && rows.iter().all(Value::is_object))
}

fn list(name: &str, rows: &[Value]) -> minijinja::Value {
    let (mut names, mut flat) = (Vec::<String>::new(), Vec::new());
    for row in rows.iter().take(ROWS) {
        let mut cells = vec![(String::new(), None); names.len()];
        for (key, value) in row.as_object().into_iter().flatten() {
            flatten(key.clone(), value.clone(), &mut |name, value| {
                let place = names.iter().position(|known| *known == name).or_else(|| {
                    (names.len() < COLUMNS).then(|| {
                        names.push(name);
                        names.len() - 1
                    })
                });
                if let Some(place) = place {
                    cells.resize(names.len(), (String::new(), None));
                    cells[place] = (cell(&value), Some(value.is_number()));
                }
            });
        }
        flat.push(cells);
    }
    let numeric = |place: usize| flat.iter().filter_map(|cells| cells.get(place)?.1).all(|is_number| is_number);
    let columns: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(place, name)| if numeric(place) { numbers_of(name) } else { words_of(name) })
        .collect();
    let texts: Vec<Vec<String>> = flat
        .iter()
        .map(|cells| {
            (0..names.len()).map(|place| cells.get(place).map(|cell| cell.0.clone()).unwrap_or_default()).collect()
        })
        .collect();
    table(name, &columns, texts, rows.len().saturating_sub(ROWS))
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(exact) if exact.is_f64() => exact.as_f64().map(number).unwrap_or_default(),
        Value::Number(exact) => exact.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.iter().all(|value| !value.is_array() && !value.is_object()) => {
            values.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    super::chart::shortened(&text, CELL)
}
