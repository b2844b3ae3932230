//! Asks operators about live attempts, collects what ended.
use super::start::UNLOADED_MS;
use super::verdict::{self, Sequel, Verdict, stored_task};
use super::{Moment, Run, Tick, TickError, collect, key, outside, request};
use crate::model::code::{Code, Word};
use crate::model::contract::{GuestError, Status};
use crate::model::reason::Reason;
use crate::model::states::AttemptState;
use crate::model::time::delay_ms;
use crate::plugin::{PluginError, PluginErrorKind};
use crate::store::{AttemptEnd, AttemptRow, Durability, Output, StoreError, Writer};
use std::collections::BTreeSet;

/// When to ask again where an operator gives no hint, in milliseconds: at the next tick.
const NEXT_TICK_MS: u64 = 0;
/// When to ask again after the outside did not answer, in milliseconds.
const UNAVAILABLE_MS: u64 = 5_000;
/// Characters of an output document's summary that the history keeps.
const SUMMARY_MAX: usize = 1_000;
/// Verdicts recorded in one transaction.
const BATCH: usize = 500;

/// What one poll learnt of an attempt that goes on.
struct Progress {
    attempt: AttemptRow,
    to: AttemptState,
    reason: Option<Reason>,
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
                    writer.note_attempt(attempt, 0, Some(&Reason::new(Code::CancelFailed, text)), moment.now_ms)
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
        return Told::NotNeeded(Verdict::cancelled(attempt));
    }
    crate::failpoint::hit("cancel.before");
    let answer = run.plugins.cancel(&key(&attempt), &request(run, &attempt, attempt.task_json.clone()));
    crate::failpoint::hit("cancel.after");
    match answer {
        Ok(()) => Told::Yes(attempt.key),
        Err(error) => {
            tick.note_unloaded(&attempt, &error);
            let text = format!("cancel failed and will be tried again: {error}");
            Told::Failed(attempt, text)
        }
    }
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
            let unchanged = cancel_failed(&progress.attempt);
            let reason = progress.reason.as_ref().or(unchanged.as_ref());
            if progress.attempt.state != progress.to {
                writer.set_attempt_state(&progress.attempt, progress.to, reason, now_ms)?;
            }
            let due = now_ms + delay_ms(progress.poll_after_ms);
            writer.note_attempt(&progress.attempt, due, reason, now_ms)
        }
    }
}

/// Why the outside could not be told to stop the attempt: a person must go on seeing that while nothing else is to say.
fn cancel_failed(attempt: &AttemptRow) -> Option<Reason> {
    let told = attempt.reason_code.as_ref().is_some_and(|word| word.is(Code::CancelFailed)) && attempt.cancel_asked == 1;
    attempt.reason.clone().filter(|_| told).map(|text| Reason::new(Code::CancelFailed, text))
}

/// Asks about one attempt, and collects it if it ended.
fn ask(run: &mut Run, mut attempt: AttemptRow, tick: &mut Tick) -> Result<Learnt, TickError> {
    if !run.config.backend_tells(&attempt.operator) {
        crate::answer::sign_what_came_by_hand(&run.dir.join(&attempt.directory));
    }
    crate::failpoint::hit("check-status.before");
    let answer = run.plugins.check_status(&key(&attempt), &request(run, &attempt, attempt.task_json.clone()));
    crate::failpoint::hit("check-status.after");
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
            let reason = progress.map(|text| Reason::new(Code::Progress, text));
            goes_on(attempt, AttemptState::Running, reason, after)
        }
        Status::Waiting(kind, detail) => {
            let kind = Word::of_kind(&kind);
            attempt.waits_for = Some(kind.clone());
            goes_on(attempt, AttemptState::WaitingExternal, Some(Reason::new(kind, detail)), after)
        }
        Status::Unavailable(detail) => {
            let after = report.poll_after_ms.unwrap_or(UNAVAILABLE_MS);
            goes_on(attempt, state, Some(Reason::of_operator(detail)), after)
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
        reason: Some(Reason::new(error.kind.word(), format!("its status could not be asked: {error}"))),
        poll_after_ms: if error.kind.never_ran() { UNLOADED_MS as u64 } else { UNAVAILABLE_MS },
    }
}

