//! Which files an attempt consumes, by digest, and where each comes from. What stands in the task itself is not among
//! them. It reads alone: the list is kept with the intent to submit, or not at all.
use crate::model::pattern::plain_path;
use crate::model::workflow::{FileSource, Task};
use crate::store::{NewInput, StoreError};
use crate::tick::Run;

/// What an attempt at this task is given beside what it carries over. A file that is missing is left out: staging fails
/// the attempt for it.
pub(in crate::tick) fn consumed(run: &Run, task: &Task) -> Result<Vec<NewInput>, StoreError> {
    let mut inputs = Vec::with_capacity(task.files.len());
    for (destination, source) in &task.files {
        inputs.extend(match source {
            FileSource::Content(_) => None,
            FileSource::Digest(given) => Some(NewInput {
                destination: destination.clone(),
                sha256: given.digest.clone(),
                from_attempt: None,
                from_path: given.digest.clone(),
            }),
            FileSource::Path(_) | FileSource::Other(_) => {
                run.config.pinned_file(source).map(|(name, pinned)| NewInput {
                    destination: destination.clone(),
                    sha256: pinned.sha256.clone(),
                    from_attempt: None,
                    from_path: name.into_owned(),
                })
            }
            FileSource::From(from) => {
                let found = run.store.output_source(from.from.as_str(), &plain_path(&from.output))?;
                found.map(|(key, output)| NewInput {
                    destination: destination.clone(),
                    sha256: output.sha256,
                    from_attempt: Some(key),
                    from_path: output.path,
                })
            }
        });
    }
    Ok(inputs)
}
