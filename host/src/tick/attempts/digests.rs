//! Files that tasks name by what they hold. It reads alone; whoever stages one looks at its bytes.
use crate::model::id::TaskId;
use crate::model::workflow::{FileSource, Task, WorkflowError};
use crate::store::StoreError;
use crate::tick::Run;

/// Where a file of the run lies that holds these bytes, relative to the run.
pub(in crate::tick) fn file_of_digest(run: &Run, digest: &str) -> Result<Option<String>, StoreError> {
    let pinned = run.config.pinned.iter().flat_map(|pinned| pinned.inputs.values().chain(pinned.files.values()));
    if let Some(file) = pinned.into_iter().find(|file| file.sha256 == digest) {
        return Ok(Some(file.path.clone()));
    }
    Ok(run.store.files_of_digest(digest, 1)?.into_iter().next())
}

/// The first file of a task that is named by the digest of no file that the run has or that is just written.
///
/// # Errors
/// [`WorkflowError::UnknownDigest`]; or what the store says.
pub(in crate::tick) fn refuse_unknown_digests<E>(
    run: &Run,
    (id, task): (&TaskId, &Task),
    is_written: impl Fn(&str) -> bool,
) -> Result<(), E>
where
    E: From<WorkflowError> + From<StoreError>,
{
    for source in task.files.values() {
        let FileSource::Digest(given) = source else { continue };
        for digest in given.needed() {
            if !is_written(digest) && file_of_digest(run, digest)?.is_none() {
                return Err(WorkflowError::UnknownDigest(id.clone(), digest.clone()).into());
            }
        }
    }
    Ok(())
}
