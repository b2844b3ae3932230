//! Tasks from a template and rows of parameters: what standard campaigns share. It knows nothing of runs; whoever uses
//! it says where a template stands when something is wrong with it.
mod csv;
mod fill;
mod row;

pub use csv::of_csv;
pub use fill::fill;
pub use row::{Cell, Row, is_name};
