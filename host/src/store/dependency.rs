//! What tasks wait for, and what the end of a task means for those that depend on it.
use super::{Store, StoreError, TaskRow, Writer};
use crate::model::code::Code;
use crate::model::reason::Reason;
use crate::model::states::TaskState;
use rusqlite::OptionalExtension;

/// Counts what the task at hand still waits for.
pub(super) const UNMET: &str = "SELECT count(*) FROM dependencies d JOIN tasks u ON u.task_key = d.on_key WHERE d.task_key = tasks.task_key \
     AND NOT (u.state = 'completed' OR (tasks.tolerant AND u.state IN ('failed', 'cancelled', 'skipped')))";

impl Writer<'_> {
    pub(super) fn release_dependents(&self, key: i64, outcome: TaskState, now_ms: i64) -> Result<(), StoreError> {
        if outcome == TaskState::Completed {
            self.connection
                .prepare_cached(
                    "UPDATE tasks SET blocked = blocked - 1 WHERE state = 'pending' AND task_key IN \
                     (SELECT task_key FROM dependencies WHERE on_key = ?1)",
                )?
                .execute([key])?;
            return Ok(());
        }
        let mut ended = vec![(key, outcome)];
        while let Some((on, state)) = ended.pop() {
            self.connection
                .prepare_cached(
                    "UPDATE tasks SET blocked = blocked - 1 WHERE state = 'pending' AND tolerant AND task_key IN \
                     (SELECT task_key FROM dependencies WHERE on_key = ?1)",
                )?
                .execute([on])?;
            let id: String = self
                .connection
                .prepare_cached("SELECT task_id FROM tasks WHERE task_key = ?1")?
                .query_row([on], |row| row.get(0))?;
            for dependent in self.intolerant_dependents(on)? {
                let text = format!("task `{id}` {}", past(state));
                let reason = Reason::new(Code::DependencyFailed, text);
                self.move_task(dependent, (TaskState::Pending, TaskState::Skipped), Some(&reason), now_ms)?;
                ended.push((dependent, TaskState::Skipped));
            }
        }
        Ok(())
    }

    fn intolerant_dependents(&self, on: i64) -> Result<Vec<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t.task_key FROM dependencies d JOIN tasks t ON t.task_key = d.task_key \
             WHERE d.on_key = ?1 AND t.state = 'pending' AND NOT t.tolerant",
        )?;
        let keys = statement.query_map([on], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    pub(super) fn skip(&self, key: i64, other: &str, state: TaskState, now_ms: i64) -> Result<(), StoreError> {
        let reason = Reason::new(Code::DependencyFailed, format!("task `{other}` {}", past(state)));
        self.set_task_state(key, (TaskState::Pending, TaskState::Skipped), Some(&reason), now_ms)
    }

    /// A dependency that ended badly, of a task that needs all of them to end well.
    pub(super) fn bad_dependency(&self, key: i64) -> Result<Option<(String, TaskState)>, StoreError> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT u.task_id, u.state FROM dependencies d JOIN tasks t ON t.task_key = d.task_key \
                 JOIN tasks u ON u.task_key = d.on_key WHERE d.task_key = ?1 AND NOT t.tolerant AND \
                 u.state IN ('failed', 'cancelled', 'skipped') ORDER BY u.task_key LIMIT 1",
            )?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?)
    }
}

/// How a person says what became of a task.
fn past(state: TaskState) -> &'static str {
    match state {
        TaskState::Failed => "failed",
        TaskState::Cancelled => "was cancelled",
        TaskState::Skipped => "was skipped",
        TaskState::Completed => "completed",
        TaskState::Pending | TaskState::Running => "has not ended",
    }
}

impl Store {
    /// What each task waits for: pairs of task id and the id it depends on.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn dependency_pairs(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT t.task_id, u.task_id FROM dependencies d JOIN tasks t ON t.task_key = d.task_key \
             JOIN tasks u ON u.task_key = d.on_key ORDER BY d.task_key, d.on_key",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The dependencies of a task that have not completed.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn unmet_dependencies(&self, key: i64) -> Result<Vec<(String, TaskState)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT u.task_id, u.state FROM dependencies d JOIN tasks u ON u.task_key = d.on_key \
             WHERE d.task_key = ?1 AND u.state <> 'completed' ORDER BY u.task_key",
        )?;
        let rows = statement.query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The failed or cancelled task because of which a task cannot run: a dependency of it, or of one that was skipped
    /// for the same reason.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn held_back_by(&self, key: i64) -> Result<Option<TaskRow>, StoreError> {
        Ok(self
            .task_rows(
                "t.task_key IN (WITH RECURSIVE bad(task_key, state) AS ( \
                 SELECT u.task_key, u.state FROM dependencies d JOIN tasks u ON u.task_key = d.on_key \
                 WHERE d.task_key = ?1 AND u.state IN ('failed', 'cancelled', 'skipped') \
                 UNION SELECT u.task_key, u.state FROM bad b JOIN dependencies d ON d.task_key = b.task_key \
                 JOIN tasks u ON u.task_key = d.on_key WHERE b.state = 'skipped' AND \
                 u.state IN ('failed', 'cancelled', 'skipped')) \
                 SELECT task_key FROM bad WHERE state IN ('failed', 'cancelled'))",
                [key],
            )?
            .into_iter()
            .next())
    }
}
