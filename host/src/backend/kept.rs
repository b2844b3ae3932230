//! Files that jobs left on a cluster: what is known of them, and how they get to where a later job needs them.
use super::registry::Backends;
use super::slurm::Errand;
use super::slurm::ran_behind;
use super::staging::{CarryError, RemoteFile};
use crate::backend::transport::NoAnswer;
use crate::ground::carriage::{allow_to_execute, make_way};
use crate::model::attempt_dir::PULLED;
use crate::model::code::Code;
use crate::model::contract::{Detail, GuestError};
use crate::model::inputs::{Carried, Inputs, KeptFile};
use crate::model::workflow::RemotePlace;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::PoisonError;

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

/// What an attempt left on a cluster and a later one takes over.
#[derive(Debug, Clone, Copy)]
pub struct LeftThere<'a> {
    /// The backend that goes to the cluster.
    pub backend: &'a str,
    /// The attempt that left it.
    pub attempt: &'a str,
    /// Which of its files.
    pub patterns: &'a [String],
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

    /// Brings the inputs of an attempt to where its job will run: into the attempt directory, but for those that the
    /// cluster has itself, which are returned.
    pub(super) fn bring_inputs(
        &self,
        backend: &str,
        attempt: &str,
        directory: &Path,
        inputs: &Inputs,
    ) -> Result<Errand, GuestError> {
        let far = self.slurm.get(backend).is_some_and(|slurm| slurm.is_far());
        let mut errand = Errand::default();
        for one in &inputs.linked {
            let file = &one.file;
            if file.backend == backend && far {
                errand.linked.push((one.destination.clone(), remote(file)));
            } else {
                self.pull(file, directory, &one.destination)?;
            }
        }
        if let Some(Carried { patterns, from }) = &inputs.carried {
            errand.carry.patterns.clone_from(patterns);
            match from.as_ref().map(|(earlier, path)| (self.ran_at(path), earlier)) {
                Some((RanAt::There(cluster), earlier)) if cluster == backend => {
                    errand.carry.from = Some(earlier.clone());
                }
                Some((RanAt::There(cluster), earlier)) => {
                    self.fetch_carried(
                        LeftThere { backend: &cluster, attempt: earlier, patterns },
                        attempt,
                        directory,
                    )?;
                }
                Some((RanAt::Forgotten, _)) => self.note_bare(attempt),
                Some((RanAt::Here, _)) | None => {}
            }
        }
        Ok(errand)
    }

    /// Fetches what an attempt left on a cluster for a later one, into that one's directory.
    ///
    /// # Errors
    /// `transient` if the cluster does not answer, anything else if it cannot be had.
    pub fn fetch_carried(&self, left: LeftThere<'_>, attempt: &str, directory: &Path) -> Result<(), GuestError> {
        let found = match self.slurm.get(left.backend) {
            Some(slurm) => slurm.fetch_carried(left.attempt, left.patterns, directory)?,
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

    /// The attempts that went to their backends, since this was last asked, without what they were to carry over,
    /// because that is gone.
    pub fn went_bare(&self) -> BTreeSet<String> {
        let mut all = std::mem::take(&mut *self.bare.lock().unwrap_or_else(PoisonError::into_inner));
        for slurm in self.slurm.values() {
            all.append(&mut slurm.went_bare());
        }
        all
    }

    /// Fetches a file that a job left on its cluster into a directory, and checks it.
    ///
    /// # Errors
    /// `transient` if the cluster does not answer, anything else if the file is gone or cannot be written.
    pub fn pull(&self, file: &KeptFile, directory: &Path, destination: &str) -> Result<(), GuestError> {
        let failed = |error: io::Error| {
            GuestError::Invalid(Detail::of(Code::Staging, format!("`{destination}` cannot be written: {error}")))
        };
        let gone = |text: String| GuestError::Rejected(Detail::of(Code::InputGone, text));
        let slurm = self.slurm.get(&file.backend);
        let slurm = slurm.ok_or_else(|| {
            gone(format!("`{}` is on backend `{}`, which is not configured", file.path, file.backend))
        })?;
        let root = Dir::open_ambient_dir(directory, ambient_authority()).map_err(failed)?;
        let mut aside = root.create(PULLED).map_err(failed)?;
        let pulled = slurm.pull(&remote(file), &mut aside);
        if let Ok(executable) = pulled {
            allow_to_execute(&aside, executable).map_err(failed)?;
        }
        drop(aside);
        if let Err(error) = pulled {
            root.remove_file(PULLED).map_err(failed)?;
            return Err(match error {
                CarryError::NoAnswer(NoAnswer::Unreachable(text) | NoAnswer::Lost(text)) => {
                    let text =
                        format!("`{}` is on backend `{}`, which does not answer: {text}", file.path, file.backend);
                    GuestError::transient(Code::ClusterSilent, text)
                }
                other => gone(format!("`{}` cannot be fetched from backend `{}`: {other}", file.path, file.backend)),
            });
        }
        let path = Path::new(destination);
        make_way(&root, path).map_err(failed)?;
        root.rename(PULLED, &root, path).map_err(failed)
    }
}

fn remote(file: &KeptFile) -> RemoteFile {
    RemoteFile { attempt: file.attempt.clone(), path: file.path.clone(), sha256: file.sha256.clone(), size: file.size }
}
