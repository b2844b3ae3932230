//! `check_invariants` names each rule that is broken, and the row that breaks it.
use super::busy;

/// Breaks one rule, and says how the complaint begins; `alone` if no other rule is hurt by it.
const DAMAGE: &[(&str, &str, bool)] = &[
    (
        "UPDATE task_counts SET n = n + 1 WHERE state = 'pending'",
        "task counts do not match the tasks in state Text(\"pending\")",
        true,
    ),
    ("UPDATE live_counts SET n = n + 1", "live counts do not match the attempts of operator Text(\"local\")", true),
    ("DELETE FROM live_counts", "live counts do not match the attempts of operator Text(\"local\")", true),
    ("UPDATE workflows SET open_tasks = open_tasks + 1", "open tasks do not match the workflow Integer(1)", true),
    (
        "UPDATE tasks SET blocked = 1 WHERE task_id = 'e'",
        "blocked does not match the dependencies of task Text(\"e\")",
        true,
    ),
    (
        "UPDATE tasks SET blocked = 0 WHERE task_id = 'c'",
        "blocked does not match the dependencies of task Text(\"c\")",
        true,
    ),
    (
        "UPDATE tasks SET state = 'pending' WHERE task_id = 'b'",
        "a live attempt belongs to a task that is not running Text(\"b\")",
        false,
    ),
    (
        "DELETE FROM attempts WHERE attempt_id = 'b'; UPDATE live_counts SET n = n - 1, started = started - 1",
        "a running task has neither a live attempt nor a reason to wait Text(\"b\")",
        true,
    ),
    (
        "DELETE FROM outputs; DELETE FROM attempts WHERE attempt_id = 'a'; UPDATE live_counts SET started = started - 1",
        "a completed task has no completed attempt Text(\"a\")",
        true,
    ),
    (
        "UPDATE tasks SET state = 'failed', reason_code = 'x', reason = 'x' WHERE task_id = 'b'",
        "a pending task waits for one that ended badly Text(\"c\")",
        false,
    ),
    ("UPDATE run SET state = 'completed', ended_at_ms = 9", "an ended run has a live attempt Text(\"b\")", true),
    ("UPDATE run SET decisions = decisions + 1", "decisions are not numbered without gaps Integer(1)", true),
    (
        "UPDATE attempts SET state = 'submitted' WHERE attempt_id = 'b'",
        "the last history row of attempt disagrees with its state Text(\"b\")",
        true,
    ),
    (
        "PRAGMA foreign_keys = OFF; INSERT INTO outputs (attempt_key, path, sha256, size) VALUES (99, 'o', \
         unhex('0000000000000000000000000000000000000000000000000000000000000000'), 1)",
        "a row refers to one that does not exist",
        true,
    ),
    (
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'outputs_by_digest'",
        "SQLite: ",
        false,
    ),
];

#[test]
fn each_broken_rule_is_named() {
    for (damage, complaint, alone) in DAMAGE {
        let place = busy();
        let connection = rusqlite::Connection::open(place.path()).expect("the database");
        connection.execute_batch(damage).unwrap_or_else(|error| panic!("{damage}: {error}"));
        drop(connection);
        let broken = place.open().check_invariants().unwrap_or_else(|error| vec![format!("SQLite: {error}")]);
        assert!(broken.iter().any(|text| text.starts_with(complaint)), "{damage}: {broken:?}");
        if *alone {
            assert_eq!(broken.len(), 1, "{damage}: {broken:?}");
        }
    }
}
