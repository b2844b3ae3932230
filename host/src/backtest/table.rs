//! A table of results by parameters, as people write one: what is wrong with it is told before anybody decides.
use crate::model::config::RunConfig;
use crate::model::rows::PlainRows;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The column that says how long a result took, in seconds.
const DURATION: &str = "duration_s";
/// How much two numbers may differ that are meant to be the same, as a part of the larger.
const ALIKE: f64 = 1e-9;

/// Results by parameters.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
    /// Whether a task had a parameter that is a column.
    met: AtomicBool,
    /// The first task that had none, with its parameters.
    strange: Mutex<Option<String>>,
}

impl Table {
    /// Takes the rows of a file.
    ///
    /// # Errors
    /// What is wrong with them, whoever decides.
    pub(super) fn of(mut rows: PlainRows) -> Result<Self, String> {
        if rows.is_numbered {
            // those that are alike were measured again, and the number is no result
            rows.columns.pop();
            rows.rows.iter_mut().for_each(|row| drop(row.pop()));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = rows.columns.iter().find(|name| !seen.insert(*name)) {
            return Err(format!("column `{twice}` is there twice"));
        }
        let value = |cell: &String| match cell.parse::<f64>() {
            Ok(number) if number.is_finite() => json!(number),
            _ => json!(cell),
        };
        let cells = rows.rows.iter().map(|row| row.iter().map(value).collect()).collect();
        let table = Self { columns: rows.columns, rows: cells, met: AtomicBool::default(), strange: Mutex::default() };
        let is_time = |cell: &Value| *cell == "" || cell.as_f64().is_some_and(|seconds| seconds >= 0.0);
        table.check(DURATION, is_time, "no number of seconds")?;
        Ok(table)
    }

    /// What is wrong with it for a campaign that is compared by this number.
    ///
    /// # Errors
    /// The sentence.
    pub(super) fn fits(&self, config: &RunConfig, goal: &str) -> Result<(), String> {
        let there = || format!("its columns are `{}`", self.columns.join("`, `"));
        if !self.columns.iter().any(|column| column == goal) {
            return Err(format!("it has no column `{goal}`, by which results are compared; {}", there()));
        }
        self.check(goal, |cell| *cell == "" || cell.is_number(), "no number; leave a cell empty that has none")?;
        let Some(variables) = config.campaign.params.get("variables").and_then(Value::as_object) else {
            return Ok(());
        };
        for (name, range) in variables.iter().filter(|_| config.campaign.plugin == "builtin:ask-tell") {
            if !self.columns.contains(name) {
                return Err(format!("it has no column `{name}`, which is a variable of the campaign; {}", there()));
            }
            self.check(name, |cell| *cell != "", "empty, so that it is known for no point")?;
            let is_range = range.as_array().is_some_and(|of| of.len() == 2 && of.iter().all(Value::is_number));
            if is_range || range.get("integer").is_some() {
                self.check(name, Value::is_number, "no number, as the variable is")?;
            }
        }
        Ok(())
    }

    /// Refuses the first cell of a column that is not as it should be. Rows are counted as a spreadsheet does.
    fn check(&self, column: &str, is_right: impl Fn(&Value) -> bool, what: &str) -> Result<(), String> {
        let Some(at) = self.columns.iter().position(|name| name == column) else { return Ok(()) };
        let wrong = self.rows.iter().enumerate().find(|(_, row)| !is_right(&row[at]));
        wrong.map_or(Ok(()), |(place, row)| {
            let cell = row[at].as_str().map_or_else(|| row[at].to_string(), str::to_owned);
            Err(format!("row {}: `{column}` is `{cell}`, and that is {what}", place + 2))
        })
    }

    /// Why it has answered nobody, if no task had a parameter that is a column.
    pub(super) fn of_no_use(&self) -> Option<String> {
        let strange = self.strange.lock().unwrap_or_else(PoisonError::into_inner).clone();
        strange.filter(|_| !self.met.load(Ordering::Relaxed)).map(|task| {
            format!("none of its columns is a parameter: they are `{}`, and {task}", self.columns.join("`, `"))
        })
    }

    /// The result for these parameters, which is asked for the time that `again` counts, with how long it took. Where a
    /// point was measured more than once, its rows come one after the other, and then from the first on.
    pub(super) fn find(
        &self,
        task: &str,
        params: &Map<String, Value>,
        again: usize,
    ) -> Option<(Map<String, Value>, Option<u64>)> {
        let places: Vec<(usize, &Value)> =
            self.columns.iter().enumerate().filter_map(|(at, name)| Some((at, params.get(name)?))).collect();
        if places.is_empty() {
            let named = match params.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>() {
                names if names.is_empty() => "none in its `input` or `params.json`".to_owned(),
                names => names.join(", "),
            };
            let mut strange = self.strange.lock().unwrap_or_else(PoisonError::into_inner);
            strange.get_or_insert_with(|| format!("task `{task}` has {named}"));
            return None;
        }
        self.met.store(true, Ordering::Relaxed);
        let fits = |row: &&Vec<Value>| places.iter().all(|(at, value)| alike(&row[*at], value));
        let found: Vec<&Vec<Value>> = self.rows.iter().filter(fits).collect();
        let row = found.get(again % found.len().max(1))?;
        let (mut result, mut took) = (Map::new(), None);
        for (name, value) in self.columns.iter().zip(row.iter()) {
            match name.as_str() {
                DURATION => took = value.as_f64().map(|seconds| (seconds.max(0.0) * 1000.0) as u64),
                _ if params.contains_key(name) || value == "" => {}
                _ => drop(result.insert(name.clone(), value.clone())),
            }
        }
        Some((result, took))
    }
}

/// Whether a cell has the value that is asked for.
fn alike(cell: &Value, value: &Value) -> bool {
    match (cell.as_f64(), value.as_f64()) {
        (Some(cell), Some(value)) => (cell - value).abs() <= ALIKE * cell.abs().max(value.abs()).max(1.0),
        (None, None) => cell == value || Some(value.to_string().as_str()) == cell.as_str(),
        _ => false,
    }
}
