//! What comes out of runs: a table of results, what differs between two runs, the graph of their tasks, copies of
//! chosen outputs, a page with figures, and one database of all of it.
mod cells;
mod compare;
mod export;
mod fields;
mod graph;
mod query;
mod report;
mod said;
mod sheet;

pub use cells::{plain, write_csv};
pub use compare::{Difference, Part, Side, compare};
pub use export::{Export, Exported, export};
pub use graph::{BOXES_MAX, Graph};
pub use query::{Gathered, gather};
pub use report::{Wanted, reach, report};
pub use said::{Said, last_lines, last_words, said_last};
pub use sheet::{Column, Sheet, documents};
