//! What `clean` removed of attempts. It is recorded before anything is removed: what a crash leaves over counts as
//! removed, and goes with the next `clean`.
use super::{Store, StoreError, Writer};
use crate::model::act::Act;
use crate::model::evidence::RemovedRecord;
use crate::model::time::Time;
use rusqlite::OptionalExtension;

/// What is to be removed of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The attempt's place in the database.
    pub key: i64,
    /// An output, by its path; empty for all that the attempt's directory holds.
    pub path: String,
}

const COLUMNS: &str = "r.path, a.at_ms, a.user FROM removed r JOIN acts a ON a.act = r.act";

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<RemovedRecord> {
    Ok(RemovedRecord { path: row.get(0)?, at: Time(row.get(1)?), user: row.get(2)? })
}

impl Writer<'_> {
    /// Keeps that a command removes this, with the command.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn keep_removed(&self, removals: &[Removal], act: &Act) -> Result<(), StoreError> {
        let act = self.add_act(act)?;
        let mut keep = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO removed (attempt_key, path, act) VALUES (?1, ?2, ?3)")?;
        for Removal { key, path } in removals {
            keep.execute((key, path, act))?;
        }
        Ok(())
    }
}

impl Store {
    /// Everything that was removed, or is to be gone if a `clean` was cut short.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn removals(&self) -> Result<Vec<Removal>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT attempt_key, path FROM removed ORDER BY attempt_key, path")?;
        let rows = statement.query_map([], |row| Ok(Removal { key: row.get(0)?, path: row.get(1)? }))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What was removed of an attempt.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn removed(&self, attempt_key: i64) -> Result<Vec<RemovedRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} WHERE r.attempt_key = ?1 ORDER BY r.path");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([attempt_key], record)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The removal that a file of an attempt fell to, if one did: its own, or that of the whole directory.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn removed_file(&self, attempt_key: i64, path: &str) -> Result<Option<RemovedRecord>, StoreError> {
        let sql = format!("SELECT {COLUMNS} WHERE r.attempt_key = ?1 AND r.path IN (?2, '') ORDER BY r.path LIMIT 1");
        Ok(self.connection.prepare_cached(&sql)?.query_row((attempt_key, path), record).optional()?)
    }

    /// The removal after which no file of the run has a digest that one of its attempts left, if there was one; its
    /// path is that of the file, relative to the run.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn removed_of_digest(&self, sha256: &str) -> Result<Option<RemovedRecord>, StoreError> {
        if !self.files_of_digest(sha256, 1)?.is_empty() {
            return Ok(None);
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT b.directory || '/' || o.path, a.at_ms, a.user FROM outputs o JOIN attempts b ON b.attempt_key = \
             o.attempt_key JOIN removed r ON r.attempt_key = o.attempt_key AND r.path IN (o.path, '') JOIN acts a ON \
             a.act = r.act WHERE o.sha256 = unhex(?1) ORDER BY r.act DESC LIMIT 1",
        )?;
        Ok(statement.query_row([sha256], record).optional()?)
    }
}
