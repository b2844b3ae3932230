//! The suites, as one binary.
mod backend;
mod cli;
mod conformance;
mod crash;
mod evidence;
mod people;
mod store;
mod tick;
mod workspaces;
