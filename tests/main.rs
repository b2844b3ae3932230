//! The suites, as one binary.
mod backend;
mod cli;
mod conformance;
mod crash;
mod tick;
mod workspaces;
