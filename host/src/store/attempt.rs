//! Attempts, their outputs, and the results `analyze` receives.
use super::{Store, StoreError, Writer, changed_one, parse_state};
use crate::model::states::AttemptState;
use crate::model::workflow::RemotePlace;
use serde::Serialize;

/// An attempt, with what a call about it needs of its task.
#[derive(Debug, Clone)]
pub struct AttemptRow {
    /// Its place in the database.
    pub key: i64,
    /// The attempt's id.
    pub id: String,
    /// The place of its task.
    pub task_key: i64,
    /// The task's id.
    pub task_id: String,
    /// The task's JSON text.
    pub task_json: String,
    /// Its number at the task, from 1.
    pub number: u32,
    /// The operator key.
    pub operator: String,
    /// Where it stands.
    pub state: AttemptState,
    /// Its directory, relative to the run's.
    pub directory: String,
    /// What the operator calls it.
    pub handle: Option<String>,
    /// What the last undecided reconcile noted.
    pub note: Option<String>,
    /// The kind of thing it waits for.
    pub waits_for: Option<String>,
    /// Why, for a program.
    pub reason_code: Option<String>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// 0: nobody wants it stopped; 1: somebody does; 2: the outside has been told.
    pub cancel_asked: u8,
    /// The output document.
    pub data: Option<String>,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
}

/// An attempt, with when it is due and when that was set, in milliseconds since the epoch.
pub type WithDue = (AttemptRow, (i64, i64));

/// An attempt to create.
#[derive(Debug, Clone)]
pub struct NewAttempt {
    /// The attempt's id.
    pub id: String,
    /// The place of its task.
    pub task_key: i64,
    /// Its number at the task, from 1.
    pub number: u32,
    /// The operator key.
    pub operator: String,
    /// Its directory, relative to the run's.
    pub directory: String,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct AttemptEnd {
    /// An ended state.
    pub state: AttemptState,
    /// Why, for a program and a person; needed for failed and lost.
    pub reason: Option<(String, String)>,
    /// The output document.
    pub data: Option<String>,
    /// The files it left.
    pub outputs: Vec<Output>,
}

/// One output file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Relative to the attempt directory.
    pub path: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Where it is, if it stayed on a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemotePlace>,
}

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
    /// Creates an attempt.
    ///
    /// # Errors
    /// If the task has a live attempt already.
    pub fn create_attempt(&self, new: &NewAttempt, now_ms: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO attempts (attempt_id, task_key, number, operator, state, directory, created_at_ms) \
                 VALUES (?1, ?2, ?3, ?4, 'created', ?5, ?6)",
            )?
            .execute((&new.id, new.task_key, new.number, &new.operator, &new.directory, now_ms))?;
        self.record(now_ms, "attempt", &new.id, (None, "created"), None)
    }

    /// Moves a live attempt to another live state.
    ///
    /// # Errors
    /// If the attempt is not where the row says, or cannot go there.
    pub fn set_attempt_state(
        &self,
        attempt: &AttemptRow,
        to: AttemptState,
        reason: Option<(&str, &str)>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let to = attempt.state.become_state(to)?;
        let (code, text) = reason.unzip();
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE attempts SET state = ?3, handle = ?4, waits_for = ?5, reason_code = ?6, reason = ?7 \
                 WHERE attempt_key = ?1 AND state = ?2",
            )?
            .execute((
                attempt.key,
                attempt.state.as_str(),
                to.as_str(),
                &attempt.handle,
                &attempt.waits_for,
                code,
                text,
            ))?;
        changed_one(changed, "the attempt")?;
        self.record(now_ms, "attempt", &attempt.id, (Some(attempt.state.as_str()), to.as_str()), text)
    }

    /// Notes what was learnt about a live attempt without a change of state, and when to ask again.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn note_attempt(
        &self,
        attempt: &AttemptRow,
        due_at_ms: i64,
        reason: Option<(&str, &str)>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let (code, text) = reason.unzip();
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE attempts SET handle = ?2, note = ?3, waits_for = ?4, reason_code = ?5, reason = ?6, due_at_ms = ?7, \
                 due_set_ms = ?8 WHERE attempt_key = ?1",
            )?
            .execute((attempt.key, &attempt.handle, &attempt.note, &attempt.waits_for, code, text, due_at_ms, now_ms))?;
        changed_one(changed, "the attempt")
    }

    /// Sets when to ask about an attempt again.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_due(&self, key: i64, due_at_ms: i64, now_ms: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE attempts SET due_at_ms = ?2, due_set_ms = ?3 WHERE attempt_key = ?1")?
            .execute((key, due_at_ms, now_ms))?;
        Ok(())
    }

    /// Ends an attempt.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn end_attempt(&self, attempt: &AttemptRow, end: &AttemptEnd, now_ms: i64) -> Result<(), StoreError> {
        let to = attempt.state.become_state(end.state)?;
        let (code, text) = end.reason.as_ref().map(|(code, text)| (code.as_str(), text.as_str())).unzip();
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE attempts SET state = ?3, handle = ?4, reason_code = ?5, reason = ?6, data = ?7, ended_at_ms = ?8, \
                 waits_for = NULL WHERE attempt_key = ?1 AND state = ?2",
            )?
            .execute((
                attempt.key,
                attempt.state.as_str(),
                to.as_str(),
                &attempt.handle,
                code,
                text,
                &end.data,
                now_ms,
            ))?;
        changed_one(changed, "the attempt")?;
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO outputs (attempt_key, path, sha256, size, remote) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for output in &end.outputs {
            let remote = output.remote.as_ref().map(serde_json::to_string).transpose();
            let remote = remote.map_err(|error| StoreError::Row(error.to_string()))?;
            insert.execute((attempt.key, &output.path, &output.sha256, output.size as i64, remote))?;
        }
        self.record(now_ms, "attempt", &attempt.id, (Some(attempt.state.as_str()), to.as_str()), text)
    }

    /// Marks every live attempt (of one task, or of all) as wanted stopped.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn ask_cancel(&self, task_key: Option<i64>) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE attempts SET cancel_asked = 1, due_at_ms = 0 WHERE cancel_asked = 0 AND (?1 IS NULL OR task_key = ?1) \
             AND state NOT IN ('completed', 'failed', 'cancelled', 'lost')",
            [task_key],
        )?;
        Ok(())
    }

    /// Records that the outside has been told to stop an attempt.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn cancel_told(&self, key: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE attempts SET cancel_asked = 2 WHERE attempt_key = ?1")?
            .execute([key])?;
        Ok(())
    }

    /// Forgets how far the journals of backends have been read.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn forget_cursors(&self) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM cursors", [])?;
        Ok(())
    }

    /// Keeps how far the journals of backends have been read.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_cursor(&self, backend: &str, position: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO cursors (backend, position) VALUES (?1, ?2) \
                 ON CONFLICT (backend) DO UPDATE SET position = excluded.position",
            )?
            .execute((backend, position))?;
        Ok(())
    }
}

