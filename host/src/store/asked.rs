//! Why a plan is owed: a set that is durable until a decision answers it, and a time to ask at though nothing ended.
use super::{Store, StoreError, Writer, changed_one};
use crate::model::contract::PlanReason;

/// A time to ask for a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// When that was decided, in milliseconds since the epoch.
    pub set_ms: i64,
}

impl Wake {
    /// Whether it has come; so it has where the clock jumped back behind the decision.
    pub(super) fn is_due(self, now_ms: i64) -> bool {
        now_ms >= self.at_ms || now_ms < self.set_ms
    }
}

impl Store {
    /// Why a plan is owed now, sorted.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn asked(&self, now_ms: i64) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT word FROM asked")?;
        let mut words = statement.query_map([], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
        if self.wake()?.is_some_and(|wake| wake.is_due(now_ms)) {
            words.push(PlanReason::Time.as_str().to_owned());
        }
        words.sort_unstable();
        Ok(words)
    }

    /// When a plan is to be asked for though nothing ended.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn wake(&self) -> Result<Option<Wake>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT wake_at_ms, wake_set_ms FROM run")?;
        let (at, set): (Option<i64>, Option<i64>) = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(at.zip(set).map(|(at_ms, set_ms)| Wake { at_ms, set_ms }))
    }

    /// The ids of tasks that have not ended, sorted by their bytes, of those behind `after`: at most `most`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn open_task_ids(&self, after: Option<&str>, most: u32) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT task_id FROM tasks WHERE state IN ('pending', 'running') AND (?1 IS NULL OR task_id > ?1) \
             ORDER BY task_id LIMIT ?2",
        )?;
        let ids = statement.query_map((after, most), |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

impl Writer<'_> {
    /// Owes the campaign a plan, for this reason.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn ask_plan(&self, why: PlanReason) -> Result<(), StoreError> {
        self.connection.prepare_cached("INSERT OR IGNORE INTO asked (word) VALUES (?1)")?.execute([why.as_str()])?;
        Ok(())
    }

    /// Owes the campaign no plan: a decision has answered.
    pub(super) fn plan_answered(&self) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM asked")?.execute([])?;
        let sql = "UPDATE run SET wake_at_ms = NULL, wake_set_ms = NULL WHERE wake_at_ms IS NOT NULL";
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Asks for a plan at a time though nothing ended.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn wake_at(&self, wake: Wake) -> Result<(), StoreError> {
        let sql = "UPDATE run SET wake_at_ms = ?1, wake_set_ms = ?2";
        changed_one(self.connection.execute(sql, (wake.at_ms, wake.set_ms))?, "the run")
    }
}
