//! The backends of one run, by name.
use super::local::{LocalBackend, LocalSettings};
use super::{Compute, JobKey};
use crate::model::contract::{Detail, Found, GuestError, StatusReport};
use crate::model::id::AttemptId;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What happened since the last look.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Attempts whose job started or ended, each once.
    pub attempts: Vec<AttemptId>,
    /// Where the next look begins, by backend; to be kept with what was made of the changes.
    pub cursors: BTreeMap<String, String>,
}

/// The backends that the configuration of a run names.
#[derive(Debug)]
pub struct Backends {
    run_directory: PathBuf,
    program: Option<PathBuf>,
    local: BTreeMap<String, LocalBackend>,
}

impl Backends {
    /// The backends of the run in this directory; none yet.
    pub fn new(run_directory: &Path) -> Self {
        Self { run_directory: run_directory.to_owned(), program: None, local: BTreeMap::new() }
    }

    /// Names the `matterstack` binary that supervises local jobs; without it, the running program.
    pub fn set_program(&mut self, program: &Path) {
        self.program = Some(program.to_owned());
    }

    /// Adds a backend that runs jobs on this machine.
    pub fn add_local(&mut self, name: &str, settings: LocalSettings) {
        self.local.insert(name.to_owned(), LocalBackend::new(&self.run_directory, name, settings));
    }

    /// Tells whose jobs started or ended since `cursors`; costs what changed.
    ///
    /// # Errors
    /// If a journal exists and cannot be read.
    pub fn changes(&self, cursors: &BTreeMap<String, String>) -> io::Result<Changes> {
        let mut changes = Changes::default();
        for (name, backend) in &self.local {
            let (attempts, cursor) = backend.changes(cursors.get(name).map(String::as_str))?;
            changes.attempts.extend(attempts);
            changes.cursors.insert(name.clone(), cursor);
        }
        Ok(changes)
    }

    /// Makes the jobs submitted so far durable. Until then they are remembered in this process only, so a tick calls
    /// it before it commits `submitted`.
    ///
    /// # Errors
    /// If a queue cannot be written: then nothing is known of the jobs, and [`Compute::find`] tells.
    pub fn sync(&self) -> io::Result<()> {
        self.local.values().try_for_each(LocalBackend::sync)
    }

    /// Sees to it that unsettled work has a supervisor. With `anything_live` the files are looked at even if this
    /// process has submitted nothing.
    ///
    /// # Errors
    /// If a supervisor is needed and cannot be started.
    pub fn ensure(&self, anything_live: bool) -> io::Result<()> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?,
        };
        self.local.values().try_for_each(|backend| backend.ensure(&program, anything_live))
    }

    /// Files that are written when jobs start or end: a `loop` watches them. They exist afterwards.
    ///
    /// # Errors
    /// If one cannot be created.
    pub fn watch_paths(&self) -> io::Result<Vec<PathBuf>> {
        self.local.values().map(LocalBackend::watch_path).collect()
    }

    fn get(&self, backend: &str) -> Result<&LocalBackend, GuestError> {
        self.local.get(backend).ok_or_else(|| {
            GuestError::Denied(Detail::new("unknown-backend", format!("no backend is configured as `{backend}`")))
        })
    }
}

impl Compute for Backends {
    fn submit(&self, backend: &str, key: JobKey<'_>, job: &str) -> Result<String, GuestError> {
        self.get(backend)?.submit(key, job)
    }

    fn find(&self, backend: &str, key: JobKey<'_>) -> Result<Found, GuestError> {
        self.get(backend)?.find(key)
    }

    fn status(&self, backend: &str, key: JobKey<'_>, handle: &str) -> Result<StatusReport, GuestError> {
        self.get(backend)?.status(key, handle)
    }

    fn collect(&self, backend: &str, key: JobKey<'_>, handle: &str) -> Result<String, GuestError> {
        self.get(backend)?.collect(key, handle)
    }

    fn cancel(&self, backend: &str, key: JobKey<'_>, handle: &str) -> Result<(), GuestError> {
        self.get(backend)?.cancel(key, handle)
    }
}
