//! What comes out of runs: a table of results, what differs between two runs, the graph of their tasks, and copies of
//! chosen outputs.
mod compare;
mod export;
mod fields;
mod graph;
mod sheet;

pub use compare::{Difference, Part, Side, compare};
pub use export::{Export, Exported, export};
pub use graph::{BOXES_MAX, Graph};
pub use sheet::{Column, Sheet};
