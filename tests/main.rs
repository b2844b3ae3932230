//! The suites, as one binary.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what a test prints is shown when it fails")]
mod architecture;
mod backend;
mod cli;
mod conformance;
mod crash;
mod evidence;
mod model;
mod people;
mod plugin;
mod record;
mod store;
mod support;
mod tick;
mod workspaces;
