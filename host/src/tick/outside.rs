//! Notices what people, clusters and robots leave in the directories of attempts, so that operators are asked when
//! there is something to see and not merely because time has passed. It reads alone: what a crash kept from being asked
//! about is noticed again.
use super::{Run, TickError};
use crate::model::id::AttemptId;
use crate::store::Watched;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Attempts whose directories are looked at in one tick; the others are asked about when their time comes.
const WATCHED_MAX: u32 = 4_000;
/// Entries of a directory that are looked at.
const ENTRIES_MAX: usize = 1_000;
/// A change this long before the operator was asked may still be one it has not seen: clocks of file systems are
/// coarse.
const COARSE_MS: i64 = 1_000;

impl Run {
    /// The attempts that go on when something from outside appears in their directory.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn watched_attempts(&self) -> Result<Vec<Watched>, TickError> {
        let keys = self.config.operators.keys().map(String::as_str);
        let operators: Vec<&str> = keys.filter(|key| !self.config.backend_tells(key)).collect();
        Ok(self.store.watched_attempts(&operators, WATCHED_MAX)?)
    }
}

/// The attempts whose directory has changed since their operator was last asked.
pub(super) fn changed_attempts(run: &Run) -> Result<Vec<AttemptId>, TickError> {
    let mut changed = Vec::new();
    for watched in run.watched_attempts()? {
        // A directory that cannot be examined is the operator's to complain about, when its time comes.
        if changed_ms(&run.dir.join(&watched.directory)).is_some_and(|at| at + COARSE_MS >= watched.asked_ms) {
            changed.push(AttemptId(watched.attempt_id));
        }
    }
    Ok(changed)
}

/// When a directory, or anything directly in it, last changed, in milliseconds since the epoch.
fn changed_ms(directory: &Path) -> Option<i64> {
    let at = |metadata: Metadata| metadata.ctime() * 1000 + metadata.ctime_nsec() / 1_000_000;
    let own = std::fs::symlink_metadata(directory).ok().map(at)?;
    let entries = std::fs::read_dir(directory).ok()?.take(ENTRIES_MAX).flatten();
    entries.filter_map(|entry| entry.metadata().ok().map(at)).chain([own]).max()
}