const COLUMNS: &str = "a.attempt_key, a.attempt_id, a.task_key, t.task_id, t.spec, a.number, a.operator, a.state, a.directory, \
     a.handle, a.note, a.waits_for, a.reason_code, a.reason, a.cancel_asked, a.data, a.created_at_ms, a.ended_at_ms";
const LIVE: &str = "a.state NOT IN ('completed', 'failed', 'cancelled', 'lost')";

/// Whether a tick can do something about an attempt, given whether it submits anything.
const GOES_ON: &str = "(?1 OR a.cancel_asked = 1 OR a.state NOT IN ('created', 'prepared'))";

fn attempt_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<(AttemptRow, String)> {
    Ok((
        AttemptRow {
            key: row.get(0)?,
            id: row.get(1)?,
            task_key: row.get(2)?,
            task_id: row.get(3)?,
            task_json: row.get(4)?,
            number: row.get(5)?,
            operator: row.get(6)?,
            state: AttemptState::Created,
            directory: row.get(8)?,
            handle: row.get(9)?,
            note: row.get(10)?,
            waits_for: row.get(11)?,
            reason_code: row.get(12)?,
            reason: row.get(13)?,
            cancel_asked: row.get(14)?,
            data: row.get(15)?,
            created_at_ms: row.get(16)?,
            ended_at_ms: row.get(17)?,
        },
        row.get(7)?,
    ))
}

