//! The suites, as one binary.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what a test prints is shown when it fails")]
mod backend;
mod cli;
mod conformance;
mod crash;
mod evidence;
mod people;
mod store;
mod support;
mod tick;
mod workspaces;
