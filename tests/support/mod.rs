//! What the suites start for themselves.
pub(crate) mod sshd;
