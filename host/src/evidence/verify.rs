//! Compares the files of a run with the digests recorded for them.
use super::pack::{Difference, Left, Packer, compared};
use crate::failure::Failure;
use crate::model::config::RunConfig;
use crate::model::evidence::{ConfigRecord, FileKind, Finding, Integrity, OmittedWhy, PluginRecord, Verified};
use crate::run::RunDir;
use crate::store::{Store, kept_path};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;

/// What is recorded of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded<'a> {
    pub(super) sha256: &'a str,
    pub(super) size: u64,
}

/// Compares files and counts what is found; where there is a bundle to fill, they go into it on the way.
pub(super) struct Verifier<'a, 'b> {
    root: Dir,
    found: &'a mut dyn FnMut(Finding) -> Result<(), Failure>,
    into: Option<(&'a mut Packer<'b>, &'a dyn Fn(io::Error) -> Failure)>,
    pub(super) verified: Verified,
}

impl<'a, 'b> Verifier<'a, 'b> {
    /// Hands every file that is not as recorded to `found`, and every other one to the bundle.
    pub(super) fn new(
        dir: &RunDir,
        found: &'a mut dyn FnMut(Finding) -> Result<(), Failure>,
        into: Option<(&'a mut Packer<'b>, &'a dyn Fn(io::Error) -> Failure)>,
    ) -> Result<Self, Failure> {
        let root = Dir::open_ambient_dir(dir.root(), ambient_authority()).map_err(|error| {
            Failure::machine(format!("run directory `{}` cannot be opened", dir.root().display()), error)
        })?;
        Ok(Self { root, found, into, verified: Verified::default() })
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
            let different = self.named(&plugin.path, recorded)?;
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
            let different = self.named(&path, recorded)?;
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
            let different = self.named(&file.path, recorded)?;
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

    /// Compares what configurations pinned that are no longer in force.
    pub(super) fn earlier<'c>(&mut self, configs: impl Iterator<Item = &'c ConfigRecord>) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        for config in configs.filter_map(|config| serde_json::from_str::<RunConfig>(&config.text).ok()) {
            let Some(pinned) = &config.pinned else { continue };
            let files = pinned.inputs.values().chain(pinned.files.values()).chain(&pinned.params);
            for file in files.filter(|file| seen.insert(file.path.clone())) {
                // one that is still in force has been compared and counted
                if let Some((packer, failed)) = &mut self.into {
                    let recorded = Recorded { sha256: &file.sha256, size: file.size };
                    packer.named(&self.root, &file.path, recorded).map_err(&**failed)?;
                }
            }
        }
        Ok(())
    }

    /// Compares the outputs of these attempts, and what was written about them. What an ended attempt left is never
    /// changed in the store, so this needs no view of it and holds nobody up.
    pub(super) fn outputs(&mut self, store: &Store, attempts: &[i64]) -> Result<(), Failure> {
        for key in attempts {
            self.attempt(store, *key)?;
        }
        Ok(())
    }

    fn attempt(&mut self, store: &Store, key: i64) -> Result<(), Failure> {
        let place = store.attempt_place(key)?;
        let directory = self.root.open_dir(&place.directory);
        let removed = store.removed(key)?;
        let (outputs, logs) = (store.outputs(key)?, store.logs(key)?);
        let outputs = outputs.iter().map(|output| {
            (FileKind::Output, output.path.as_str(), &output.sha256, output.size, output.remote.is_some())
        });
        let logs = logs.iter().map(|log| (FileKind::Log, log.kind.file(), &log.sha256, log.size, false));
        for (kind, path, sha256, size, is_remote) in outputs.chain(logs) {
            let recorded = Recorded { sha256, size };
            let (task, attempt_id) = (&place.task, &place.attempt_id);
            let of = Left { task, attempt_id, directory: &place.directory, path, recorded };
            // what stayed on a cluster is not here to compare
            if is_remote {
                self.omit(&of, OmittedWhy::Remote)?;
                continue;
            }
            if removed.iter().any(|one| one.path.is_empty() || (kind == FileKind::Output && one.path == path)) {
                self.verified.removed += 1;
                self.omit(&of, OmittedWhy::Removed)?;
                continue;
            }
            let different = match (&directory, &mut self.into) {
                (Ok(directory), Some((packer, failed))) => packer.left(directory, &of).map_err(failed)?,
                (Ok(directory), None) => compared(directory, path, recorded),
                (Err(error), _) => {
                    let different = trouble(error);
                    self.omit(&of, different.0.into())?;
                    Some(different)
                }
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
        Ok(())
    }

    fn omit(&mut self, of: &Left<'_>, why: OmittedWhy) -> Result<(), Failure> {
        match &mut self.into {
            Some((packer, failed)) => packer.omit(of, why).map_err(failed),
            None => Ok(()),
        }
    }

    /// How a file differs that keeps its path in a bundle.
    fn named(&mut self, path: &str, recorded: Recorded<'_>) -> Result<Difference, Failure> {
        match &mut self.into {
            Some((packer, failed)) => packer.named(&self.root, path, recorded).map_err(failed),
            None => Ok(compared(&self.root, path, recorded)),
        }
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

/// How what was read differs from what is recorded.
pub(super) fn found(sha256: &str, size: u64, recorded: Recorded<'_>) -> Difference {
    let is = sha256 == recorded.sha256 && size == recorded.size;
    (!is).then(|| (Integrity::Changed, Some(format!("it has {size} bytes now, with SHA-256 {sha256}"))))
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
