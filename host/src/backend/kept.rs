//! Files that jobs left on a cluster: what is known of them, and how they get to where a later job needs them.
use super::registry::Backends;
use super::staging::{Carrier, CarryError, RemoteFile};
use crate::backend::transport::NoAnswer;
use crate::model::contract::{Detail, GuestError};
use crate::model::workflow::RemotePlace;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::io;
use std::path::Path;
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

    /// The backends whose attempt directories are not in the run, each with the way to them.
    pub fn far(&self) -> impl Iterator<Item = (&str, Carrier<'_>)> {
        self.slurm.iter().filter_map(|(name, backend)| Some((name.as_str(), backend.carrier()?)))
    }

    /// Notes which inputs of an attempt are on a cluster, for the submit that follows in this process.
    pub fn link(&self, attempt: &str, linked: Vec<Linked>) {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt.to_owned(), linked);
    }

    /// Brings the noted inputs of an attempt to where its job will run: over there if they are on the same cluster, else
    /// into the attempt directory.
    pub(super) fn bring_linked(&self, backend: &str, attempt: &str, directory: &Path) -> Result<(), GuestError> {
        let linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner).remove(attempt);
        let (mut there, mut elsewhere) = (Vec::new(), Vec::new());
        for one in linked.unwrap_or_default() {
            let file = &one.file;
            if file.backend == backend && self.slurm.get(backend).is_some_and(|slurm| slurm.is_far()) {
                let (attempt, path) = (file.attempt.clone(), file.path.clone());
                there.push((
                    one.destination,
                    RemoteFile { attempt, path, sha256: file.sha256.clone(), size: file.size },
                ));
            } else {
                elsewhere.push(one);
            }
        }
        for one in elsewhere {
            self.pull(&one.file, directory, &one.destination)?;
        }
        if let (Some(slurm), false) = (self.slurm.get(backend), there.is_empty()) {
            slurm.link(attempt, there);
        }
        Ok(())
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
