//! What tasks wait for, and what the end of a task means for those that depend on it.
use super::transition::{Move, list};
use super::{Store, StoreError, TaskRow, Writer};
use crate::model::code::Code;
use crate::model::states::TaskState;
use std::borrow::Cow;

/// Counts what the task at hand still waits for.
pub(super) const UNMET: &str = "SELECT count(*) FROM dependencies d JOIN tasks u ON u.task_key = d.on_key WHERE d.task_key = tasks.task_key \
     AND NOT (u.state = 'completed' OR (tasks.tolerant AND u.state IN ('failed', 'cancelled', 'skipped')))";

/// Of these tasks, those that are pending and need all they depend on to end well, each with what did not: the first
/// of it.
const HOPELESS: &str = "SELECT t.task_key, u.task_id, u.state, min(u.task_key) FROM json_each(?1) k \
     CROSS JOIN tasks t ON t.task_key = k.value JOIN dependencies d ON d.task_key = t.task_key \
     JOIN tasks u ON u.task_key = d.on_key WHERE t.state = 'pending' AND NOT t.tolerant \
     AND u.state IN ('failed', 'cancelled', 'skipped') GROUP BY t.task_key";

/// The tasks that depend on these.
const DEPENDENTS: &str =
    "SELECT DISTINCT d.task_key FROM json_each(?1) k CROSS JOIN dependencies d ON d.on_key = k.value";

impl Writer<'_> {
    /// Lets those that depend on a task feel how it ended: who can never start is skipped, and who depends on that too.
    pub(super) fn release_dependents(&self, key: i64, outcome: TaskState, now_ms: i64) -> Result<(), StoreError> {
        if outcome != TaskState::Completed {
            return self.ended_badly(vec![key], now_ms);
        }
        self.connection
            .prepare_cached(
                "UPDATE tasks SET blocked = blocked - 1 WHERE state = 'pending' AND task_key IN \
                 (SELECT task_key FROM dependencies WHERE on_key = ?1)",
            )?
            .execute([key])?;
        Ok(())
    }

    fn ended_badly(&self, mut ended: Vec<i64>, now_ms: i64) -> Result<(), StoreError> {
        while !ended.is_empty() {
            let keys = list(ended);
            self.connection
                .prepare_cached(
                    "UPDATE tasks SET blocked = blocked - c.n FROM (SELECT d.task_key, count(*) AS n FROM json_each(?1) k \
                     CROSS JOIN dependencies d ON d.on_key = k.value GROUP BY d.task_key) c \
                     WHERE tasks.task_key = c.task_key AND tasks.state = 'pending' AND tasks.tolerant",
                )?
                .execute([&keys])?;
            let mut dependents = self.connection.prepare_cached(DEPENDENTS)?;
            let dependents = dependents.query_map([&keys], |row| row.get(0))?;
            ended = self.skip_hopeless(&list(dependents.collect::<Result<Vec<_>, _>>()?), now_ms)?;
        }
        Ok(())
    }

    /// Skips those of these tasks that can never start, because something they depend on ended badly, and what depends
    /// on them.
    pub(super) fn skip_unreachable(&self, keys: &str, now_ms: i64) -> Result<(), StoreError> {
        self.ended_badly(self.skip_hopeless(keys, now_ms)?, now_ms)
    }

    fn skip_hopeless(&self, keys: &str, now_ms: i64) -> Result<Vec<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached(HOPELESS)?;
        let moves = statement.query_map([keys], |row| {
            let (id, state): (String, TaskState) = (row.get(1)?, row.get(2)?);
            Ok(Move { key: row.get(0)?, reason: Cow::Owned(format!("task `{id}` {}", past(state))) })
        })?;
        let moves: Vec<Move<'_>> = moves.collect::<Result<_, _>>()?;
        if !moves.is_empty() {
            let code = Code::DependencyFailed.into();
            self.move_tasks(&moves, (TaskState::Pending, TaskState::Skipped), Some(&code), now_ms)?;
        }
        Ok(moves.into_iter().map(|one| one.key).collect())
    }

    /// Counts anew what these tasks wait for, and what those wait for that depend on them.
    pub(super) fn count_unmet(&self, keys: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(&format!(
                "UPDATE tasks SET blocked = ({UNMET}) WHERE state = 'pending' AND task_key IN \
                 (SELECT value FROM json_each(?1) UNION {DEPENDENTS})"
            ))?
            .execute([keys])?;
        Ok(())
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
