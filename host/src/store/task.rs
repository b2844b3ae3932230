//! Tasks: where each stands, and why.
use super::transition::Move;
use super::word::columns;
use super::{Store, StoreError, Writer, changed_one};
use crate::model::code::Word;
use crate::model::reason::Reason;
use crate::model::states::{TaskCounts, TaskState};
use rusqlite::{Connection, OptionalExtension};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The last task of a portion, after which the next begins.
#[derive(Debug)]
struct After {
    operator: String,
    rank: i64,
    key: i64,
}

/// A task as a person or a report sees it.
#[derive(Debug, Clone)]
pub struct TaskRow {
    /// Its place in the database.
    pub key: i64,
    /// The task's id.
    pub id: String,
    /// The iteration that planned it.
    pub iteration: u32,
    /// The operator key.
    pub operator: String,
    /// Where it stands.
    pub state: TaskState,
    /// Dependencies that have not ended well yet.
    pub blocked: u32,
    /// Why, for a program.
    pub reason_code: Option<Word>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// Attempts made in all.
    pub attempts: u32,
    /// When the next attempt is due.
    pub retry_at_ms: Option<i64>,
    /// Whether the campaign expects that it may fail.
    pub allow_failure: bool,
    /// Whether it completed on what has been changed since.
    pub stale: bool,
    /// Whether the campaign has received its outcome.
    pub delivered: bool,
    /// What it is ordered by among those that are ready.
    rank: i64,
}

/// How tasks stand that have not completed. Of those that are pending, the ready ones come by operator, in the order in
/// which they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Pending, and nothing stands before it.
    Ready,
    /// Pending, and waits for others.
    Blocked,
    /// Running.
    Running,
    /// Failed.
    Failed,
    /// Cancelled.
    Cancelled,
    /// Skipped.
    Skipped,
}

/// Tasks that are read at once where all of them are wanted.
const PORTION: u64 = 1_000;

/// The running tasks that have no live attempt. The condition of the partial index is named whole, else SQLite reads
/// every task.
const WAITING: &str = "SELECT t.task_key FROM tasks t WHERE t.state = 'running' AND \
     t.state NOT IN ('pending', 'completed') AND \
     NOT EXISTS (SELECT 1 FROM attempts a WHERE a.task_key = t.task_key AND a.ended_at_ms IS NULL)";

impl Writer<'_> {
    /// Where a task stands now.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task_state(&self, key: i64) -> Result<TaskState, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT state FROM tasks WHERE task_key = ?1")?
            .query_row([key], |row| row.get(0))?)
    }

    /// Notes why a running task does not move, without a change of state.
    ///
    /// # Errors
    /// If it does not run.
    pub fn set_task_reason(&self, key: i64, reason: Option<&Reason>) -> Result<(), StoreError> {
        let (code, text) = columns(reason);
        let changed = self
            .connection
            .prepare_cached("UPDATE tasks SET reason_code = ?2, reason = ?3 WHERE task_key = ?1 AND state = 'running'")?
            .execute((key, code, text))?;
        changed_one(changed, "the task")
    }

    /// Cancels every running task that has no live attempt: between two attempts, or lost.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn cancel_waiting(&self, reason: &Reason, now_ms: i64) -> Result<(), StoreError> {
        self.cancel_all(WAITING, TaskState::Running, reason, now_ms)
    }

    /// Counts an attempt of a running task against its tries, or among the starts in a row that failed. Returns both
    /// numbers.
    ///
    /// # Errors
    /// If the task does not run.
    pub fn count_try(&self, key: i64, started: bool) -> Result<(u32, u32), StoreError> {
        let sql = if started {
            "UPDATE tasks SET tries = tries + 1, misfires = 0 WHERE task_key = ?1 AND state = 'running' \
             RETURNING tries, misfires"
        } else {
            "UPDATE tasks SET misfires = misfires + 1 WHERE task_key = ?1 AND state = 'running' RETURNING tries, misfires"
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let counted = statement.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        changed_one(usize::from(counted.is_some()), "the task")?;
        Ok(counted.unwrap_or_default())
    }

    /// Cancels every task that has not started.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn cancel_pending(&self, reason: &Reason, now_ms: i64) -> Result<(), StoreError> {
        self.cancel_all("SELECT task_key FROM tasks WHERE state = 'pending'", TaskState::Pending, reason, now_ms)
    }

    fn cancel_all(&self, which: &str, from: TaskState, reason: &Reason, now_ms: i64) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare(which)?;
        let moves =
            statement.query_map([], |row| Ok(Move { key: row.get(0)?, reason: Cow::Borrowed(&reason.text) }))?;
        let moves: Vec<Move<'_>> = moves.collect::<Result<_, _>>()?;
        self.move_tasks(&moves, (from, TaskState::Cancelled), Some(&reason.word), now_ms)
    }

    /// How many tasks wait for a person's word on a lost attempt.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn lost_tasks(&self) -> Result<u64, StoreError> {
        lost_tasks(self.connection)
    }
}

