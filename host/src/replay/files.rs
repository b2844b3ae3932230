//! The files that a decision reads when it is made again: by digest, as they lie in the run. Reads that it was refused
//! are refused again with the recorded answer, whether the file is there by now or not.
use crate::model::config::RunConfig;
use crate::model::contract::{GuestError, OpenTasksRead, ReadRefused};
use crate::plugin::Artifacts;
use crate::run::{OpenTasks, RunDir};
use crate::workspace::RunFiles;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

pub(super) struct ReplayedFiles {
    files: RunFiles,
    decision: Mutex<Decision>,
}

#[derive(Default)]
struct Decision {
    /// By the place of the read.
    refused: BTreeMap<u64, GuestError>,
    reads: u64,
    missing: Option<(String, String)>,
}

impl ReplayedFiles {
    pub(super) fn new(dir: &RunDir, config: &RunConfig) -> Self {
        Self { files: RunFiles::new(dir, config), decision: Mutex::default() }
    }

    /// Begins a decision that was refused these reads.
    pub(super) fn begin(&self, refused: Vec<ReadRefused>) {
        let refused = refused.into_iter().map(|one| (one.seq, one.answer)).collect();
        *self.decision.lock().unwrap_or_else(PoisonError::into_inner) = Decision { refused, ..Decision::default() };
    }

    /// The first file that cannot be read now, by its digest, and why.
    pub(super) fn missing(&self) -> Option<(String, String)> {
        self.decision.lock().unwrap_or_else(PoisonError::into_inner).missing.take()
    }
}

/// The open tasks of a decision that is made again: it is told what it was told then.
#[derive(Debug)]
pub(super) struct ReplayedTasks(Mutex<VecDeque<OpenTasksRead>>);

impl ReplayedTasks {
    pub(super) fn new(told: Vec<OpenTasksRead>) -> Self {
        Self(Mutex::new(told.into()))
    }
}

impl OpenTasks for ReplayedTasks {
    fn behind(&self, after: Option<&str>, max: u32) -> Vec<String> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        // one that asks something else than it did decides otherwise, which shows in its answer
        let same = told.filter(|told| told.after.as_deref() == after && told.max == max);
        same.map(|told| told.tasks).unwrap_or_default()
    }
}

impl Artifacts for ReplayedFiles {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError> {
        let mut decision = self.decision.lock().unwrap_or_else(PoisonError::into_inner);
        let seq = decision.reads;
        decision.reads += 1;
        if let Some(answer) = decision.refused.get(&seq) {
            return Err(answer.clone());
        }
        let read = self.files.read(digest, offset, max);
        if let Err(error) = &read
            && decision.missing.is_none()
        {
            decision.missing = Some((digest.to_owned(), error.to_string()));
        }
        read
    }
}
