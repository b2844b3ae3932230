//! Does what a plan says, in the transaction that records it: after a crash there is either both or neither.
use crate::model::code::Code;
use crate::model::contract::Next;
use crate::model::reason::Reason;
use crate::model::states::RunState;
use crate::store::{StoreError, Writer};
use crate::tick::campaign::ask::Proposal;

/// Plans in a row that may plan nothing.
const IDLE_PLANS_MAX: u32 = 2;

/// Does what a plan says.
pub(in crate::tick) fn follow(writer: &Writer<'_>, proposal: &Proposal) -> Result<(), StoreError> {
    let Proposal { asked, row, next, reason, tasks, .. } = proposal;
    let (now, from) = (asked.context.now_ms as i64, RunState::Active);
    match next {
        Next::Workflow(_) if !tasks.is_empty() => {
            writer.add_workflow(asked.iteration, asked.context.decision, tasks, now)
        }
        Next::Workflow(_) | Next::Wait => {
            let idle = row.idle_plans + 1;
            writer.set_idle_plans(idle)?;
            if idle < IDLE_PLANS_MAX {
                return Ok(());
            }
            let text = format!("the campaign planned nothing {idle} times in a row");
            writer.set_run_state(from, RunState::Held, Some(&Reason::new(Code::PlannedNothing, text)), now)
        }
        Next::Complete(document) => {
            writer.set_result(document)?;
            writer.set_run_state(from, RunState::Completed, Some(&Reason::new(Code::Completed, reason.as_str())), now)
        }
        Next::Fail(detail) => writer.set_run_state(from, RunState::Failed, Some(&Reason::of_campaign(detail)), now),
        Next::Hold(detail) => writer.set_run_state(from, RunState::Held, Some(&Reason::of_campaign(detail)), now),
    }
}
