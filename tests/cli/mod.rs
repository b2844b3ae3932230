//! `matterstack` as a person uses it.
mod alone;
mod bad_input;
mod control;
mod golden;
pub(crate) mod harness;
mod notify;
mod readme;
