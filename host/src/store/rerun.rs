//! Brings tasks back that have ended.
use super::transition::{Move, list};
use super::{Store, StoreError, Writer, changed_one};
use crate::model::code::Code;
use crate::model::states::TaskState;
use rusqlite::{Connection, OptionalExtension};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

impl Writer<'_> {
    /// Brings tasks back to pending, and with them what was skipped because of them; `recursive` also brings back what
    /// had completed on their results. What still depends on a task that ended badly is skipped again. Returns how many
    /// came back.
    ///
    /// # Errors
    /// If a task has a live attempt, or is of an iteration that is over.
    pub fn rerun(&self, keys: &[i64], recursive: bool, reason: &str, now_ms: i64) -> Result<u64, StoreError> {
        let back = list(with_dependents(self.connection, keys, recursive)?);
        for (from, keys) in self.by_state(&back)? {
            let moves: Vec<Move<'_>> = keys.iter().map(|&key| Move { key, reason: Cow::Borrowed(reason) }).collect();
            if from != TaskState::Pending {
                self.move_tasks(&moves, (from, TaskState::Pending), Some(&Code::Rerun.into()), now_ms)?;
            }
            self.connection
                .prepare_cached(
                    "UPDATE tasks SET tries = 0, misfires = 0, superseded = iif(delivered IS NULL, superseded, ?2), \
                     delivered = NULL, stale = 0, reason_code = NULL, reason = NULL WHERE task_key IN \
                     (SELECT value FROM json_each(?1))",
                )?
                .execute((list(keys), from.as_str()))?;
        }
        let taken_back = "DELETE FROM outcomes WHERE task_key IN (SELECT value FROM json_each(?1))";
        self.connection.prepare_cached(taken_back)?.execute([&back])?;
        self.count_unmet(&back)?;
        self.skip_unreachable(&back, now_ms)?;
        Ok(self.by_state(&back)?.remove(&TaskState::Pending).map_or(0, |keys| keys.len() as u64))
    }

    /// These tasks, by where they stand.
    fn by_state(&self, keys: &str) -> Result<BTreeMap<TaskState, Vec<i64>>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t.state, t.task_key FROM json_each(?1) k CROSS JOIN tasks t ON t.task_key = k.value ORDER BY t.task_key",
        )?;
        let mut all: BTreeMap<TaskState, Vec<i64>> = BTreeMap::new();
        for pair in statement.query_map([keys], |row| Ok((row.get(0)?, row.get(1)?)))? {
            let (state, key) = pair?;
            all.entry(state).or_default().push(key);
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
        changed_one(self.connection.execute("UPDATE run SET result = NULL", [])?, "the run")
    }

    /// Takes the iteration back to the state it was planned with, so that its results are analyzed again.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn reopen_workflow(&self, iteration: u32) -> Result<(), StoreError> {
        let opened =
            self.connection.execute("UPDATE workflows SET analyzed_at_ms = NULL WHERE iteration = ?1", [iteration])?;
        changed_one(opened, "the iteration")?;
        self.connection
            .execute("UPDATE tasks SET delivered = NULL, superseded = NULL WHERE iteration = ?1", [iteration])?;
        let changed = self.connection.execute(
            "UPDATE run SET result = NULL, state_of = (SELECT decision FROM workflows WHERE iteration = ?1)",
            [iteration],
        )?;
        changed_one(changed, "the run")
    }
}

impl Store {
    /// A task among these whose outcome the campaign has received.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn delivered_among(&self, keys: &BTreeSet<i64>) -> Result<Option<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t.task_id FROM json_each(?1) k CROSS JOIN tasks t ON t.task_key = k.value \
             WHERE t.delivered IS NOT NULL ORDER BY t.task_key LIMIT 1",
        )?;
        Ok(statement.query_row([list(keys.iter().copied())], |row| row.get(0)).optional()?)
    }

    /// Those of these tasks whose outcome the campaign has not received.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn undelivered_among(&self, keys: &[i64]) -> Result<Vec<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t.task_key FROM json_each(?1) k CROSS JOIN tasks t ON t.task_key = k.value \
             WHERE t.delivered IS NULL ORDER BY t.task_key",
        )?;
        let keys = statement.query_map([list(keys.iter().copied())], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

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
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE back(task_key) AS (SELECT value FROM json_each(?1) UNION SELECT t.task_key FROM back b \
         CROSS JOIN dependencies d ON d.on_key = b.task_key JOIN tasks t ON t.task_key = d.task_key \
         WHERE t.state = 'skipped' OR (?2 AND t.state IN ('completed', 'failed'))) SELECT task_key FROM back",
    )?;
    let back = statement.query_map((list(keys.iter().copied()), recursive), |row| row.get(0))?;
    Ok(back.collect::<Result<_, _>>()?)
}
