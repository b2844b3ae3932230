//! Rows of parameters, from each of the ways in which they are given.
use crate::wrong;
use campaign_template::{Cell, Row, is_name};
use matterstack_sdk::Error;
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The most rows that are made: more than a run may have.
const ROWS_MAX: usize = 10_000_000;

type Columns = BTreeMap<String, Vec<Value>>;

/// Every value of each parameter of the grid with every one of the others, and with each row of the columns that go
/// together. What comes last by name changes first.
pub(crate) fn of_columns(grid: &Columns, zip: &Columns) -> Result<Vec<Row>, Error> {
    for (word, columns) in [("grid", grid), ("zip", zip)] {
        columns.keys().try_for_each(|name| refuse_name(name))?;
        if let Some((name, _)) = columns.iter().find(|(_, values)| values.is_empty()) {
            return Err(wrong(format!("`{word}.{name}` has no values")));
        }
    }
    if let Some(name) = grid.keys().find(|name| zip.contains_key(*name)) {
        return Err(wrong(format!("`{name}` is in `grid` and in `zip`")));
    }
    let mut axes: Vec<Vec<Row>> = grid.iter().map(|(name, values)| axis(name, values)).collect();
    axes.extend(together(zip)?);
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.len()));
    if count.is_none_or(|count| count > ROWS_MAX) {
        return Err(wrong(format!("the grid has more than {ROWS_MAX} rows")));
    }
    let every = |rows: Vec<Row>, axis: Vec<Row>| {
        rows.iter().flat_map(|row| axis.iter().map(move |more| row.with(more))).collect()
    };
    Ok(axes.into_iter().fold(vec![Row::default()], every))
}

fn axis(name: &str, values: &[Value]) -> Vec<Row> {
    let name: Rc<str> = name.into();
    values.iter().map(|value| Row::new([(name.clone(), Rc::new(Cell::Value(value.clone())))])).collect()
}

/// The rows of the columns that go together, if there are any.
fn together(zip: &Columns) -> Result<Option<Vec<Row>>, Error> {
    let mut columns = zip.iter();
    let Some((first, values)) = columns.next() else { return Ok(None) };
    let mut rows = axis(first, values);
    for (name, more) in columns {
        if more.len() != values.len() {
            let (long, longer) = (values.len(), more.len());
            return Err(wrong(format!(
                "`zip.{first}` has {long} values and `zip.{name}` {longer}: each needs as many"
            )));
        }
        rows = rows.iter().zip(axis(name, more)).map(|(row, more)| row.with(&more)).collect();
    }
    Ok(Some(rows))
}

/// The rows that are written out.
pub(crate) fn of_list(list: &[BTreeMap<String, Value>]) -> Result<Vec<Row>, Error> {
    if list.is_empty() {
        return Err(wrong("`list` has no rows"));
    }
    list.iter().flat_map(BTreeMap::keys).try_for_each(|name| refuse_name(name))?;
    let cell = |(name, value): (&String, &Value)| (Rc::from(name.as_str()), Rc::new(Cell::Value(value.clone())));
    Ok(list.iter().map(|row| Row::new(row.iter().map(cell))).collect())
}

fn refuse_name(name: &str) -> Result<(), Error> {
    if is_name(name) {
        return Ok(());
    }
    Err(wrong(format!("`{name}` is no name of a parameter: letters, digits and `_`, a digit not first")))
}
