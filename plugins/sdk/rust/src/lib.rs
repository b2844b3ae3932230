//! Campaigns and operators for MatterStack in Rust.
//!
//! A campaign implements [`Campaign`] and names it in [`export_campaign!`]; an operator implements [`Operator`] and
//! names it in [`export_operator!`]. Build the crate (`crate-type = ["cdylib", "rlib"]`) with
//! `cargo build --release --target wasm32-wasip2`. Both traits are plain Rust, so `#[test]`s call them natively;
//! [`artifacts::with_files`] gives such tests the files that a run would own.
pub mod artifacts;
#[doc(hidden)]
pub mod bindings;
pub mod campaign;
pub mod compute;
mod error;
pub mod lifecycle;
pub mod log;
pub mod operator;
pub mod rng;
pub mod task;
pub mod work;

pub use campaign::{Campaign, Context, Decision, Next};
pub use error::{Detail, Error};
pub use operator::{Attempt, Found, Operator, Status, StatusReport};
pub use rng::Rng;
pub use serde_json::{Value, json};
pub use task::{Outcome, OutputFile, OutputPattern, Task, TaskResult};