fn lost_tasks(connection: &Connection) -> Result<u64, StoreError> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM tasks WHERE state = 'running' AND reason_code = 'lost'")?
        .query_row([], |row| row.get(0))?;
    Ok(count as u64)
}

pub(super) fn task_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<TaskRow> {
    Ok(TaskRow {
        key: row.get(0)?,
        id: row.get(1)?,
        iteration: row.get(2)?,
        operator: row.get(3)?,
        state: row.get(4)?,
        blocked: row.get(5)?,
        reason_code: row.get(6)?,
        reason: row.get(7)?,
        retry_at_ms: row.get(8)?,
        allow_failure: row.get(9)?,
        attempts: row.get(10)?,
        stale: row.get(11)?,
        rank: row.get(12)?,
        delivered: row.get(13)?,
    })
}

pub(super) const TASK_COLUMNS: &str = "t.task_key, t.task_id, t.iteration, t.operator, t.state, t.blocked, t.reason_code, t.reason, \
     t.retry_at_ms, t.allow_failure, (SELECT count(*) FROM attempts a WHERE a.task_key = t.task_key), t.stale, t.rank, t.delivered IS NOT NULL";

impl Standing {
    /// The statement that reads a page of them, after one.
    fn page(self) -> String {
        // the words stand in the text, since the indexes are partial ones; that of `tasks_notable` has to be named
        // whole
        let notable = |state: TaskState| {
            format!(
                "t.state = '{state}' AND t.state NOT IN ('pending', 'completed') AND ?1 IS NOT NULL AND ?2 IS NOT NULL AND \
                 t.task_key > ?3 ORDER BY t.task_key"
            )
        };
        let filter = match self {
            Self::Ready => "t.state = 'pending' AND t.blocked = 0 AND (t.operator, t.rank, t.task_key) > (?1, ?2, ?3) \
                 ORDER BY t.operator, t.rank, t.task_key"
                .to_owned(),
            Self::Blocked => {
                "t.state = 'pending' AND t.blocked > 0 AND ?1 IS NOT NULL AND ?2 IS NOT NULL AND t.task_key > ?3 \
                 ORDER BY t.task_key"
                    .to_owned()
            }
            Self::Running => notable(TaskState::Running),
            Self::Failed => notable(TaskState::Failed),
            Self::Cancelled => notable(TaskState::Cancelled),
            Self::Skipped => notable(TaskState::Skipped),
        };
        format!("SELECT {TASK_COLUMNS} FROM tasks t WHERE {filter} LIMIT ?4")
    }
}

