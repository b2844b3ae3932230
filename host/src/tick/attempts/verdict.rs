//! What the end of an attempt means for its task. Both change in the caller's transaction: after a crash there is both
//! or neither.
use crate::model::code::Code;
use crate::model::id::TaskId;
use crate::model::reason::Reason;
use crate::model::states::{AttemptOutcome, TaskState};
use crate::model::workflow::{Retry, Task};
use crate::store::{self, AttemptEnd, AttemptRow, StoreError, Writer};
use crate::tick::{Run, TickError};

/// The attempts in a row that may fail to start through no fault of the task: after so many it has failed.
const MISFIRES_MAX: u32 = 10;
/// The shortest back-off, in milliseconds, also where a task asks for none.
const BACKOFF_MIN_MS: f64 = 100.0;
/// The longest back-off of what the machine had no room for, in milliseconds.
const NO_ROOM_MAX_MS: i64 = 30_000;
/// The longest back-off, in milliseconds.
const BACKOFF_MAX_MS: f64 = 3_600_000.0;
/// How often a back-off doubles before it reaches its ceiling from any first delay that is not nothing.
const DOUBLINGS_MAX: u32 = 1_000;

/// How an attempt ended.
#[derive(Debug)]
pub(in crate::tick) struct Verdict {
    pub(in crate::tick) attempt: AttemptRow,
    pub(in crate::tick) end: AttemptEnd,
    pub(in crate::tick) sequel: Sequel,
}

/// What may follow an attempt that did not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tick) enum Sequel {
    /// Whatever the task's retry policy says.
    Policy,
    /// Another attempt that does not use up the task's own: the command provably never started.
    Misfire,
    /// None: what was asked for can never be done.
    Nothing,
}

impl Verdict {
    /// The end of an attempt that failed.
    pub(in crate::tick) fn failed(attempt: AttemptRow, reason: Reason, sequel: Sequel) -> Self {
        Self { attempt, end: AttemptEnd::new(AttemptOutcome::Failed, Some(reason)), sequel }
    }

    /// The end of an attempt that was stopped before the outside had it.
    pub(in crate::tick) fn cancelled(attempt: AttemptRow) -> Self {
        let reason = Reason::new(Code::Cancelled, "cancelled before it was submitted");
        Self { attempt, end: AttemptEnd::new(AttemptOutcome::Cancelled, Some(reason)), sequel: Sequel::Misfire }
    }
}

/// The part of a task that says what follows its attempts.
#[derive(serde::Deserialize)]
struct Policy {
    #[serde(default)]
    retry: Retry,
}

/// Parses a task as stored.
pub(in crate::tick) fn stored_task(json: &str) -> Result<Task, TickError> {
    Ok(store::document(json)?)
}

/// A task that was planned earlier.
pub(in crate::tick) fn earlier_task(run: &Run, id: &TaskId) -> Result<Option<Task>, TickError> {
    let Some(row) = run.store.task(id.as_str())? else { return Ok(None) };
    stored_task(&run.store.task_json(row.key)?).map(Some)
}

/// Ends the attempt and moves its task on, in the caller's transaction.
pub(in crate::tick) fn apply(writer: &Writer<'_>, verdict: &Verdict, now_ms: i64) -> Result<(), StoreError> {
    let attempt = &verdict.attempt;
    writer.end_attempt(attempt, &verdict.end, now_ms)?;
    let reason = verdict.end.reason.as_ref();
    let running = TaskState::Running;
    match verdict.end.outcome {
        AttemptOutcome::Completed => {
            writer.set_task_state(attempt.task_key, (running, TaskState::Completed), None, now_ms)
        }
        AttemptOutcome::Cancelled => {
            writer.set_task_state(attempt.task_key, (running, TaskState::Cancelled), reason, now_ms)
        }
        AttemptOutcome::Failed | AttemptOutcome::Lost => {
            let unsaid = Reason::new(Code::Failed, "it failed");
            after_failure(writer, verdict, reason.unwrap_or(&unsaid), now_ms)
        }
    }
}

fn after_failure(writer: &Writer<'_>, verdict: &Verdict, reason: &Reason, now_ms: i64) -> Result<(), StoreError> {
    let attempt = &verdict.attempt;
    let key = attempt.task_key;
    if attempt.cancel.is_wanted() {
        return writer.set_task_state(key, (TaskState::Running, TaskState::Cancelled), Some(reason), now_ms);
    }
    let policy: Policy = store::document(&attempt.task_json)?;
    let lost = verdict.end.outcome == AttemptOutcome::Lost;
    let ended = Ended { lost, sequel: verdict.sequel, code: reason.word.own() };
    let (tries, misfires) = writer.count_try(key, !ended.misfired())?;
    match next(ended, &policy.retry, tries, misfires) {
        Next::Asked => {
            let text = match reason.is(Code::EndUnseen) {
                true => format!("attempt {} ran, and how it ended was not seen ({})", attempt.number, reason.text),
                false => format!("attempt {} is lost ({}); nobody knows whether it ran", attempt.number, reason.text),
            };
            writer.set_task_reason(key, Some(&Reason::new(Code::Lost, text)))
        }
        Next::Failed => writer.set_task_state(key, (TaskState::Running, TaskState::Failed), Some(reason), now_ms),
        Next::Again { delay_ms } => {
            let text =
                format!("attempt {} ended with {}; the next starts after a back-off", attempt.number, reason.text);
            writer.set_retry(key, now_ms + delay_ms, now_ms, &Reason::new(Code::Retry, text))
        }
    }
}

