//! A limit of the configuration, as an error carries it: which key raises it, and what it is.
use std::fmt;

/// A limit and its value in force; shown as `` `limits.plugin.fuel` is 10``.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The key in config.json that raises it.
    pub key: &'static str,
    /// Its value, in the unit that the key's last word names.
    pub value: u64,
}

impl Bound {
    /// Joins a key and its value.
    pub fn new(key: &'static str, value: u64) -> Self {
        Self { key, value }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}", self.key, self.value)
    }
}
