//! Walks a store and lists every broken rule, for tests and `doctor`.
use super::attempt::FLIPS_MAX;
use super::{Store, StoreError, migrate};
use rusqlite::Connection;
use std::collections::BTreeSet;

/// A rule, and the query that finds what breaks it.
const RULES: &[(&str, &str)] = &[
    (
        "task counts do not match the tasks in state",
        "SELECT c.state FROM task_counts c WHERE c.n <> (SELECT count(*) FROM tasks t WHERE t.state = c.state)",
    ),
    (
        "live counts do not match the attempts of operator",
        "SELECT c.operator FROM live_counts c WHERE c.n <> (SELECT count(*) FROM attempts a WHERE a.operator = c.operator AND \
         a.ended_at_ms IS NULL) UNION SELECT a.operator FROM attempts a WHERE \
         a.ended_at_ms IS NULL AND a.operator NOT IN (SELECT operator FROM live_counts)",
    ),
    (
        "what was used does not match the attempts of operator",
        "SELECT c.operator FROM live_counts c WHERE (c.started, c.core_ms) <> (SELECT count(*), coalesce(sum(a.core_ms), 0) \
         FROM attempts a WHERE a.operator = c.operator AND a.given_back = 0)",
    ),
    (
        "nobody is asked about a task that waits for approval",
        "SELECT t.task_id FROM tasks t WHERE t.state = 'running' AND t.reason_code = 'approval' AND NOT EXISTS \
         (SELECT 1 FROM approvals p WHERE p.task_key = t.task_key AND p.state = 'asked' AND p.version = t.version)",
    ),
    (
        "open tasks do not match the workflow",
        "SELECT w.iteration FROM workflows w WHERE w.open_tasks <> (SELECT count(*) FROM tasks t WHERE \
         t.iteration = w.iteration AND t.state IN ('pending', 'running'))",
    ),
    (
        "blocked does not match the dependencies of task",
        "SELECT tasks.task_id FROM tasks WHERE tasks.state = 'pending' AND tasks.blocked <> (SELECT count(*) FROM \
         dependencies d JOIN tasks u ON u.task_key = d.on_key WHERE d.task_key = tasks.task_key AND NOT (u.state = 'completed' \
         OR (tasks.tolerant AND u.state IN ('failed', 'cancelled', 'skipped'))))",
    ),
    (
        "rank does not match the dependencies of task",
        "SELECT t.task_id FROM tasks t WHERE (t.rank & 1) = EXISTS (SELECT 1 FROM dependencies d WHERE d.task_key = t.task_key)",
    ),
    (
        "a live attempt belongs to a task that is not running",
        "SELECT a.attempt_id FROM attempts a JOIN tasks t ON t.task_key = a.task_key WHERE t.state <> 'running' AND \
         a.ended_at_ms IS NULL",
    ),
    (
        "a running task has neither a live attempt nor a reason to wait",
        "SELECT t.task_id FROM tasks t WHERE t.state = 'running' AND t.retry_at_ms IS NULL AND \
         coalesce(t.reason_code, '') NOT IN ('lost', 'approval', 'budget') AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.task_key = t.task_key AND \
         a.ended_at_ms IS NULL)",
    ),
    (
        "a completed task has no completed attempt",
        "SELECT t.task_id FROM tasks t WHERE t.state = 'completed' AND NOT EXISTS (SELECT 1 FROM attempts a WHERE \
         a.task_key = t.task_key AND a.state = 'completed')",
    ),
    (
        "a pending task waits for one that ended badly",
        "SELECT t.task_id FROM tasks t JOIN dependencies d ON d.task_key = t.task_key JOIN tasks u ON u.task_key = d.on_key \
         WHERE t.state = 'pending' AND NOT t.tolerant AND u.state IN ('failed', 'cancelled', 'skipped')",
    ),
    (
        "an ended run has a live attempt",
        "SELECT a.attempt_id FROM attempts a, run r WHERE r.state IN ('completed', 'failed', 'cancelled') AND \
         a.ended_at_ms IS NULL",
    ),
    (
        "an outcome does not wait for the campaign, which has not received it: task",
        "SELECT t.task_id FROM run r, tasks t WHERE r.each_result AND t.state NOT IN ('pending', 'running') AND \
         t.delivered IS NULL AND t.task_key NOT IN (SELECT task_key FROM outcomes)",
    ),
    (
        "an outcome waits for the campaign that is none, or that it has received: task",
        "SELECT t.task_id FROM outcomes o JOIN tasks t ON t.task_key = o.task_key WHERE t.delivered IS NOT NULL OR \
         t.state IN ('pending', 'running')",
    ),
    (
        "an active run waits for nothing",
        "SELECT r.run_id FROM run r WHERE r.state = 'active' AND r.iteration > 0 AND r.wake_at_ms IS NULL AND \
         NOT EXISTS (SELECT 1 FROM asked) AND NOT EXISTS (SELECT 1 FROM outcomes) AND \
         NOT EXISTS (SELECT 1 FROM workflows WHERE analyzed_at_ms IS NULL)",
    ),
    (
        "decisions are not numbered without gaps",
        "SELECT r.decisions FROM run r WHERE r.decisions <> (SELECT count(*) FROM decisions WHERE outcome = \
         'answered') OR r.decisions <> (SELECT coalesce(max(number), 0) FROM decisions WHERE outcome = 'answered')",
    ),
    (
        "an answered decision has left no state",
        "SELECT d.number FROM decisions d WHERE d.outcome = 'answered' AND d.number NOT IN (SELECT number FROM states)",
    ),
    (
        "the campaign's present state is that of no decision",
        "SELECT r.state_of FROM run r WHERE r.state_of IS NOT NULL AND r.state_of NOT IN (SELECT number FROM states)",
    ),
    (
        "the configuration the run goes by is not the last it was given",
        "SELECT lower(hex(r.config_sha256)) FROM run r WHERE r.config_sha256 IS NOT (SELECT sha256 FROM configs \
         ORDER BY config DESC LIMIT 1)",
    ),
    (
        "the last history row of attempt disagrees with its state",
        "SELECT a.attempt_id FROM attempts a LEFT JOIN (SELECT subject, to_state, max(seq) FROM history WHERE kind = 'attempt' \
         GROUP BY subject) h ON h.subject = a.attempt_id WHERE h.to_state IS NOT a.state AND NOT (a.flips > :flips_max AND \
         a.state IN ('submitted', 'running', 'waiting_external') AND h.to_state IN ('submitted', 'running', 'waiting_external'))",
    ),
];