/// The end of an attempt that did not complete, as far as what follows depends on it.
#[derive(Debug, Clone, Copy)]
struct Ended {
    lost: bool,
    sequel: Sequel,
    code: Option<Code>,
}

impl Ended {
    /// Whether the task is not to blame: its own attempts are not used up.
    fn misfired(self) -> bool {
        self.sequel == Sequel::Misfire || !self.lost && self.code.is_some_and(Code::is_infrastructure)
    }
}

/// What becomes of a task whose attempt did not complete.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// A person decides.
    Asked,
    Failed,
    Again {
        delay_ms: i64,
    },
}

/// What follows an end, after so many attempts of the task's own and so many misfires in a row, this one among them.
fn next(ended: Ended, retry: &Retry, tries: u32, misfires: u32) -> Next {
    if ended.lost && !retry.on.lost {
        return Next::Asked;
    }
    let misfired = ended.misfired();
    // what the machine has no room for waits for jobs to end, however often that takes
    let no_room = misfired && ended.code == Some(Code::NoRoom);
    let again = if misfired { no_room || misfires < MISFIRES_MAX } else { tries < retry.max_attempts };
    // what left too much would leave as much again
    if !again || ended.sequel == Sequel::Nothing || ended.code == Some(Code::OutputQuota) {
        return Next::Failed;
    }
    let delay_ms = match (no_room, misfired) {
        (true, _) => back_off_ms(1.0, misfires).min(NO_ROOM_MAX_MS),
        (false, true) => back_off_ms(1.0, misfires),
        (false, false) => back_off_ms(retry.backoff_s, tries),
    };
    Next::Again { delay_ms }
}

/// How long after its `number`-th end in a row the next attempt starts, in milliseconds: it doubles each time, and has
/// a floor and a ceiling.
fn back_off_ms(first_s: f64, number: u32) -> i64 {
    let doublings = number.saturating_sub(1).min(DOUBLINGS_MAX) as i32;
    (first_s * 1000.0 * 2f64.powi(doublings)).clamp(BACKOFF_MIN_MS, BACKOFF_MAX_MS) as i64
}

#[cfg(test)]
mod tests {
    use super::{Ended, MISFIRES_MAX, Next, Sequel, back_off_ms, next};
    use crate::model::code::Code;
    use crate::model::workflow::Retry;

    #[test]
    fn what_follows_an_end() {
        use Sequel::{Misfire, Nothing, Policy};
        let mut retry = Retry { max_attempts: 3, backoff_s: 2.0, ..Retry::default() };
        let again = |delay_ms| Next::Again { delay_ms };
        // a word of the operator's own
        let exit = None;
        let cases = [
            ((false, Policy, exit), (1, 0), again(2_000)),
            ((false, Policy, exit), (2, 0), again(4_000)),
            ((false, Policy, exit), (3, 0), Next::Failed),
            ((false, Nothing, exit), (1, 0), Next::Failed),
            ((false, Policy, Some(Code::OutputQuota)), (1, 0), Next::Failed),
            ((false, Misfire, exit), (3, 1), again(1_000)),
            ((false, Misfire, exit), (0, MISFIRES_MAX), Next::Failed),
            ((false, Misfire, Some(Code::NoRoom)), (0, 50), again(30_000)),
            ((true, Policy, None), (1, 0), Next::Asked),
        ];
        for ((lost, sequel, code), (tries, misfires), expected) in cases {
            let ended = Ended { lost, sequel, code };
            assert_eq!(next(ended, &retry, tries, misfires), expected, "{ended:?} {tries} {misfires}");
        }
        retry.on.lost = true;
        let ended = Ended { lost: true, sequel: Policy, code: None };
        assert_eq!(next(ended, &retry, 1, 0), again(2_000), "the task allows it");
    }

    #[test]
    fn a_back_off_has_a_floor_and_a_ceiling() {
        let cases = [
            ((1.0, 1), 1_000),
            ((1.0, 4), 8_000),
            ((0.0, 1), 100),
            ((0.0, u32::MAX), 100),
            ((1e-300, 900), 100),
            ((1.0, u32::MAX), 3_600_000),
            ((f64::MAX, 2), 3_600_000),
            ((0.05, 1), 100),
        ];
        for ((first_s, number), expected) in cases {
            assert_eq!(back_off_ms(first_s, number), expected, "{first_s} {number}");
        }
    }
}
