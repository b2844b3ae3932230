//! Asks operators about live attempts, and records what they say. How far backends were read is kept after that: what a
//! crash loses is told, asked about and collected again.
use crate::model::act::Act;
use crate::model::code::{Code, Word};
use crate::model::contract::Status;
use crate::model::reason::Reason;
use crate::model::states::{AttemptOutcome, AttemptState};
use crate::model::time::delay_ms;
use crate::plugin::PluginError;
use crate::store::{AttemptEnd, AttemptRow, Cancel, Durability, StoreError, Waiting, Writer};
use crate::tick::attempts::folders::json_of;
use crate::tick::attempts::gate::Gate;
use crate::tick::attempts::gather::{self, Gathered};
use crate::tick::attempts::verdict::{self, Sequel, Verdict};
use crate::tick::attempts::{NEXT_TICK_MS, UNAVAILABLE_MS, UNLOADED_MS};
use crate::tick::attempts::{job_end, stage};
use crate::tick::turn::{HELD_MAX, HELD_MAX_BYTES, Phase, Round, Turn};
use crate::tick::{Moment, Run, Tick, TickError, key, outside};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Characters of what an operator says of an attempt that goes on, of which each poll brings more.
const NOTE_MAX: usize = 2_000;

/// What one poll learnt of an attempt that goes on.
pub(super) struct Progress {
    pub(super) attempt: AttemptRow,
    pub(super) to: AttemptState,
    pub(super) reason: Option<Reason>,
    pub(super) poll_after_ms: u64,
    /// An answer that came from somebody who may not give it.
    pub(super) act: Option<Act>,
}

pub(super) enum Learnt {
    Progress(Progress),
    End(Verdict),
}

impl Learnt {
    /// What is held in memory until it is recorded, in bytes.
    fn bytes(&self) -> u64 {
        match self {
            Self::Progress(progress) => progress.attempt.bytes(),
            Self::End(verdict) => verdict.attempt.bytes() + verdict.end.data.as_ref().map_or(0, String::len) as u64,
        }
    }

    /// The attempt, if it is known now that it has completed.
    fn completed(&self) -> Option<&AttemptRow> {
        match self {
            Self::End(verdict) => (verdict.end.outcome == AttemptOutcome::Completed).then_some(&verdict.attempt),
            Self::Progress(_) => None,
        }
    }
}

/// Polls what changed or is due, collects what ended, and records it in batches.
pub(in crate::tick) fn poll_live_attempts(
    run: &mut Run,
    moment: Moment<'_>,
    turn: &Turn,
    tick: &mut Tick,
) -> Result<(), TickError> {
    let known = run.store.cursors()?;
    let begun = (moment.spent)();
    let mut changes = run.backends.changes(&known);
    tick.waited += (moment.spent)().saturating_sub(begun);
    let mut seen = BTreeSet::new();
    let mut due = Vec::new();
    for id in changes.attempts.iter().chain(&outside::changed_attempts(run)?) {
        due.extend(run.store.submitted_attempt(id.as_str())?.filter(|one| seen.insert(one.key)));
    }
    if changes.more {
        due.extend(run.store.attempts_submitted()?.into_iter().filter(|one| seen.insert(one.key)));
    }
    let changed = seen.clone();
    due.extend(run.store.attempts_due(moment.now_ms)?.into_iter().filter(|one| seen.insert(one.key)));
    // what changes all the time must not keep the others from being asked about
    due.sort_by_key(|one| (one.seen_ms, one.key));
    let mut round = Round::new(Phase::Poll, turn, due);
    ask_all(run, moment, &mut round, tick)?;
    // of what was not reached, a change that is told once only must not be forgotten
    let left: Vec<i64> = round.left().map(|one| one.key).filter(|key| changed.contains(key)).collect();
    tick.note_troubles(changes.troubles);
    let unwritten = run.backends.flush();
    // what such a backend was to do is learnt again from where its last look began
    changes.cursors.retain(|backend, _| unwritten.iter().all(|trouble| trouble.backend != *backend));
    tick.note_troubles(unwritten);
    let moved = changes.cursors.iter().any(|(backend, position)| known.get(backend) != Some(position));
    if moved || !left.is_empty() {
        run.store.transaction(Durability::Lazy, |writer| {
            left.iter().try_for_each(|key| writer.make_due(*key))?;
            changes.cursors.iter().try_for_each(|(backend, position)| writer.set_cursor(backend, position))
        })?;
    }
    Ok(())
}

