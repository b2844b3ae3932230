//! The suites, as one binary.
mod architecture;
mod backend;
mod cli;
mod conformance;
mod crash;
mod model;
mod plugin;
mod support;
mod tick;
