//! The suites, as one binary.
mod backend;
mod cli;
mod crash;
mod support;
mod tick;
