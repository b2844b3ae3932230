//! Rows of parameters, from each of the ways in which they are given.
use crate::template::is_name;
use crate::wrong;
use matterstack_sdk::Error;
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The most rows that are made: more than a run may have.
const ROWS_MAX: usize = 10_000_000;

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// As it was given.
    Value(Value),
    /// As it stands in a table: a number where it can be read as one.
    Written(String),
}

impl Cell {
    /// The value where it stands alone.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Written(text) => match serde_json::from_str(text) {
                Ok(number @ Value::Number(_)) => number,
                Ok(_) | Err(_) => Value::String(text.clone()),
            },
        }
    }

    /// What it is inside a text; nothing for a list or an object.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Written(text) | Self::Value(Value::String(text)) => Some(text.clone()),
            Self::Value(Value::Array(_) | Value::Object(_)) => None,
            Self::Value(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => Some(value.to_string()),
        }
    }
}

/// The parameters of a task, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row(Vec<(Rc<str>, Rc<Cell>)>);

impl Row {
    pub(crate) fn get(&self, name: &str) -> Option<&Cell> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, cell)| cell.as_ref())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Cell)> {
        self.0.iter().map(|(name, cell)| (name.as_ref(), cell.as_ref()))
    }

    fn with(&self, more: &Row) -> Self {
        Self(self.0.iter().chain(&more.0).cloned().collect())
    }
}

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
    values.iter().map(|value| Row(vec![(name.clone(), Rc::new(Cell::Value(value.clone())))])).collect()
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
    Ok(list.iter().map(|row| Row(row.iter().map(cell).collect())).collect())
}

fn refuse_name(name: &str) -> Result<(), Error> {
    if is_name(name) {
        return Ok(());
    }
    Err(wrong(format!("`{name}` is no name of a parameter: letters, digits and `_`, a digit not first")))
}

/// The rows of a table: comma-separated values as RFC 4180 has them, the names in the first line. Empty lines are
/// passed over.
pub(crate) fn of_csv(text: &str) -> Result<Vec<Row>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = records(text)?.into_iter();
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
        let cells = cells.into_iter().map(|cell| Rc::new(Cell::Written(cell)));
        rows.push(Row(names.iter().cloned().zip(cells).collect()));
    }
    if rows.is_empty() { Err("it has no rows".to_owned()) } else { Ok(rows) }
}

/// The cells of each line that is not empty, with the number of the line in which it begins.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
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
            (',', None) => {
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
