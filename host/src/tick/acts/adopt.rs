//! What becomes of live attempts when somebody else takes a run over. What is learnt is recorded as it comes, and the
//! run is taken over last: after a crash `adopt` is given again, and begins with what is live still.
use crate::model::code::Code;
use crate::model::contract::Found;
use crate::model::reason::Reason;
use crate::model::states::{AttemptOutcome, AttemptState};
use crate::store::{AttemptEnd, Durability};
use crate::tick::attempts::poll::ask_all;
use crate::tick::attempts::reconcile::reconcile;
use crate::tick::attempts::verdict::{self, Sequel, Verdict};
use crate::tick::turn::{Phase, Round, Turn};
use crate::tick::{Moment, Run, Tick, TickError};

/// What was found of the attempts of a run that was taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Those that had ended, and whose results were taken.
    pub taken: u64,
    /// Those that were given up as lost.
    pub lost: u64,
}

/// Asks about every live attempt, takes what has ended, and ends the others as lost, because somebody else may be
/// carrying them out. Submits nothing and starts nothing.
///
/// # Errors
/// If the store refuses.
pub fn adopt_live_attempts(run: &mut Run, moment: Moment<'_>, why: &str) -> Result<Adopted, TickError> {
    let before = run.store.live_count(None)?;
    find_interrupted_submits(run, moment)?;
    let mut round = Round::new(Phase::Poll, &Turn::default(), run.store.attempts_submitted()?);
    ask_all(run, moment, &mut round, &mut Tick::default())?;
    let left = run.store.live_attempts(u32::MAX)?;
    let lost = left.len() as u64;
    run.store.transaction(Durability::Full, |writer| {
        for attempt in left {
            let end = AttemptEnd::new(AttemptOutcome::Lost, Some(Reason::new(Code::Adopted, why)));
            verdict::apply(writer, &Verdict { attempt, end, sequel: Sequel::Policy }, moment.now_ms)?;
        }
        Ok(())
    })?;
    Ok(Adopted { taken: before.saturating_sub(lost), lost })
}

/// Adopts submits whose answer was lost and that took effect, so that they are asked about too.
fn find_interrupted_submits(run: &mut Run, moment: Moment<'_>) -> Result<(), TickError> {
    for mut attempt in run.store.live_attempts(u32::MAX)? {
        if attempt.state == AttemptState::Submitting
            && let Ok(Found::Yes(submitted)) = reconcile(run, &attempt)
        {
            attempt.take(submitted);
            let reason = Reason::new(Code::Found, "found outside");
            run.store.transaction(Durability::Full, |writer| {
                writer.set_attempt_state(&attempt, AttemptState::Submitted, Some(&reason), moment.now_ms)
            })?;
        }
    }
    Ok(())
}
