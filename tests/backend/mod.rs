//! Backends with real processes.
mod local;
mod ssh;
mod staging;
