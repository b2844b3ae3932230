//! What there is in a run, by name alone: lists of a large run that are written before what they list.
use super::{Snapshot, StoreError};
use crate::model::time::Time;
use rusqlite::Row;

/// A file that attempts left or consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// What an attempt calls it: a path in its directory, or in the workspace.
    pub path: String,
    /// Bytes, where they are recorded.
    pub size: Option<u64>,
}

impl Snapshot<'_> {
    /// Hands over the id of every attempt, in the order made.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_attempt_id<E: From<StoreError>>(&self, each: impl FnMut(String) -> Result<(), E>) -> Result<(), E> {
        let sql = "SELECT attempt_id FROM attempts ORDER BY attempt_key";
        self.store().each(sql, |row: &Row<'_>| Ok(row.get(0)?), each)
    }

    /// Hands over every decision by its number and try, in order.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_decision_number<E: From<StoreError>>(
        &self,
        each: impl FnMut((i64, i64)) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT number, try FROM decisions ORDER BY decision";
        self.store().each(sql, |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?)), each)
    }

    /// Hands over the id of every task, in the order planned, with those of its attempts.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_task_id<E: From<StoreError>>(
        &self,
        mut each: impl FnMut(&str, &[String]) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT t.task_id, a.attempt_id FROM tasks t LEFT JOIN attempts a ON a.task_key = t.task_key \
             ORDER BY t.task_key, a.number";
        let (mut task, mut attempts): (Option<String>, Vec<String>) = (None, Vec::new());
        let map = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?));
        self.store().each(sql, map, |(id, attempt)| {
            if task.as_ref() != Some(&id)
                && let Some(before) = task.replace(id)
            {
                each(&before, &attempts)?;
                attempts.clear();
            }
            attempts.extend(attempt);
            Ok::<_, E>(())
        })?;
        task.map_or(Ok(()), |last| each(&last, &attempts))
    }

    /// The ids of the attempts at a task, in the order made.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempt_ids(&self, task_id: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.store().connection.prepare_cached(
            "SELECT a.attempt_id FROM tasks t JOIN attempts a ON a.task_key = t.task_key WHERE t.task_id = ?1 ORDER BY a.number",
        )?;
        let ids = statement.query_map([task_id], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// The operators of tasks, by key, and whether an attempt was made with each.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn operators(&self) -> Result<Vec<(String, bool)>, StoreError> {
        let sql = "SELECT operator, max(made) FROM (SELECT DISTINCT operator, 0 AS made FROM tasks \
             UNION ALL SELECT DISTINCT operator, 1 FROM attempts) GROUP BY operator ORDER BY operator";
        let mut all = Vec::new();
        self.store().each(
            sql,
            |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?)),
            |one| {
                all.push(one);
                Ok::<_, StoreError>(())
            },
        )?;
        Ok(all)
    }

    /// Hands over every file that attempts left or consumed under every name that it has, in the order of digests.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_named_file<E: From<StoreError>>(&self, each: impl FnMut(NamedFile) -> Result<(), E>) -> Result<(), E> {
        let sql = "SELECT lower(hex(sha256)), path, size FROM (SELECT sha256, path, size FROM outputs \
             UNION SELECT sha256, iif(kind = 'exit', 'exit.json', kind), size FROM logs UNION SELECT sha256, from_path, NULL FROM attempt_inputs) \
             ORDER BY sha256, size DESC, path";
        let map = |row: &Row<'_>| {
            let (sha256, path): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(NamedFile { sha256, path, size: row.get::<_, Option<i64>>(2)?.map(|size| size as u64) })
        };
        self.store().each(sql, map, each)
    }

    /// When something was recorded last.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn last_event(&self) -> Result<Time, StoreError> {
        let sql = "SELECT max(at) FROM (SELECT max(at_ms) AS at FROM history UNION ALL SELECT max(at_ms) FROM acts)";
        let mut last = Time(0);
        self.store().each(
            sql,
            |row: &Row<'_>| Ok(row.get::<_, Option<i64>>(0)?),
            |at| {
                last = Time(at.unwrap_or(0));
                Ok::<_, StoreError>(())
            },
        )?;
        Ok(last)
    }
}