fn word(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

/// Every object of a schema: its kind, name, table and text.
fn schema_of(connection: &Connection) -> Result<BTreeSet<[Option<String>; 4]>, StoreError> {
    let mut statement = connection.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Store {
    /// How the schema differs from ours, in a database of somebody else: whoever reads tables must not come upon views
    /// in their place. Nothing if it is ours.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn strange_schema(&self) -> Result<Option<String>, StoreError> {
        let ours = Connection::open_in_memory()?;
        migrate::migrate_copy(&ours)?;
        let (ours, found) = (schema_of(&ours)?, schema_of(&self.connection)?);
        let of = |object: &[Option<String>; 4]| format!("{} `{}`", word(&object[0]), word(&object[1]));
        let strange = found.difference(&ours).next().map(|object| format!("its {} is not ours", of(object)));
        Ok(strange.or_else(|| ours.difference(&found).next().map(|object| format!("it has no {}", of(object)))))
    }

    /// Every broken rule, in words; empty when the store is sound.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn check_invariants(&self) -> Result<Vec<String>, StoreError> {
        let mut broken = Vec::new();
        let integrity: String = self.connection.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
        if integrity != "ok" {
            broken.push(format!("SQLite: {integrity}"));
        }
        let mut foreign = self.connection.prepare("PRAGMA foreign_key_check")?;
        if foreign.exists([])? {
            broken.push("a row refers to one that does not exist".to_owned());
        }
        for (rule, query) in RULES {
            let mut statement = self.connection.prepare(query)?;
            if let Some(at) = statement.parameter_index(":flips_max")? {
                statement.raw_bind_parameter(at, FLIPS_MAX)?;
            }
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                let value: rusqlite::types::Value = row.get(0)?;
                broken.push(format!("{rule} {value:?}"));
            }
        }
        Ok(broken)
    }
}
