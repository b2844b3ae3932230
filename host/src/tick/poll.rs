//! Asks operators about live attempts, collects what ended.
use super::collect::{CollectError, Collected};
use super::start::UNLOADED_MS;
use super::verdict::{self, Verdict, stored_task};
use super::{Moment, Run, Tick, TickError, collect, job, key, outside, request, stage};
use crate::ground::carriage::{Allowance, Carriage};
use crate::model::contract::{Detail, GuestError, Status};
use crate::model::states::AttemptState;
use crate::plugin::{PluginError, PluginErrorKind};
use crate::store::{AttemptEnd, AttemptRow, Durability, Output, StoreError, Writer};
use std::collections::BTreeSet;

/// When to ask again where an operator gives no hint, in milliseconds: at the next tick.
const NEXT_TICK_MS: u64 = 0;
/// When to ask again after the outside did not answer, in milliseconds.
const UNAVAILABLE_MS: u64 = 5_000;
/// Characters of an output document's summary that the history keeps.
const SUMMARY_MAX: usize = 1_000;
/// The word for an attempt that a person wants stopped and the operator could not stop.
const CANCEL_FAILED: &str = "cancel-failed";
/// The word for an attempt that has ended and whose results cannot be had now.
const COLLECT_FAILED: &str = "collect-failed";
/// Verdicts recorded in one transaction.
const BATCH: usize = 500;

/// What one poll learnt of an attempt that goes on.
struct Progress {
    attempt: AttemptRow,
    to: AttemptState,
    reason: Option<(String, String)>,
    poll_after_ms: u64,
}

enum Learnt {
    Progress(Progress),
    End(Verdict),
}

/// Tells the outside to stop what a person wants stopped.
pub(super) fn cancel_what_is_unwanted(run: &mut Run, moment: Moment<'_>, tick: &mut Tick) -> Result<(), TickError> {
    let mut unwanted = run.store.attempts_to_cancel()?;
    unwanted.retain(|attempt| attempt.state != AttemptState::Submitting);
    while !unwanted.is_empty() {
        let batch: Vec<AttemptRow> = unwanted.drain(..unwanted.len().min(BATCH)).collect();
        let told: Vec<Told> = batch.into_iter().map(|attempt| tell_to_stop(run, attempt, tick)).collect();
        // Once the store says that the outside was told, nobody tells it again.
        let kept = run.backends.sync_local();
        kept.map_err(|error| TickError::Io("writing the backend's queue".to_owned(), error))?;
        run.store.transaction(Durability::Full, |writer| {
            told.iter().try_for_each(|one| match one {
                Told::NotNeeded(verdict) => verdict::apply(writer, verdict, moment.now_ms),
                Told::Yes(key) => writer.cancel_told(*key),
                Told::Failed(attempt, text) => {
                    writer.note_attempt(attempt, 0, Some((CANCEL_FAILED, text)), moment.now_ms)
                }
            })
        })?;
    }
    Ok(())
}

/// What became of telling the outside to stop an attempt.
enum Told {
    /// The outside never had it.
    NotNeeded(Verdict),
    Yes(i64),
    Failed(AttemptRow, String),
}

fn tell_to_stop(run: &Run, attempt: AttemptRow, tick: &mut Tick) -> Told {
    if matches!(attempt.state, AttemptState::Created | AttemptState::Prepared) {
        return Told::NotNeeded(cancelled(attempt, "cancelled before it was submitted"));
    }
    crate::ground::failpoint::hit("cancel.before");
    let answer = run.plugins.cancel(&key(&attempt), &request(run, &attempt, attempt.task_json.clone()));
    crate::ground::failpoint::hit("cancel.after");
    match answer {
        Ok(()) => Told::Yes(attempt.key),
        Err(error) => {
            tick.note_unloaded(&attempt, &error);
            let text = format!("cancel failed and will be tried again: {error}");
            Told::Failed(attempt, text)
        }
    }
}

fn cancelled(attempt: AttemptRow, text: &str) -> Verdict {
    let reason = Some(("cancelled".to_owned(), text.to_owned()));
    let end = AttemptEnd::new(AttemptState::Cancelled, reason);
    Verdict { attempt, end, never_started: true }
}

