//! Does what a plan says, in the transaction that records it: after a crash there is either both or neither.
use crate::model::code::Code;
use crate::model::contract::{Next, PlanReason};
use crate::model::reason::Reason;
use crate::model::states::{RunState, TaskState};
use crate::model::workflow::WorkflowError;
use crate::store::{StoreError, Wake, Writer};
use crate::tick::Run;
use crate::tick::campaign::PlanError;
use crate::tick::campaign::proposal::Proposal;

/// Plans in a row that may do nothing.
const IDLE_PLANS_MAX: u32 = 2;

/// Tasks that the campaign no longer wants and that have not ended.
#[derive(Default)]
pub(in crate::tick) struct Unwanted {
    /// The places of those that have no live attempt, the last planned first: what waits for another of them would be
    /// skipped by its end.
    idle: Vec<i64>,
    /// The places of those whose attempt is live.
    live: Vec<i64>,
}

impl Unwanted {
    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.live.is_empty()
    }
}

/// Which tasks these ids name, of those that have not ended.
pub(in crate::tick) fn unwanted(run: &Run, ids: &[String]) -> Result<Unwanted, PlanError> {
    let mut unwanted = Unwanted::default();
    for id in ids {
        let task = run.store.task(id)?.ok_or_else(|| WorkflowError::UnknownCancelled(id.clone()))?;
        if task.state.ended() {
            continue;
        }
        let is_live = run.store.attempts(task.key)?.iter().any(|attempt| !attempt.state.ended());
        if is_live { unwanted.live.push(task.key) } else { unwanted.idle.push(task.key) }
    }
    unwanted.idle.sort_unstable_by(|a, b| b.cmp(a));
    Ok(unwanted)
}

/// Does what a plan says.
pub(in crate::tick) fn follow(writer: &Writer<'_>, proposal: &Proposal) -> Result<(), StoreError> {
    let Proposal { asked, decision, tasks, unwanted, .. } = proposal;
    let now = asked.context.now_ms as i64;
    cancel(writer, unwanted, now)?;
    if let Some(at) = decision.wake_at_ms {
        writer.wake_at(Wake { at_ms: i64::try_from(at).unwrap_or(i64::MAX), set_ms: now })?;
    }
    match &decision.next {
        Next::Workflow(_) if !tasks.is_empty() => {
            writer.add_workflow(asked.context.iteration, asked.context.decision, tasks, now)
        }
        Next::Workflow(_) | Next::Wait => wait(writer, proposal),
        Next::Complete(document) => {
            writer.set_result(document)?;
            let reason = Reason::new(Code::Completed, decision.reason.as_str());
            end(writer, (asked.context.open_tasks, RunState::Completed), &reason, now)
        }
        Next::Fail(detail) => {
            end(writer, (asked.context.open_tasks, RunState::Failed), &Reason::of_campaign(detail), now)
        }
        Next::Hold(detail) => {
            writer.set_run_state(RunState::Active, RunState::Held, Some(&Reason::of_campaign(detail)), now)
        }
    }
}

/// Cancels what the campaign no longer wants.
fn cancel(writer: &Writer<'_>, unwanted: &Unwanted, now: i64) -> Result<(), StoreError> {
    let reason = Reason::new(Code::Cancelled, "the campaign no longer wants it");
    unwanted.live.iter().try_for_each(|key| writer.ask_cancel(Some(*key)))?;
    for key in &unwanted.idle {
        let from = writer.task_state(*key)?;
        if !from.ended() {
            writer.set_task_state(*key, (from, TaskState::Cancelled), Some(&reason), now)?;
        }
    }
    Ok(())
}

/// Counts a plan that added nothing. One that did nothing at all is asked for again, and holds the run if it then does
/// nothing again.
fn wait(writer: &Writer<'_>, proposal: &Proposal) -> Result<(), StoreError> {
    let Proposal { asked, row, decision, unwanted, .. } = proposal;
    let now = asked.context.now_ms as i64;
    let wake = decision.wake_at_ms.map(|at| i64::try_from(at).unwrap_or(i64::MAX));
    let wakes = wake.is_some_and(|at| at > now);
    // a time that is past comes at once: however much is open, such plans would go on for ever
    let spins = wake.is_some_and(|at| at <= now);
    if !unwanted.is_empty() || wakes || (asked.context.open_tasks > 0 && !spins) {
        return writer.set_idle_plans(0);
    }
    let idle = row.idle_plans + 1;
    writer.set_idle_plans(idle)?;
    if idle < IDLE_PLANS_MAX {
        return writer.ask_plan(PlanReason::Waited);
    }
    let mut text = format!("the campaign planned nothing {idle} times in a row");
    if spins {
        text.push_str(", and asked to be woken in the past");
    }
    writer.set_run_state(RunState::Active, RunState::Held, Some(&Reason::new(Code::PlannedNothing, text)), now)
}

/// Ends the run in a state by the campaign's word; while something is open, by way of cancelling it.
fn end(writer: &Writer<'_>, (open, to): (u64, RunState), reason: &Reason, now: i64) -> Result<(), StoreError> {
    if open == 0 {
        return writer.set_run_state(RunState::Active, to, Some(reason), now);
    }
    writer.cancel_pending(&Reason::new(Code::Cancelled, format!("the run {}", past(to))), now)?;
    writer.ask_cancel(None)?;
    writer.begin_to_end(to, reason, now)
}

/// What became of a run that ends so.
fn past(to: RunState) -> &'static str {
    if to == RunState::Failed { "failed" } else { "completed" }
}
