//! Plain values and rules of the domain. Nothing here reads a file, a clock or the environment.
pub mod config;
pub mod contract;
pub mod document;
pub mod evidence;
pub mod exit;
pub mod id;
pub mod job;
pub mod result;
pub mod schema;
pub mod states;
pub mod time;
pub mod workflow;
