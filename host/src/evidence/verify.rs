//! Compares the files of a run with the digests recorded for them.
use crate::failure::Failure;
use crate::ground::digest::digest;
use crate::ground::files::open_regular;
use crate::model::config::RunConfig;
use crate::model::evidence::{FileKind, Finding, Integrity, PluginRecord, Verified};
use crate::run::RunDir;
use crate::store::{Store, kept_path};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;

/// What is recorded of a file.
#[derive(Debug, Clone, Copy)]
struct Recorded<'a> {
    sha256: &'a str,
    size: u64,
}

/// Compares files and counts what is found.
pub(super) struct Verifier<'a> {
    root: Dir,
    found: &'a mut dyn FnMut(Finding) -> Result<(), Failure>,
    pub(super) verified: Verified,
}

impl<'a> Verifier<'a> {
    /// Hands every file that is not as recorded to `found`.
    pub(super) fn new(dir: &RunDir, found: &'a mut dyn FnMut(Finding) -> Result<(), Failure>) -> Result<Self, Failure> {
        let root = Dir::open_ambient_dir(dir.root(), ambient_authority()).map_err(|error| {
            Failure::machine(format!("run directory `{}` cannot be opened", dir.root().display()), error)
        })?;
        Ok(Self { root, found, verified: Verified::default() })
    }

    /// Counts config.json, which was compared when it was read.
    pub(super) fn config(&mut self, finding: Option<Finding>, size: u64) -> Result<(), Failure> {
        match finding {
            Some(finding) => self.count(finding),
            None => {
                self.intact(size);
                Ok(())
            }
        }
    }

    /// Compares every plugin the run ever had; one file may have had several names.
    pub(super) fn plugins(&mut self, plugins: &[PluginRecord]) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        for plugin in plugins.iter().filter(|plugin| seen.insert((&plugin.path, &plugin.sha256))) {
            let recorded = Recorded { sha256: &plugin.sha256, size: plugin.size };
            let different = compare(&self.root, &plugin.path, recorded);
            self.note(different, recorded, |integrity, detail| Finding {
                kind: FileKind::Plugin,
                path: plugin.path.clone(),
                task: None,
                attempt_id: None,
                sha256: plugin.sha256.clone(),
                integrity,
                detail,
            })?;
        }
        Ok(())
    }

    /// Compares every file that the run keeps beside those of attempts.
    pub(super) fn kept(&mut self, store: &Store) -> Result<(), Failure> {
        for (sha256, size) in store.kept_files()? {
            let (path, recorded) = (kept_path(&sha256), Recorded { sha256: &sha256, size });
            let different = compare(&self.root, &path, recorded);
            self.note(different, recorded, |integrity, detail| Finding {
                kind: FileKind::Kept,
                path,
                task: None,
                attempt_id: None,
                sha256: sha256.clone(),
                integrity,
                detail,
            })?;
        }
        Ok(())
    }

    /// Compares every other pinned file.
    pub(super) fn pinned(&mut self, config: &RunConfig) -> Result<(), Failure> {
        let Some(pinned) = &config.pinned else { return Ok(()) };
        let inputs = pinned.inputs.values().map(|file| (FileKind::Input, file));
        let files = pinned.files.values().map(|file| (FileKind::File, file));
        let params = pinned.params.iter().map(|file| (FileKind::Input, file));
        for (kind, file) in inputs.chain(params).chain(files) {
            let recorded = Recorded { sha256: &file.sha256, size: file.size };
            let different = compare(&self.root, &file.path, recorded);
            self.note(different, recorded, |integrity, detail| Finding {
                kind,
                path: file.path.clone(),
                task: None,
                attempt_id: None,
                sha256: file.sha256.clone(),
                integrity,
                detail,
            })?;
        }
        Ok(())
    }

    /// Compares the outputs of these attempts, and what was written about them. What an ended attempt left is never
    /// changed in the store, so this needs no view of it and holds nobody up.
    pub(super) fn outputs(&mut self, store: &Store, attempts: &[i64]) -> Result<(), Failure> {
        for key in attempts {
            let place = store.attempt_place(*key)?;
            let directory = self.root.open_dir(&place.directory);
            // what stayed on a cluster is not here to compare
            let outputs = store.outputs(*key)?.into_iter().filter(|output| output.remote.is_none());
            let outputs = outputs.map(|output| (FileKind::Output, output.path, output.sha256, output.size));
            let logs = store.logs(*key)?.into_iter();
            let logs = logs.map(|log| (FileKind::Log, log.kind.file().to_owned(), log.sha256, log.size));
            let removed = store.removed(*key)?;
            for (kind, path, sha256, size) in outputs.chain(logs) {
                if removed.iter().any(|one| one.path.is_empty() || (kind == FileKind::Output && one.path == path)) {
                    self.verified.removed += 1;
                    continue;
                }
                let recorded = Recorded { sha256: &sha256, size };
                let different = match &directory {
                    Ok(directory) => compare(directory, &path, recorded),
                    Err(error) => Some(trouble(error)),
                };
                self.note(different, recorded, |integrity, detail| Finding {
                    kind,
                    path: format!("{}/{path}", place.directory),
                    task: Some(place.task.clone()),
                    attempt_id: Some(place.attempt_id.clone()),
                    sha256: sha256.clone(),
                    integrity,
                    detail,
                })?;
            }
        }
        Ok(())
    }

    fn note(
        &mut self,
        different: Option<(Integrity, Option<String>)>,
        recorded: Recorded<'_>,
        finding: impl FnOnce(Integrity, Option<String>) -> Finding,
    ) -> Result<(), Failure> {
        match different {
            Some((integrity, detail)) => self.count(finding(integrity, detail)),
            None => {
                self.intact(recorded.size);
                Ok(())
            }
        }
    }

    fn intact(&mut self, size: u64) {
        self.verified.files += 1;
        self.verified.intact += 1;
        self.verified.bytes += size;
    }

    fn count(&mut self, finding: Finding) -> Result<(), Failure> {
        self.verified.files += 1;
        match finding.integrity {
            Integrity::Changed => self.verified.changed += 1,
            Integrity::Missing => self.verified.missing += 1,
            Integrity::Unreadable => self.verified.unreadable += 1,
        }
        (self.found)(finding)
    }
}

/// How a file differs from what is recorded of it; nothing if it does not.
fn compare(directory: &Dir, path: &str, recorded: Recorded<'_>) -> Option<(Integrity, Option<String>)> {
    match open_regular(directory, path).and_then(|mut file| digest(&mut file)) {
        Ok((sha256, size)) if sha256 == recorded.sha256 && size == recorded.size => None,
        Ok((sha256, size)) => {
            Some((Integrity::Changed, Some(format!("it has {size} bytes now, with SHA-256 {sha256}"))))
        }
        Err(error) => Some(trouble(&error)),
    }
}

/// What an error in opening a file says about the file.
pub(super) fn trouble(error: &io::Error) -> (Integrity, Option<String>) {
    let a_link = Errno::from_io_error(error) == Some(Errno::LOOP);
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => (Integrity::Missing, None),
        kind if a_link || kind == io::ErrorKind::InvalidData => {
            (Integrity::Changed, Some("it is not a regular file now".to_owned()))
        }
        _ => (Integrity::Unreadable, Some(error.to_string())),
    }
}
