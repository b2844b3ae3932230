//! Every pair of states that a machine does not have is refused, and so is a change of what somebody else has changed.
use super::{Place, advance, everything_at, new_attempt, why};
use matterstack::model::config::Journal;
use matterstack::model::states::{AttemptState, RunState, TaskState};
use matterstack::store::StoreError;
use serde_json::json;
use std::collections::VecDeque;
use std::fmt::Debug;

/// A shortest legal way between two states.
fn way<S: Copy + PartialEq>(all: &[S], from: S, to: S, legal: impl Fn(S, S) -> bool) -> Option<Vec<S>> {
    let mut queue = VecDeque::from([vec![from]]);
    let mut seen = vec![from];
    while let Some(path) = queue.pop_front() {
        let last = *path.last()?;
        if last == to {
            return Some(path);
        }
        for next in all.iter().copied().filter(|next| legal(last, *next)) {
            if !seen.contains(&next) {
                seen.push(next);
                queue.push_back([path.as_slice(), &[next]].concat());
            }
        }
    }
    None
}

/// Tries every pair of states of a machine on a row that is really in the first one.
fn every_pair<S: Copy + PartialEq + Debug>(
    all: &[S],
    start: S,
    legal: impl Fn(S, S) -> bool,
    new_place: impl Fn() -> Place,
    go: impl Fn(&Place, S, S) -> Result<(), StoreError>,
) {
    let (mut done, mut refused) = (0, 0);
    for &from in all {
        let path = way(all, start, from, &legal).unwrap_or_else(|| panic!("{from:?} cannot be reached"));
        for &to in all {
            let place = new_place();
            for pair in path.windows(2) {
                go(&place, pair[0], pair[1]).unwrap_or_else(|error| panic!("{pair:?}: {error}"));
            }
            let before = everything_at(&place.path());
            let result = go(&place, from, to);
            if legal(from, to) {
                result.unwrap_or_else(|error| panic!("{from:?} to {to:?}: {error}"));
                assert_ne!(everything_at(&place.path()), before, "{from:?} to {to:?}");
                done += 1;
            } else {
                assert!(matches!(result, Err(StoreError::Illegal(_))), "{from:?} to {to:?}: {result:?}");
                assert_eq!(everything_at(&place.path()), before, "{from:?} to {to:?} leaves no trace");
                refused += 1;
            }
        }
    }
    assert_eq!(done + refused, all.len() * all.len());
    assert!(done >= all.len() && refused >= all.len());
}

#[test]
fn a_run_goes_only_where_its_machine_lets_it() {
    every_pair(
        RunState::ALL,
        RunState::Active,
        |from, to| from.become_state(to).is_ok(),
        || Place::new(Journal::Wal),
        |place, from, to| place.write(|writer| writer.set_run_state(from, to, Some(&why()), 5)),
    );
}

fn with_task() -> Place {
    let place = Place::new(Journal::Wal);
    place.plan(1, &json!([{"id": "t"}]));
    place
}

#[test]
fn a_task_goes_only_where_its_machine_lets_it() {
    every_pair(
        TaskState::ALL,
        TaskState::Pending,
        |from, to| from.become_state(to).is_ok(),
        with_task,
        |place, from, to| {
            let key = place.key("t");
            place.write(|writer| writer.set_task_state(key, (from, to), Some(&why()), 5))
        },
    );
}

fn with_attempt() -> Place {
    let place = with_task();
    let key = place.key("t");
    place.write(|writer| writer.create_attempt(&new_attempt("x", key, 1), 5)).expect("an attempt");
    place
}

#[test]
fn an_attempt_goes_only_where_its_machine_lets_it() {
    every_pair(
        AttemptState::ALL,
        AttemptState::Created,
        |from, to| from.become_state(to).is_ok(),
        with_attempt,
        |place, _, to| {
            let attempt = place.attempt("x");
            place.write(|writer| advance(writer, &attempt, to))
        },
    );
}

