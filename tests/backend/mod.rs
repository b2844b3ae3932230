//! Backends with real processes.
mod local;
mod slurm;
mod ssh;
mod staging;
