//! What `loop` does between two ticks: a pure rule over the state that the last one left. It reads alone; after a crash
//! the next `loop` finds the same.
use super::Ending;
use crate::failure::Failure;
use crate::model::states::RunState;
use crate::run::Run;
use crate::store::Outlook;
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
#[derive(Debug, Clone)]
pub(super) struct After {
    run: Outlook,
    /// Whether any live attempt goes on by itself.
    moves: bool,
    /// When an operator is to be asked, in milliseconds since the epoch.
    due: Option<i64>,
    /// When a scheduler is to be asked.
    polls: Option<Duration>,
}

impl After {
    pub(super) fn of(run: &Run) -> Result<Self, Failure> {
        let outlook = run.outlook()?;
        if outlook.state.ended() {
            return Ok(Self { run: outlook, moves: false, due: None, polls: None });
        }
        let submits = submits(&outlook);
        Ok(Self {
            moves: run.store.anything_moves(submits)?,
            due: run.store.next_due(submits)?,
            polls: run.backends.poll_after(),
            run: outlook,
        })
    }
}

/// Whether a tick of a run that stands so submits what has been prepared.
pub(super) fn submits(run: &Outlook) -> bool {
    run.starts() || run.state == RunState::Cancelling
}

/// Whether the next tick has something to do at once.
fn goes_on_at_once(run: &Outlook, retry: Option<i64>, now_ms: i64) -> bool {
    let decides = run.owes_results() || run.owes_plan(now_ms);
    let idle = run.live == 0 && retry.is_none();
    match run.state {
        RunState::Active => decides || (idle && (run.ready || (run.wake.is_none() && !run.asks))),
        RunState::Cancelling => idle,
        RunState::Held => idle && run.starts() && run.ready,
        RunState::Paused | RunState::Completed | RunState::Failed | RunState::Cancelled => false,
    }
}

/// What the state after a tick means for the next; `waits` for people and kits too.
pub(super) fn pause_after(after: After, waits: bool, now_ms: i64) -> Pause {
    let After { run, moves, .. } = after;
    match run.state {
        RunState::Completed => return Pause::Over(Ending::Completed),
        RunState::Failed | RunState::Cancelled => return Pause::Over(Ending::Failed),
        RunState::Active | RunState::Paused | RunState::Held | RunState::Cancelling => {}
    }
    let retry = run.retry_at_ms.filter(|_| run.starts());
    if goes_on_at_once(&run, retry, now_ms) {
        return Pause::None;
    }
    let wake = run.wake.map(|wake| wake.at_ms).filter(|_| run.state == RunState::Active);
    // What was not submitted before a person paused the run stays where it is, as do tasks that are ready.
    let starts = submits(&run) && (retry.is_some() || run.ready);
    if !starts && !moves && !waits && wake.is_none() {
        return Pause::Over(Ending::Waiting);
    }
    let until = |at: i64| Duration::from_millis(u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0));
    let due = after.due.filter(|_| run.live > 0).map(|at| until(at).max(POLL_MIN));
    let polls = after.polls.map(|after| after.max(POLL_MIN));
    let next = [due, retry.map(until), wake.map(until), polls].into_iter().flatten().min();
    Pause::Until(next.unwrap_or(POLL_MAX).min(POLL_MAX))
}

#[cfg(test)]
mod tests {
    use super::{After, Ending, POLL_MAX, POLL_MIN, Pause, pause_after};
    use crate::model::states::RunState;
    use crate::store::{Outlook, Wake};
    use std::time::Duration;

    #[test]
    fn a_loop_ends_sleeps_or_goes_on() {
        const NOW: i64 = 1_000_000;
        let run = Outlook {
            state: RunState::Active,
            also_paused: false,
            iteration: 1,
            live: 0,
            open: 1,
            each_result: false,
            results: true,
            asked: false,
            wake: None,
            ready: false,
            asks: false,
            lost: false,
            retry_at_ms: None,
            history_end: 7,
        };
        let after = |run: &Outlook| After { run: run.clone(), moves: false, due: None, polls: None };
        let state = |state| Outlook { state, ..run.clone() };
        let retry = |at| Outlook { retry_at_ms: Some(at), ..run.clone() };
        let live = Outlook { live: 1, ..run.clone() };
        let moves = After { moves: true, ..after(&live) };
        let paused = |after: After| After { run: Outlook { state: RunState::Paused, ..after.run }, ..after };
        let held = |run: &Outlook| after(&Outlook { state: RunState::Held, ..run.clone() });
        let ready = Outlook { ready: true, ..run.clone() };
        let wake = |at_ms| Outlook { wake: Some(Wake { at_ms, set_ms: 0 }), ..run.clone() };
        let seconds = |number| Pause::Until(Duration::from_secs(number));
        let cases = [
            (after(&state(RunState::Completed)), false, Pause::Over(Ending::Completed)),
            (after(&state(RunState::Cancelled)), true, Pause::Over(Ending::Failed)),
            (after(&run), false, Pause::None),
            (after(&state(RunState::Cancelling)), false, Pause::None),
            (after(&retry(NOW + 3_000)), false, seconds(3)),
            (after(&retry(NOW - 3_000)), false, seconds(0)),
            (after(&live), false, Pause::Over(Ending::Waiting)),
            (after(&live), true, Pause::Until(POLL_MAX)),
            (after(&Outlook { ready: true, ..live.clone() }), false, Pause::Until(POLL_MAX)),
            (after(&Outlook { each_result: true, ..live.clone() }), false, Pause::None),
            (after(&Outlook { asked: true, ..live.clone() }), false, Pause::Over(Ending::Waiting)),
            (moves.clone(), false, Pause::Until(POLL_MAX)),
            (After { due: Some(NOW + 1), ..moves.clone() }, false, Pause::Until(POLL_MIN)),
            (After { due: Some(NOW + 9_000), polls: Some(Duration::from_secs(5)), ..moves.clone() }, false, seconds(5)),
            (After { due: Some(i64::MAX), ..moves.clone() }, false, Pause::Until(POLL_MAX)),
            (after(&wake(NOW + 4_000)), false, seconds(4)),
            (after(&wake(NOW)), false, Pause::None),
            (after(&Outlook { live: 1, ..wake(NOW + 4_000) }), false, seconds(4)),
            (held(&wake(NOW)), false, Pause::Over(Ending::Waiting)),
            (held(&run), false, Pause::Over(Ending::Waiting)),
            (held(&ready), false, Pause::None),
            (held(&Outlook { also_paused: true, ..ready.clone() }), false, Pause::Over(Ending::Waiting)),
            (held(&retry(NOW + 3_000)), false, seconds(3)),
            (paused(after(&run)), false, Pause::Over(Ending::Waiting)),
            (paused(after(&Outlook { ready: true, ..retry(NOW) })), false, Pause::Over(Ending::Waiting)),
            (paused(After { due: Some(NOW + 2_000), ..moves }), false, seconds(2)),
        ];
        for (after, waits, expected) in cases {
            assert_eq!(pause_after(after.clone(), waits, NOW), expected, "{after:?} {waits}");
        }
    }
}
