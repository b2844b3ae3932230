//! Tables as the templates are given them.
use minijinja::{Value, context};

/// A column: its heading, and whether it holds numbers.
pub(super) type Column = (String, bool);

/// A column of text.
pub(super) fn words_of(name: impl ToString) -> Column {
    (name.to_string(), false)
}

/// A column of numbers.
pub(super) fn numbers_of(name: impl ToString) -> Column {
    (name.to_string(), true)
}

/// A table of these rows, each headed by its first cell, and how many rows more there are.
pub(super) fn table(caption: &str, columns: &[Column], rows: Vec<Vec<String>>, more: usize) -> Value {
    context! { caption, columns => columns.to_vec(), rows, more }
}
