//! The rules that need neither store nor clock, as tables.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
mod code;
mod document;
mod states;
mod types;
mod workflow;
