//! Runs side by side in one database, for tools that speak SQL. It is made of the runs' own and holds nothing that is
//! not in them: whoever wants it newer makes it anew.
mod copies;

use super::compress::unpack_alone;
use super::{Store, StoreError};
use copies::{COPIES, Copy, RUN};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::path::Path;

const SCHEMA: &str = include_str!("schema.sql");
/// What serves questions across runs; made last, when all rows are there.
const INDEXES: &str = include_str!("indexes.sql");
/// Memory for pages, in KiB.
const CACHE: i64 = 16 * 1024;
/// Tells such a database from others; `schema.sql` writes it.
const APPLICATION: u32 = 0x4d53_5451;
/// Integers up to this one are themselves as floating-point numbers.
const EXACT: u64 = 1 << 53;

/// Why a run was not added.
#[derive(Debug)]
pub enum GatherError {
    /// It cannot be read.
    Run(StoreError),
    /// What is made of it cannot be written.
    Made(StoreError),
}

impl From<StoreError> for GatherError {
    fn from(error: StoreError) -> Self {
        Self::Run(error)
    }
}

impl From<rusqlite::Error> for GatherError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Run(error.into())
    }
}

fn made(error: rusqlite::Error) -> GatherError {
    GatherError::Made(error.into())
}

/// A database in the making. What was written is not sure to be on the disk before the file is synced.
#[derive(Debug)]
pub struct Gathering {
    connection: Connection,
    /// The last task of the runs before the one that is being added, by its place.
    before: i64,
}

/// A task of the run that is being added.
#[derive(Debug)]
pub struct GatheredTask {
    /// Its id.
    pub task: String,
    /// It as it stands now.
    pub spec: String,
    /// Its last attempt.
    pub last: Option<GatheredAttempt>,
}

/// The last attempt of a task.
#[derive(Debug)]
pub struct GatheredAttempt {
    /// Its id.
    pub id: String,
    /// Its directory, relative to the run's.
    pub directory: String,
    /// The document that its operator returned.
    pub data: Option<String>,
    /// What it left in files whose names end in `.json` and that were not removed: path, size in bytes, and SHA-256.
    pub documents: Vec<(String, u64, String)>,
}

