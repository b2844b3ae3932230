//! The suites, as one binary.
mod backend;
mod cli;
mod crash;
mod tick;
mod workspaces;
