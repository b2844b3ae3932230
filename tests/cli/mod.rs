//! `matterstack` as a person uses it.
pub(crate) mod bad_input;
mod control;
mod golden;
pub(crate) mod harness;
