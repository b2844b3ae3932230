//! What suites share: outside systems that a test starts for itself.
pub(crate) mod slurm;
pub(crate) mod sshd;
