//! Settles submits that an earlier tick left undecided.
use super::verdict::{self, Verdict};
use super::{Moment, Run, Tick, TickError, key, request, start};
use crate::model::contract::Found;
use crate::model::states::{AttemptState, RunState};
use crate::plugin::PluginError;
use crate::store::{AttemptEnd, AttemptRow, Durability, StoreError, Writer};

/// When to ask again after a `reconcile` that itself failed, in milliseconds.
const ASK_AGAIN_MS: i64 = 2_000;
/// Answers recorded in one transaction.
const BATCH: usize = 500;

/// What a `reconcile` told.
enum Settled {
    Found(AttemptRow),
    NeverWill(Verdict),
    Again(AttemptRow),
    Unknown(AttemptRow, i64, String, String),
}

/// Asks `reconcile` about every attempt in `submitting`: yes adopts it, no submits it under the same key, unknown leaves
/// it where it is.
pub(super) fn settle_interrupted_submits(run: &mut Run, moment: Moment<'_>, tick: &mut Tick) -> Result<(), TickError> {
    let now = moment.now_ms;
    let due = |attempt: &AttemptRow, (at, set): (i64, i64)| {
        attempt.state == AttemptState::Submitting && (at <= now || now < set)
    };
    let unsettled: Vec<AttemptRow> =
        run.store.unsettled()?.into_iter().filter(|(attempt, times)| due(attempt, *times)).map(|(a, _)| a).collect();
    let submits = run.store.run()?.state == RunState::Active;
    let mut again = Vec::new();
    for batch in unsettled.chunks(BATCH) {
        let settled: Vec<Settled> = batch.iter().map(|attempt| settle(run, attempt.clone(), tick)).collect();
        run.store.transaction(Durability::Full, |writer| {
            settled.iter().try_for_each(|one| record(writer, one, submits, now))
        })?;
        again.extend(settled.into_iter().filter_map(|one| match one {
            Settled::Again(attempt) => Some(attempt),
            Settled::Found(_) | Settled::NeverWill(_) | Settled::Unknown(..) => None,
        }));
    }
    if submits && !again.is_empty() {
        // The poll that follows asks about them, as about all that is due.
        start::submit_all(run, moment, again, tick)?;
    }
    Ok(())
}

/// Asks the operator whether a submit under the attempt's key took effect.
pub(super) fn reconcile(run: &Run, attempt: &AttemptRow) -> Result<Found, PluginError> {
    crate::ground::failpoint::hit("reconcile.before");
    let answer = run.plugins.reconcile(&key(attempt), &request(run, attempt, attempt.task_json.clone()));
    crate::ground::failpoint::hit("reconcile.after");
    answer
}

/// Asks about one attempt.
fn settle(run: &Run, mut attempt: AttemptRow, tick: &mut Tick) -> Settled {
    match reconcile(run, &attempt) {
        Ok(Found::Yes(handle)) => {
            attempt.handle = Some(handle);
            Settled::Found(attempt)
        }
        Ok(Found::No) if attempt.cancel_asked > 0 => {
            let reason = Some(("cancelled".to_owned(), "cancelled before it was submitted".to_owned()));
            let end = AttemptEnd::new(AttemptState::Cancelled, reason);
            Settled::NeverWill(Verdict { attempt, end, never_started: true })
        }
        Ok(Found::No) => Settled::Again(attempt),
        Ok(Found::Unknown(note, delay_ms)) => {
            let told = "the operator cannot tell yet whether the submit took effect";
            let said = serde_json::from_str::<serde_json::Value>(&note).ok();
            let said = said.as_ref().and_then(|note| note.get("message")?.as_str());
            let text = said.map_or_else(|| told.to_owned(), |said| format!("{told}: {said}"));
            attempt.note = Some(note);
            Settled::Unknown(attempt, delay_ms as i64, "unknown-submit".to_owned(), text)
        }
        Err(error) => {
            tick.note_unloaded(&attempt, &error);
            let code = error.kind.own_code().to_owned();
            Settled::Unknown(attempt, ASK_AGAIN_MS, code, format!("reconcile failed: {error}"))
        }
    }
}

fn record(writer: &Writer<'_>, settled: &Settled, submits: bool, now: i64) -> Result<(), StoreError> {
    match settled {
        Settled::Found(attempt) => {
            writer.set_attempt_state(attempt, AttemptState::Submitted, Some(("found", "found outside")), now)
        }
        Settled::NeverWill(verdict) => verdict::apply(writer, verdict, now),
        Settled::Again(_) if submits => Ok(()),
        Settled::Again(attempt) => writer.set_attempt_state(attempt, AttemptState::Prepared, None, now),
        Settled::Unknown(attempt, delay_ms, code, text) => {
            writer.note_attempt(attempt, now.saturating_add(*delay_ms), Some((code, text)), now)
        }
    }
}
