//! Backends with real processes.
mod conformance;
mod far;
mod local;
mod local_hostile;
mod local_memory;
mod local_tampered;
mod login;
mod slurm;
mod ssh;
mod staging;