fn ended(run: &mut Run, attempt: AttemptRow, status: Status, tick: &mut Tick) -> Result<Learnt, TickError> {
    let (state, reason, sequel) = match status {
        Status::Succeeded => (AttemptState::Completed, None, Sequel::Policy),
        Status::Failed(detail) => (AttemptState::Failed, Some(Reason::of_operator(detail)), Sequel::Policy),
        Status::Cancelled => (AttemptState::Cancelled, Some(Reason::new(Code::Cancelled, "cancelled")), Sequel::Policy),
        Status::NotStarted(detail) => (AttemptState::Failed, Some(Reason::of_operator(detail)), Sequel::Misfire),
        Status::Lost(detail) => (AttemptState::Lost, Some(Reason::of_operator(detail)), Sequel::Policy),
        Status::Queued | Status::Running(_) | Status::Waiting(..) | Status::Unavailable(_) => {
            return Err(TickError::Store(StoreError::Row("bug: a live status taken for an end".to_owned())));
        }
    };
    let end = AttemptEnd::bare(state, reason);
    let mut verdict = Verdict { attempt, end, sequel };
    let has_results = matches!(state, AttemptState::Completed | AttemptState::Failed) && sequel != Sequel::Misfire;
    if has_results && let Gathered::Later(poll_after_ms, reason) = gather(run, &mut verdict, tick)? {
        let (to, attempt) = (verdict.attempt.state, verdict.attempt);
        return Ok(Learnt::Progress(Progress { attempt, to, reason: Some(reason), poll_after_ms }));
    }
    Ok(Learnt::End(verdict))
}

/// What an output document says of itself in one sentence, for the history: its `summary`.
fn summary(data: &str) -> Option<String> {
    // Most documents have none, and need not be parsed to find that out.
    let document: serde_json::Value =
        data.contains("\"summary\"").then(|| serde_json::from_str(data).ok()).flatten()?;
    document.get("summary")?.as_str().map(|text| text.chars().take(SUMMARY_MAX).collect())
}

enum Gathered {
    Yes,
    /// The results cannot be had now: a delay in milliseconds, and why.
    Later(u64, Reason),
}

/// Fetches what an ended attempt left. A failure here fails an attempt that had succeeded; one that passes by itself lets
/// the attempt wait, so that a link that is cut costs no result.
fn gather(run: &Run, verdict: &mut Verdict, tick: &mut Tick) -> Result<Gathered, TickError> {
    match gather_document(run, verdict, tick) {
        Gathered::Yes if verdict.attempt.task_json.contains("\"outputs\"") => gather_files(run, verdict),
        gathered => Ok(gathered),
    }
}

/// Fetches the output document.
fn gather_document(run: &Run, verdict: &mut Verdict, tick: &mut Tick) -> Gathered {
    let Verdict { attempt, end, .. } = verdict;
    crate::failpoint::hit("collect-results.before");
    let answer = run.plugins.collect_results(&key(attempt), &request(run, attempt, attempt.task_json.clone()));
    crate::failpoint::hit("collect-results.after");
    match answer {
        Ok(data) => {
            if end.state == AttemptState::Completed {
                end.reason = data.as_deref().and_then(summary).map(|text| Reason::new(Code::Completed, text));
            }
            end.data = data;
        }
        Err(PluginError { kind: PluginErrorKind::Guest(GuestError::Transient(detail, delay)), .. }) => {
            let text = format!("it has ended, and its results cannot be fetched yet: {}", detail.message);
            return Gathered::Later(delay.unwrap_or(UNAVAILABLE_MS), Reason::new(Code::CollectFailed, text));
        }
        Err(error) if error.kind.never_ran() => {
            tick.note_unloaded(attempt, &error);
            let text = format!("it has ended, and its results cannot be fetched yet: {error}");
            return Gathered::Later(UNLOADED_MS as u64, Reason::new(error.kind.word(), text));
        }
        Err(error) => {
            let text = format!("its results could not be collected: {error}");
            let for_good = error.kind.is_for_good() && end.state == AttemptState::Completed;
            fail(end, Reason::new(error.kind.word_of_operator(), text));
            if for_good {
                verdict.sequel = Sequel::Nothing;
            }
        }
    }
    Gathered::Yes
}

/// Finds the output files, here and on the cluster where they stayed.
fn gather_files(run: &Run, verdict: &mut Verdict) -> Result<Gathered, TickError> {
    let Verdict { attempt, end, .. } = verdict;
    let task = stored_task(&attempt.task_json)?;
    let kept = run.backends.kept(&attempt.id).into_iter().map(|(file, remote)| Output {
        path: file.path,
        sha256: file.sha256,
        size: file.size,
        remote: Some(remote),
    });
    let (directory, handle) = (run.dir.join(&attempt.directory), attempt.handle.as_deref());
    match collect::collect_outputs(&directory, &task, handle, kept.collect(), &run.config.limits) {
        Ok((outputs, missing)) => {
            end.outputs = outputs;
            if let Some(pattern) = missing {
                fail(end, Reason::new(Code::OutputMissing, format!("output pattern `{pattern}` matches no file")));
            }
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
    Ok(Gathered::Yes)
}

/// Fails an attempt that had succeeded; what had failed before keeps its first reason.
fn fail(end: &mut AttemptEnd, reason: Reason) {
    if end.state == AttemptState::Completed {
        end.state = AttemptState::Failed;
        end.reason = Some(reason);
    }
}
