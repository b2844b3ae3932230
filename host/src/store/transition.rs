//! Tasks that go from one state to another: one at a time as attempts end, or many at once in a few statements.
use super::history::Subject;
use super::word::columns;
use super::{StoreError, Writer, changed_one};
use crate::model::code::Word;
use crate::model::reason::Reason;
use crate::model::states::TaskState;
use rusqlite::OptionalExtension;
use std::borrow::Cow;

/// A task that goes with others, and why.
#[derive(Debug)]
pub(super) struct Move<'a> {
    /// Its place in the database.
    pub(super) key: i64,
    /// Why, for a person.
    pub(super) reason: Cow<'a, str>,
}

/// Places of tasks, as statements take many: a JSON list.
pub(super) fn list(keys: impl IntoIterator<Item = i64>) -> String {
    let keys: Vec<String> = keys.into_iter().map(|key| key.to_string()).collect();
    format!("[{}]", keys.join(","))
}

impl Writer<'_> {
    /// Moves a task to another state, and lets its dependents feel it.
    ///
    /// # Errors
    /// If it is not in `from`, or cannot go to `to` from there.
    pub fn set_task_state(
        &self,
        key: i64,
        (from, to): (TaskState, TaskState),
        reason: Option<&Reason>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        from.become_state(to)?;
        let (code, text) = columns(reason);
        let moved: Option<(String, u32)> = self
            .connection
            .prepare_cached(
                "UPDATE tasks SET state = ?3, reason_code = ?4, reason = ?5, retry_at_ms = NULL, retry_set_ms = NULL \
                 WHERE task_key = ?1 AND state = ?2 RETURNING task_id, iteration",
            )?
            .query_row((key, from.as_str(), to.as_str(), code, text), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (id, iteration) = moved.ok_or_else(|| StoreError::Row(format!("task {key} is not `{from}`")))?;
        self.count_moved((from, to), 1)?;
        let opened = opened(from, to);
        if opened != 0 {
            let changed = self
                .connection
                .prepare_cached("UPDATE workflows SET open_tasks = open_tasks + ?2 WHERE iteration = ?1")?
                .execute((iteration, opened))?;
            changed_one(changed, "the iteration")?;
        }
        self.record(now_ms, Subject::Task(&id), (Some(from.as_str()), to.as_str()), text)?;
        if !to.ended() {
            return Ok(());
        }
        self.queue_outcomes(&list([key]))?;
        self.release_dependents(key, to, now_ms)
    }

    /// Moves tasks that are all in one state to another, each for a reason of its own, in as many statements as for
    /// one. Their dependents do not feel it.
    pub(super) fn move_tasks(
        &self,
        moves: &[Move<'_>],
        (from, to): (TaskState, TaskState),
        code: Option<&Word>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        from.become_state(to)?;
        let pairs: Vec<(i64, &str)> = moves.iter().map(|one| (one.key, &*one.reason)).collect();
        let pairs = serde_json::to_string(&pairs).map_err(|error| StoreError::Row(error.to_string()))?;
        self.connection
            .prepare_cached(
                "INSERT INTO history (at_ms, kind, subject, from_state, to_state, reason) \
                 SELECT ?2, 'task', t.task_id, ?3, ?4, m.value ->> 1 FROM json_each(?1) m \
                 CROSS JOIN tasks t ON t.task_key = m.value ->> 0 ORDER BY m.key",
            )?
            .execute((&pairs, now_ms, from.as_str(), to.as_str()))?;
        self.connection
            .prepare_cached(
                "UPDATE workflows SET open_tasks = open_tasks + ?2 * c.n FROM \
                 (SELECT t.iteration, count(*) AS n FROM json_each(?1) m CROSS JOIN tasks t \
                 ON t.task_key = m.value ->> 0 GROUP BY t.iteration) c WHERE workflows.iteration = c.iteration",
            )?
            .execute((&pairs, opened(from, to)))?;
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE tasks SET state = ?3, reason_code = ?4, reason = m.value ->> 1, retry_at_ms = NULL, \
                 retry_set_ms = NULL FROM json_each(?1) m WHERE tasks.task_key = m.value ->> 0 AND tasks.state = ?2",
            )?
            .execute((&pairs, from.as_str(), to.as_str(), code))?;
        if changed != moves.len() {
            return Err(StoreError::Row(format!("{changed} of {} tasks are `{from}`", moves.len())));
        }
        if to.ended() {
            self.queue_outcomes(&list(moves.iter().map(|one| one.key)))?;
        }
        self.count_moved((from, to), moves.len() as i64)
    }

    /// Notes that these tasks have ended, in this order, where the campaign receives each result as it comes.
    fn queue_outcomes(&self, keys: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO outcomes (task_key) SELECT k.value FROM run CROSS JOIN json_each(?1) k WHERE run.each_result \
             ORDER BY k.key";
        self.connection.prepare_cached(sql)?.execute([keys])?;
        Ok(())
    }

    fn count_moved(&self, (from, to): (TaskState, TaskState), tasks: i64) -> Result<(), StoreError> {
        let mut count = self.connection.prepare_cached("UPDATE task_counts SET n = n + ?2 WHERE state = ?1")?;
        changed_one(count.execute((from.as_str(), -tasks))?, "the count of tasks")?;
        changed_one(count.execute((to.as_str(), tasks))?, "the count of tasks")
    }
}

/// What the move of a task adds to the open ones of its iteration.
fn opened(from: TaskState, to: TaskState) -> i64 {
    i64::from(from.ended()) - i64::from(to.ended())
}
