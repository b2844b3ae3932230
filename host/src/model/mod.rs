//! Plain values and rules of the domain. Nothing here reads a file, a clock or the environment.
#![warn(clippy::wildcard_enum_match_arm)]
pub mod about;
pub mod act;
mod answer;
pub mod attempt_dir;
pub mod code;
pub mod config;
pub mod contract;
pub mod document;
pub mod evidence;
pub mod exit;
mod form;
pub mod handle;
pub mod id;
pub mod inputs;
pub mod job;
pub mod limit;
pub mod manifest;
pub mod misfit;
pub mod notify;
pub mod open;
pub mod outputs;
pub mod pool;
pub mod reason;
pub mod recorded;
pub mod remedy;
pub mod result;
pub mod reuse;
pub mod rows;
pub mod rules;
pub mod schema;
pub mod script;
pub mod selection;
pub mod states;
pub mod time;
pub mod workflow;

pub use matterstack_pattern as pattern;