/// Polls what changed or is due, collects what ended, and records it in batches.
pub(super) fn poll_live_attempts(run: &mut Run, moment: Moment<'_>, tick: &mut Tick) -> Result<(), TickError> {
    let known = run.store.cursors()?;
    let changes = run.backends.changes(&known).map_err(|error| TickError::Io("reading backends".to_owned(), error))?;
    let mut seen = BTreeSet::new();
    let mut due = Vec::new();
    for id in changes.attempts.iter().chain(&outside::changed_attempts(run)?) {
        due.extend(run.store.live_attempt(id.as_str())?.filter(|attempt| seen.insert(attempt.id.clone())));
    }
    for attempt in run.store.attempts_due(moment.now_ms)? {
        if seen.insert(attempt.id.clone()) {
            due.push(attempt);
        }
    }
    due.retain(|a| matches!(a.state, AttemptState::Submitted | AttemptState::Running | AttemptState::WaitingExternal));
    ask_all(run, moment, &due, tick)?;
    run.backends.flush().map_err(|error| TickError::Io("writing a backend's memory".to_owned(), error))?;
    if changes.cursors.iter().any(|(backend, position)| known.get(backend) != Some(position)) {
        run.store.transaction(Durability::Lazy, |writer| {
            changes.cursors.iter().try_for_each(|(backend, position)| writer.set_cursor(backend, position))
        })?;
    }
    Ok(())
}

/// Asks about attempts that were submitted just now and of which no backend will tell, so that one that waits for somebody
/// outside says so in the tick that put it there. Returns whether any ended.
pub(super) fn poll_submitted(
    run: &mut Run,
    moment: Moment<'_>,
    submitted: &[String],
    tick: &mut Tick,
) -> Result<bool, TickError> {
    let mut attempts = Vec::with_capacity(submitted.len());
    for id in submitted {
        attempts.extend(run.store.live_attempt(id)?);
    }
    Ok(ask_all(run, moment, &attempts, tick)? > 0)
}

/// Asks about attempts and records what was learnt, in batches. Returns how many ended.
fn ask_all(run: &mut Run, moment: Moment<'_>, attempts: &[AttemptRow], tick: &mut Tick) -> Result<u64, TickError> {
    let before = tick.finished;
    for batch in attempts.chunks(BATCH) {
        let mut learnt = Vec::with_capacity(batch.len());
        for attempt in batch {
            tick.polled += 1;
            learnt.push(ask(run, attempt.clone(), tick)?);
        }
        tick.finished += learnt.iter().filter(|one| matches!(one, Learnt::End(_))).count() as u64;
        run.store.transaction(Durability::Full, |writer| {
            learnt.iter().try_for_each(|one| record(writer, one, moment.now_ms))
        })?;
    }
    Ok(tick.finished - before)
}

fn record(writer: &Writer<'_>, learnt: &Learnt, now_ms: i64) -> Result<(), StoreError> {
    match learnt {
        Learnt::End(verdict) => verdict::apply(writer, verdict, now_ms),
        Learnt::Progress(progress) => {
            let reason = progress.reason.as_ref().map(|(code, text)| (code.as_str(), text.as_str()));
            let reason = reason.or_else(|| cancel_failed(&progress.attempt));
            if progress.attempt.state != progress.to {
                writer.set_attempt_state(&progress.attempt, progress.to, reason, now_ms)?;
            }
            let due = now_ms + progress.poll_after_ms as i64;
            writer.note_attempt(&progress.attempt, due, reason, now_ms)
        }
    }
}

/// Why the outside could not be told to stop the attempt: a person must go on seeing that while nothing else is to say.
fn cancel_failed(attempt: &AttemptRow) -> Option<(&str, &str)> {
    let told = attempt.reason_code.as_deref().zip(attempt.reason.as_deref());
    told.filter(|(code, _)| *code == CANCEL_FAILED && attempt.cancel_asked == 1)
}

