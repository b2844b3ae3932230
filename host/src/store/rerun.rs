//! Brings tasks back that have ended.
use super::dependency::UNMET;
use super::{Store, StoreError, Writer};
use crate::model::code::Code;
use crate::model::reason::Reason;
use crate::model::states::TaskState;
use rusqlite::Connection;
use std::collections::BTreeSet;

impl Writer<'_> {
    /// Brings tasks back to pending, and with them what was skipped because of them; `recursive` also brings back what
    /// had completed on their results. What still depends on a task that ended badly is skipped again. Returns how many
    /// came back.
    ///
    /// # Errors
    /// If a task has a live attempt, or is of an iteration that is over.
    pub fn rerun(&self, keys: &[i64], recursive: bool, reason: &str, now_ms: i64) -> Result<u64, StoreError> {
        let back = with_dependents(self.connection, keys, recursive)?;
        let reason = Reason::new(Code::Rerun, reason);
        for &key in &back {
            let from = self.task_state(key)?;
            if from != TaskState::Pending {
                self.move_task(key, (from, TaskState::Pending), Some(&reason), now_ms)?;
            }
            self.connection
                .prepare_cached(
                    "UPDATE tasks SET tries = 0, misfires = 0, superseded = iif(delivered IS NULL, superseded, ?2), \
                     delivered = NULL, stale = 0, reason_code = NULL, reason = NULL WHERE task_key = ?1",
                )?
                .execute((key, from.as_str()))?;
        }
        // each of those concerned once, however many of its dependencies came back
        for key in self.concerned(&back)? {
            self.connection
                .prepare_cached(&format!(
                    "UPDATE tasks SET blocked = ({UNMET}) WHERE state = 'pending' AND task_key = ?1"
                ))?
                .execute([key])?;
        }
        for &key in &back {
            if let Some((on, state)) = self.bad_dependency(key)?
                && self.task_state(key)? == TaskState::Pending
            {
                self.skip(key, &on, state, now_ms)?;
            }
        }
        let mut count = 0;
        for &key in &back {
            count += u64::from(self.task_state(key)? == TaskState::Pending);
        }
        Ok(count)
    }

    /// These tasks, and those that depend on one of them.
    fn concerned(&self, keys: &BTreeSet<i64>) -> Result<BTreeSet<i64>, StoreError> {
        let mut all = keys.clone();
        let mut statement = self.connection.prepare_cached("SELECT task_key FROM dependencies WHERE on_key = ?1")?;
        for key in keys {
            for dependent in statement.query_map([key], |row| row.get(0))? {
                all.insert(dependent?);
            }
        }
        Ok(all)
    }

    /// Lets the results of what was brought back be analyzed, beside the others that have been.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn take_back(&self) -> Result<(), StoreError> {
        // what was brought back and skipped again is open no more, and has to be heard of all the same
        self.connection.execute(
            "UPDATE workflows SET analyzed_at_ms = NULL WHERE open_tasks > 0 OR EXISTS \
             (SELECT 1 FROM tasks t WHERE t.iteration = workflows.iteration AND t.delivered IS NULL)",
            [],
        )?;
        self.connection.execute("UPDATE run SET result = NULL", [])?;
        Ok(())
    }

    /// Takes the iteration back to the state it was planned with, so that its results are analyzed again.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn reopen_workflow(&self, iteration: u32) -> Result<(), StoreError> {
        self.connection.execute("UPDATE workflows SET analyzed_at_ms = NULL WHERE iteration = ?1", [iteration])?;
        self.connection
            .execute("UPDATE tasks SET delivered = NULL, superseded = NULL WHERE iteration = ?1", [iteration])?;
        self.connection.execute(
            "UPDATE run SET result = NULL, state_of = (SELECT decision FROM workflows WHERE iteration = ?1)",
            [iteration],
        )?;
        Ok(())
    }
}

impl Store {
    /// The places of these tasks, and of what a rerun of them brings back too.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn brought_back(&self, keys: &[i64], recursive: bool) -> Result<BTreeSet<i64>, StoreError> {
        with_dependents(&self.connection, keys, recursive)
    }
}

/// These tasks, and what a rerun of them brings back too.
fn with_dependents(connection: &Connection, keys: &[i64], recursive: bool) -> Result<BTreeSet<i64>, StoreError> {
    let mut queue: Vec<i64> = keys.to_vec();
    let mut back = BTreeSet::new();
    let mut statement = connection.prepare_cached(
        "SELECT t.task_key, t.state FROM dependencies d JOIN tasks t ON t.task_key = d.task_key WHERE d.on_key = ?1",
    )?;
    while let Some(key) = queue.pop() {
        if !back.insert(key) {
            continue;
        }
        for dependent in statement.query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))? {
            let (dependent, state): (i64, TaskState) = dependent?;
            let ended = matches!(state, TaskState::Completed | TaskState::Failed);
            if state == TaskState::Skipped || (recursive && ended) {
                queue.push(dependent);
            }
        }
    }
    Ok(back)
}
