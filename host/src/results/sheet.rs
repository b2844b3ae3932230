//! The table of results: a row for every task of the runs that were added, in little memory.
use super::fields::{data, document, flatten, parameters};
use crate::failure::Failure;
use crate::run::RunDir;
use crate::store::{LastAttempt, Output, Store, TaskEnd};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write;

/// Tasks that are read at once.
const PORTION: u32 = 1000;
/// Outputs that could not be read and are named.
const UNREAD_NAMED: usize = 10;
/// The most columns that a table has of numbers in outputs, where nobody named these.
const NUMBERS_MAX: usize = 2000;

/// Columns that every table has and that come first.
const FIRST: [&str; 10] =
    ["run", "label", "task", "iteration", "operator", "attempt", "state", "reused", "stale", "source"];
/// Columns that every table has and that come last.
const LAST: [&str; 6] = ["queued_s", "ran_s", "cpu_s", "memory_mb", "node", "path"];

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether any row has something in it.
    pub used: bool,
}

/// The outputs whose values get columns.
enum Fields {
    /// Those with these paths, each with whether any task left one.
    Named(Vec<(String, bool)>),
    /// The numbers of every JSON output, as far as there are columns left; and whether there are too few.
    Numbers { left: usize, are_more: bool },
}

impl Fields {
    /// Whether the values of an output are asked for.
    fn want(&mut self, output: &Output) -> bool {
        match self {
            Self::Named(fields) => {
                let field = fields.iter_mut().find(|(path, _)| *path == output.path);
                field.is_some_and(|(_, is_there)| {
                    *is_there = true;
                    true
                })
            }
            Self::Numbers { .. } => is_document(output),
        }
    }
}

/// Whether an output is read where nobody named any.
fn is_document(output: &Output) -> bool {
    output.path.ends_with(".json")
}

/// Hands over the digests of the outputs that [`Sheet::of_numbers`] reads of a run.
///
/// # Errors
/// If the run cannot be read.
pub fn documents(store: &Store, mut each: impl FnMut(String)) -> Result<(), Failure> {
    let mut after = 0;
    loop {
        let ends = store.task_ends(after, PORTION)?;
        let Some((last, _)) = ends.last() else { return Ok(()) };
        after = *last;
        for last in ends.iter().filter_map(|(_, end)| end.last.as_ref()) {
            store.outputs(last.key)?.into_iter().filter(is_document).for_each(|output| each(output.sha256));
        }
    }
}

/// A table that grows run by run. Columns of parameters and fields come into being with the first row that has them.
pub struct Sheet {
    names: Vec<String>,
    places: HashMap<String, usize>,
    used: Vec<bool>,
    /// Rows as lines: of every cell that is not empty its column, a colon, its JSON and a tab.
    portions: Vec<String>,
    fields: Fields,
    unread: Vec<String>,
    unread_more: u64,
}

impl Sheet {
    /// An empty one. `fields` names the JSON outputs, by their paths, whose values get columns.
    pub fn new(fields: &[String]) -> Self {
        Self::with(Fields::Named(fields.iter().map(|field| (field.clone(), false)).collect()))
    }

    /// An empty one, in which the numbers of every JSON output get columns.
    pub fn of_numbers() -> Self {
        Self::with(Fields::Numbers { left: NUMBERS_MAX, are_more: false })
    }

    /// Whether there are numbers in outputs beyond the columns that a table has.
    pub fn are_more(&self) -> bool {
        matches!(self.fields, Fields::Numbers { are_more: true, .. })
    }

    fn with(fields: Fields) -> Self {
        let names: Vec<String> = FIRST.into_iter().chain(LAST).map(str::to_owned).collect();
        let places = names.iter().cloned().enumerate().map(|(place, name)| (name, place)).collect();
        let used = vec![false; names.len()];
        Self { names, places, used, portions: Vec::new(), fields, unread: Vec::new(), unread_more: 0 }
    }