impl Store {
    pub(super) fn task_rows<P: rusqlite::Params>(
        &self,
        filter: &str,
        parameters: P,
    ) -> Result<Vec<TaskRow>, StoreError> {
        let mut statement = self
            .connection
            .prepare(&format!("SELECT {TASK_COLUMNS} FROM tasks t WHERE {filter} ORDER BY t.task_key"))?;
        let rows = statement.query_map(parameters, task_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Every task, in the order planned; `state` and `operator` narrow the list.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn tasks(&self, state: Option<TaskState>, operator: Option<&str>) -> Result<Vec<TaskRow>, StoreError> {
        self.task_rows(
            "(?1 IS NULL OR t.state = ?1) AND (?2 IS NULL OR t.operator = ?2)",
            (state.map(TaskState::as_str), operator),
        )
    }

    /// The first `most` tasks, in the order planned.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn first_tasks(&self, most: u32) -> Result<Vec<TaskRow>, StoreError> {
        self.task_rows("t.task_key IN (SELECT task_key FROM tasks ORDER BY task_key LIMIT ?1)", [most])
    }

    /// Tasks that stand so, at most `most`; each portion is read when it is come to, so that nothing is locked between.
    pub fn standing_tasks(
        &self,
        standing: Standing,
        most: u64,
    ) -> impl Iterator<Item = Result<TaskRow, StoreError>> + use<'_> {
        let (mut left, mut after, mut last) = (most, After { operator: String::new(), rank: i64::MIN, key: 0 }, false);
        std::iter::from_fn(move || {
            let portion = left.min(PORTION);
            if last || portion == 0 {
                return None;
            }
            let rows = self.standing_page(standing, &after, portion);
            let read = rows.as_ref().map_or(0, Vec::len) as u64;
            if let Some(row) = rows.as_ref().ok().and_then(|rows| rows.last()) {
                after = After { operator: row.operator.clone(), rank: row.rank, key: row.key };
            }
            left -= read;
            last = read < portion;
            Some(match rows {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
        })
        .flatten()
    }

    fn standing_page(&self, standing: Standing, after: &After, most: u64) -> Result<Vec<TaskRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(&standing.page())?;
        let rows = statement.query_map((&after.operator, after.rank, after.key, most as i64), task_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One task by its id.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task(&self, id: &str) -> Result<Option<TaskRow>, StoreError> {
        Ok(self.task_rows("t.task_id = ?1", [id])?.pop())
    }

    /// Tasks that did not move on: pending or running, at most `most`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn open_tasks(&self, most: u32) -> Result<Vec<TaskRow>, StoreError> {
        self.task_rows(
            "t.task_key IN (SELECT task_key FROM tasks WHERE state IN ('pending', 'running') ORDER BY task_key LIMIT ?1)",
            [most],
        )
    }

    /// The ids of an operator's tasks that have not ended, in the order planned.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn open_tasks_of(&self, operator: &str) -> Result<Vec<String>, StoreError> {
        self.ids(
            "SELECT task_id FROM tasks WHERE operator = ?1 AND state IN ('pending', 'running') ORDER BY task_key",
            operator,
        )
    }

    /// The ids of the tasks of which an operator has a live attempt, in the order made.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn live_tasks_of(&self, operator: &str) -> Result<Vec<String>, StoreError> {
        self.ids(
            "SELECT t.task_id FROM attempts a JOIN tasks t ON t.task_key = a.task_key WHERE a.operator = ?1 AND \
             a.ended_at_ms IS NULL ORDER BY a.attempt_key",
            operator,
        )
    }

    fn ids(&self, sql: &str, operator: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare(sql)?;
        let ids = statement.query_map([operator], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Whether a task of this id exists.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn has_task(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM tasks WHERE task_id = ?1")?.exists([id])?)
    }

    /// The JSON text of a task.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task_json(&self, key: i64) -> Result<String, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT spec FROM tasks WHERE task_key = ?1")?
            .query_row([key], |row| row.get(0))?)
    }

    /// How many tasks are in each state.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task_counts(&self) -> Result<TaskCounts, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT state, n FROM task_counts")?;
        let rows: BTreeMap<String, i64> =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let of = |state: TaskState| rows.get(state.as_str()).copied().unwrap_or(0) as u64;
        Ok(TaskCounts {
            total: rows.values().sum::<i64>() as u64,
            pending: of(TaskState::Pending),
            running: of(TaskState::Running),
            completed: of(TaskState::Completed),
            failed: of(TaskState::Failed),
            cancelled: of(TaskState::Cancelled),
            skipped: of(TaskState::Skipped),
        })
    }

    /// How many tasks are of earlier iterations than this one.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn tasks_before(&self, iteration: u32) -> Result<u64, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT count(*) FROM tasks WHERE iteration < ?1")?;
        Ok(statement.query_row([iteration], |row| row.get::<_, i64>(0))? as u64)
    }

    /// How many tasks wait for a person's word on a lost attempt.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn lost_tasks(&self) -> Result<u64, StoreError> {
        lost_tasks(&self.connection)
    }
}

#[cfg(test)]
mod tests {
    use super::{Standing, WAITING};
    use crate::store::migrate::tests::{plan, reads_in_order};

    #[test]
    fn what_waits_is_found_without_reading_every_task() {
        let steps = plan(WAITING);
        assert!(steps.iter().any(|step| step.contains("tasks_notable")), "{steps:?}");
        assert!(steps.iter().all(|step| !step.starts_with("SCAN")), "{steps:?}");
    }

    #[test]
    fn a_page_of_tasks_is_read_in_the_order_of_an_index() {
        reads_in_order(&Standing::Ready.page(), "tasks_ready");
        for standing in [Standing::Running, Standing::Failed, Standing::Cancelled, Standing::Skipped] {
            reads_in_order(&standing.page(), "tasks_notable");
        }
    }
}
