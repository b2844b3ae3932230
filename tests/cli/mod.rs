//! `matterstack` as a person uses it.
mod alone;
pub(crate) mod bad_input;
mod control;
mod files;
mod golden;
pub(crate) mod harness;
mod notify;
mod readme;
mod supervised;
mod words;
