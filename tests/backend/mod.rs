//! Backends with real processes.
mod local;
