//! Tells the outside to stop what is not wanted any more. An attempt counts as told once that is on the backend's disk:
//! after a crash before it is recorded, its operator is asked to cancel it again.
use crate::model::code::Code;
use crate::model::reason::Reason;
use crate::model::states::AttemptState;
use crate::store::{AttemptRow, Durability, StoreError, Writer};
use crate::tick::attempts::verdict::{self, Verdict};
use crate::tick::turn::{HELD_MAX, HELD_MAX_BYTES, Phase, Round, Turn};
use crate::tick::{Moment, Run, Tick, TickError, key};

/// What became of telling the outside to stop an attempt.
enum Told {
    /// The outside never had it.
    NotNeeded(Verdict),
    Yes(i64),
    Failed(AttemptRow, Reason),
}

/// Tells the outside to stop what a person wants stopped.
pub(in crate::tick) fn stop_what_is_unwanted(
    run: &mut Run,
    moment: Moment<'_>,
    turn: &Turn,
    tick: &mut Tick,
) -> Result<(), TickError> {
    let mut round = Round::new(Phase::Stop, turn, run.store.attempts_to_stop()?);
    loop {
        let (mut told, mut held) = (Vec::new(), 0);
        while told.len() < HELD_MAX
            && held < HELD_MAX_BYTES
            && let Some(one) = round.next(moment, tick)
        {
            let Some(attempt) = run.store.live_attempt_at(one.key)? else { continue };
            held += attempt.bytes();
            told.push((attempt.operator.clone(), tell(run, attempt, tick)));
        }
        if told.is_empty() {
            return Ok(());
        }
        // Once the store says that the outside was told, nobody tells it again.
        let troubles = run.backends.sync_local();
        // what a backend may not have heard it is told again by the next tick
        told.retain(|(operator, one)| {
            let unheard = || troubles.iter().any(|trouble| run.config.may_use(operator, &trouble.backend));
            !(matches!(one, Told::Yes(_)) && unheard())
        });
        tick.note_troubles(troubles);
        run.store.transaction(Durability::Full, |writer| {
            told.iter().try_for_each(|(_, one)| record(writer, one, moment.now_ms))
        })?;
    }
}

fn record(writer: &Writer<'_>, told: &Told, now_ms: i64) -> Result<(), StoreError> {
    match told {
        Told::NotNeeded(verdict) => verdict::apply(writer, verdict, now_ms),
        Told::Yes(key) => writer.cancel_told(*key),
        Told::Failed(attempt, reason) => writer.note_attempt(attempt, 0, Some(reason), now_ms),
    }
}

fn tell(run: &Run, mut attempt: AttemptRow, tick: &mut Tick) -> Told {
    if matches!(attempt.state, AttemptState::Created | AttemptState::Prepared) {
        return Told::NotNeeded(Verdict::cancelled(attempt));
    }
    crate::ground::failpoint::hit("cancel.before");
    let answer = run.plugins.cancel(&key(&attempt), &run.request(&attempt, attempt.task_json.clone()));
    crate::ground::failpoint::hit("cancel.after");
    match answer {
        Ok(()) => Told::Yes(attempt.key),
        Err(error) => {
            tick.note_unloaded(&attempt, &error);
            attempt.task_json = String::new();
            let text = format!("cancel failed and will be tried again: {error}");
            Told::Failed(attempt, Reason::new(Code::CancelFailed, text))
        }
    }
}