impl Gathering {
    /// Creates one in a file that is there and empty.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // a file that is cut short is thrown away, so none of it needs to be on the disk before all of it is
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.pragma_update(None, "cache_size", -CACHE)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(SCHEMA)?;
        Ok(Self { connection, before: 0 })
    }

    /// Whether a file is one of these, by its first 100 bytes.
    pub fn is_one(head: &[u8]) -> bool {
        let application = head.get(68..72).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes);
        head.starts_with(b"SQLite format 3\0") && application == Some(APPLICATION)
    }

    /// Begins to add a run: all of it, of one moment. [`Gathering::keep`] ends it. After an error nothing of it is
    /// there.
    ///
    /// # Errors
    /// If the run cannot be read, or this not be written.
    pub fn add(&mut self, run: &str, path: &str, store: &Store) -> Result<(), GatherError> {
        let last = "SELECT coalesce(max(rowid), 0) FROM tasks";
        self.before = self.connection.query_row(last, [], |row| row.get(0)).map_err(made)?;
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(made)?;
        let copied = store.snapshot(|_| copy_all(&store.connection, &self.connection, run, path));
        if copied.is_err() {
            self.connection.execute_batch("ROLLBACK").map_err(made)?;
        }
        copied
    }

    /// The result of the run that is being added, if it has one.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn result(&self, run: &str) -> Result<Option<String>, StoreError> {
        Ok(self.connection.query_row("SELECT result FROM runs WHERE run_id = ?1", [run], |row| row.get(0))?)
    }

    /// The tasks of the run that is being added, at most `most` after a place: each with its own place. The first is
    /// after 0.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn tasks_after(&self, place: i64, most: u32) -> Result<Vec<(i64, GatheredTask)>, StoreError> {
        let mut tasks = self.connection.prepare_cached(
            "SELECT t.rowid, t.run_id, t.task_id, t.spec, a.attempt_id, a.directory, a.data FROM tasks t LEFT JOIN \
             attempts a ON a.run_id = t.run_id AND a.task_id = t.task_id AND a.is_last = 1 WHERE t.rowid > ?1 \
             ORDER BY t.rowid LIMIT ?2",
        )?;
        let mut rows = tasks.query((place.max(self.before), most))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let run: String = row.get(1)?;
            let last = match row.get::<_, Option<String>>(4)? {
                Some(id) => Some(GatheredAttempt {
                    documents: self.documents(&run, &id)?,
                    id,
                    directory: row.get(5)?,
                    data: row.get(6)?,
                }),
                None => None,
            };
            found.push((row.get(0)?, GatheredTask { task: row.get(2)?, spec: row.get(3)?, last }));
        }
        Ok(found)
    }

    fn documents(&self, run: &str, attempt: &str) -> Result<Vec<(String, u64, String)>, StoreError> {
        let mut outputs = self.connection.prepare_cached(
            "SELECT path, size, sha256 FROM outputs WHERE run_id = ?1 AND attempt_id = ?2 AND path GLOB '*.json' AND \
             removed = 0 AND remote IS NULL ORDER BY path",
        )?;
        let rows = outputs
            .query_map([run, attempt], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs(), row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Puts a value of a document into the table of fields; the last of one name holds.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_field(&self, run: &str, task: &str, name: &str, value: &Value) -> Result<(), StoreError> {
        let (number, text) = match value {
            Value::Null => return Ok(()),
            Value::Bool(is) => (Some(f64::from(u8::from(*is))), None),
            Value::Number(number) => {
                let whole = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
                (number.as_f64(), whole.is_some_and(|whole| whole > EXACT).then(|| number.to_string()))
            }
            Value::String(text) => (None, Some(text.clone())),
            list @ (Value::Array(_) | Value::Object(_)) => (None, Some(list.to_string())),
        };
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO fields (run_id, task_id, name, number, text) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((run, task, name, number, text))?;
        Ok(())
    }

    /// Ends the adding of a run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&mut self) -> Result<(), StoreError> {
        Ok(self.connection.execute_batch("COMMIT")?)
    }

    /// Notes a run that is not in it, and why.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn leave_out(&mut self, run: &str, path: &str, reason: &str) -> Result<(), StoreError> {
        let insert = "INSERT INTO left_out (run_id, path, reason) VALUES (?1, ?2, ?3)";
        self.connection.execute(insert, [run, path, reason])?;
        Ok(())
    }

    /// Makes the indexes and closes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> Result<(), StoreError> {
        self.connection.execute_batch(INDEXES)?;
        self.connection.close().map_err(|(_, error)| error.into())
    }
}

fn copy_all(from: &Connection, to: &Connection, run: &str, path: &str) -> Result<(), GatherError> {
    copy(&RUN, from, to, &[run, path])?;
    COPIES.iter().try_for_each(|one| copy(one, from, to, &[run]))?;
    copy_configs(from, to, run)
}

/// Copies what a statement finds, with `first` before the columns of each row.
fn copy(what: &Copy, from: &Connection, to: &Connection, first: &[&str]) -> Result<(), GatherError> {
    let mut select = from.prepare(what.select)?;
    let columns = select.column_count();
    let mut rows = select.query([])?;
    let mut insert = to.prepare_cached(what.insert).map_err(made)?;
    for (place, value) in (1..).zip(first) {
        insert.raw_bind_parameter(place, value).map_err(made)?;
    }
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            let value: ValueRef<'_> = row.get_ref(column)?;
            insert.raw_bind_parameter(first.len() + column + 1, ToSqlOutput::Borrowed(value)).map_err(made)?;
        }
        insert.raw_execute().map_err(made)?;
    }
    Ok(())
}

/// Copies the configurations, which lie compressed.
fn copy_configs(from: &Connection, to: &Connection, run: &str) -> Result<(), GatherError> {
    let mut configs = from.prepare("SELECT config, lower(hex(sha256)), act, text FROM configs ORDER BY config")?;
    let mut rows = configs.query([])?;
    while let Some(row) = rows.next()? {
        let (config, sha256, act): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let text = unpack_alone(&row.get::<_, Vec<u8>>(3)?)?;
        to.execute(
            "INSERT INTO configs (run_id, config, sha256, act, text) VALUES (?1, ?2, ?3, ?4, ?5)",
            (run, config, sha256, act, text),
        )
        .map_err(made)?;
    }
    Ok(())
}
