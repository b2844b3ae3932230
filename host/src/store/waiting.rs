//! What a run waits for, as `status` shows it.
use super::{Store, StoreError, Writer};
use crate::model::code::Word;
use serde::Serialize;

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

/// Something a person may want to be told.
#[derive(Debug, Clone, Serialize)]
pub struct News {
    /// The task that waits outside; absent: the news is of the run.
    pub task: Option<String>,
    /// The state of the run, or the kind of thing the task waits for.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
}

/// The most news of one tick.
const NEWS_MAX: u32 = 1_000;

impl Writer<'_> {
    /// Records that a person is being told of everything up to this row of the history.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_notified(&self, seq: i64) -> Result<(), StoreError> {
        self.connection.execute("UPDATE run SET notified_seq = ?1", [seq])?;
        Ok(())
    }
}

impl Store {
    /// What has happened since a person was last told, and still holds: the run was held or has ended, a task waits for
    /// a person, a kit or an instrument. With the row of the history up to which that reaches.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn news(&self) -> Result<(i64, Vec<News>), StoreError> {
        let upto = self.connection.query_row("SELECT coalesce(max(seq), 0) FROM history", [], |row| row.get(0))?;
        let mut statement = self.connection.prepare_cached(
            "SELECT NULL, r.state, r.reason FROM history h JOIN run r ON r.state = h.to_state WHERE h.seq > \
             (SELECT notified_seq FROM run) AND h.kind = 'run' AND h.to_state IN ('held', 'completed', 'failed', 'cancelled') \
             UNION ALL SELECT t.task_id, a.waits_for, a.reason FROM history h JOIN attempts a ON a.attempt_id = h.subject \
             JOIN tasks t ON t.task_key = a.task_key WHERE h.seq > (SELECT notified_seq FROM run) AND h.kind = 'attempt' AND \
             h.to_state = 'waiting_external' AND a.state = 'waiting_external' AND \
             a.waits_for IN ('person', 'kit', 'instrument') LIMIT ?1",
        )?;
        let rows = statement
            .query_map([NEWS_MAX], |row| Ok(News { task: row.get(0)?, state: row.get(1)?, reason: row.get(2)? }))?;
        Ok((upto, rows.collect::<Result<_, _>>()?))
    }

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
