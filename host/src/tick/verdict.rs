//! What the end of an attempt means for its task.
use super::TickError;
use crate::model::states::{AttemptState, TaskState};
use crate::model::workflow::Task;
use crate::store::{AttemptEnd, AttemptRow, StoreError, Writer};

/// Attempts in a row that may fail to start, through no fault of the task, before a person is asked.
const MISFIRES_MAX: u32 = 10;
const BACKOFF_MAX_MS: f64 = 3_600_000.0;
/// How a backend names an end that the machines or the scheduler brought about: the command provably ended, by no doing
/// of the task's, so another attempt follows without using up the task's own.
const INFRASTRUCTURE: &[&str] = &["node-fail", "preempted", "requeued"];

/// How an attempt ended, and whether its command provably never started.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) attempt: AttemptRow,
    pub(super) end: AttemptEnd,
    pub(super) never_started: bool,
}

/// Parses a task as stored.
pub(super) fn stored_task(json: &str) -> Result<Task, TickError> {
    serde_json::from_str(json).map_err(|error| TickError::Store(StoreError::Row(format!("stored task: {error}"))))
}

/// Ends the attempt and moves its task on, in the caller's transaction.
pub(super) fn apply(writer: &Writer<'_>, verdict: &Verdict, now_ms: i64) -> Result<(), StoreError> {
    let attempt = &verdict.attempt;
    writer.end_attempt(attempt, &verdict.end, now_ms)?;
    let reason = verdict.end.reason.as_ref().map(|(code, text)| (code.as_str(), text.as_str()));
    let running = TaskState::Running;
    match verdict.end.state {
        AttemptState::Completed => {
            writer.set_task_state(attempt.task_key, (running, TaskState::Completed), None, now_ms)
        }
        AttemptState::Cancelled => {
            writer.set_task_state(attempt.task_key, (running, TaskState::Cancelled), reason, now_ms)
        }
        _ => after_failure(writer, verdict, reason.unwrap_or(("failed", "failed")), now_ms),
    }
}

fn after_failure(
    writer: &Writer<'_>,
    verdict: &Verdict,
    (code, text): (&str, &str),
    now_ms: i64,
) -> Result<(), StoreError> {
    let attempt = &verdict.attempt;
    let key = attempt.task_key;
    if attempt.cancel_asked > 0 {
        return writer.set_task_state(key, (TaskState::Running, TaskState::Cancelled), Some((code, text)), now_ms);
    }
    let task: Task = serde_json::from_str(&attempt.task_json).map_err(|error| StoreError::Row(error.to_string()))?;
    let lost = verdict.end.state == AttemptState::Lost;
    let misfired = verdict.never_started || (!lost && INFRASTRUCTURE.contains(&code));
    let (tries, misfires) = writer.count_try(key, !misfired)?;
    if lost && !task.retry.on.lost {
        let text = format!("attempt {} is lost ({text}); nobody knows whether it ran", attempt.number);
        return writer.set_task_reason(key, Some(("lost", &text)));
    }
    let again = if misfired { misfires < MISFIRES_MAX } else { tries < task.retry.max_attempts };
    // another attempt would leave as much
    if !again || code == "invalid" || code == super::again::QUOTA {
        return writer.set_task_state(key, (TaskState::Running, TaskState::Failed), Some((code, text)), now_ms);
    }
    let (first_s, number) = if misfired { (1.0, misfires) } else { (task.retry.backoff_s, tries) };
    let delay_ms = (first_s * 1000.0 * 2f64.powi(number as i32 - 1)).min(BACKOFF_MAX_MS) as i64;
    let text = format!("attempt {} ended with {text}; the next starts after a back-off", attempt.number);
    writer.set_retry(key, now_ms + delay_ms, now_ms, ("retry", &text))
}