    /// Adds a row for every task of a run.
    ///
    /// # Errors
    /// If the run cannot be read.
    pub fn add(&mut self, dir: &RunDir, store: &Store) -> Result<(), Failure> {
        let label = store.run()?.label;
        let root = Dir::open_ambient_dir(dir.root(), ambient_authority()).map_err(|error| {
            Failure::io(format!("run directory `{}` cannot be opened", dir.root().display()), error)
        })?;
        let mut after = 0;
        loop {
            let ends = store.task_ends(after, PORTION)?;
            let Some((last, _)) = ends.last() else { return Ok(()) };
            after = *last;
            let mut lines = String::new();
            for (_, end) in &ends {
                self.add_row(&mut lines, &dir.id(), label.as_deref(), end);
                if let Some(last) = &end.last {
                    self.add_attempt(&mut lines, dir, last);
                    self.add_fields(&mut lines, (dir, &root), store, end, last)?;
                }
                lines.push('\n');
            }
            lines.shrink_to_fit();
            self.portions.push(lines);
        }
    }

    fn add_row(&mut self, line: &mut String, run: &str, label: Option<&str>, end: &TaskEnd) {
        self.put(line, "run", run);
        label.iter().for_each(|label| self.put(line, "label", label));
        self.put(line, "task", &end.task);
        self.put(line, "iteration", end.iteration);
        self.put(line, "operator", &end.operator);
        self.put(line, "state", end.state);
        if end.stale {
            self.put(line, "stale", true);
        }
        parameters(&end.spec, |name, value| self.put(line, &name, value));
    }

    fn add_attempt(&mut self, line: &mut String, dir: &RunDir, last: &LastAttempt) {
        self.put(line, "attempt", last.number);
        if let Some(run) = &last.reused_from {
            self.put(line, "reused", true);
            self.put(line, "source", run);
        }
        let seconds = |from: Option<i64>, to: Option<i64>| Some((to? - from?) as f64 / 1000.0);
        let times = [
            ("queued_s", seconds(last.queued_ms, last.started_ms)),
            ("ran_s", seconds(last.started_ms, last.stopped_ms)),
            ("cpu_s", seconds(Some(0), last.cpu_ms)),
        ];
        for (name, time) in times {
            time.iter().for_each(|time| self.put(line, name, time));
        }
        last.memory_mb.iter().for_each(|memory| self.put(line, "memory_mb", memory));
        last.node.iter().for_each(|node| self.put(line, "node", node));
        // a bundle has files by their digests, and no directories of attempts
        if !dir.is_bundle() {
            self.put(line, "path", dir.join(&last.directory).display().to_string());
        }
    }

    /// The fields of the operator's document, and of the outputs that were asked for.
    fn add_fields(
        &mut self,
        line: &mut String,
        (dir, root): (&RunDir, &Dir),
        store: &Store,
        end: &TaskEnd,
        last: &LastAttempt,
    ) -> Result<(), Failure> {
        if let Some(data) = data(last) {
            flatten("data".to_owned(), data, &mut |name, value| self.put(line, &name, value));
        }
        if matches!(&self.fields, Fields::Named(fields) if fields.is_empty()) {
            return Ok(());
        }
        let outputs = store.outputs(last.key)?;
        for output in &outputs {
            if !self.fields.want(output) {
                continue;
            }
            let name = output.path.strip_suffix(".json").unwrap_or(&output.path).to_owned();
            match document(root, (store, last.key), &dir.left(&last.directory, &output.path, &output.sha256), output) {
                Ok(value) => flatten(name, value, &mut |name, value| self.put_field(line, name, &value)),
                Err(_) if self.unread.len() == UNREAD_NAMED => self.unread_more += 1,
                Err(why) => {
                    self.unread.push(format!("`{}` of task `{}` in run `{}` {why}", output.path, end.task, dir.id()));
                }
            }
        }
        Ok(())
    }

