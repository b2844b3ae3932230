//! What comes out of runs: a table of results, what differs between two runs, and copies of chosen outputs.
mod compare;
mod export;
mod fields;
mod sheet;

pub use compare::{Difference, Part, Side, compare};
pub use export::{Export, Exported, export};
pub use sheet::{Column, Sheet};
