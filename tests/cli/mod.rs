//! `matterstack` as a person uses it.
mod alone;
pub(crate) mod bad_input;
mod config;
mod control;
mod extremes;
mod files;
mod golden;
pub(crate) mod harness;
mod looking;
mod notify;
mod params;
mod printing;
mod readme;
mod supervised;
mod words;
