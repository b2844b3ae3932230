//! Keys of attempts, by which later runs find what they left, and attempts that took what an earlier one left.
use super::{Store, StoreError, Writer, changed_one, document};
use crate::model::code::Code;
use crate::model::reuse::{ReuseKey, Reused};
use crate::model::states::TaskState;
use rusqlite::Row;
use std::collections::BTreeMap;

/// An attempt of an earlier run that computed something.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Its place in the database.
    pub key: i64,
    /// The attempt's id.
    pub attempt: String,
    /// The task's id.
    pub task: String,
    /// Its number at the task.
    pub number: u32,
    /// Its directory, relative to the run's.
    pub directory: String,
    /// The attempt that ran: itself, or the one whose results it took.
    pub origin: String,
    /// The beginnings of the digests of the parts of its key.
    pub parts: String,
    /// Whether its results can be taken.
    pub state: EarlierState,
}

/// Whether the results of an attempt can be taken, as far as its store tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlierState {
    /// They can.
    Sound,
    /// A person rejected them.
    Rejected,
    /// What it computed with has been changed since.
    Stale,
    /// It completed by a person's word.
    Settled,
    /// The task has run again since, or goes on.
    Superseded,
    /// Some of them stayed on a cluster.
    Far,
    /// A person removed some of them.
    Removed,
}

const COLUMNS: &str = "a.attempt_key, a.attempt_id, t.task_id, a.number, a.directory, \
     coalesce((SELECT u.origin FROM reused u WHERE u.attempt_key = a.attempt_key), a.attempt_id), \
     lower(hex(k.parts)), a.reason_code, t.state, t.stale, \
     EXISTS (SELECT 1 FROM reuse_rejections r WHERE r.attempt_key = a.attempt_key), \
     EXISTS (SELECT 1 FROM attempts b WHERE b.task_key = a.task_key AND b.number > a.number), \
     EXISTS (SELECT 1 FROM outputs o WHERE o.attempt_key = a.attempt_key AND o.remote IS NOT NULL), \
     EXISTS (SELECT 1 FROM removed d WHERE d.attempt_key = a.attempt_key)";

fn earlier(row: &Row<'_>) -> rusqlite::Result<Earlier> {
    let reason: Option<String> = row.get(7)?;
    let (task, stale): (TaskState, bool) = (row.get(8)?, row.get(9)?);
    let (rejected, later, far): (bool, bool, bool) = (row.get(10)?, row.get(11)?, row.get(12)?);
    let state = match () {
        () if rejected => EarlierState::Rejected,
        () if reason.as_deref() == Some(Code::Settled.as_str()) => EarlierState::Settled,
        () if later || task != TaskState::Completed => EarlierState::Superseded,
        () if stale => EarlierState::Stale,
        () if row.get(13)? => EarlierState::Removed,
        () if far => EarlierState::Far,
        () => EarlierState::Sound,
    };
    Ok(Earlier {
        key: row.get(0)?,
        attempt: row.get(1)?,
        task: row.get(2)?,
        number: row.get(3)?,
        directory: row.get(4)?,
        origin: row.get(5)?,
        parts: row.get(6)?,
        state,
    })
}

impl Writer<'_> {
    /// Keeps by which key later runs find what an attempt leaves.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn keep_reuse_key(&self, attempt_key: i64, key: &ReuseKey) -> Result<(), StoreError> {
        let mut keep = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO reuse_keys (attempt_key, sha256, parts) VALUES (?1, unhex(?2), unhex(?3))",
        )?;
        changed_one(keep.execute((attempt_key, &key.sha256, &key.parts))?, "the attempt")
    }

    /// Keeps that an attempt, which is about to end, has the results of an earlier one, and in which directory.
    ///
    /// # Errors
    /// If the earlier one serves a task of the run already, or the database cannot be written.
    pub fn keep_reused(&self, attempt_key: i64, reused: &Reused, directory: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT INTO reused (attempt_key, run, attempt, origin) VALUES (?1, ?2, ?3, ?4)")?
            .execute((attempt_key, &reused.run, &reused.attempt, &reused.origin))?;
        let mut keep = self
            .connection
            .prepare_cached("UPDATE attempts SET directory = ?2 WHERE attempt_key = ?1 AND state = 'created'")?;
        changed_one(keep.execute((attempt_key, directory))?, "the attempt")
    }

    /// Keeps that nobody shall take the results of an attempt.
    ///
    /// # Errors
    /// If that is so already, or the database cannot be written.
    pub fn reject_reuse(&self, attempt_key: i64, act: i64) -> Result<(), StoreError> {
        let mut keep = self
            .connection
            .prepare_cached("INSERT OR IGNORE INTO reuse_rejections (attempt_key, act) VALUES (?1, ?2)")?;
        changed_one(keep.execute((attempt_key, act))?, "the attempt")
    }
}

