//! The suites, as one binary.
mod backend;
mod cli;
mod conformance;
mod crash;
mod evidence;
mod store;
mod tick;
mod workspaces;
