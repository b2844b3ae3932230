//! A directory for what is needed for a moment.
use crate::failure::Failure;
use tempfile::TempDir;

/// Makes a directory where temporary files lie, which goes with the value.
///
/// # Errors
/// If it cannot be made.
pub(super) fn scratch() -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("matterstack-test-").tempdir();
    made.map_err(|error| Failure::io("no directory for a moment can be made", error))
}
