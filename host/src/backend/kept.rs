//! Files that jobs left on a cluster: what is known of them, and how they get to where a later job needs them.
use super::registry::Backends;
use super::slurm::ran_behind;
use super::staging::{Carry, CarryError, RemoteFile};
use crate::backend::transport::NoAnswer;
use crate::model::contract::{Detail, GuestError};
use crate::model::workflow::RemotePlace;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// Where a file waits in an attempt directory until all of it has arrived.
const ASIDE: &str = ".pulled";

/// A file that a job left on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// The backend that has it.
    pub backend: String,
    /// The attempt that left it.
    pub attempt: String,
    /// Its path in that attempt's directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// An input that is on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// Where the attempt finds it, relative to its directory.
    pub destination: String,
    /// The file.
    pub file: KeptFile,
}

/// What an attempt carries over from an earlier one of its task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Patterns of the files.
    pub patterns: Vec<String>,
    /// The earlier attempt and its directory here.
    pub from: Option<(String, PathBuf)>,
}

/// Where an attempt ran, if not in its directory here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RanAt {
    /// Where the run is, or wherever its operator brings files back from by itself.
    Here,
    /// On the cluster of this backend.
    There(String),
    /// On a cluster that no backend of the configuration names any more.
    Forgotten,
}

/// What a job finds beside the files that were staged here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Inputs that are on a cluster.
    pub linked: Vec<Linked>,
    /// What it carries over.
    pub carried: Option<Carried>,
}

impl Backends {
    /// The files that a collected attempt left on its cluster, with where they are.
    pub fn kept(&self, attempt: &str) -> Vec<(KeptFile, RemotePlace)> {
        let mut all = Vec::new();
        for (name, backend) in &self.slurm {
            for (kept, place) in backend.kept(attempt) {
                let (backend, attempt) = (name.clone(), attempt.to_owned());
                let remote = RemotePlace { backend: name.clone(), path: place };
                all.push((
                    KeptFile { backend, attempt, path: kept.path, sha256: kept.sha256, size: kept.size },
                    remote,
                ));
            }
        }
        all
    }

    /// Where an attempt ran whose directory here is this one.
    pub fn ran_at(&self, directory: &Path) -> RanAt {
        match ran_behind(&self.run_directory, directory) {
            Some(name) if self.slurm.get(&name).is_some_and(|slurm| slurm.is_far()) => RanAt::There(name),
            Some(_) => RanAt::Forgotten,
            None => RanAt::Here,
        }
    }

    /// Notes which files of an attempt are on a cluster, for the submit that follows in this process.
    pub fn link(&self, attempt: &str, inputs: Inputs) {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt.to_owned(), inputs);
    }

    /// Brings the noted inputs of an attempt to where its job will run: over there if they are on the same cluster, else
    /// into the attempt directory.
    pub(super) fn bring_inputs(&self, backend: &str, attempt: &str, directory: &Path) -> Result<(), GuestError> {
        let inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner).remove(attempt);
        let Some(Inputs { linked, carried }) = inputs else { return Ok(()) };
        let to = self.slurm.get(backend).filter(|slurm| slurm.is_far());
        let mut there = Vec::new();
        for one in linked {
            let file = &one.file;
            if file.backend == backend && to.is_some() {
                let (attempt, path) = (file.attempt.clone(), file.path.clone());
                there.push((
                    one.destination,
                    RemoteFile { attempt, path, sha256: file.sha256.clone(), size: file.size },
                ));
            } else {
                self.pull(file, directory, &one.destination)?;
            }
        }
        let mut carry = Carry::default();
        if let Some(Carried { patterns, from }) = carried {
            carry.patterns = patterns;
            match from.map(|(earlier, path)| (self.ran_at(&path), earlier)) {
                Some((RanAt::There(cluster), earlier)) if cluster == backend => carry.from = Some(earlier),
                Some((RanAt::There(cluster), earlier)) => {
                    self.fetch_carried((&cluster, &earlier), attempt, &carry.patterns, directory)?;
                }
                Some((RanAt::Forgotten, _)) => self.note_bare(attempt),
                Some((RanAt::Here, _)) | None => {}
            }
        }
        if let Some(slurm) = to {
            slurm.link(attempt, there, carry);
        }
        Ok(())
    }

    /// Fetches what an attempt left on a cluster for a later one, into that one's directory.
    ///
    /// # Errors
    /// `transient` if the cluster does not answer, anything else if it cannot be had.
    pub fn fetch_carried(
        &self,
        (backend, earlier): (&str, &str),
        attempt: &str,
        patterns: &[String],
        directory: &Path,
    ) -> Result<(), GuestError> {
        let found = match self.slurm.get(backend) {
            Some(slurm) => slurm.fetch_carried(earlier, patterns, directory)?,
            None => false,
        };
        if !found {
            self.note_bare(attempt);
        }
        Ok(())
    }

    fn note_bare(&self, attempt: &str) {
        self.bare.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt.to_owned());
    }

    /// Tells, once, whether an attempt went to its backend without what it was to carry over, because that is gone.
    pub fn went_bare(&self, attempt: &str) -> bool {
        self.bare.lock().unwrap_or_else(PoisonError::into_inner).remove(attempt)
            | self.slurm.values().any(|slurm| slurm.went_bare(attempt))
    }

    /// Fetches a file that a job left on its cluster into a directory, and checks it.
    ///
    /// # Errors
    /// `transient` if the cluster does not answer, anything else if the file is gone or cannot be written.
    pub fn pull(&self, file: &KeptFile, directory: &Path, destination: &str) -> Result<(), GuestError> {
        let failed = |error: io::Error| {
            GuestError::Invalid(Detail::new("staging", format!("`{destination}` cannot be written: {error}")))
        };
        let gone = |text: String| GuestError::Rejected(Detail::new("input-gone", text));
        let slurm = self.slurm.get(&file.backend);
        let slurm = slurm.ok_or_else(|| {
            gone(format!("`{}` is on backend `{}`, which is not configured", file.path, file.backend))
        })?;
        let root = Dir::open_ambient_dir(directory, ambient_authority()).map_err(failed)?;
        let remote = RemoteFile {
            attempt: file.attempt.clone(),
            path: file.path.clone(),
            sha256: file.sha256.clone(),
            size: file.size,
        };
        let mut aside = root.create(ASIDE).map_err(failed)?;
        let pulled = slurm.pull(&remote, &mut aside);
        drop(aside);
        if let Err(error) = pulled {
            root.remove_file(ASIDE).map_err(failed)?;
            return Err(match error {
                CarryError::NoAnswer(NoAnswer::Unreachable(text) | NoAnswer::Lost(text)) => {
                    let text =
                        format!("`{}` is on backend `{}`, which does not answer: {text}", file.path, file.backend);
                    GuestError::Transient(Detail::new("cluster-silent", text), None)
                }
                other => gone(format!("`{}` cannot be fetched from backend `{}`: {other}", file.path, file.backend)),
            });
        }
        let path = Path::new(destination);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            root.create_dir_all(parent).map_err(failed)?;
        }
        root.rename(ASIDE, &root, path).map_err(failed)
    }
}
