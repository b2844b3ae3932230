//! A directory for what is needed for a moment.
use crate::failure::Failure;
use crate::ground::random;
use std::path::PathBuf;

/// A directory that goes with this value.
pub(super) struct Place(pub(super) PathBuf);

impl Place {
    /// Makes one where temporary files lie.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("matterstack-test-{}", random::new_attempt_id().0));
        std::fs::create_dir(&path)
            .map_err(|error| Failure::io(format!("`{}` cannot be made", path.display()), error))?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // what stays is in nobody's way
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
