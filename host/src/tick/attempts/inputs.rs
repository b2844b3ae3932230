//! Inputs that an earlier task left on a cluster: they go from there to where they are needed, and nowhere else. What a
//! crash leaves of a fetch is fetched anew when the attempt is staged again.
use crate::model::contract::GuestError;
use crate::model::inputs::{Inputs, KeptFile, Linked};
use crate::model::pattern::plain_path;
use crate::model::workflow::{FileSource, FromSource, Task};
use crate::store::{AttemptRow, KeptOutput};
use crate::tick::attempts::carry;
use crate::tick::attempts::stage::StageError;
use crate::tick::{Run, TickError};

/// Which of an attempt's inputs are on a cluster, and what it carries over.
pub(in crate::tick) fn of(run: &Run, attempt: &AttemptRow, task: &Task) -> Result<Inputs, TickError> {
    let mut linked = Vec::new();
    for (destination, source) in &task.files {
        let FileSource::From(from) = source else { continue };
        if let Some(kept) = run.store.kept_output(from.from.as_str(), &plain_path(&from.output))?
            && run.config.may_use(&attempt.operator, &kept.remote.backend)
        {
            linked.push(Linked { destination: destination.clone(), file: file(kept) });
        }
    }
    Ok(Inputs { linked, carried: carry::carried(run, attempt, task)? })
}

/// What staging does with an input: whether it is on a cluster, and then either fetched now, or left to the submit of
/// an operator that may use that cluster.
pub(in crate::tick) fn stage(
    run: &Run,
    operator: &str,
    destination: &str,
    from: &FromSource,
    directory: &std::path::Path,
) -> Result<bool, StageError> {
    let kept = run.store.kept_output(from.from.as_str(), &plain_path(&from.output));
    let Some(kept) = kept.map_err(StageError::Store)? else { return Ok(false) };
    if run.config.may_use(operator, &kept.remote.backend) {
        return Ok(true);
    }
    match run.backends.pull(&file(kept), directory, destination) {
        Ok(()) => Ok(true),
        Err(GuestError::Transient { detail, .. }) => Err(StageError::Later(detail.message)),
        Err(error) => Err(StageError::Task(error.detail().message.clone())),
    }
}

fn file(kept: KeptOutput) -> KeptFile {
    KeptFile {
        backend: kept.remote.backend,
        attempt: kept.attempt,
        path: kept.output,
        sha256: kept.sha256,
        size: kept.size,
    }
}
