//! Settles submits that an earlier tick left undecided.
use super::verdict::{self, Verdict};
use super::{Moment, Run, Tick, TickError, key, request, start};
use crate::model::contract::Found;
use crate::model::states::{AttemptState, RunState};
use crate::plugin::PluginErrorKind;
use crate::store::{AttemptEnd, AttemptRow, Durability};

/// When to ask again after a `reconcile` that itself failed, in milliseconds.
const ASK_AGAIN_MS: i64 = 2_000;

/// Asks `reconcile` about every attempt in `submitting`: yes adopts it, no submits it under the same key, unknown leaves
/// it where it is.
pub(super) fn settle_interrupted_submits(run: &mut Run, moment: Moment<'_>, tick: &mut Tick) -> Result<(), TickError> {
    let now = moment.now_ms;
    let due = |attempt: &AttemptRow, (at, set): (i64, i64)| {
        attempt.state == AttemptState::Submitting && (at <= now || now < set)
    };
    let mut again = Vec::new();
    for (attempt, _) in run.store.unsettled()?.into_iter().filter(|(attempt, times)| due(attempt, *times)) {
        if let Some(attempt) = settle(run, moment, attempt)? {
            again.push(attempt);
        }
    }
    if !again.is_empty() {
        start::submit_all(run, moment, again, tick)?;
    }
    Ok(())
}

/// Settles one attempt; gives it back if it is to be submitted again.
fn settle(run: &mut Run, moment: Moment<'_>, mut attempt: AttemptRow) -> Result<Option<AttemptRow>, TickError> {
    crate::failpoint::hit("reconcile.before");
    let answer = run.plugins.reconcile(&key(&attempt), &request(run, &attempt, attempt.task_json.clone()));
    crate::failpoint::hit("reconcile.after");
    let now = moment.now_ms;
    match answer {
        Ok(Found::Yes(handle)) => {
            attempt.handle = Some(handle);
            run.store.transaction(Durability::Lazy, |writer| {
                writer.set_attempt_state(&attempt, AttemptState::Submitted, Some(("found", "found outside")), now)
            })?;
            Ok(None)
        }
        Ok(Found::No) if attempt.cancel_asked > 0 => {
            let reason = Some(("cancelled".to_owned(), "cancelled before it was submitted".to_owned()));
            let end = AttemptEnd { state: AttemptState::Cancelled, reason, data: None, outputs: Vec::new() };
            let verdict = Verdict { attempt, end, never_started: true };
            run.store.transaction(Durability::Full, |writer| verdict::apply(writer, &verdict, now))?;
            Ok(None)
        }
        Ok(Found::No) => Ok((run.store.run()?.state == RunState::Active).then_some(attempt)),
        Ok(Found::Unknown(note, delay_ms)) => {
            attempt.note = Some(note);
            let reason = Some(("unknown-submit", "the operator cannot tell yet whether the submit took effect"));
            run.store.transaction(Durability::Full, |writer| {
                writer.note_attempt(&attempt, now + delay_ms as i64, reason, now)
            })?;
            Ok(None)
        }
        Err(error) => {
            let code = match &error.kind {
                PluginErrorKind::Guest(guest) => guest.detail().code.clone(),
                kind => kind.code().to_owned(),
            };
            let text = format!("reconcile failed: {error}");
            run.store.transaction(Durability::Full, |writer| {
                writer.note_attempt(&attempt, now + ASK_AGAIN_MS, Some((&code, &text)), now)
            })?;
            Ok(None)
        }
    }
}
