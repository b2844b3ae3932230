//! Plain values and rules of the domain. Nothing here reads a file, a clock or the environment.
pub mod code;
pub mod config;
pub mod contract;
pub mod document;
pub mod evidence;
pub mod id;
pub mod reason;
pub mod remedy;
pub mod schema;
pub mod states;
pub mod time;
pub mod workflow;
