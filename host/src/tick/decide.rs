//! What a run does next: a pure rule over what was seen. It reads and writes nothing, and a crash finds nothing of it.
use super::Tick;
use super::turn::Phase;
use crate::model::states::RunState;
use crate::store::Outlook;

/// What one round of a tick goes by.
#[derive(Debug, Clone)]
pub(super) struct Seen<'a> {
    /// What the store offers.
    pub(super) run: Outlook,
    /// The parts of the tick that are still to come, in their order; none once time was up.
    pub(super) ahead: &'a [Phase],
    /// Whether this tick has started what is ready, as far as there is room, and nothing became ready since.
    pub(super) started: bool,
    /// Whether this tick has asked for a plan.
    pub(super) decided: bool,
    /// Whether this tick has changed anything, or has left something to be gone on with at once.
    pub(super) changed: bool,
    /// Now, in milliseconds since the epoch.
    pub(super) now_ms: i64,
}

/// The next thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// Look outside: reconcile, stop and poll, as far as that is to come before something is begun.
    Look,
    /// Start what is ready.
    Start,
    /// Hand results to the campaign.
    Analyze,
    /// Ask the campaign for a plan.
    Plan,
    /// End a run that was being cancelled.
    Cancel,
    /// Hold a run in which nothing can move.
    Hold(Stuck),
    /// Nothing: the tick is done.
    Rest,
}

/// Why nothing can move in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stuck {
    /// Only a person's word on lost attempts moves it.
    Lost,
    /// It waits for nothing: a fault of ours, or of a hand in the database. Such a tick must not be repeated for ever.
    Idle,
}

impl<'a> Seen<'a> {
    /// What is seen at the beginning of a tick that has these parts.
    pub(super) fn first(run: Outlook, ahead: &'a [Phase], now_ms: i64) -> Self {
        Self { run, ahead, started: false, decided: false, changed: false, now_ms }
    }

    /// What is seen after a move, by which the tick has come this far.
    pub(super) fn after(self, run: Outlook, tick: &Tick) -> Self {
        let cut = tick.cut.is_some();
        Self {
            ahead: if cut { &[] } else { self.ahead },
            started: tick.started,
            decided: tick.decided,
            changed: self.changed || cut || tick.decided || run.history_end != self.run.history_end,
            run,
            now_ms: self.now_ms,
        }
    }
}

/// Decides what to do next. What is live is looked after in every state of the run; tasks are begun in an active and in
/// a held one, decisions made in an active one alone, and only when that is the tick's next part.
pub(super) fn decide(seen: &Seen<'_>) -> Move {
    match seen.ahead {
        [Phase::Reconcile | Phase::Stop | Phase::Poll, ..] => Move::Look,
        [Phase::Advance, after @ ..] => match begin(seen) {
            Some(begun) => begun,
            None if after.is_empty() => end(seen),
            None => Move::Look,
        },
        [] => end(seen),
    }
}

/// What can be begun: tasks as long as any are ready, and then what the campaign is owed.
fn begin(seen: &Seen<'_>) -> Option<Move> {
    let run = &seen.run;
    if run.starts() && !seen.started {
        Some(Move::Start)
    } else if seen.decided {
        None
    } else if run.owes_results() {
        Some(Move::Analyze)
    } else if run.owes_plan(seen.now_ms) {
        Some(Move::Plan)
    } else {
        None
    }
}

/// How a tick ends that has nothing more to begin.
fn end(seen: &Seen<'_>) -> Move {
    match seen.run.state {
        RunState::Active => stuck(seen).map_or(Move::Rest, Move::Hold),
        RunState::Cancelling if seen.run.live == 0 => Move::Cancel,
        RunState::Cancelling
        | RunState::Paused
        | RunState::Held
        | RunState::Completed
        | RunState::Failed
        | RunState::Cancelled => Move::Rest,
    }
}

