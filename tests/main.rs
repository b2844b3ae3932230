//! The suites, as one binary.
mod backend;
mod tick;
