//! Submits attempts whose intent is committed, and records the answers. What a crash leaves `submitting`, whether its
//! submit took effect or not, the next tick reconciles.
use crate::backend::BackendTrouble;
use crate::backend::Unacknowledged;
use crate::model::code::{Code, Word};
use crate::model::contract::{AttemptRequest, Found, GuestError};
use crate::model::id::AttemptId;
use crate::model::reason::Reason;
use crate::model::states::AttemptState;
use crate::plugin::{PluginError, PluginErrorKind};
use crate::store::{AttemptRow, Durability, StoreError, Waiting, Writer};
use crate::tick::attempts::UNLOADED_MS;
use crate::tick::attempts::folders::task_of;
use crate::tick::attempts::start::{attempt_json, reason_of, refused, turned_away_ms};
use crate::tick::attempts::verdict::{self, Sequel, Verdict};
use crate::tick::attempts::{inputs, reconcile};
use crate::tick::{Moment, Run, Tick, TickError, key};
use std::collections::BTreeMap;
use std::sync::Arc;

/// When to ask `reconcile` about a submit whose answer was lost, in milliseconds.
const RECONCILE_MS: i64 = 1_000;
/// When to ask about an attempt of an operator whose backend reports changes by itself, in milliseconds.
const BACKEND_TELLS_MS: i64 = 10_000;

enum Submitted {
    Yes(AttemptRow),
    Later(AttemptRow, i64, Reason),
    /// Time was up before it was its turn: nothing was tried.
    NotTried(AttemptRow),
    Unknown(AttemptRow, Reason),
    No(Verdict),
}

/// Submits attempts whose intent is committed, and records the answers; at least the first, and the others while there
/// is time: what was not tried is recorded so. Returns those whose submit took effect and of which no backend will
/// tell.
pub(in crate::tick) fn submit_all(
    run: &mut Run,
    moment: Moment<'_>,
    attempts: Vec<AttemptRow>,
    tick: &mut Tick,
) -> Result<Vec<Waiting>, TickError> {
    let mut answers = Vec::with_capacity(attempts.len());
    for attempt in attempts {
        let over = !answers.is_empty() && moment.is_over(tick);
        answers.push(if over { Submitted::NotTried(attempt) } else { submit(run, attempt, tick)? });
        tick.waited += run.backends.take_waited();
    }
    if answers.is_empty() {
        return Ok(Vec::new());
    }
    let answers = synced(run, answers, tick);
    let config = &run.config;
    let tells = |attempt: &AttemptRow| config.backend_tells(&attempt.operator);
    let (went_bare_ids, mut bare) = (run.backends.went_bare(), Bare::new());
    for answer in &answers {
        if let Submitted::Yes(attempt) = answer
            && went_bare_ids.contains(&attempt.id)
        {
            bare.insert(attempt.key, went_bare(attempt));
        }
    }
    run.store.transaction(Durability::Lazy, |writer| {
        answers.iter().try_for_each(|answer| record(writer, answer, &tells, &bare, moment.now_ms))
    })?;
    let mut untold = Vec::new();
    for answer in answers {
        match answer {
            Submitted::Yes(attempt) => {
                tick.submitted += 1;
                tick.warning = tick.warning.take().or_else(|| bare.remove(&attempt.key));
                let waiting = Waiting { key: attempt.key, operator: attempt.operator.clone(), seen_ms: moment.now_ms };
                untold.extend((!tells(&attempt)).then_some(waiting));
            }
            Submitted::No(_) => tick.finished += 1,
            Submitted::Later(_, _, reason) if reason.is(Code::Environment) => {
                tick.warning = tick.warning.take().or(Some(reason.text));
            }
            Submitted::Later(..) | Submitted::NotTried(_) | Submitted::Unknown(..) => {}
        }
    }
    Ok(untold)
}

/// The sentences on attempts that found nothing of the one before, by their place in the database.
type Bare = BTreeMap<i64, String>;

/// Records what became of a submit; `tells` says whether a backend tells when there is something to ask about the
/// attempt.
fn record(
    writer: &Writer<'_>,
    answer: &Submitted,
    tells: &dyn Fn(&AttemptRow) -> bool,
    bare: &Bare,
    now: i64,
) -> Result<(), StoreError> {
    match answer {
        Submitted::Yes(attempt) => {
            let reason = bare.get(&attempt.key).map(|text| Reason::new(Code::NotCarried, text.as_str()));
            let due = tells(attempt).then_some(now + BACKEND_TELLS_MS);
            writer.move_attempt(attempt, &[AttemptState::Submitted], reason.as_ref(), due, now)
        }
        Submitted::Later(attempt, delay_ms, reason) => {
            writer.move_attempt(attempt, &[AttemptState::Prepared], Some(reason), Some(now + delay_ms), now)
        }
        Submitted::NotTried(attempt) => writer.move_attempt(attempt, &[AttemptState::Prepared], None, Some(0), now),
        Submitted::Unknown(attempt, reason) => writer.note_attempt(attempt, now + RECONCILE_MS, Some(reason), now),
        Submitted::No(verdict) => verdict::apply(writer, verdict, now),
    }
}

/// The sentence on an attempt that was to go on from an earlier one.
fn went_bare(attempt: &AttemptRow) -> String {
    format!(
        "attempt {} of task `{}` carries nothing over: what the one before left is no longer on its cluster, or no backend \
         names that any more",
        attempt.number, attempt.task_id
    )
}

