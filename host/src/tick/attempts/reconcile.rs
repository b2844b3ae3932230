//! Reconciles submits that an earlier tick left undecided. Where a crash loses the answer, the attempt is `submitting`
//! still, and the next tick asks again.
use crate::model::code::Code;
use crate::model::contract::Found;
use crate::model::reason::Reason;
use crate::model::states::AttemptState;
use crate::model::time::delay_ms;
use crate::plugin::PluginError;
use crate::store::{AttemptRow, Durability, StoreError, Writer};
use crate::tick::attempts::submit;
use crate::tick::attempts::verdict::{self, Verdict};
use crate::tick::turn::{HELD_MAX, HELD_MAX_BYTES, Phase, Round, Turn};
use crate::tick::{Moment, Run, Tick, TickError, key};

/// When to ask again after a `reconcile` that itself failed, in milliseconds.
const ASK_AGAIN_MS: i64 = 2_000;

/// What a `reconcile` told.
enum Reconciled {
    Found(AttemptRow),
    NeverWill(Verdict),
    Again(AttemptRow),
    Unknown(AttemptRow, i64, Reason),
}

/// Asks `reconcile` about every attempt in `submitting`: yes adopts it, no submits it under the same key, unknown
/// leaves it where it is. Unless the run `submits` now, what took no effect is put back to where it was.
pub(in crate::tick) fn reconcile_interrupted_submits(
    run: &mut Run,
    moment: Moment<'_>,
    turn: &Turn,
    submits: bool,
    tick: &mut Tick,
) -> Result<(), TickError> {
    let now = moment.now_ms;
    let mut round = Round::new(Phase::Reconcile, turn, run.store.unacknowledged_due(now, &[AttemptState::Submitting])?);
    loop {
        let (mut reconciled, mut held) = (Vec::new(), 0);
        while reconciled.len() < HELD_MAX
            && held < HELD_MAX_BYTES
            && let Some(one) = round.next(moment, tick)
        {
            let Some(attempt) = run.store.live_attempt_at(one.key)? else { continue };
            held += attempt.bytes();
            reconciled.push(ask(run, attempt, tick));
        }
        if reconciled.is_empty() {
            return Ok(());
        }
        run.store.transaction(Durability::Full, |writer| {
            reconciled.iter().try_for_each(|one| record(writer, one, submits, now))
        })?;
        let again = reconciled.into_iter().filter_map(|one| match one {
            Reconciled::Again(attempt) => Some(attempt),
            Reconciled::Found(_) | Reconciled::NeverWill(_) | Reconciled::Unknown(..) => None,
        });
        if submits {
            // The poll that follows asks about them, as about all that is due.
            submit::submit_all(run, moment, again.collect(), tick)?;
        }
    }
}

/// Asks the operator whether a submit under the attempt's key took effect.
pub(in crate::tick) fn reconcile(run: &Run, attempt: &AttemptRow) -> Result<Found, PluginError> {
    crate::ground::failpoint::hit("reconcile.before");
    let answer = run.plugins.reconcile(&key(attempt), &run.request(attempt, attempt.task_json.clone()));
    crate::ground::failpoint::hit("reconcile.after");
    answer
}

/// Asks about one attempt.
fn ask(run: &Run, mut attempt: AttemptRow, tick: &mut Tick) -> Reconciled {
    match reconcile(run, &attempt) {
        Ok(Found::Yes(submitted)) => {
            attempt.take(submitted);
            Reconciled::Found(attempt)
        }
        Ok(Found::No) if attempt.cancel.is_wanted() => Reconciled::NeverWill(Verdict::cancelled(attempt)),
        Ok(Found::No) => Reconciled::Again(attempt),
        Ok(Found::Unknown { note, poll_after_ms }) => {
            let told = "the operator cannot tell yet whether the submit took effect";
            let said = serde_json::from_str::<serde_json::Value>(&note).ok();
            let said = said.as_ref().and_then(|note| note.get("message")?.as_str());
            let text = said.map_or_else(|| told.to_owned(), |said| format!("{told}: {said}"));
            attempt.note = Some(note);
            Reconciled::Unknown(attempt, delay_ms(poll_after_ms), Reason::new(Code::UnknownSubmit, text))
        }
        Err(error) => {
            tick.note_unloaded(&attempt, &error);
            let reason = Reason::new(error.kind.word_of_operator(), format!("reconcile failed: {error}"));
            Reconciled::Unknown(attempt, ASK_AGAIN_MS, reason)
        }
    }
}

fn record(writer: &Writer<'_>, reconciled: &Reconciled, submits: bool, now: i64) -> Result<(), StoreError> {
    match reconciled {
        Reconciled::Found(attempt) => {
            let reason = Reason::new(Code::Found, "found outside");
            writer.set_attempt_state(attempt, AttemptState::Submitted, Some(&reason), now)
        }
        Reconciled::NeverWill(verdict) => verdict::apply(writer, verdict, now),
        Reconciled::Again(_) if submits => Ok(()),
        Reconciled::Again(attempt) => writer.set_attempt_state(attempt, AttemptState::Prepared, None, now),
        Reconciled::Unknown(attempt, delay_ms, reason) => {
            writer.note_attempt(attempt, now + delay_ms, Some(reason), now)
        }
    }
}