    /// Puts a value of an output into the cell of a row, if it is asked for.
    fn put_field(&mut self, line: &mut String, mut name: String, value: &Value) {
        // a document that is one value has no dot in its name, and takes no other's place
        if FIRST.contains(&name.as_str()) || LAST.contains(&name.as_str()) {
            name.push_str(".json");
        }
        if let Fields::Numbers { left, are_more } = &mut self.fields {
            let is_new = !self.places.contains_key(&name);
            if !value.is_number() || (is_new && *left == 0) {
                *are_more |= value.is_number();
                return;
            }
            *left -= usize::from(is_new);
        }
        self.put(line, &name, value);
    }

    /// Puts a value into the cell of a row; nothing leaves it empty.
    fn put(&mut self, line: &mut String, column: &str, value: impl Serialize) {
        let json = serde_json::to_string(&value).unwrap_or_else(|error| panic!("bug: a cell has no JSON: {error}"));
        if json == "null" {
            return;
        }
        let place = match self.places.get(column) {
            Some(place) => *place,
            None => {
                self.names.push(column.to_owned());
                self.used.push(true);
                self.places.insert(column.to_owned(), self.names.len() - 1);
                self.names.len() - 1
            }
        };
        self.used[place] = true;
        // no JSON has a tab or a line feed outside of its texts, and there they are written otherwise
        let _ = write!(line, "{place}:{json}\t");
    }

    /// The places of the columns in the order in which they are shown: parameters, documents and fields stand between
    /// what every table has.
    fn order(&self) -> Vec<usize> {
        let own = FIRST.len() + LAST.len();
        let mut between: Vec<usize> = (own..self.names.len()).collect();
        between.sort_by_key(|place| match self.names[*place].split('.').next() {
            Some("params") => 0,
            Some("data") => 1,
            _ => 2,
        });
        (0..FIRST.len()).chain(between).chain(FIRST.len()..own).collect()
    }

    /// The columns, in the order of the cells.
    pub fn columns(&self) -> Vec<Column<'_>> {
        self.order().into_iter().map(|place| Column { name: &self.names[place], used: self.used[place] }).collect()
    }

    /// The rows: of every column the JSON text of its cell, or nothing where it is empty.
    pub fn rows(&self) -> impl Iterator<Item = Vec<Option<&str>>> {
        let order = self.order();
        self.portions.iter().flat_map(|portion| portion.lines()).map(move |line| {
            let mut cells = vec![None; self.names.len()];
            for cell in line.split_terminator('\t') {
                let (place, json) = cell.split_once(':').unwrap_or_else(|| panic!("bug: a cell without a column"));
                let place: usize = place.parse().unwrap_or_else(|error| panic!("bug: a column is no number: {error}"));
                cells[place] = Some(json);
            }
            order.iter().map(|place| cells[*place]).collect()
        })
    }

    /// The outputs that were asked for and that no task left.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        let named: &[(String, bool)] = match &self.fields {
            Fields::Named(fields) => fields,
            Fields::Numbers { .. } => &[],
        };
        named.iter().filter(|(_, is_there)| !is_there).map(|(path, _)| path.as_str())
    }

    /// The outputs whose fields are missing, each with the reason, and how many more there are.
    pub fn unread(&self) -> (&[String], u64) {
        (&self.unread, self.unread_more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_get_columns_as_far_as_there_are_any() {
        let (mut sheet, mut line) = (Sheet::of_numbers(), String::new());
        for n in 0..NUMBERS_MAX {
            sheet.put_field(&mut line, format!("y.{n}"), &json!(n));
        }
        sheet.put_field(&mut line, "y.text".to_owned(), &json!("no number"));
        sheet.put_field(&mut line, "y.0".to_owned(), &json!(7));
        assert!(!sheet.are_more());
        sheet.put_field(&mut line, "y.more".to_owned(), &json!(1));
        assert!(sheet.are_more());
        assert_eq!(sheet.columns().len(), FIRST.len() + NUMBERS_MAX + LAST.len());
    }
}