fn submit(run: &Run, mut attempt: AttemptRow, tick: &mut Tick) -> Result<Submitted, TickError> {
    let task = task_of(run, &attempt)?;
    let json = attempt_json(run, &attempt, &task)?;
    let inputs = Arc::new(inputs::of(run, &attempt, &task)?);
    crate::ground::failpoint::hit("submit.before");
    let request = AttemptRequest { inputs, ..run.request(&attempt, json) };
    let answer = run.plugins.submit(&key(&attempt), &request);
    crate::ground::failpoint::hit("submit.after");
    Ok(match answer {
        Ok(submitted) => {
            attempt.take(submitted);
            Submitted::Yes(attempt)
        }
        Err(error) => match &error.kind {
            kind if kind.never_ran() => {
                tick.note_unloaded(&attempt, &error);
                Submitted::Later(attempt, UNLOADED_MS, reason_of(&error))
            }
            PluginErrorKind::Guest(GuestError::Other(_))
            | PluginErrorKind::Trap(_)
            | PluginErrorKind::Memory(_)
            | PluginErrorKind::Limit(_)
            | PluginErrorKind::Refusals(_)
            | PluginErrorKind::BadOutput(_) => broken_off(run, attempt, &error),
            PluginErrorKind::Guest(guest) => not_submitted(attempt, guest, error.to_string()),
            PluginErrorKind::Deadline(_)
            | PluginErrorKind::Fuel(_)
            | PluginErrorKind::Starved(_)
            | PluginErrorKind::Load(_)
            | PluginErrorKind::Compile(_)
            | PluginErrorKind::NotGranted { .. }
            | PluginErrorKind::Ungiven(_)
            | PluginErrorKind::Unstarted(_) => {
                tick.note_unloaded(&attempt, &error);
                Submitted::Unknown(attempt, unheard(&error))
            }
        },
    })
}

/// A plugin that trapped, hit a limit or failed for its own reasons in `submit` would do so again. It is asked at once
/// whether anything came of it: if provably nothing did, the attempt has failed, and the task's own retry policy says
/// what follows.
fn broken_off(run: &Run, mut attempt: AttemptRow, error: &PluginError) -> Submitted {
    match reconcile::reconcile(run, &attempt) {
        Ok(Found::Yes(submitted)) => {
            attempt.take(submitted);
            Submitted::Yes(attempt)
        }
        Ok(Found::No) => Submitted::No(refused(attempt, error)),
        Ok(Found::Unknown { .. }) | Err(_) => Submitted::Unknown(attempt, unheard(error)),
    }
}

/// What is said of a submit of which nobody knows whether it took effect.
fn unheard(error: &PluginError) -> Reason {
    Reason::new(error.kind.word_of_operator(), format!("the answer of submit was lost: {error}"))
}

/// What an error says about a submit: provably without effect, for now or for good, or nobody knows.
fn not_submitted(attempt: AttemptRow, error: &GuestError, text: String) -> Submitted {
    match error {
        GuestError::Transient { retry_after_ms, detail } => {
            let waits = detail.code == Code::Environment.as_str();
            let code = if waits { Code::Environment } else { Code::TurnedAway };
            let text = if waits { detail.message.clone() } else { text };
            Submitted::Later(attempt, turned_away_ms(*retry_after_ms), Reason::new(code, text))
        }
        GuestError::Invalid(_) | GuestError::Rejected(_) | GuestError::Denied(_) => {
            let reason = Reason::new(Word::of_operator(&error.detail().code), text);
            Submitted::No(Verdict::failed(attempt, reason, Sequel::Nothing))
        }
        GuestError::Ambiguous(detail) | GuestError::Other(detail) => {
            let text = format!("the answer of submit was lost: {text}");
            Submitted::Unknown(attempt, Reason::new(Word::of_operator(&detail.code), text))
        }
    }
}

/// What was answered, once the backends have handed on what they took: that must be on their disk before the store says
/// `submitted`. What they did not acknowledge after all is still `submitting`, as it was committed before.
fn synced(run: &Run, answers: Vec<Submitted>, tick: &mut Tick) -> Vec<Submitted> {
    let (mut failed, troubles) = run.backends.sync();
    let answers = if failed.is_empty() && troubles.is_empty() {
        answers
    } else {
        let after = |answer| unknown_where_troubled(run, after_sync(answer, &mut failed), &troubles);
        answers.into_iter().map(after).collect()
    };
    tick.note_troubles(troubles);
    answers
}

/// Of a submit by an operator that may use a backend whose files cannot be written, nothing is known.
fn unknown_where_troubled(run: &Run, answer: Submitted, troubles: &[BackendTrouble]) -> Submitted {
    let trouble = |attempt: &AttemptRow| {
        troubles
            .iter()
            .find(|trouble| run.config.may_use(&attempt.operator, &trouble.backend))
            .map(BackendTrouble::told)
    };
    match answer {
        Submitted::Yes(mut attempt) => match trouble(&attempt) {
            Some(text) => {
                attempt.handle = None;
                Submitted::Unknown(attempt, Reason::new(Code::UnknownSubmit, text))
            }
            None => Submitted::Yes(attempt),
        },
        other @ (Submitted::Later(..) | Submitted::NotTried(_) | Submitted::Unknown(..) | Submitted::No(_)) => other,
    }
}

/// A submit that the operator took for done, after its backend has told what it failed to hand on.
fn after_sync(answer: Submitted, failed: &mut Unacknowledged) -> Submitted {
    match answer {
        Submitted::Yes(mut attempt) => match failed.remove(&AttemptId(attempt.id.clone())) {
            Some(error) => {
                attempt.handle = None;
                not_submitted(attempt, &error, error.detail().message.clone())
            }
            None => Submitted::Yes(attempt),
        },
        other @ (Submitted::Later(..) | Submitted::NotTried(_) | Submitted::Unknown(..) | Submitted::No(_)) => other,
    }
}