/// Asks about attempts that were submitted just now and of which no backend will tell, so that one that waits for
/// somebody outside says so in the tick that put it there. Returns whether any ended.
pub(in crate::tick) fn poll_submitted(
    run: &mut Run,
    moment: Moment<'_>,
    turn: &Turn,
    submitted: Vec<Waiting>,
    tick: &mut Tick,
) -> Result<bool, TickError> {
    let mut round = Round::new(Phase::Advance, turn, submitted);
    Ok(ask_all(run, moment, &mut round, tick)? > 0)
}

/// Asks about attempts and records what was learnt, in batches, while there is time. Returns how many ended.
pub(in crate::tick) fn ask_all(
    run: &mut Run,
    moment: Moment<'_>,
    round: &mut Round,
    tick: &mut Tick,
) -> Result<u64, TickError> {
    let before = tick.finished;
    loop {
        let (mut learnt, mut held) = (Vec::new(), 0);
        while learnt.len() < HELD_MAX
            && held < HELD_MAX_BYTES
            && let Some(one) = round.next(moment, tick)
        {
            let Some(attempt) = run.store.live_attempt_at(one.key)? else { continue };
            tick.polled += 1;
            let one = ask(run, attempt, moment, tick)?;
            held += one.bytes();
            learnt.push(one);
        }
        if learnt.is_empty() {
            return Ok(tick.finished - before);
        }
        tick.finished += learnt.iter().filter(|one| matches!(one, Learnt::End(_))).count() as u64;
        let completed = learnt.iter().filter_map(Learnt::completed);
        let of_parts = completed.flat_map(stage::of_parts).collect::<Vec<PathBuf>>();
        run.store.transaction(Durability::Full, |writer| {
            learnt.into_iter().try_for_each(|one| record(writer, one, moment.now_ms))
        })?;
        // what a crash in between leaves there is of no harm
        for path in of_parts {
            stage::take_away(run, &path);
        }
    }
}

fn record(writer: &Writer<'_>, learnt: Learnt, now_ms: i64) -> Result<(), StoreError> {
    match learnt {
        Learnt::End(verdict) => verdict::apply(writer, &verdict, now_ms),
        Learnt::Progress(Progress { mut attempt, to, reason, poll_after_ms, act }) => {
            act.map(|act| writer.add_act(&act)).transpose()?;
            let reason = reason.or_else(|| cancel_failed(&attempt));
            if attempt.state != to {
                writer.set_attempt_state(&attempt, to, reason.as_ref(), now_ms)?;
                attempt.state = to;
            }
            writer.note_attempt(&attempt, now_ms + delay_ms(poll_after_ms), reason.as_ref(), now_ms)
        }
    }
}

/// Why the outside could not be told to stop the attempt: a person must go on seeing that while nothing else is to say.
fn cancel_failed(attempt: &AttemptRow) -> Option<Reason> {
    let told =
        attempt.reason_code.as_ref().is_some_and(|word| word.is(Code::CancelFailed)) && attempt.cancel == Cancel::Asked;
    attempt.reason.clone().filter(|_| told).map(|text| Reason::new(Code::CancelFailed, text))
}

/// Asks about one attempt, and collects it if it ended.
fn ask(run: &Run, attempt: AttemptRow, moment: Moment<'_>, tick: &mut Tick) -> Result<Learnt, TickError> {
    let gate = Gate::of(run, &attempt);
    let act = gate.as_ref().map_or(Ok(None), |gate| gate.set_aside(&attempt, moment))?;
    if !run.config.backend_tells(&attempt.operator) {
        crate::run::sign_what_came_by_hand(&run.dir.join(&attempt.directory), moment.user_name);
    }
    let before = gate.is_some().then(|| attempt.clone());
    let learnt = look(run, attempt, moment, tick)?;
    Ok(match (gate, before) {
        (Some(gate), Some(before)) => gate.heed(learnt, before, act),
        _ => learnt,
    })
}

