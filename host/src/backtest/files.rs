//! Files by their digests: those that were written in a virtual run, then those of the recorded ones.
use crate::model::contract::{Detail, GuestError};
use crate::model::document::sha256;
use crate::plugin::Artifacts;
use crate::workspace::RunFiles;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Bytes that are read at once.
const PIECE: u32 = 4 * 1024 * 1024;

pub(super) struct Files {
    runs: Vec<RunFiles>,
    own: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Files {
    pub(super) fn new(runs: Vec<RunFiles>) -> Self {
        Self { runs, own: Mutex::default() }
    }

    /// Keeps a file; returns its digest.
    pub(super) fn keep(&self, bytes: Vec<u8>) -> String {
        let digest = sha256(&bytes);
        self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone(), bytes);
        digest
    }

    /// All of a file, if there is such a one.
    pub(super) fn whole(&self, digest: &str) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let piece = self.read(digest, all.len() as u64, PIECE).ok()?;
            all.extend_from_slice(&piece);
            if piece.len() < PIECE as usize {
                return Some(all);
            }
        }
    }
}

impl Artifacts for Files {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError> {
        if let Some(bytes) = self.own.lock().unwrap_or_else(PoisonError::into_inner).get(digest) {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let to = from.saturating_add(max as usize).min(bytes.len());
            return Ok(bytes[from..to].to_vec());
        }
        let mut refused = GuestError::Denied(Detail::new("unknown-digest", "no run has such a file"));
        for run in &self.runs {
            match run.read(digest, offset, max) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}
