//! Which tasks can get an attempt now: those that are ready, and those whose back-off has passed.
use super::{Store, StoreError, Writer, changed_one};
use crate::model::reason::Reason;
use crate::model::states::TaskState;

/// What starting an attempt needs of a task.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    /// Its place in the database.
    pub key: i64,
    /// The task's id.
    pub id: String,
    /// The operator key.
    pub operator: String,
    /// Where it stands: pending, or running between two attempts.
    pub state: TaskState,
    /// Attempts made in all.
    pub attempts: u32,
}

const SPECS: &str = "SELECT t.task_key, t.task_id, t.operator, t.state, \
     (SELECT count(*) FROM attempts a WHERE a.task_key = t.task_key) FROM tasks t WHERE";
const READY: &str = "t.state = 'pending' AND t.blocked = 0 AND t.operator = ?1 ORDER BY t.rank, t.task_key LIMIT ?2";
// From each operator to the next in the index: DISTINCT would read every task that is ready.
const OPERATORS: &str = "WITH RECURSIVE next (operator) AS (\
     SELECT min(operator) FROM tasks WHERE state = 'pending' AND blocked = 0 UNION ALL \
     SELECT (SELECT min(operator) FROM tasks WHERE state = 'pending' AND blocked = 0 AND operator > next.operator) \
     FROM next WHERE operator IS NOT NULL) \
     SELECT operator FROM next WHERE operator IS NOT NULL";

impl Writer<'_> {
    /// Sets when the next attempt of a running task is due.
    ///
    /// # Errors
    /// If the task is not running.
    pub fn set_retry(&self, key: i64, due_ms: i64, now_ms: i64, reason: &Reason) -> Result<(), StoreError> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE tasks SET retry_at_ms = ?2, retry_set_ms = ?3, reason_code = ?4, reason = ?5 \
                 WHERE task_key = ?1 AND state = 'running'",
            )?
            .execute((key, due_ms, now_ms, &reason.word, &reason.text))?;
        changed_one(changed, "the task")
    }

    /// Ends what a running task waited for that gets its next attempt: a back-off, or room in a budget.
    ///
    /// # Errors
    /// If it waited for neither.
    pub fn clear_retry(&self, key: i64) -> Result<(), StoreError> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE tasks SET retry_at_ms = NULL, retry_set_ms = NULL, reason_code = NULL, reason = NULL \
                 WHERE task_key = ?1 AND state = 'running' AND (retry_at_ms IS NOT NULL OR reason_code = 'budget')",
            )?
            .execute([key])?;
        changed_one(changed, "the task")
    }
}

impl Store {
    /// Up to `most` tasks of an operator that are ready to start: by priority, then those that go on with what has
    /// begun before those that begin something, then in the order planned.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ready_tasks(&self, operator: &str, most: u64) -> Result<Vec<TaskSpec>, StoreError> {
        self.specs(READY, (operator, most as i64))
    }

    /// Up to `most` tasks of an operator whose next attempt is due: the back-off has passed, or the clock is now before
    /// it was set.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn retries_due(&self, operator: &str, now_ms: i64, most: u64) -> Result<Vec<TaskSpec>, StoreError> {
        self.specs(
            "t.task_key IN (SELECT task_key FROM tasks WHERE operator = ?1 AND retry_at_ms IS NOT NULL AND retry_at_ms <= ?2 \
             UNION SELECT task_key FROM tasks WHERE operator = ?1 AND retry_at_ms IS NOT NULL AND retry_set_ms > ?2 \
             ORDER BY task_key LIMIT ?3) ORDER BY t.task_key",
            (operator, now_ms, most as i64),
        )
    }

    pub(super) fn specs<P: rusqlite::Params>(&self, filter: &str, parameters: P) -> Result<Vec<TaskSpec>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!("{SPECS} {filter}"))?;
        let rows = statement.query_map(parameters, |row| {
            Ok(TaskSpec {
                key: row.get(0)?,
                id: row.get(1)?,
                operator: row.get(2)?,
                state: row.get(3)?,
                attempts: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The operators that have a task that is ready to start, in the order of their names.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ready_operators(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(OPERATORS)?;
        let operators = statement.query_map([], |row| row.get(0))?;
        Ok(operators.collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::{OPERATORS, READY, SPECS};
    use crate::store::migrate::tests::{plan, reads_in_order};

    #[test]
    fn what_is_ready_is_read_in_the_order_of_an_index() {
        for sql in [format!("{SPECS} {READY}"), OPERATORS.to_owned()] {
            reads_in_order(&sql, "tasks_ready");
            assert!(!plan(&sql).iter().any(|step| step.starts_with("SCAN tasks")), "{sql} reads all of them");
        }
    }
}
