//! The files that attempts left.
use super::{Store, StoreError, Writer};
pub use crate::model::result::OutputFile as Output;
use crate::model::workflow::RemotePlace;

/// An output file that stayed on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptOutput {
    /// The id of the attempt that left it.
    pub attempt: String,
    /// Its path in that attempt's directory.
    pub output: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it is.
    pub remote: RemotePlace,
}

fn output_row(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Output> {
    let remote: Option<String> = row.get(first + 3)?;
    let wrong =
        |error| rusqlite::Error::FromSqlConversionFailure(first + 3, rusqlite::types::Type::Text, Box::new(error));
    Ok(Output {
        path: row.get(first)?,
        sha256: row.get(first + 1)?,
        size: row.get::<_, i64>(first + 2)? as u64,
        remote: remote.map(|text| serde_json::from_str(&text).map_err(wrong)).transpose()?,
    })
}

impl Writer<'_> {
    /// Keeps what an attempt left.
    pub(super) fn keep_outputs(&self, attempt_key: i64, outputs: &[Output]) -> Result<(), StoreError> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO outputs (attempt_key, path, sha256, size, remote) VALUES (?1, ?2, unhex(?3), ?4, ?5)",
        )?;
        for output in outputs {
            let remote = output.remote.as_ref().map(serde_json::to_string).transpose();
            let remote = remote.map_err(|error| StoreError::Row(error.to_string()))?;
            insert.execute((attempt_key, &output.path, &output.sha256, output.size as i64, remote))?;
        }
        Ok(())
    }
}

/// Where the run keeps a file that no attempt left, relative to its directory.
pub fn kept_path(sha256: &str) -> String {
    format!("inputs/{sha256}")
}

impl Store {
    /// The files that the run keeps beside those of attempts: SHA-256 and size.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn kept_files(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT lower(hex(sha256)), size FROM kept_files ORDER BY sha256")?;
        let files = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?;
        Ok(files.collect::<Result<_, _>>()?)
    }

    /// How many outputs stayed on clusters.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn outputs_elsewhere(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM outputs WHERE remote IS NOT NULL";
        Ok(self.connection.query_row(sql, [], |row| row.get::<_, i64>(0))? as u64)
    }

    /// The files an attempt left.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn outputs(&self, attempt_key: i64) -> Result<Vec<Output>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT path, lower(hex(sha256)), size, remote FROM outputs WHERE attempt_key = ?1 ORDER BY path",
        )?;
        let rows = statement.query_map([attempt_key], |row| output_row(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The files that the last attempt of a task left, however it ended.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task_outputs(&self, task_key: i64) -> Result<Vec<Output>, StoreError> {
        let key: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(attempt_key) FROM attempts WHERE task_key = ?1")?
            .query_row([task_key], |row| row.get(0))?;
        key.map_or_else(|| Ok(Vec::new()), |key| self.outputs(key))
    }

    /// Where an output of a completed task lies: the attempt directory and the file.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn output_of(&self, task_id: &str, path: &str) -> Result<Option<(String, Output)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT a.directory, o.path, lower(hex(o.sha256)), o.size, o.remote FROM tasks t JOIN attempts a ON a.task_key = t.task_key \
             JOIN outputs o ON o.attempt_key = a.attempt_key WHERE t.task_id = ?1 AND o.path = ?2 AND a.state = 'completed' \
             ORDER BY a.number DESC LIMIT 1",
        )?;
        let mut rows = statement.query_map((task_id, path), |row| Ok((row.get(0)?, output_row(row, 1)?)))?;
        Ok(rows.next().transpose()?)
    }

    /// An output of a completed task, with the place of the attempt that left it.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn output_source(&self, task_id: &str, path: &str) -> Result<Option<(i64, Output)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT a.attempt_key, o.path, lower(hex(o.sha256)), o.size, o.remote FROM tasks t JOIN attempts a \
             ON a.task_key = t.task_key JOIN outputs o ON o.attempt_key = a.attempt_key WHERE t.task_id = ?1 AND o.path = ?2 \
             AND a.state = 'completed' ORDER BY a.number DESC LIMIT 1",
        )?;
        let mut rows = statement.query_map((task_id, path), |row| Ok((row.get(0)?, output_row(row, 1)?)))?;
        Ok(rows.next().transpose()?)
    }

    /// The paths of what the last completed attempt at a task left, in order.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn output_paths(&self, task_id: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT path FROM outputs WHERE attempt_key = (SELECT a.attempt_key FROM tasks t JOIN attempts a \
             ON a.task_key = t.task_key WHERE t.task_id = ?1 AND a.state = 'completed' ORDER BY a.number DESC LIMIT 1) \
             ORDER BY path",
        )?;
        let paths = statement.query_map([task_id], |row| row.get(0))?;
        Ok(paths.collect::<Result<_, _>>()?)
    }

    /// An output of a completed task, if it stayed on a cluster.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn kept_output(&self, task_id: &str, path: &str) -> Result<Option<KeptOutput>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT a.attempt_id, o.path, lower(hex(o.sha256)), o.size, o.remote FROM tasks t JOIN attempts a ON a.task_key = t.task_key \
             JOIN outputs o ON o.attempt_key = a.attempt_key WHERE t.task_id = ?1 AND o.path = ?2 AND a.state = 'completed' \
             ORDER BY a.number DESC LIMIT 1",
        )?;
        let mut rows = statement.query_map((task_id, path), |row| {
            let (attempt, Output { path, sha256, size, remote }) = (row.get(0)?, output_row(row, 1)?);
            Ok(remote.map(|remote| KeptOutput { attempt, output: path, sha256, size, remote }))
        })?;
        Ok(rows.next().transpose()?.flatten())
    }

    /// Where files with this digest lie, relative to the run directory, the newest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn files_of_digest(&self, sha256: &str, most: u32) -> Result<Vec<String>, StoreError> {
        // a digest has one spelling
        if sha256.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Ok(Vec::new());
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT a.directory || '/' || o.path FROM outputs o JOIN attempts a ON a.attempt_key = o.attempt_key \
             WHERE o.sha256 = unhex(?1) AND o.remote IS NULL AND NOT EXISTS (SELECT 1 FROM removed r \
             WHERE r.attempt_key = o.attempt_key AND r.path IN (o.path, '')) ORDER BY o.attempt_key DESC LIMIT ?2",
        )?;
        let rows = statement.query_map((sha256, most), |row| row.get(0))?;
        let mut paths: Vec<String> = rows.collect::<Result<_, _>>()?;
        let mut kept = self.connection.prepare_cached("SELECT 1 FROM kept_files WHERE sha256 = unhex(?1)")?;
        if kept.exists([sha256])? {
            paths.push(kept_path(sha256));
        }
        Ok(paths)
    }
}
