//! What is known of the job of an attempt: what it was given, what became of it outside, and what was written about it.
use super::{Store, StoreError, Writer};
use crate::model::evidence::{InputRecord, JobRecord, LogKind, LogRecord};
use crate::model::time::Time;

/// A file that an attempt consumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewInput {
    /// Where it is put, relative to the attempt directory.
    pub destination: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// The place of the attempt that left it; absent for a pinned file.
    pub from_attempt: Option<i64>,
    /// Its path in that attempt's directory, or in the workspace.
    pub from_path: String,
}

/// A file that was carried over from an earlier attempt, where both ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedInput {
    /// Its path in the directories of both.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// The id of the earlier attempt.
    pub from: String,
}

impl Writer<'_> {
    /// Keeps what an attempt consumes, in place of what was noted when it was staged before.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn keep_inputs(&self, attempt_key: i64, inputs: &[NewInput]) -> Result<(), StoreError> {
        let mut keep = self.connection.prepare_cached(
            "INSERT OR REPLACE INTO attempt_inputs (attempt_key, destination, sha256, from_attempt, from_path) \
             VALUES (?1, ?2, unhex(?3), ?4, ?5)",
        )?;
        for input in inputs {
            keep.execute((attempt_key, &input.destination, &input.sha256, input.from_attempt, &input.from_path))?;
        }
        Ok(())
    }

    /// Keeps what an attempt found of an earlier one of its task; what is known of its inputs already is known better.
    pub(super) fn keep_carried(&self, key: i64, carried: &[CarriedInput]) -> Result<(), StoreError> {
        for one in carried {
            self.connection
                .prepare_cached(
                    "INSERT OR IGNORE INTO attempt_inputs (attempt_key, destination, sha256, from_attempt, from_path) \
                     SELECT a.attempt_key, ?2, unhex(?3), f.attempt_key, ?2 FROM attempts a JOIN attempts f \
                     ON f.task_key = a.task_key AND f.number < a.number WHERE a.attempt_key = ?1 AND f.attempt_id = ?4",
                )?
                .execute((key, &one.path, &one.sha256, &one.from))?;
        }
        Ok(())
    }

    /// Keeps that an attempt has what another one consumed, ran and printed.
    pub(super) fn take_over(&self, key: i64, from: i64) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE attempts SET (external_id, host, node, queued_ms, started_ms, stopped_ms, cpu_ms, memory_peak_mb) = \
             (SELECT external_id, host, node, queued_ms, started_ms, stopped_ms, cpu_ms, memory_peak_mb FROM attempts \
             WHERE attempt_key = ?2) WHERE attempt_key = ?1",
            (key, from),
        )?;
        self.connection.execute(
            "INSERT INTO logs (attempt_key, kind, sha256, size) SELECT ?1, kind, sha256, size FROM logs WHERE attempt_key = ?2",
            (key, from),
        )?;
        self.take_inputs_over(key, from)
    }

    /// Keeps that an attempt has what another one consumed, in the same environment.
    pub(super) fn take_inputs_over(&self, key: i64, from: i64) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE attempts SET environment = (SELECT environment FROM attempts WHERE attempt_key = ?2) WHERE attempt_key = ?1",
            (key, from),
        )?;
        self.connection.execute(
            "INSERT OR REPLACE INTO attempt_inputs (attempt_key, destination, sha256, from_attempt, from_path) \
             SELECT ?1, destination, sha256, from_attempt, from_path FROM attempt_inputs WHERE attempt_key = ?2",
            (key, from),
        )?;
        Ok(())
    }

    /// Keeps what was written about an attempt.
    pub(super) fn keep_logs(&self, key: i64, logs: &[LogRecord]) -> Result<(), StoreError> {
        let mut keep = self
            .connection
            .prepare_cached("INSERT INTO logs (attempt_key, kind, sha256, size) VALUES (?1, ?2, unhex(?3), ?4)")?;
        for log in logs.iter().filter(|log| log.size > 0) {
            keep.execute((key, log.kind.as_str(), &log.sha256, log.size as i64))?;
        }
        Ok(())
    }
}

impl Store {
    /// What an attempt used, by its operator's word.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn usage(&self, attempt_key: i64) -> Result<Option<serde_json::Value>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT usage FROM attempts WHERE attempt_key = ?1")?;
        let text: Option<String> = statement.query_row([attempt_key], |row| row.get(0))?;
        super::optional(text.as_deref())
    }

    /// What an attempt consumed beside what stands in its task.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn inputs(&self, attempt_key: i64) -> Result<Vec<InputRecord>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT i.destination, lower(hex(i.sha256)), a.attempt_id, i.from_path FROM attempt_inputs i \
             LEFT JOIN attempts a ON a.attempt_key = i.from_attempt WHERE i.attempt_key = ?1 ORDER BY i.destination",
        )?;
        let rows = statement.query_map([attempt_key], |row| {
            Ok(InputRecord {
                destination: row.get(0)?,
                sha256: row.get(1)?,
                from_attempt: row.get(2)?,
                from_path: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What was written about an attempt: standard output, standard error and exit record, those that are not empty.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn logs(&self, attempt_key: i64) -> Result<Vec<LogRecord>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT kind, lower(hex(sha256)), size FROM logs WHERE attempt_key = ?1 ORDER BY kind")?;
        let mut rows = statement.query([attempt_key])?;
        let mut logs = Vec::new();
        while let Some(row) = rows.next()? {
            let kind = LogKind::parse(row.get_ref(0)?.as_str().unwrap_or_default())
                .ok_or_else(|| StoreError::Row("unknown kind of log in the database".to_owned()))?;
            logs.push(LogRecord { kind, sha256: row.get(1)?, size: row.get::<_, i64>(2)? as u64 });
        }
        Ok(logs)
    }

    /// Hands out the digest of everything that any attempt left here: outputs and logs.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn each_left(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        let sql =
            "SELECT lower(hex(sha256)) FROM outputs WHERE remote IS NULL UNION SELECT lower(hex(sha256)) FROM logs";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            each(row.get(0)?);
        }
        Ok(())
    }

    /// What is known of the job of an attempt.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn job(&self, attempt_key: i64) -> Result<JobRecord, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT external_id, host, node, queued_ms, started_ms, stopped_ms, cpu_ms, memory_peak_mb FROM attempts \
             WHERE attempt_key = ?1",
        )?;
        Ok(statement.query_row([attempt_key], |row| {
            let time = |index: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.map(Time));
            let count = |index: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(index)?.map(|n| n as u64));
            Ok(JobRecord {
                external_id: row.get(0)?,
                host: row.get(1)?,
                node: row.get(2)?,
                queued_at: time(3)?,
                started_at: time(4)?,
                stopped_at: time(5)?,
                cpu_ms: count(6)?,
                memory_peak_mb: count(7)?,
            })
        })?)
    }
}
