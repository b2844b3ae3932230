//! What `loop` does between two ticks: a pure rule over the state that the last one left. It reads alone; after a crash
//! the next `loop` finds the same.
use super::Ending;
use crate::failure::Failure;
use crate::model::states::RunState;
use crate::run::Run;
use std::time::Duration;

/// The shortest wait before asking again an operator that gave no hint.
const POLL_MIN: Duration = Duration::from_millis(250);
/// The longest wait where nothing tells of a change, such as a file on another machine.
const POLL_MAX: Duration = Duration::from_secs(60);

/// What is done until the next tick.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pause {
    Over(Ending),
    None,
    Until(Duration),
}

/// The state after a tick, as far as the next one depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct After {
    state: RunState,
    /// Whether any attempt is live.
    live: bool,
    /// Whether any task is ready to start.
    ready: bool,
    /// Whether any live attempt goes on by itself.
    moves: bool,
    /// When a back-off ends, and when an operator is to be asked, in milliseconds since the epoch.
    retry: Option<i64>,
    due: Option<i64>,
    /// When a scheduler is to be asked.
    polls: Option<Duration>,
}

impl After {
    pub(super) fn of(run: &Run) -> Result<Self, Failure> {
        let store = &run.store;
        let state = store.run()?.state;
        if state.ended() {
            return Ok(Self { state, live: false, ready: false, moves: false, retry: None, due: None, polls: None });
        }
        let submits = submits(state);
        let polls = run.backends.poll_after();
        Ok(Self {
            state,
            live: store.live_count(None)? > 0,
            ready: run.has_ready_task()?,
            moves: store.anything_moves(submits)?,
            retry: store.next_retry()?,
            due: store.next_due(submits)?,
            polls,
        })
    }
}

/// Whether a tick of a run in this state submits what has been prepared.
pub(super) fn submits(state: RunState) -> bool {
    !matches!(state, RunState::Paused | RunState::Held)
}

/// What the state after a tick means for the next; `waits` for people and kits too.
pub(super) fn pause_after(after: After, waits: bool, now_ms: i64) -> Pause {
    let After { state, live, ready, moves, .. } = after;
    match state {
        RunState::Completed => return Pause::Over(Ending::Completed),
        RunState::Failed | RunState::Cancelled => return Pause::Over(Ending::Failed),
        RunState::Active | RunState::Paused | RunState::Held | RunState::Cancelling => {}
    }
    let retry = after.retry.filter(|_| state == RunState::Active);
    if !live && submits(state) && retry.is_none() {
        return Pause::None;
    }
    // What was not submitted before a person paused the run stays where it is, as do tasks that are ready.
    let starts = submits(state) && (retry.is_some() || ready);
    if !starts && !moves && !waits {
        return Pause::Over(Ending::Waiting);
    }
    let until = |at: i64| Duration::from_millis(u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0));
    let due = after.due.filter(|_| live).map(|at| until(at).max(POLL_MIN));
    let polls = after.polls.map(|after| after.max(POLL_MIN));
    let next = [due, retry.map(until), polls].into_iter().flatten().min();
    Pause::Until(next.unwrap_or(POLL_MAX).min(POLL_MAX))
}

#[cfg(test)]
mod tests {
    use super::{After, Ending, POLL_MAX, POLL_MIN, Pause, pause_after};
    use crate::model::states::RunState;
    use std::time::Duration;

    #[test]
    fn a_loop_ends_sleeps_or_goes_on() {
        const NOW: i64 = 1_000_000;
        let idle = After {
            state: RunState::Active,
            live: false,
            ready: false,
            moves: false,
            retry: None,
            due: None,
            polls: None,
        };
        let live = After { live: true, ..idle };
        let moves = After { moves: true, ..live };
        let paused = |after| After { state: RunState::Paused, ..after };
        let seconds = |number| Pause::Until(Duration::from_secs(number));
        let cases = [
            (After { state: RunState::Completed, ..idle }, false, Pause::Over(Ending::Completed)),
            (After { state: RunState::Cancelled, ..idle }, true, Pause::Over(Ending::Failed)),
            (idle, false, Pause::None),
            (After { retry: Some(NOW + 3_000), ..idle }, false, seconds(3)),
            (After { retry: Some(NOW - 3_000), ..idle }, false, seconds(0)),
            (live, false, Pause::Over(Ending::Waiting)),
            (live, true, Pause::Until(POLL_MAX)),
            (After { ready: true, ..live }, false, Pause::Until(POLL_MAX)),
            (moves, false, Pause::Until(POLL_MAX)),
            (After { due: Some(NOW + 1), ..moves }, false, Pause::Until(POLL_MIN)),
            (After { due: Some(NOW + 9_000), polls: Some(Duration::from_secs(5)), ..moves }, false, seconds(5)),
            (After { due: Some(i64::MAX), ..moves }, false, Pause::Until(POLL_MAX)),
            (paused(idle), false, Pause::Over(Ending::Waiting)),
            (paused(After { retry: Some(NOW), ready: true, ..idle }), false, Pause::Over(Ending::Waiting)),
            (paused(After { due: Some(NOW + 2_000), ..moves }), false, seconds(2)),
        ];
        for (after, waits, expected) in cases {
            assert_eq!(pause_after(after, waits, NOW), expected, "{after:?} {waits}");
        }
    }
}
