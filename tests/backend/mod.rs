//! Backends with real processes.
mod conformance;
mod local;
mod local_hostile;
mod slurm;
