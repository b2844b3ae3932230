//! What a run waits for, as `status` shows it.
use super::{Store, StoreError};
use crate::model::code::Word;

/// One thing a run waits for.
#[derive(Debug, Clone)]
pub struct WaitRow {
    /// The task.
    pub task: String,
    /// Its live attempt, if it has one.
    pub attempt: Option<String>,
    /// The operator key.
    pub operator: String,
    /// The kind of thing: what an operator says, else `scheduler` (accepted outside, and not started), `retry`,
    /// `capacity`, `unknown-submit`, `lost`, or the word of the reason.
    pub kind: Word,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// What is known of it.
    pub reason: Option<String>,
}

/// An attempt whose directory is where its answer appears.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The attempt's id.
    pub attempt_id: String,
    /// Its directory, relative to the run's.
    pub directory: String,
    /// When its operator was last asked, in milliseconds since the epoch.
    pub asked_ms: i64,
}

/// Outside first, then what time or a person settles, then what is in trouble (the word is its reason's), then what
/// waits for room.
const QUERIES: &[&str] = &[
    "SELECT t.task_id, a.attempt_id, a.operator, a.waits_for, a.created_at_ms, a.reason FROM attempts a \
     JOIN tasks t ON t.task_key = a.task_key WHERE a.state = 'waiting_external' AND \
     a.ended_at_ms IS NULL ORDER BY +a.attempt_key LIMIT ?1",
    "SELECT t.task_id, NULL, t.operator, t.reason_code, p.asked_ms, t.reason FROM tasks t LEFT JOIN approvals p ON \
     p.task_key = t.task_key AND p.state = 'asked' WHERE t.state = 'running' AND (t.reason_code = 'approval' OR \
     t.reason_code = 'budget') ORDER BY t.reason_code, t.operator, t.task_key LIMIT ?1",
    "SELECT t.task_id, NULL, t.operator, 'lost', NULL, t.reason FROM tasks t WHERE t.state = 'running' AND \
     t.reason_code = 'lost' ORDER BY t.task_key LIMIT ?1",
    "SELECT t.task_id, a.attempt_id, a.operator, 'unknown-submit', a.created_at_ms, a.reason FROM attempts a JOIN tasks t \
     ON t.task_key = a.task_key WHERE a.state = 'submitting' AND \
     (a.state = 'created' OR a.state = 'prepared' OR a.state = 'submitting') ORDER BY a.attempt_key LIMIT ?1",
    "SELECT t.task_id, NULL, t.operator, 'retry', t.retry_set_ms, t.reason FROM tasks t WHERE t.retry_at_ms IS NOT NULL \
     ORDER BY t.retry_at_ms LIMIT ?1",
    "SELECT t.task_id, a.attempt_id, a.operator, 'scheduler', a.created_at_ms, a.reason FROM attempts a JOIN tasks t \
     ON t.task_key = a.task_key WHERE a.state = 'submitted' AND \
     a.ended_at_ms IS NULL ORDER BY +a.attempt_key LIMIT ?1",
    "SELECT t.task_id, a.attempt_id, a.operator, a.reason_code, a.created_at_ms, a.reason FROM attempts a JOIN tasks t \
     ON t.task_key = a.task_key WHERE a.state IN ('created', 'prepared', 'running') AND a.reason_code <> 'progress' AND \
     a.ended_at_ms IS NULL ORDER BY +a.attempt_key LIMIT ?1",
    "SELECT t.task_id, NULL, t.operator, 'capacity', NULL, NULL FROM tasks t WHERE t.state = 'pending' AND t.blocked = 0 \
     ORDER BY t.operator, t.rank, t.task_key LIMIT ?1",
];

impl Store {
    /// What the run waits for, at most `most` things; what merely waits for another task is left out.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn waits(&self, most: u32) -> Result<Vec<WaitRow>, StoreError> {
        let mut all: Vec<WaitRow> = Vec::new();
        for query in QUERIES {
            let room = most.saturating_sub(all.len() as u32);
            let mut statement = self.connection.prepare_cached(query)?;
            let rows = statement.query_map([room], |row| {
                Ok(WaitRow {
                    task: row.get(0)?,
                    attempt: row.get(1)?,
                    operator: row.get(2)?,
                    kind: row.get(3)?,
                    since_ms: row.get(4)?,
                    reason: row.get(5)?,
                })
            })?;
            for row in rows {
                all.push(row?);
            }
        }
        Ok(all)
    }

    /// How many things of each kind the run waits for, the kinds in the order of `waits`; each is counted up to `most`,
    /// so that what it takes does not grow with the run.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn wait_counts(&self, most: u32) -> Result<Vec<(Word, u64)>, StoreError> {
        let mut all = Vec::new();
        for query in QUERIES {
            let sql = format!(
                "WITH waits(task, attempt, operator, kind, since, reason) AS ({query}) SELECT kind, count(*) FROM waits \
                 GROUP BY kind ORDER BY kind"
            );
            let mut statement = self.connection.prepare_cached(&sql)?;
            let rows = statement.query_map([most], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
            for row in rows {
                all.push(row?);
            }
        }
        Ok(all)
    }

    /// The attempts that go on when something from outside appears in their directory: those that wait, and those that
    /// run under one of `operators`. At most `most`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn watched_attempts(&self, operators: &[&str], most: u32) -> Result<Vec<Watched>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT a.attempt_id, a.directory, a.due_set_ms FROM attempts a WHERE (a.state = 'waiting_external' OR \
             (a.state = 'running' AND a.operator IN (SELECT value FROM json_each(?1)))) AND \
             a.ended_at_ms IS NULL ORDER BY a.due_set_ms LIMIT ?2",
        )?;
        let rows = statement.query_map((serde_json::json!(operators).to_string(), most), |row| {
            Ok(Watched { attempt_id: row.get(0)?, directory: row.get(1)?, asked_ms: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::QUERIES;
    use crate::store::migrate::tests::{reads_in_order, reads_some};

    #[test]
    fn what_waits_for_room_is_read_in_the_order_of_an_index() {
        reads_in_order(QUERIES.last().expect("queries"), "tasks_ready");
    }

    #[test]
    fn what_is_waited_for_is_found_without_reading_all_there_was() {
        QUERIES.iter().for_each(|query| reads_some(query));
    }
}