impl Store {
    /// Looks at one moment of the database from here on, as long as it is open: many looks then cost less.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn keep_view(&self) -> Result<(), StoreError> {
        if self.connection.is_autocommit() {
            self.connection.execute_batch("BEGIN")?;
        }
        Ok(())
    }

    /// Completed attempts with this key, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn earlier_with_key(&self, sha256: &str) -> Result<Vec<Earlier>, StoreError> {
        self.earlier("substr(k.sha256, 1, 8) = substr(unhex(?1), 1, 8) AND k.sha256 = unhex(?1)", sha256)
    }

    /// Completed attempts at a task that have a key, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn earlier_at_task(&self, task: &str) -> Result<Vec<Earlier>, StoreError> {
        self.earlier("t.task_id = ?1", task)
    }

    /// The completed attempts with a key that were made last, at most `most`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn earlier_of_all(&self, most: u32) -> Result<Vec<Earlier>, StoreError> {
        let filter = "k.attempt_key IN (SELECT attempt_key FROM reuse_keys ORDER BY attempt_key DESC LIMIT ?1)";
        self.earlier(filter, most)
    }

    fn earlier(&self, filter: &str, parameter: impl rusqlite::ToSql) -> Result<Vec<Earlier>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM reuse_keys k JOIN attempts a ON a.attempt_key = k.attempt_key JOIN tasks t \
             ON t.task_key = a.task_key WHERE a.state = 'completed' AND {filter} ORDER BY k.attempt_key"
        ))?;
        let rows = statement.query_map([parameter], earlier)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether any attempt took the results of one of that run.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn has_taken_of(&self, run: &str) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM reused WHERE run = ?1")?.exists([run])?)
    }

    /// Whether a task of the run has the results of this attempt.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn has_reused(&self, origin: &str) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT 1 FROM reused WHERE origin = ?1")?;
        Ok(statement.exists([origin])?)
    }

    /// Where the results of an attempt come from, if it ran nothing.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn reused(&self, attempt_key: i64) -> Result<Option<Reused>, StoreError> {
        self.reused_where("attempt_key = ?1", attempt_key)
    }

    /// Where the results of a task come from, if its last attempt ran nothing.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task_reused(&self, task_key: i64) -> Result<Option<Reused>, StoreError> {
        self.reused_where("attempt_key = (SELECT max(attempt_key) FROM attempts WHERE task_key = ?1)", task_key)
    }

    /// The places of the tasks whose last attempt ran nothing.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn reused_tasks(&self) -> Result<Vec<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT a.task_key FROM reused u JOIN attempts a ON a.attempt_key = u.attempt_key WHERE a.number = \
             (SELECT max(b.number) FROM attempts b WHERE b.task_key = a.task_key)",
        )?;
        let keys = statement.query_map([], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    fn reused_where(&self, filter: &str, key: i64) -> Result<Option<Reused>, StoreError> {
        let mut statement =
            self.connection.prepare_cached(&format!("SELECT run, attempt, origin FROM reused WHERE {filter}"))?;
        let mut rows = statement
            .query_map([key], |row| Ok(Reused { run: row.get(0)?, attempt: row.get(1)?, origin: row.get(2)? }))?;
        Ok(rows.next().transpose()?)
    }

    /// The key of an attempt.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn reuse_key(&self, attempt_key: i64) -> Result<Option<ReuseKey>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT lower(hex(sha256)), lower(hex(parts)) FROM reuse_keys WHERE attempt_key = ?1")?;
        let mut rows =
            statement.query_map([attempt_key], |row| Ok(ReuseKey { sha256: row.get(0)?, parts: row.get(1)? }))?;
        Ok(rows.next().transpose()?)
    }

    /// The variables that the job of an attempt inherited, if one was handed in.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn variables_of(&self, attempt_key: i64) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT e.variables FROM attempts a JOIN environments e ON e.environment = a.environment WHERE a.attempt_key = ?1",
        )?;
        let mut rows = statement.query([attempt_key])?;
        rows.next()?.map(|row| document(row.get_ref(0)?.as_str().unwrap_or_default())).transpose()
    }

    /// Whether a person said that nobody shall take the results of an attempt.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn is_reuse_rejected(&self, attempt_key: i64) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT 1 FROM reuse_rejections WHERE attempt_key = ?1")?;
        Ok(statement.exists([attempt_key])?)
    }
}
