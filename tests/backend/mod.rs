//! Backends with real processes.
mod conformance;
mod far;
mod local;
mod slurm;
mod ssh;
mod staging;