/// Why nothing can move in an active run, if so.
fn stuck(seen: &Seen<'_>) -> Option<Stuck> {
    let run = &seen.run;
    if run.iteration == 0 || run.live > 0 || run.wake.is_some() {
        None
    } else if run.lost && run.retry_at_ms.is_none() && !run.ready {
        Some(Stuck::Lost)
    } else if !seen.changed && !run.asks && run.retry_at_ms.is_none_or(|at| at <= seen.now_ms) {
        Some(Stuck::Idle)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Move, Seen, Stuck, decide};
    use crate::model::states::RunState;
    use crate::store::{Outlook, Wake};
    use crate::tick::Tick;
    use crate::tick::turn::{Cut, Phase};
    use Phase::{Advance, Poll, Reconcile, Stop};

    const NOW_MS: i64 = 1_000;
    const ENDED: [RunState; 3] = [RunState::Completed, RunState::Failed, RunState::Cancelled];

    /// An active run in which all has been started, has ended and is analyzed, so that a plan is owed, in the last part
    /// of a tick that has changed something.
    fn seen() -> Seen<'static> {
        let run = Outlook {
            state: RunState::Active,
            also_paused: false,
            iteration: 1,
            live: 0,
            open: 0,
            each_result: false,
            results: false,
            asked: true,
            wake: None,
            ready: false,
            asks: false,
            lost: false,
            retry_at_ms: None,
            history_end: 7,
        };
        Seen { run, ahead: &[Advance], started: true, decided: false, changed: true, now_ms: NOW_MS }
    }

    /// What is seen that differs from [`seen`], and what is to be done then.
    type Case = (&'static str, fn(&mut Seen<'_>), Move);

    fn check(cases: &[Case]) {
        for (what, differs, expected) in cases {
            let mut seen = seen();
            differs(&mut seen);
            assert_eq!(decide(&seen), *expected, "{what}: {seen:?}");
        }
    }

    #[test]
    fn what_is_live_is_looked_after_first_and_in_every_state() {
        for state in RunState::ALL {
            for part in [Reconcile, Stop, Poll] {
                for ahead in [&[part][..], &[part, Advance], &[part, Advance, Reconcile]] {
                    for started in [false, true] {
                        let mut seen = Seen { ahead, started, ..seen() };
                        seen.run.state = *state;
                        assert_eq!(decide(&seen), Move::Look, "{seen:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_active_run_starts_then_analyzes_then_plans_once() {
        check(&[
            ("nothing was started yet", |seen| seen.started = false, Move::Start),
            ("nor was it, though tasks are open", |seen| (seen.started, seen.run.open) = (false, 3), Move::Start),
            ("nor was what the plan added", |seen| (seen.started, seen.decided) = (false, true), Move::Start),
            ("tasks are open", |seen| (seen.run.open, seen.run.results, seen.run.live) = (1, true, 1), Move::Rest),
            ("one is, of another iteration", |seen| (seen.run.open, seen.run.results) = (1, true), Move::Rest),
            ("all have ended", |seen| seen.run.results = true, Move::Analyze),
            ("of two iterations", |seen| (seen.run.results, seen.run.iteration) = (true, 2), Move::Analyze),
            ("all is analyzed", |_| (), Move::Plan),
            ("and nothing asks for a plan", |seen| seen.run.asked = false, Move::Rest),
            ("there is no iteration yet", |seen| seen.run.iteration = 0, Move::Plan),
            ("it has planned in this tick", |seen| seen.decided = true, Move::Rest),
            ("and brought back another", |seen| (seen.decided, seen.run.results) = (true, true), Move::Rest),
            ("lost tasks are open", |seen| (seen.run.open, seen.run.lost) = (1, true), Move::Hold(Stuck::Lost)),
        ]);
    }

    #[test]
    fn a_campaign_that_takes_each_result_is_asked_beside_what_is_open() {
        fn each(seen: &mut Seen<'_>) {
            (seen.run.each_result, seen.run.open, seen.run.live) = (true, 2, 1);
        }
        check(&[
            ("nothing was started yet", |seen| (each(seen), seen.started = false).1, Move::Start),
            ("a result came", |seen| (each(seen), seen.run.results = true).1, Move::Analyze),
            ("it is analyzed", each, Move::Plan),
            ("and nothing asks for a plan", |seen| (each(seen), seen.run.asked = false).1, Move::Rest),
            ("it has planned in this tick", |seen| (each(seen), seen.decided = true).1, Move::Rest),
            ("and a result came", |seen| (each(seen), seen.decided = true, seen.run.results = true).1, Move::Rest),
        ]);
    }

    #[test]
    fn a_time_that_has_come_is_not_waited_with() {
        fn wakes(seen: &mut Seen<'_>, at_ms: i64, set_ms: i64) {
            (seen.run.asked, seen.run.open, seen.run.live) = (false, 2, 1);
            seen.run.wake = Some(Wake { at_ms, set_ms });
        }
        for each_result in [false, true] {
            // when to wake, when that was decided, and whether it is time
            for (at_ms, set_ms, due) in [
                (NOW_MS + 1, NOW_MS, false),
                (NOW_MS, NOW_MS - 1, true),
                (NOW_MS - 1, NOW_MS - 1, true),
                (i64::MAX, 0, false),
                // the clock jumped back behind the decision
                (NOW_MS + 2, NOW_MS + 1, true),
            ] {
                let mut seen = seen();
                wakes(&mut seen, at_ms, set_ms);
                seen.run.each_result = each_result;
                assert_eq!(decide(&seen), if due { Move::Plan } else { Move::Rest }, "{seen:?}");
                seen.run.results = true;
                let next = match (each_result, due) {
                    (true, _) => Move::Analyze,
                    (false, true) => Move::Plan,
                    (false, false) => Move::Rest,
                };
                assert_eq!(decide(&seen), next, "{seen:?}");
                (seen.run.results, seen.run.open, seen.run.live, seen.changed) = (false, 0, 0, false);
                let calm = if due { Move::Plan } else { Move::Rest };
                assert_eq!(decide(&seen), calm, "what waits for a time is not stuck: {seen:?}");
                seen.decided = true;
                assert_eq!(decide(&seen), Move::Rest, "{seen:?}");
            }
        }
    }

    #[test]
    fn a_held_run_starts_what_is_planned_and_decides_nothing() {
        let held = |also_paused: bool, differs: fn(&mut Seen<'_>)| {
            let mut seen = seen();
            (seen.run.state, seen.run.also_paused) = (RunState::Held, also_paused);
            differs(&mut seen);
            decide(&seen)
        };
        let early: fn(&mut Seen<'_>) = |seen| seen.started = false;
        assert_eq!(held(false, early), Move::Start);
        assert_eq!(held(true, early), Move::Rest, "it is paused too");
        let late: [fn(&mut Seen<'_>); 5] = [
            |_| (),
            |seen| seen.run.results = true,
            |seen| seen.run.wake = Some(Wake { at_ms: 0, set_ms: 0 }),
            |seen| (seen.run.each_result, seen.run.results) = (true, true),
            |seen| (seen.run.lost, seen.changed) = (true, false),
        ];
        for differs in late {
            for also_paused in [false, true] {
                assert_eq!(held(also_paused, differs), Move::Rest);
            }
        }
    }

    #[test]
    fn nothing_is_begun_out_of_turn_or_in_another_state() {
        let early: fn(&mut Seen<'_>) = |seen| seen.started = false;
        let late: fn(&mut Seen<'_>) = |_| ();
        for state in RunState::ALL.iter().filter(|state| **state != RunState::Active) {
            for differs in [early, late] {
                let mut seen = seen();
                differs(&mut seen);
                (seen.run.state, seen.run.live) = (*state, 1);
                seen.run.also_paused = *state == RunState::Held;
                assert_eq!(decide(&seen), Move::Rest, "{seen:?}");
                seen.ahead = &[Advance, Reconcile];
                assert_eq!(decide(&seen), Move::Look, "{seen:?}");
            }
        }
        check(&[
            ("its turn is over", |seen| (seen.started, seen.ahead) = (false, &[]), Move::Rest),
            ("and all has ended", |seen| (seen.run.results, seen.ahead) = (true, &[]), Move::Rest),
            ("its turn is first", |seen| (seen.started, seen.ahead) = (false, &[Advance, Reconcile]), Move::Start),
            ("and then that of the others", |seen| (seen.run.open, seen.ahead) = (1, &[Advance, Stop]), Move::Look),
            ("after its plan too", |seen| (seen.decided, seen.ahead) = (true, &[Advance, Poll]), Move::Look),
        ]);
    }

    #[test]
    fn a_run_is_cancelled_once_nothing_is_live_and_the_outside_was_looked_after() {
        for (ahead, live, expected) in [
            (&[Advance][..], 0, Move::Cancel),
            (&[], 0, Move::Cancel),
            (&[Advance], 1, Move::Rest),
            (&[], 1, Move::Rest),
            (&[Advance, Reconcile], 0, Move::Look),
        ] {
            let mut seen = Seen { ahead, ..seen() };
            (seen.run.state, seen.run.live) = (RunState::Cancelling, live);
            assert_eq!(decide(&seen), expected, "{seen:?}");
        }
        for state in ENDED {
            let mut seen = seen();
            seen.run.state = state;
            assert_eq!(decide(&seen), Move::Rest, "{seen:?}");
        }
    }

    #[test]
    fn only_an_active_run_in_which_nothing_can_move_is_held() {
        let (lost, idle) = (Move::Hold(Stuck::Lost), Move::Hold(Stuck::Idle));
        // lost, ready, when a back-off ends, whether anything changed
        for (is_lost, ready, retry_at_ms, changed, expected) in [
            (false, false, None, false, idle),
            (false, false, None, true, Move::Rest),
            (false, true, None, false, idle),
            (false, true, None, true, Move::Rest),
            (false, false, Some(NOW_MS), false, idle),
            (false, false, Some(NOW_MS), true, Move::Rest),
            (false, false, Some(NOW_MS + 1), false, Move::Rest),
            (false, true, Some(NOW_MS + 1), false, Move::Rest),
            (true, false, None, false, lost),
            (true, false, None, true, lost),
            (true, true, None, false, idle),
            (true, true, None, true, Move::Rest),
            (true, false, Some(NOW_MS), false, idle),
            (true, false, Some(NOW_MS), true, Move::Rest),
            (true, false, Some(NOW_MS + 1), false, Move::Rest),
        ] {
            for ahead in [&[Advance][..], &[]] {
                let mut seen = Seen { ahead, changed, ..seen() };
                seen.run = Outlook { open: 1, results: true, lost: is_lost, ready, retry_at_ms, ..seen.run };
                assert_eq!(decide(&seen), expected, "{seen:?}");
                for run in [Outlook { live: 1, ..seen.run.clone() }, Outlook { iteration: 0, ..seen.run.clone() }] {
                    assert_eq!(decide(&Seen { run, ..seen.clone() }), Move::Rest, "{seen:?}");
                }
                for state in [RunState::Paused, RunState::Held, RunState::Cancelling].into_iter().chain(ENDED) {
                    let run = Outlook { state, live: 1, ..seen.run.clone() };
                    assert_eq!(decide(&Seen { run, ..seen.clone() }), Move::Rest, "{seen:?}");
                }
            }
        }
    }

    #[test]
    fn what_a_tick_did_is_seen_in_the_next_round() {
        let first = || Seen::first(seen().run, &[Poll, Advance], NOW_MS);
        let same = first().after(seen().run, &Tick::default());
        assert_eq!((same.ahead.len(), same.started, same.decided, same.changed), (2, false, false, false));
        let moved = first().after(Outlook { history_end: 8, ..seen().run }, &Tick::default());
        assert!(moved.changed);
        let further = moved.after(Outlook { history_end: 8, ..seen().run }, &Tick::default());
        assert!(further.changed, "a change of an earlier round counts");
        let decided = first().after(seen().run, &Tick { decided: true, started: true, ..Tick::default() });
        assert_eq!((decided.started, decided.decided, decided.changed), (true, true, true));
        let cut = Tick { cut: Some(Cut { phase: Poll, served: None }), ..Tick::default() };
        let cut = first().after(seen().run, &cut);
        assert_eq!((cut.ahead.len(), cut.changed), (0, true), "nothing more is begun, and the next tick goes on");
    }
}
