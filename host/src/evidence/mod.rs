//! The evidence bundle of a run: a folder, or one zip of it, that tells strangers what was done and lets them believe
//! it.
//!
//! It holds the record itself (state.sqlite, a copy), every file that the record names, by digest, and what is derived
//! from both: evidence.json for programs, README.md and report.html for people. Whatever state the run is in, it is
//! written from one moment of the store and holds no time of its own: while nothing changes, neither does a byte. It
//! takes no lease and changes nothing of the run. Rows go to disk as they are read, so a large run is never held in
//! memory whole. A crash leaves an earlier bundle as it was.
mod archive;
mod contents;
mod document;
mod draft;
mod fill;
mod markdown;
mod pack;
mod passages;
pub mod read;
mod report;
mod research_object;
mod secrets;
mod study;
mod verify;

pub use study::{Study, write_study, write_study_archive};

use crate::failure::Failure;
use crate::model::about::About;
use crate::model::config::RunConfig;
use crate::model::evidence::{Finding, RunRecord, Verified};
use crate::model::pattern::Patterns;
use crate::run::RunDir;
use crate::store::Store;
use draft::Draft;
use std::io;
use std::path::{Path, PathBuf};
use verify::Verifier;

/// Compares every plugin the run ever had, and every other pinned file, with what is recorded; hands those that differ
/// to `found`.
///
/// # Errors
/// If the run directory or the store cannot be read, or `found` fails.
pub fn verify_pinned(
    dir: &RunDir,
    store: &Store,
    config: &RunConfig,
    found: &mut dyn FnMut(Finding) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let plugins = store.plugin_versions()?;
    let mut verifier = Verifier::new(dir, found, None)?;
    verifier.plugins(&plugins)?;
    verifier.kept(store)?;
    verifier.pinned(config)
}

/// What is to go into a bundle.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Files that are left out, by `PATH` or `TASK/PATH`; their digests stay.
    pub omit: Option<&'a Patterns>,
    /// Whether other words stand in for the names of users and machines.
    pub redact: bool,
    /// What only people know of it, where that is not as configured.
    pub about: &'a About,
}

/// A bundle that was written.
#[derive(Debug)]
pub struct Written {
    /// The run.
    pub run: RunRecord,
    /// The folder, or the zip.
    pub path: PathBuf,
    /// SHA-256 of the manifest, which has that of every other file.
    pub sha256: String,
    /// What only people know of it.
    pub about: About,
    /// What the comparison of files came to.
    pub verified: Verified,
    /// The first files that are not as recorded.
    pub findings: Vec<Finding>,
    /// How many files hold a secret of their task.
    pub withheld: u64,
    /// How many files the record names and the bundle does not hold.
    pub omitted: u64,
    /// Whether the bundle that it took the place of was signed, and this one is another.
    pub unsigned: bool,
    /// Whether evidence.json still tells a redacted name, in what decisions were given or answered.
    pub still_named: bool,
}

/// Writes the evidence bundle of a run to the folder `out`, in place of an earlier one.
///
/// # Errors
/// If the store cannot be read, the folder cannot be written or holds something else, or another process is writing it.
pub fn write(dir: &RunDir, out: &Path, request: &Request<'_>) -> Result<Written, Failure> {
    let draft = Draft::begin(out, fill::DOCUMENT)?;
    let mut written = fill::fill(dir, &draft, request)?;
    written.unsigned = draft.put_in_place()?;
    out.clone_into(&mut written.path);
    Ok(written)
}

/// Writes the evidence bundle of a run as one zip, in place of an earlier one. It is a folder beside it meanwhile.
///
/// # Errors
/// As [`write()`], or if there is a file that is no zip of a bundle.
pub fn write_archive(dir: &RunDir, out: &Path, request: &Request<'_>) -> Result<Written, Failure> {
    archive::refuse_other(out, fill::DOCUMENT)?;
    let draft = Draft::aside(out.to_owned())?;
    let mut written = fill::fill(dir, &draft, request)?;
    written.unsigned = archive::put_in_place(&draft, out)?;
    out.clone_into(&mut written.path);
    Ok(written)
}

fn cannot_write(place: &Path, error: io::Error) -> Failure {
    Failure::io(format!("evidence cannot be written to `{}`", place.display()), error)
        .hint("make room or mend the permission, or use `--out DIR`; an earlier bundle is as it was")
}
