//! The files that a decision reads when it is made again: by digest, as they lie in the run. Reads that it was refused
//! are refused again with the recorded answer, whether the file is there by now or not.
use crate::model::config::RunConfig;
use crate::model::contract::{GuestError, ReadRefused};
use crate::plugin::Artifacts;
use crate::run::RunDir;
use crate::workspace::RunFiles;
use std::collections::BTreeMap;
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
