//! The suites, as one binary.
mod backend;
mod cli;
mod crash;
mod evidence;
mod store;
mod tick;
