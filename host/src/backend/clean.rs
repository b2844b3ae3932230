//! Which attempt directories on clusters nobody needs any more, and their removal.
use super::registry::Backends;
use super::staging::CarryError;
use std::collections::HashMap;

/// What is to be known of an attempt before its directory on a cluster is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// It has not ended.
    pub is_live: bool,
    /// Its task goes on, and the next attempt may carry files over from it.
    pub is_carried: bool,
    /// It is another copy's, which may be at work in it.
    pub is_elsewhere: bool,
    /// Its task's outputs stay there.
    pub keeps_outputs: bool,
}

impl Left {
    /// Whether its directory may go; with `outputs` also one that keeps outputs.
    fn may_go(self, outputs: bool) -> bool {
        !self.is_live && !self.is_carried && !self.is_elsewhere && (outputs || !self.keeps_outputs)
    }
}

/// What was removed on the cluster of one backend.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Cleaned {
    /// The backend.
    pub backend: String,
    /// Directories.
    pub removed: usize,
    /// Bytes.
    pub bytes: u64,
}

/// A cluster that could not be cleaned.
#[derive(Debug, thiserror::Error)]
#[error("cleaning backend `{backend}`")]
pub struct CleanError {
    /// The backend.
    pub backend: String,
    /// Why.
    #[source]
    pub cause: CarryError,
}

impl Backends {
    /// Removes on the clusters what the run left there and nobody needs: of these attempts of the run, by their ids,
    /// those that may go, and the directories of arrays once nothing of the run is live. With `outputs` also what tasks
    /// keep there. Directories that are not of this run stay: another one of this id, or the original of a copy, may be
    /// at work.
    ///
    /// # Errors
    /// If a cluster does not answer, or something there cannot be removed; what was removed before stays so.
    pub fn clean(&self, attempts: &HashMap<String, Left>, outputs: bool) -> Result<Vec<Cleaned>, CleanError> {
        let any_live = attempts.values().any(|left| left.is_live);
        let mut all = Vec::new();
        for (name, slurm) in &self.slurm {
            let Some(carrier) = slurm.carrier() else { continue };
            let failed = |cause| CleanError { backend: name.clone(), cause };
            let mut there = carrier.list().map_err(failed)?;
            there.retain(|directory| match attempts.get(directory) {
                Some(left) => left.may_go(outputs),
                // the directory of an array serves all its attempts
                None => !any_live && slurm.made_array(directory),
            });
            let bytes = carrier.remove(&there).map_err(failed)?;
            all.push(Cleaned { backend: name.clone(), removed: there.len(), bytes });
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_use_stays() {
        let none = Left::default();
        let cases = [
            (none, true, true),
            (Left { is_live: true, ..none }, false, false),
            (Left { is_carried: true, ..none }, false, false),
            (Left { is_elsewhere: true, ..none }, false, false),
            (Left { keeps_outputs: true, ..none }, false, true),
            (Left { keeps_outputs: true, is_carried: true, ..none }, false, false),
        ];
        for (left, goes, goes_with_outputs) in cases {
            assert_eq!((left.may_go(false), left.may_go(true)), (goes, goes_with_outputs), "{left:?}");
        }
    }
}