/// Asks about one attempt, and collects it if it ended.
fn ask(run: &mut Run, mut attempt: AttemptRow, tick: &mut Tick) -> Result<Learnt, TickError> {
    if !run.config.backend_tells(&attempt.operator) {
        crate::run::sign_what_came_by_hand(&run.dir.join(&attempt.directory));
    }
    crate::ground::failpoint::hit("check-status.before");
    let answer = run.plugins.check_status(&key(&attempt), &request(run, &attempt, attempt.task_json.clone()));
    crate::ground::failpoint::hit("check-status.after");
    let report = match answer {
        Ok(report) => report,
        Err(error) => {
            tick.note_unloaded(&attempt, &error);
            return Ok(Learnt::Progress(goes_on_unasked(attempt, &error)));
        }
    };
    if let Some(handle) = report.handle.clone() {
        attempt.handle = Some(handle);
    }
    let after = report.poll_after_ms.unwrap_or(NEXT_TICK_MS);
    let goes_on = |attempt: AttemptRow, to, reason, poll_after_ms| {
        Ok(Learnt::Progress(Progress { attempt, to, reason, poll_after_ms }))
    };
    let state = attempt.state;
    match report.status {
        Status::Queued => goes_on(attempt, AttemptState::Submitted, None, after),
        Status::Running(progress) => {
            let reason = progress.map(|text| ("progress".to_owned(), text));
            goes_on(attempt, AttemptState::Running, reason, after)
        }
        Status::Waiting(kind, detail) => {
            attempt.waits_for = Some(kind.clone());
            goes_on(attempt, AttemptState::WaitingExternal, Some((kind, detail)), after)
        }
        Status::Unavailable(detail) => {
            let after = report.poll_after_ms.unwrap_or(UNAVAILABLE_MS);
            goes_on(attempt, state, Some((detail.code, detail.message)), after)
        }
        status => ended(run, attempt, status, tick),
    }
}

/// A poll that failed changes no verdict; the attempt is asked about again.
fn goes_on_unasked(attempt: AttemptRow, error: &PluginError) -> Progress {
    let to = attempt.state;
    Progress {
        attempt,
        to,
        reason: Some((error.kind.code().to_owned(), format!("its status could not be asked: {error}"))),
        poll_after_ms: if error.kind.says_nothing() { UNLOADED_MS as u64 } else { UNAVAILABLE_MS },
    }
}

fn ended(run: &mut Run, attempt: AttemptRow, status: Status, tick: &mut Tick) -> Result<Learnt, TickError> {
    let (state, detail, never_started) = match status {
        Status::Succeeded => (AttemptState::Completed, None, false),
        Status::Failed(detail) => (AttemptState::Failed, Some(detail), false),
        Status::Cancelled => (AttemptState::Cancelled, Some(Detail::new("cancelled", "cancelled")), false),
        Status::NotStarted(detail) => (AttemptState::Failed, Some(detail), true),
        Status::Lost(detail) => (AttemptState::Lost, Some(detail), false),
        Status::Queued | Status::Running(_) | Status::Waiting(..) | Status::Unavailable(_) => {
            return Err(TickError::Store(StoreError::Row("bug: a live status taken for an end".to_owned())));
        }
    };
    let mut end = AttemptEnd::new(state, detail.map(|detail| (detail.code, detail.message)));
    let has_results = matches!(state, AttemptState::Completed | AttemptState::Failed) && !never_started;
    if has_results && let Gathered::Later(poll_after_ms, code, text) = gather(run, &attempt, &mut end, tick)? {
        let (to, reason) = (attempt.state, Some((code.to_owned(), text)));
        return Ok(Learnt::Progress(Progress { attempt, to, reason, poll_after_ms }));
    }
    job::note(&run.dir.join(&attempt.directory), &attempt, &mut end);
    Ok(Learnt::End(Verdict { attempt, end, never_started }))
}

