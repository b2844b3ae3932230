//! `tell`: what a person knows is handed to the campaign at once, so that what it refuses changes nothing.
use crate::model::act::Act;
use crate::model::code::Code;
use crate::model::reason::Reason;
use crate::model::states::RunState;
use crate::store::Durability;
use crate::tick::acts::control::{ControlError, not_now};
use crate::tick::campaign::PlanError;
use crate::tick::campaign::proposal::propose_told;
use crate::tick::{Moment, Run};

/// Why the campaign was told nothing.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The run is not in a state that allows it.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The campaign refused it.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Asks for a plan that sees what a person supplies (JSON text), and records it with what it planned. A run that is
/// held or has ended goes on; one that is paused stays so. Returns how many tasks were planned.
///
/// # Errors
/// If the run is being cancelled, or the campaign refuses; then nothing is changed.
pub fn tell(run: &mut Run, supplied: &str, act: &Act, moment: Moment<'_>) -> Result<u64, TellError> {
    let row = run.store.run().map_err(ControlError::from)?;
    let stays = match row.state {
        RunState::Active | RunState::Paused => true,
        RunState::Held | RunState::Completed | RunState::Failed | RunState::Cancelled => false,
        RunState::Cancelling => {
            let what = format!("run `{}` is being cancelled and can be told nothing", row.run_id);
            return Err(not_now(run, what, None).into());
        }
    };
    let proposal = propose_told(run, supplied, moment)?;
    let took = run.store.transaction(Durability::Full, |writer| {
        writer.add_act(act)?;
        if !stays {
            let reason = row.state.ended().then(|| Reason::new(Code::Revived, "a person told it more"));
            writer.set_run_state(row.state, RunState::Active, reason.as_ref(), act.at_ms)?;
        }
        proposal.take(writer)
    });
    took.map_err(ControlError::from)?;
    Ok(proposal.planned())
}
