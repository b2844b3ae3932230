//! Runs that come to rest by themselves: cancelled once nothing of them is live, or held because nothing in them can
//! move. Each is one transaction; after a crash before it, the next tick sees the same and does the same.
use super::decide::Stuck;
use super::{Moment, Run, TickError};
use crate::model::code::Code;
use crate::model::reason::Reason;
use crate::model::states::RunState;
use crate::store::Durability;

/// Ends a run that is being cancelled and of which nothing is live, as a tick does.
///
/// # Errors
/// If the run is not being cancelled, or the store refuses.
pub fn end_cancelled(run: &mut Run, now_ms: i64) -> Result<(), TickError> {
    let (row, ends_in) = (run.store.run()?, run.store.ends_in()?);
    let to = ends_in.unwrap_or(RunState::Cancelled);
    let told = match ends_in {
        Some(RunState::Completed) => "the run completed",
        Some(RunState::Failed) => "the run failed",
        _ => "the run was cancelled",
    };
    let reason = match (row.reason_code, row.reason) {
        (Some(word), Some(text)) if ends_in.is_some() => Reason { word, text },
        _ => Reason::new(Code::Cancelled, "cancelled by a person"),
    };
    run.store.transaction(Durability::Full, |writer| {
        writer.cancel_waiting(&Reason::new(Code::Cancelled, told), now_ms)?;
        writer.set_run_state(RunState::Cancelling, to, Some(&reason), now_ms)
    })?;
    Ok(())
}

/// Holds a run in which nothing can move, and says why.
pub(super) fn hold(run: &mut Run, moment: Moment<'_>, stuck: Stuck) -> Result<(), TickError> {
    let reason = match stuck {
        Stuck::Lost => {
            let lost = run.store.lost_tasks()?;
            let text = format!("{lost} lost task(s) wait for `settle`, `rerun` or `cancel`, and nothing else can move");
            Reason::new(Code::Lost, text)
        }
        Stuck::Idle => Reason::new(Code::Stuck, why_idle(run)?),
    };
    run.store.transaction(Durability::Full, |writer| {
        writer.set_run_state(RunState::Active, RunState::Held, Some(&reason), moment.now_ms)
    })?;
    Ok(())
}

/// What keeps a run from moving that waits for nothing.
fn why_idle(run: &Run) -> Result<String, TickError> {
    let unknown = run.store.ready_operators()?.into_iter().find(|key| !run.config.operators.contains_key(key));
    if let Some(operator) = unknown {
        return Ok(format!("nothing is live and nothing can start: the configuration has no operator `{operator}`"));
    }
    let open = run.store.open_tasks(1)?;
    let task = open.first().map_or(String::new(), |task| format!(": task `{}` is {}", task.id, task.state));
    Ok(format!("nothing is live and nothing can start{task}"))
}
