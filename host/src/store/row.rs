//! What came of every task, a row each: what `table`, `compare` and `export` are made from.
use super::{Store, StoreError};
use crate::model::states::{AttemptState, TaskState};
use rusqlite::Row;

/// What came of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskEnd {
    /// The task's id.
    pub task: String,
    /// The iteration that planned it.
    pub iteration: u32,
    /// The operator key.
    pub operator: String,
    /// The state it is in.
    pub state: TaskState,
    /// Why, for a person.
    pub reason: Option<String>,
    /// Whether it completed on what has been changed since.
    pub stale: bool,
    /// The task as its newest version has it, JSON text.
    pub spec: String,
    /// Its last attempt, if it had one.
    pub last: Option<LastAttempt>,
}

/// The last attempt at a task.
#[derive(Debug, Clone, PartialEq)]
pub struct LastAttempt {
    /// Its place in the database.
    pub key: i64,
    /// Its id.
    pub id: String,
    /// Its number among the attempts at the task, from 1.
    pub number: u32,
    /// The state it is in.
    pub state: AttemptState,
    /// Its directory, relative to the run's.
    pub directory: String,
    /// The output document of its operator, JSON text.
    pub data: Option<String>,
    /// Where its job ran: the node, else the machine.
    pub node: Option<String>,
    /// When its job was handed in, in milliseconds since the epoch.
    pub queued_ms: Option<i64>,
    /// When its job started.
    pub started_ms: Option<i64>,
    /// When its job ended.
    pub stopped_ms: Option<i64>,
    /// Processor time that its job used, in milliseconds.
    pub cpu_ms: Option<i64>,
    /// The most memory that its job had, in MiB.
    pub memory_mb: Option<i64>,
    /// The run whose results it took, if it ran nothing.
    pub reused_from: Option<String>,
    /// When it ended.
    pub ended_ms: Option<i64>,
}

/// All of a [`TaskEnd`] and its place, for a `WHERE` behind it.
const SELECT: &str = "SELECT t.task_id, t.iteration, t.operator, t.state, t.stale, t.spec, a.attempt_key, a.attempt_id, a.number, \
     a.state, a.directory, a.data, coalesce(a.node, a.host), a.queued_ms, a.started_ms, a.stopped_ms, a.cpu_ms, a.memory_peak_mb, \
     r.run, t.task_key, t.reason, a.ended_at_ms FROM tasks t LEFT JOIN attempts a ON a.task_key = t.task_key \
     AND a.number = (SELECT max(b.number) FROM attempts b WHERE b.task_key = t.task_key) \
     LEFT JOIN reused r ON r.attempt_key = a.attempt_key";

fn task_end(row: &Row<'_>) -> Result<TaskEnd, StoreError> {
    let state: TaskState = row.get(3)?;
    let last = match row.get(6)? {
        None => None,
        Some(key) => Some(LastAttempt {
            key,
            id: row.get(7)?,
            number: row.get(8)?,
            state: row.get(9)?,
            directory: row.get(10)?,
            data: row.get(11)?,
            node: row.get(12)?,
            queued_ms: row.get(13)?,
            started_ms: row.get(14)?,
            stopped_ms: row.get(15)?,
            cpu_ms: row.get(16)?,
            memory_mb: row.get(17)?,
            reused_from: row.get(18)?,
            ended_ms: row.get(21)?,
        }),
    };
    Ok(TaskEnd {
        task: row.get(0)?,
        iteration: row.get(1)?,
        operator: row.get(2)?,
        state,
        reason: row.get(20)?,
        stale: row.get::<_, bool>(4)? && state == TaskState::Completed,
        spec: row.get(5)?,
        last,
    })
}

impl Store {
    /// What came of tasks, in the order planned: at most `most` of those behind the place `after`, each with its own
    /// place. A whole run is asked for in portions, so that nobody who writes waits for whoever reads.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task_ends(&self, after: i64, most: u32) -> Result<Vec<(i64, TaskEnd)>, StoreError> {
        let sql = format!("{SELECT} WHERE t.task_key > ?1 ORDER BY t.task_key LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((after, most))?;
        let mut ends = Vec::new();
        while let Some(row) = rows.next()? {
            ends.push((row.get(19)?, task_end(row)?));
        }
        Ok(ends)
    }

    /// When an attempt that has ended was made and ended, in milliseconds since the epoch.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempt_times(&self, attempt_key: i64) -> Result<Option<(i64, i64)>, StoreError> {
        let sql = "SELECT created_at_ms, ended_at_ms FROM attempts WHERE attempt_key = ?1 AND ended_at_ms IS NOT NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([attempt_key])?;
        Ok(rows.next()?.map(|row| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?))).transpose()?)
    }

    /// What came of the task with this place in the database.
    ///
    /// # Errors
    /// If there is none, or the database cannot be read.
    pub fn task_end(&self, task_key: i64) -> Result<TaskEnd, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!("{SELECT} WHERE t.task_key = ?1"))?;
        let mut rows = statement.query([task_key])?;
        task_end(rows.next()?.ok_or_else(|| StoreError::Row("a task is missing".to_owned()))?)
    }
}
