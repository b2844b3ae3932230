//! The append-only history.
use super::{Store, StoreError, Writer};
use crate::model::evidence::HistoryRecord;
use crate::model::time::Time;
use rusqlite::Row;

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
    /// The history, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn history(&self) -> Result<Vec<HistoryRecord>, StoreError> {
        let mut all = Vec::new();
        self.each_transition(|row| {
            all.push(row);
            Ok::<_, StoreError>(())
        })?;
        Ok(all)
    }

    /// Hands over every transition, oldest first.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_transition<E: From<StoreError>>(
        &self,
        each: impl FnMut(HistoryRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT seq, at_ms, kind, subject, from_state, to_state, reason FROM history ORDER BY seq";
        let map = |row: &Row<'_>| {
            Ok(HistoryRecord {
                seq: row.get(0)?,
                at: Time(row.get(1)?),
                kind: row.get(2)?,
                subject: row.get(3)?,
                from: row.get(4)?,
                to: row.get(5)?,
                reason: row.get(6)?,
            })
        };
        self.each(sql, map, each)
    }
}
