//! The parameters of a task.
use serde_json::Value;
use std::rc::Rc;

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// As it was given.
    Value(Value),
    /// As it stands in a table: a number where it can be read as one.
    Written(String),
}

impl Cell {
    /// The value where it stands alone.
    pub fn value(&self) -> Value {
        match self {
            Self::Value(value) => value.clone(),
            Self::Written(text) => match serde_json::from_str(text) {
                Ok(number @ Value::Number(_)) => number,
                Ok(_) | Err(_) => Value::String(text.clone()),
            },
        }
    }

    /// What it is inside a text; nothing for a list or an object.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Written(text) | Self::Value(Value::String(text)) => Some(text.clone()),
            Self::Value(Value::Array(_) | Value::Object(_)) => None,
            Self::Value(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => Some(value.to_string()),
        }
    }
}

/// The parameters of a task, in their order.
#[derive(Debug, Clone, Default)]
pub struct Row(Vec<(Rc<str>, Rc<Cell>)>);

impl Row {
    /// Joins names and values.
    pub fn new(cells: impl IntoIterator<Item = (Rc<str>, Rc<Cell>)>) -> Self {
        Self(cells.into_iter().collect())
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Cell> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, cell)| cell.as_ref())
    }

    /// The parameters in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Cell)> {
        self.0.iter().map(|(name, cell)| (name.as_ref(), cell.as_ref()))
    }

    /// This row and then another.
    #[must_use]
    pub fn with(&self, more: &Row) -> Self {
        Self(self.0.iter().chain(&more.0).cloned().collect())
    }
}

/// Whether a text can be the name of a parameter.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_') && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}
