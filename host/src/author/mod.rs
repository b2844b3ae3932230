//! What authors of plugins need before there is a run: a beginning, what makes a component of source, what a file is
//! without executing any of it, and whether it keeps to the contract.
//!
//! Nothing here changes a run.
mod build;
mod component;
mod look;
mod new;
mod proof;
mod refresh;
mod scratch;
mod shelf;
mod subjects;

pub use build::build;
pub use look::{Looked, look};
pub use new::{Language, make_plugin};
pub use proof::{Called, Finding, Proof};
pub use refresh::refresh;
pub use shelf::{Listed, shelf};
pub use subjects::{Asked, test};