#[test]
fn what_somebody_else_has_changed_is_not_changed_again() {
    let place = with_attempt();
    let (key, stale) = (place.key("t"), place.attempt("x"));
    place.write(|writer| advance(writer, &stale, AttemptState::Prepared)).expect("a legal move");
    place.write(|writer| writer.set_run_state(RunState::Active, RunState::Paused, None, 6)).expect("a legal move");
    let running = (TaskState::Pending, TaskState::Running);
    place.write(|writer| writer.set_task_state(key, running, None, 6)).expect("a legal move");
    let before = everything_at(&place.path());
    let refused = [
        place.write(|writer| advance(writer, &stale, AttemptState::Prepared)),
        place.write(|writer| advance(writer, &stale, AttemptState::Failed)),
        place.write(|writer| writer.set_run_state(RunState::Active, RunState::Held, Some(&why()), 7)),
        place.write(|writer| writer.set_task_state(key, running, None, 7)),
        place.write(|writer| writer.set_task_state(key + 1, running, None, 7)),
        place.write(|writer| writer.set_retry(key + 1, 9, 7, &why())),
        place.write(|writer| writer.clear_retry(key)),
        place.write(|writer| writer.cancel_told(stale.key)),
        place.write(|writer| {
            let path = [AttemptState::Prepared, AttemptState::Submitting];
            writer.move_attempt(&stale, &path, None, Some(9), 7)
        }),
        place.write(|writer| writer.make_due(stale.key + 1)),
        place.write(|writer| writer.note_attempt(&stale, 9, Some(&why()), 7)),
        place.write(|writer| writer.set_task_reason(key + 1, Some(&why()))),
        place.write(|writer| writer.count_try(key + 1, true).map(|_| ())),
    ];
    for (number, result) in refused.into_iter().enumerate() {
        assert!(matches!(result, Err(StoreError::Row(_))), "{number}: {result:?}");
    }
    assert_eq!(everything_at(&place.path()), before);
}

#[test]
fn of_what_has_ended_nothing_is_noted() {
    let place = with_attempt();
    let key = place.key("t");
    let running = (TaskState::Pending, TaskState::Running);
    place.write(|writer| writer.set_task_state(key, running, None, 6)).expect("a legal move");
    place.write(|writer| advance(writer, &place.attempt("x"), AttemptState::Failed)).expect("a legal move");
    let failed = (TaskState::Running, TaskState::Failed);
    place.write(|writer| writer.set_task_state(key, failed, Some(&why()), 6)).expect("a legal move");
    let (ended, before) = (place.attempt("x"), everything_at(&place.path()));
    let refused = [
        place.write(|writer| writer.note_attempt(&ended, 9, Some(&why()), 7)),
        place.write(|writer| writer.make_due(ended.key)),
        place.write(|writer| writer.set_task_reason(key, Some(&why()))),
        place.write(|writer| writer.count_try(key, true).map(|_| ())),
        place.write(|writer| writer.count_try(key, false).map(|_| ())),
    ];
    for (number, result) in refused.into_iter().enumerate() {
        assert!(matches!(result, Err(StoreError::Row(_))), "{number}: {result:?}");
    }
    assert_eq!(everything_at(&place.path()), before);
}

#[test]
fn the_schema_itself_refuses_what_may_never_be() {
    let place = with_attempt();
    let key = place.key("t");
    let second = place.write(|writer| writer.create_attempt(&new_attempt("y", key, 2), 6));
    assert!(second.is_err(), "a task has at most one live attempt");
    let connection = rusqlite::Connection::open(place.path()).expect("the database");
    for sql in [
        "UPDATE run SET state = 'sleeping'",
        "UPDATE run SET state = 'held', reason = NULL",
        "UPDATE run SET state = 'completed'",
        "UPDATE run SET ended_at_ms = 5",
        "UPDATE run SET config_sha256 = x'00'",
        "UPDATE run SET config_sha256 = hex(config_sha256)",
        "UPDATE tasks SET state = 'failed', reason = NULL",
        "UPDATE tasks SET retry_at_ms = 5",
        "UPDATE tasks SET blocked = -1",
        "UPDATE attempts SET state = 'submitted', handle = NULL",
        "UPDATE attempts SET state = 'completed', handle = '{}'",
        "UPDATE attempts SET handle = 'no JSON'",
        "UPDATE attempts SET number = 0",
        "UPDATE run SET iteration = 'one'",
        "UPDATE history SET reason = 'another'",
        "DELETE FROM history",
        "UPDATE acts SET reason = 'another'",
        "DELETE FROM acts",
        "INSERT INTO outputs (attempt_key, path, sha256, size) VALUES (1, 'o', 'short', 1)",
    ] {
        assert!(connection.execute(sql, []).is_err(), "{sql}");
    }
}
