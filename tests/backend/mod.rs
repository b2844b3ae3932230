//! Backends with real processes.
mod conformance;
mod local;
mod slurm;
mod ssh;
mod staging;