impl Store {
    fn attempt_rows<P: rusqlite::Params>(&self, filter: &str, parameters: P) -> Result<Vec<AttemptRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM attempts a JOIN tasks t ON t.task_key = a.task_key WHERE {filter}"
        ))?;
        let rows = statement.query_map(parameters, attempt_row)?.collect::<Result<Vec<_>, _>>()?;
        rows.into_iter()
            .map(|(row, state)| Ok(AttemptRow { state: parse_state(&state, AttemptState::parse)?, ..row }))
            .collect()
    }

    /// Attempts of a task, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempts(&self, task_key: i64) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempt_rows("a.task_key = ?1 ORDER BY a.number", [task_key])
    }

    /// Every attempt, in the order made.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn all_attempts(&self) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempt_rows("1 ORDER BY a.attempt_key", ())
    }

    /// Attempts that the outside has not acknowledged, each with when it is due and when that was set.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn unsettled(&self) -> Result<Vec<WithDue>, StoreError> {
        let rows = self.attempt_rows("a.state IN ('created', 'prepared', 'submitting') ORDER BY a.attempt_key", ())?;
        let mut times =
            self.connection.prepare_cached("SELECT due_at_ms, due_set_ms FROM attempts WHERE attempt_key = ?1")?;
        rows.into_iter()
            .map(|row| Ok((times.query_row([row.key], |times| Ok((times.get(0)?, times.get(1)?)))?, row)))
            .map(|pair: Result<_, StoreError>| pair.map(|(times, row)| (row, times)))
            .collect()
    }

    /// Live attempts, at most `most`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn live_attempts(&self, most: u32) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempt_rows(&format!("{LIVE} ORDER BY a.attempt_key LIMIT ?1"), [most])
    }

    /// Live attempts to be asked about now: their time has come, or the clock is before it was set.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempts_due(&self, now_ms: i64) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempt_rows(
            &format!("{LIVE} AND (a.due_at_ms <= ?1 OR a.due_set_ms > ?1) ORDER BY a.attempt_key"),
            [now_ms],
        )
    }

    /// A live attempt by its id.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn live_attempt(&self, id: &str) -> Result<Option<AttemptRow>, StoreError> {
        Ok(self.attempt_rows(&format!("{LIVE} AND a.attempt_id = ?1"), [id])?.pop())
    }

    /// An attempt by its id, live or ended.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempt(&self, id: &str) -> Result<Option<AttemptRow>, StoreError> {
        Ok(self.attempt_rows("a.attempt_id = ?1", [id])?.pop())
    }

    /// Attempts a person wants stopped and the outside has not been told.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempts_to_cancel(&self) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempt_rows(&format!("{LIVE} AND a.cancel_asked = 1 ORDER BY a.attempt_key"), ())
    }

    /// How many attempts are live: of one operator, or of all.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn live_count(&self, operator: Option<&str>) -> Result<u64, StoreError> {
        let count: i64 = match operator {
            Some(operator) => self
                .connection
                .prepare_cached(&format!("SELECT count(*) FROM attempts a WHERE {LIVE} AND a.operator = ?1"))?
                .query_row([operator], |row| row.get(0))?,
            None => self
                .connection
                .prepare_cached(&format!("SELECT count(*) FROM attempts a WHERE {LIVE}"))?
                .query_row([], |row| row.get(0))?,
        };
        Ok(count as u64)
    }

    /// How many live attempts go on by themselves: those that do not wait for a person, a kit or an instrument, and, if
    /// the run submits nothing now, those that were submitted.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn moving_count(&self, submits: bool) -> Result<u64, StoreError> {
        let count: i64 = self
            .connection
            .prepare_cached(&format!(
                "SELECT count(*) FROM attempts a WHERE {LIVE} AND NOT (a.state = 'waiting_external' AND \
                 coalesce(a.waits_for, '') IN ('person', 'kit', 'instrument')) AND {GOES_ON}"
            ))?
            .query_row([submits], |row| row.get(0))?;
        Ok(count as u64)
    }

    /// When the next live attempt is to be asked about; `submits` as for [`Store::moving_count`].
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn next_due(&self, submits: bool) -> Result<Option<i64>, StoreError> {
        Ok(self
            .connection
            .prepare_cached(&format!("SELECT min(a.due_at_ms) FROM attempts a WHERE {LIVE} AND {GOES_ON}"))?
            .query_row([submits], |row| row.get(0))?)
    }

    /// The files an attempt left.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn outputs(&self, attempt_key: i64) -> Result<Vec<Output>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT path, sha256, size, remote FROM outputs WHERE attempt_key = ?1 ORDER BY path")?;
        let rows = statement.query_map([attempt_key], |row| output_row(row, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The files that the last completed attempt of a task left.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task_outputs(&self, task_key: i64) -> Result<Vec<Output>, StoreError> {
        let key: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(attempt_key) FROM attempts WHERE task_key = ?1 AND state = 'completed'")?
            .query_row([task_key], |row| row.get(0))?;
        key.map_or_else(|| Ok(Vec::new()), |key| self.outputs(key))
    }

    /// Where an output of a completed task lies: the attempt directory and the file.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn output_of(&self, task_id: &str, path: &str) -> Result<Option<(String, Output)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT a.directory, o.path, o.sha256, o.size, o.remote FROM tasks t JOIN attempts a ON a.task_key = t.task_key \
             JOIN outputs o ON o.attempt_key = a.attempt_key WHERE t.task_id = ?1 AND o.path = ?2 AND a.state = 'completed' \
             ORDER BY a.number DESC LIMIT 1",
        )?;
        let mut rows = statement.query_map((task_id, path), |row| Ok((row.get(0)?, output_row(row, 1)?)))?;
        Ok(rows.next().transpose()?)
    }

    /// An output of a completed task, if it stayed on a cluster.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn kept_output(&self, task_id: &str, path: &str) -> Result<Option<KeptOutput>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT a.attempt_id, o.path, o.sha256, o.size, o.remote FROM tasks t JOIN attempts a ON a.task_key = t.task_key \
             JOIN outputs o ON o.attempt_key = a.attempt_key WHERE t.task_id = ?1 AND o.path = ?2 AND a.state = 'completed' \
             ORDER BY a.number DESC LIMIT 1",
        )?;
        let mut rows = statement.query_map((task_id, path), |row| {
            let (attempt, Output { path, sha256, size, remote }) = (row.get(0)?, output_row(row, 1)?);
            Ok(remote.map(|remote| KeptOutput { attempt, output: path, sha256, size, remote }))
        })?;
        Ok(rows.next().transpose()?.flatten())
    }

    /// Where a file with this digest lies, relative to the run directory.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn file_of_digest(&self, sha256: &str) -> Result<Option<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT a.directory || '/' || o.path FROM outputs o JOIN attempts a ON a.attempt_key = o.attempt_key \
             WHERE o.sha256 = ?1 AND o.remote IS NULL LIMIT 1",
        )?;
        let mut rows = statement.query_map([sha256], |row| row.get(0))?;
        Ok(rows.next().transpose()?)
    }

    /// The next results of an iteration that `analyze` has not received, as a JSON array in task order, with the key of
    /// the last one; none if all have been delivered.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn undelivered(&self, iteration: u32, most: u32) -> Result<Option<(i64, Vec<serde_json::Value>)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t.task_key, t.task_id, t.state, t.reason_code, t.reason, t.allow_failure, a.attempt_key, a.attempt_id, \
             a.number, a.data, a.reason_code, a.reason FROM tasks t LEFT JOIN attempts a ON a.task_key = t.task_key AND \
             a.number = (SELECT max(b.number) FROM attempts b WHERE b.task_key = t.task_key) \
             WHERE t.iteration = ?1 AND t.delivered IS NULL ORDER BY t.task_key LIMIT ?2",
        )?;
        let mut rows = statement.query((iteration, most))?;
        let (mut last, mut results) = (None, Vec::new());
        while let Some(row) = rows.next()? {
            last = Some(row.get(0)?);
            let attempt_key: Option<i64> = row.get(6)?;
            let outputs = attempt_key.map(|key| self.outputs(key)).transpose()?.unwrap_or_default();
            let data: Option<String> = row.get(9)?;
            let data = data.map(|text| serde_json::from_str::<serde_json::Value>(&text));
            let data = data.transpose().map_err(|error| StoreError::Row(error.to_string()))?;
            results.push(serde_json::json!({
                "task": row.get::<_, String>(1)?,
                "outcome": row.get::<_, String>(2)?,
                "code": row.get::<_, Option<String>>(3)?,
                "reason": row.get::<_, Option<String>>(4)?,
                "allow_failure": row.get::<_, bool>(5)?,
                "attempt": row.get::<_, Option<String>>(7)?,
                "attempts": row.get::<_, Option<u32>>(8)?.unwrap_or(0),
                "data": data,
                "outputs": outputs,
            }));
        }
        Ok(last.map(|key| (key, results)))
    }

    /// How far the journal of each backend has been read.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn cursors(&self) -> Result<std::collections::BTreeMap<String, String>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT backend, position FROM cursors")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
