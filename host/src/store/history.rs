//! The append-only history.
use super::{Store, StoreError, Writer};
use serde::Serialize;

/// One transition.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryRow {
    /// Its place in the order of events; clocks may jump, this does not.
    pub seq: i64,
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// `run`, `workflow`, `task`, `attempt` or `config`.
    pub kind: String,
    /// The id of what changed.
    pub subject: String,
    /// The state before, if there was one.
    pub from: Option<String>,
    /// The state after.
    pub to: String,
    /// Why.
    pub reason: Option<String>,
}

impl Writer<'_> {
    /// Adds one row to the history.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn record(
        &self,
        at_ms: i64,
        kind: &str,
        subject: &str,
        (from, to): (Option<&str>, &str),
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO history (at_ms, kind, subject, from_state, to_state, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((at_ms, kind, subject, from, to, reason))?;
        Ok(())
    }
}

impl Store {
    /// The place of the newest row; 0 before the first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn history_end(&self) -> Result<i64, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM history")?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    /// The history, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn history(&self) -> Result<Vec<HistoryRow>, StoreError> {
        let mut statement = self
            .connection
            .prepare("SELECT seq, at_ms, kind, subject, from_state, to_state, reason FROM history ORDER BY seq")?;
        let rows = statement.query_map([], |row| {
            Ok(HistoryRow {
                seq: row.get(0)?,
                at_ms: row.get(1)?,
                kind: row.get(2)?,
                subject: row.get(3)?,
                from: row.get(4)?,
                to: row.get(5)?,
                reason: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
