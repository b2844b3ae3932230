//! Fetches what an ended attempt left: its output document and its files. All that is kept before the end is recorded
//! is how far a large file has been read: after a crash the attempt is asked about and gathered again.
use crate::ground::carriage::{Allowance, Carriage};
use crate::model::code::Code;
use crate::model::contract::{Collected, GuestError};
use crate::model::document::sha256;
use crate::model::reason::Reason;
use crate::model::states::AttemptOutcome;
use crate::plugin::{PluginError, PluginErrorKind};
use crate::store::{AttemptEnd, DATA_MAX, Output};
use crate::tick::attempts::collect::CollectError;
use crate::tick::attempts::folders::{json_of, task_of};
use crate::tick::attempts::verdict::{Sequel, Verdict};
use crate::tick::attempts::{NEXT_TICK_MS, UNAVAILABLE_MS, UNLOADED_MS};
use crate::tick::attempts::{collect, stage};
use crate::tick::campaign::ask::keep_bytes;
use crate::tick::{Run, Tick, TickError, key};

/// Characters of an output document's summary that the history keeps.
const SUMMARY_MAX: usize = 1_000;

/// What an output document says of itself in one sentence, for the history: its `summary`.
fn summary(data: &str) -> Option<String> {
    // Most documents have none, and need not be parsed to find that out.
    let document: serde_json::Value =
        data.contains("\"summary\"").then(|| serde_json::from_str(data).ok()).flatten()?;
    document.get("summary")?.as_str().map(|text| text.chars().take(SUMMARY_MAX).collect())
}

pub(in crate::tick) enum Gathered {
    Yes,
    /// The results cannot be had now: a delay in milliseconds, and why.
    Later(u64, Reason),
}

/// Fetches what an ended attempt left. A failure here fails an attempt that had succeeded; one that passes by itself
/// lets the attempt wait, so that a link that is cut costs no result.
pub(in crate::tick) fn gather(run: &Run, verdict: &mut Verdict, tick: &mut Tick) -> Result<Gathered, TickError> {
    match gather_document(run, verdict, tick)? {
        Gathered::Yes if ["\"outputs\"", "\"link\""].iter().any(|word| verdict.attempt.task_json.contains(word)) => {
            gather_files(run, verdict, &tick.allowance)
        }
        gathered @ (Gathered::Yes | Gathered::Later(..)) => Ok(gathered),
    }
}

/// Fetches the output document.
fn gather_document(run: &Run, verdict: &mut Verdict, tick: &mut Tick) -> Result<Gathered, TickError> {
    let Verdict { attempt, end, .. } = verdict;
    crate::ground::failpoint::hit("collect-results.before");
    let answer = run.plugins.collect_results(&key(attempt), &run.request(attempt, json_of(run, attempt)?));
    crate::ground::failpoint::hit("collect-results.after");
    match answer {
        Ok(Collected { output: data, usage }) => {
            if end.outcome == AttemptOutcome::Completed {
                end.reason = data.as_deref().and_then(summary).map(|text| Reason::new(Code::Completed, text));
            }
            if let Some(text) = data.as_ref().filter(|text| text.len() > DATA_MAX) {
                keep_bytes(run, &sha256(text.as_bytes()), text.as_bytes())?;
            }
            (end.data, end.usage) = (data, usage);
        }
        Err(PluginError { kind: PluginErrorKind::Guest(GuestError::Transient { detail, retry_after_ms }), .. }) => {
            let text = format!("it has ended, and its results cannot be fetched yet: {}", detail.message);
            let after_ms = retry_after_ms.unwrap_or(UNAVAILABLE_MS);
            return Ok(Gathered::Later(after_ms, Reason::new(Code::CollectFailed, text)));
        }
        Err(error) if error.kind.says_nothing() => {
            tick.note_unloaded(attempt, &error);
            let text = format!("it has ended, and its results cannot be fetched yet: {error}");
            return Ok(Gathered::Later(UNLOADED_MS as u64, Reason::new(error.kind.word(), text)));
        }
        Err(error) => {
            let text = format!("its results could not be collected: {error}");
            let for_good = error.kind.is_for_good() && end.outcome == AttemptOutcome::Completed;
            fail(end, Reason::new(error.kind.word_of_operator(), text));
            if for_good {
                verdict.sequel = Sequel::Nothing;
            }
        }
    }
    Ok(Gathered::Yes)
}

/// Finds the output files, here and on the cluster where they stayed.
fn gather_files(run: &Run, verdict: &mut Verdict, allowance: &Allowance) -> Result<Gathered, TickError> {
    let Verdict { attempt, end, .. } = verdict;
    let task = task_of(run, attempt)?;
    let kept = run.backends.kept(&attempt.id).into_iter().map(|(file, remote)| Output {
        path: file.path,
        sha256: file.sha256,
        size: file.size,
        remote: Some(remote),
    });
    let left =
        collect::Left { directory: &run.dir.join(&attempt.directory), task: &task, handle: attempt.handle.as_deref() };
    let aside = run.dir.progress(&attempt.id);
    let mut progress = Carriage::read(&aside);
    let collected = collect::collect_outputs(left, kept.collect(), &run.config.limits, &mut progress, allowance);
    let looked = collected.and_then(|collected| {
        Ok((stage::changed_link(run, &task, left.directory, &mut progress, allowance)?, collected))
    });
    match looked {
        Ok((changed, collect::Collected { outputs, missing })) => {
            if let Some(text) = changed {
                fail(end, Reason::new(Code::InputChanged, text));
            }
            end.outputs = outputs;
            if let Some(text) = missing {
                fail(end, Reason::new(Code::OutputMissing, text));
            }
        }
        Err(error @ CollectError::PutAside(_)) => {
            let kept = progress.keep(&aside);
            kept.map_err(|error| TickError::Io(format!("writing `{}`", aside.display()), error))?;
            return Ok(Gathered::Later(NEXT_TICK_MS, Reason::new(error.word(), error.to_string())));
        }
        Err(error) if error.passes() => {
            let text = format!("it has ended, and its outputs cannot be read now: {error}");
            return Ok(Gathered::Later(UNAVAILABLE_MS, Reason::new(Code::CollectFailed, text)));
        }
        Err(error) => {
            let text = format!("its outputs could not be collected: {error}");
            fail(end, Reason::new(error.word(), text));
        }
    }
    progress.forget(&aside);
    Ok(Gathered::Yes)
}

/// Fails an attempt that had succeeded; what had failed before keeps its first reason.
fn fail(end: &mut AttemptEnd, reason: Reason) {
    if end.outcome == AttemptOutcome::Completed {
        end.outcome = AttemptOutcome::Failed;
        end.reason = Some(reason);
    }
}