/// Asks about one attempt whatever answer lies there, and collects it if it ended.
fn look(run: &Run, mut attempt: AttemptRow, moment: Moment<'_>, tick: &mut Tick) -> Result<Learnt, TickError> {
    crate::ground::failpoint::hit("check-status.before");
    let answer = run.plugins.check_status(&key(&attempt), &run.request(&attempt, json_of(run, &attempt)?));
    crate::ground::failpoint::hit("check-status.after");
    let report = match answer {
        Ok(report) => report,
        Err(error) => {
            tick.note_unloaded(&attempt, &error);
            return Ok(Learnt::Progress(goes_on_unasked(attempt, &error)));
        }
    };
    attempt.handle = report.handle.or(attempt.handle);
    let after = report.poll_after_ms;
    let (outcome, reason, sequel) = match report.status {
        Status::Queued => return Ok(goes_on(attempt, AttemptState::Submitted, None, after)),
        Status::Running(progress) => {
            let reason = progress.map(|text| Reason::new(Code::Progress, text));
            return Ok(goes_on(attempt, AttemptState::Running, reason, after));
        }
        Status::Waiting { kind, detail } => {
            let reason = Reason::new(Word::of_kind(&kind), detail);
            return Ok(goes_on(attempt, AttemptState::WaitingExternal, Some(reason), after));
        }
        Status::Unavailable(detail) => {
            let reason = Reason::of_operator(detail);
            return Ok(stays(attempt, Some(reason), after.or(Some(UNAVAILABLE_MS))));
        }
        Status::Succeeded => (AttemptOutcome::Completed, None, Sequel::Policy),
        Status::Failed(detail) => (AttemptOutcome::Failed, Some(Reason::of_operator(detail)), Sequel::Policy),
        Status::Cancelled => {
            (AttemptOutcome::Cancelled, Some(Reason::new(Code::Cancelled, "cancelled")), Sequel::Policy)
        }
        Status::NotStarted(detail) => (AttemptOutcome::Failed, Some(Reason::of_operator(detail)), Sequel::Misfire),
        Status::Lost(detail) => (AttemptOutcome::Lost, Some(Reason::of_operator(detail)), Sequel::Policy),
    };
    ended(run, Verdict { attempt, end: AttemptEnd::new(outcome, reason), sequel }, moment, tick)
}

/// What a poll learnt of an attempt that goes on, and when it is asked about again: what it waits for, if
/// it waits for something outside, is the word of the reason.
fn goes_on(mut attempt: AttemptRow, to: AttemptState, reason: Option<Reason>, after_ms: Option<u64>) -> Learnt {
    let outside = to == AttemptState::WaitingExternal;
    attempt.waits_for = reason.as_ref().filter(|_| outside).map(|reason| reason.word.clone());
    learnt(attempt, to, reason, after_ms)
}

/// The same where nothing new was learnt of where it stands.
fn stays(attempt: AttemptRow, reason: Option<Reason>, after_ms: Option<u64>) -> Learnt {
    let to = attempt.state;
    learnt(attempt, to, reason, after_ms)
}

fn learnt(mut attempt: AttemptRow, to: AttemptState, reason: Option<Reason>, after_ms: Option<u64>) -> Learnt {
    attempt.task_json = String::new();
    let reason = reason.map(|reason| Reason { text: reason.text.chars().take(NOTE_MAX).collect(), ..reason });
    Learnt::Progress(Progress { attempt, to, reason, poll_after_ms: after_ms.unwrap_or(NEXT_TICK_MS), act: None })
}

/// A poll that failed changes no verdict; the attempt is asked about again.
fn goes_on_unasked(attempt: AttemptRow, error: &PluginError) -> Progress {
    let to = attempt.state;
    Progress {
        attempt,
        to,
        reason: Some(Reason::new(error.kind.word(), format!("its status could not be asked: {error}"))),
        poll_after_ms: if error.kind.says_nothing() { UNLOADED_MS as u64 } else { UNAVAILABLE_MS },
        act: None,
    }
}

/// Collects an attempt that has ended.
fn ended(run: &Run, mut verdict: Verdict, moment: Moment<'_>, tick: &mut Tick) -> Result<Learnt, TickError> {
    let left_results = matches!(verdict.end.outcome, AttemptOutcome::Completed | AttemptOutcome::Failed);
    if left_results
        && verdict.sequel != Sequel::Misfire
        && let Gathered::Later(poll_after_ms, reason) = gather::gather(run, &mut verdict, tick)?
    {
        let (to, attempt) = (verdict.attempt.state, verdict.attempt);
        return Ok(Learnt::Progress(Progress { attempt, to, reason: Some(reason), poll_after_ms, act: None }));
    }
    job_end::note(run, &verdict.attempt, &mut verdict.end, moment);
    verdict.end.unstarted |= verdict.sequel == Sequel::Misfire;
    Ok(Learnt::End(verdict))
}