/// What an output document says of itself in one sentence, for the history: its `summary`.
fn summary(data: &str) -> Option<String> {
    // Most documents have none, and need not be parsed to find that out.
    let document: serde_json::Value =
        data.contains("\"summary\"").then(|| serde_json::from_str(data).ok()).flatten()?;
    document.get("summary")?.as_str().map(|text| text.chars().take(SUMMARY_MAX).collect())
}

pub(super) enum Gathered {
    Yes,
    /// The results cannot be had now: a delay in milliseconds, and why, for a program and for a person.
    Later(u64, &'static str, String),
}

/// Fetches what an ended attempt left. A failure here fails an attempt that had succeeded; one that passes by itself lets
/// the attempt wait, so that a link that is cut costs no result.
pub(super) fn gather(
    run: &Run,
    attempt: &AttemptRow,
    end: &mut AttemptEnd,
    tick: &mut Tick,
) -> Result<Gathered, TickError> {
    match gather_document(run, attempt, end, tick) {
        Gathered::Yes if ["\"outputs\"", "\"link\""].iter().any(|word| attempt.task_json.contains(word)) => {
            gather_files(run, attempt, end, &tick.allowance)
        }
        gathered => Ok(gathered),
    }
}

/// Fetches the output document.
fn gather_document(run: &Run, attempt: &AttemptRow, end: &mut AttemptEnd, tick: &mut Tick) -> Gathered {
    crate::ground::failpoint::hit("collect-results.before");
    let answer = run.plugins.collect_results(&key(attempt), &request(run, attempt, attempt.task_json.clone()));
    crate::ground::failpoint::hit("collect-results.after");
    match answer {
        Ok(data) => {
            if end.state == AttemptState::Completed {
                end.reason = data.as_deref().and_then(summary).map(|text| ("completed".to_owned(), text));
            }
            end.data = data;
        }
        Err(PluginError { kind: PluginErrorKind::Guest(GuestError::Transient(detail, delay)), .. }) => {
            let text = format!("it has ended, and its results cannot be fetched yet: {}", detail.message);
            return Gathered::Later(delay.unwrap_or(UNAVAILABLE_MS), COLLECT_FAILED, text);
        }
        Err(error) if error.kind.says_nothing() => {
            tick.note_unloaded(attempt, &error);
            let text = format!("it has ended, and its results cannot be fetched yet: {error}");
            return Gathered::Later(UNLOADED_MS as u64, error.kind.code(), text);
        }
        Err(error) => fail(end, error.kind.own_code(), format!("its results could not be collected: {error}")),
    }
    Gathered::Yes
}

/// Finds the output files, here and on the cluster where they stayed.
fn gather_files(
    run: &Run,
    attempt: &AttemptRow,
    end: &mut AttemptEnd,
    allowance: &Allowance,
) -> Result<Gathered, TickError> {
    let task = stored_task(&attempt.task_json)?;
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
        Ok((stage::changed_link(run, &task, left.directory, (&mut progress, allowance))?, collected))
    });
    match looked {
        Ok((changed, Collected { outputs, missing })) => {
            if let Some(text) = changed {
                fail(end, "input-changed", text);
            }
            end.outputs = outputs;
            if let Some(text) = missing {
                fail(end, "output-missing", text);
            }
        }
        Err(error @ CollectError::PutAside(_)) => {
            let kept = progress.keep(&aside);
            kept.map_err(|error| TickError::Io(format!("writing `{}`", aside.display()), error))?;
            return Ok(Gathered::Later(NEXT_TICK_MS, error.code(), error.to_string()));
        }
        Err(error) if error.passes() => {
            let text = format!("it has ended, and its outputs cannot be read now: {error}");
            return Ok(Gathered::Later(UNAVAILABLE_MS, COLLECT_FAILED, text));
        }
        Err(error) => fail(end, error.code(), format!("its outputs could not be collected: {error}")),
    }
    progress.forget(&aside);
    Ok(Gathered::Yes)
}

/// Fails an attempt that had succeeded; what had failed before keeps its first reason.
fn fail(end: &mut AttemptEnd, code: &str, text: String) {
    if end.state == AttemptState::Completed {
        end.state = AttemptState::Failed;
        end.reason = Some((code.to_owned(), text));
    }
}
