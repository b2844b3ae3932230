//! Kits for clusters that the host cannot reach: bundled to be carried away, and checked when they come back.
//!
//! `builtin:manual-hpc` writes a kit into the attempt directory. What comes back names the attempt and is sealed with
//! its token; nothing of a return touches the attempt before all of it has been checked, and an import that is cut
//! short can be repeated.
mod export;
mod import;
mod sums;
mod survey;

pub use export::{Exported, export};
pub use import::{Imported, import};
