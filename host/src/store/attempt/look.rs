//! Attempts as they are found: by task, by id, by what is to be done about them.
use super::{AttemptRow, Waiting};
use crate::model::states::AttemptState;
use crate::store::{Store, StoreError};

const COLUMNS: &str = "a.attempt_key, a.attempt_id, a.task_key, t.task_id, \
     CASE a.version WHEN t.version THEN t.spec ELSE (SELECT s.spec FROM task_specs s WHERE s.task_key = a.task_key AND \
     s.version = a.version) END, a.number, a.operator, a.state, a.directory, \
     a.handle, a.note, a.waits_for, a.reason_code, a.reason, a.cancel_asked, a.data, a.created_at_ms, a.ended_at_ms, \
     a.prepared, a.external_id";

const LIVE: &str = "a.ended_at_ms IS NULL";

/// By when they were made. The sign keeps SQLite from reading the whole table in that order, past the indexes of what
/// is live.
const IN_ORDER: &str = "ORDER BY +a.attempt_key";

/// Whether the outside has an attempt.
const SUBMITTED: &str = "a.state IN ('submitted', 'running', 'waiting_external')";

/// Whether the time of an attempt has come at ?1: it is past, or the clock is now before it was set.
const DUE: &str = "(a.due_at_ms <= ?1 OR a.due_set_ms > ?1)";

/// Whether a tick can do something about an attempt, given whether it submits anything.
const GOES_ON: &str = "(?1 OR a.cancel_asked = 1 OR a.state NOT IN ('created', 'prepared'))";

/// Whether what an attempt waits for is nobody who has to do something.
const BY_ITSELF: &str = "NOT (a.state = 'waiting_external' AND \
    coalesce(a.waits_for, '') IN ('person', 'kit', 'instrument', 'scheduler', 'machine')) AND \
    NOT (a.state = 'prepared' AND coalesce(a.reason_code, '') = 'environment')";

/// Which attempts are live, in order.
fn live() -> String {
    format!("{LIVE} {IN_ORDER} LIMIT ?1")
}

/// Which attempts the outside has, in order.
fn submitted() -> String {
    format!("{LIVE} AND {SUBMITTED} {IN_ORDER}")
}

/// Of which of them the time has come.
fn due() -> String {
    format!("{LIVE} AND {SUBMITTED} AND {DUE} ORDER BY a.due_at_ms, a.attempt_key")
}

/// Which attempts a person wants stopped.
fn to_stop() -> String {
    format!("{LIVE} AND a.cancel_asked = 1 AND a.state <> 'submitting' ORDER BY a.attempt_key")
}

/// Which attempts the outside has not acknowledged, of the states ?2 and as far as their time has come.
fn unacknowledged() -> String {
    format!(
        "(a.state = 'created' OR a.state = 'prepared' OR a.state = 'submitting') AND \
         a.state IN (SELECT value FROM json_each(?2)) AND {DUE} ORDER BY a.due_at_ms, a.attempt_key"
    )
}

/// Whether one of those waits for a person to say what jobs inherit.
fn waits_for_environment() -> String {
    "SELECT 1 FROM attempts a WHERE (a.state = 'created' OR a.state = 'prepared' OR a.state = 'submitting') AND \
     a.state = 'prepared' AND a.reason_code = 'environment'"
        .to_owned()
}

fn rows_where(filter: &str) -> String {
    format!("SELECT {COLUMNS} FROM attempts a JOIN tasks t ON t.task_key = a.task_key WHERE {filter}")
}

fn places_where(filter: &str) -> String {
    format!("SELECT a.attempt_key, a.operator, a.due_set_ms FROM attempts a WHERE {filter}")
}

fn attempt_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<AttemptRow> {
    Ok(AttemptRow {
        key: row.get(0)?,
        id: row.get(1)?,
        task_key: row.get(2)?,
        task_id: row.get(3)?,
        task_json: row.get(4)?,
        number: row.get(5)?,
        operator: row.get(6)?,
        state: row.get(7)?,
        directory: row.get(8)?,
        handle: row.get(9)?,
        note: row.get(10)?,
        waits_for: row.get(11)?,
        reason_code: row.get(12)?,
        reason: row.get(13)?,
        cancel: row.get(14)?,
        data: row.get(15)?,
        created_at_ms: row.get(16)?,
        ended_at_ms: row.get(17)?,
        prepared: row.get(18)?,
        external_id: row.get(19)?,
    })
}

impl Store {
    /// How many running tasks have no job that has started: those of live attempts, and those that wait for approval or
    /// in a budget.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn queued_attempts(&self) -> Result<u64, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM attempts WHERE ended_at_ms IS NULL AND \
             (state IN ('created', 'prepared', 'submitting', 'submitted') OR waits_for = 'capacity')) + \
             (SELECT count(*) FROM tasks WHERE state = 'running' AND (reason_code = 'approval' OR reason_code = 'budget'))";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))? as u64)
    }

    /// Whether a running task has no job that has started.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn is_queued(&self, task_key: i64) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM attempts WHERE task_key = ?1 AND ended_at_ms IS NULL AND \
             (state IN ('created', 'prepared', 'submitting', 'submitted') OR waits_for = 'capacity') UNION ALL \
             SELECT 1 FROM tasks WHERE task_key = ?1 AND state = 'running' AND (reason_code = 'approval' OR reason_code = 'budget')";
        Ok(self.connection.prepare_cached(sql)?.exists([task_key])?)
    }

    fn attempt_rows<P: rusqlite::Params>(&self, filter: &str, parameters: P) -> Result<Vec<AttemptRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(&rows_where(filter))?;
        let rows = statement.query_map(parameters, attempt_row)?;
        rows.map(|row| row.map_err(StoreError::from)).collect()
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

    /// Attempts in these states, all of them not acknowledged by the outside, whose time has come: the longest due
    /// first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn unacknowledged_due(&self, now_ms: i64, states: &[AttemptState]) -> Result<Vec<Waiting>, StoreError> {
        let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        self.waiting(&unacknowledged(), (now_ms, serde_json::json!(states).to_string()))
    }

    fn waiting<P: rusqlite::Params>(&self, filter: &str, parameters: P) -> Result<Vec<Waiting>, StoreError> {
        let mut statement = self.connection.prepare_cached(&places_where(filter))?;
        let rows = statement.query_map(parameters, |row| {
            Ok(Waiting { key: row.get(0)?, operator: row.get(1)?, seen_ms: row.get(2)? })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Live attempts, at most `most`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn live_attempts(&self, most: u32) -> Result<Vec<AttemptRow>, StoreError> {
        self.attempt_rows(&live(), [most])
    }

    /// Attempts that the outside has, to be asked about now: their time has come. The longest due first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempts_due(&self, now_ms: i64) -> Result<Vec<Waiting>, StoreError> {
        self.waiting(&due(), [now_ms])
    }

    /// An attempt that the outside has, by its id.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn submitted_attempt(&self, id: &str) -> Result<Option<Waiting>, StoreError> {
        Ok(self.waiting(&format!("{LIVE} AND {SUBMITTED} AND a.attempt_id = ?1"), [id])?.pop())
    }

    /// All attempts that the outside has.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempts_submitted(&self) -> Result<Vec<Waiting>, StoreError> {
        self.waiting(&submitted(), ())
    }

    /// A live attempt by its place in the database.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn live_attempt_at(&self, key: i64) -> Result<Option<AttemptRow>, StoreError> {
        Ok(self.attempt_rows(&format!("{LIVE} AND a.attempt_key = ?1"), [key])?.pop())
    }

    /// An attempt by its id, live or ended.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempt(&self, id: &str) -> Result<Option<AttemptRow>, StoreError> {
        Ok(self.attempt_rows("a.attempt_id = ?1", [id])?.pop())
    }

    /// Attempts a person wants stopped and the outside has not been told; those of which nobody knows whether it has
    /// them are settled first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempts_to_stop(&self) -> Result<Vec<Waiting>, StoreError> {
        self.waiting(&to_stop(), ())
    }

    /// How many attempts are live: of one operator, or of all.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn live_count(&self, operator: Option<&str>) -> Result<u64, StoreError> {
        let count: i64 = self
            .connection
            .prepare_cached("SELECT coalesce(sum(n), 0) FROM live_counts WHERE ?1 IS NULL OR operator = ?1")?
            .query_row([operator], |row| row.get(0))?;
        Ok(count as u64)
    }

    /// Whether any live attempt goes on by itself: waits neither for a person, a kit or an instrument, nor for a
    /// scheduler that only a person can move or a machine that only a person can go to, and, if the run submits nothing
    /// now, has been submitted.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn anything_moves(&self, submits: bool) -> Result<bool, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT 1 FROM attempts a WHERE {LIVE} AND {BY_ITSELF} AND {GOES_ON}"))?;
        Ok(statement.exists([submits])?)
    }

    /// Whether an attempt waits for a person to say what jobs inherit.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn waits_for_environment(&self) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached(&waits_for_environment())?.exists([])?)
    }

    /// The operators of which a live attempt goes on by itself, as [`Store::anything_moves`] tells of all.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn moving_operators(&self, submits: bool) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT DISTINCT a.operator FROM attempts a WHERE {LIVE} AND {BY_ITSELF} AND {GOES_ON}"
        ))?;
        let operators = statement.query_map([submits], |row| row.get(0))?;
        Ok(operators.collect::<Result<_, _>>()?)
    }

    /// When the next live attempt is to be asked about; `submits` as for [`Store::anything_moves`].
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn next_due(&self, submits: bool) -> Result<Option<i64>, StoreError> {
        Ok(self
            .connection
            .prepare_cached(&format!("SELECT min(a.due_at_ms) FROM attempts a WHERE {LIVE} AND {GOES_ON}"))?
            .query_row([submits], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests {
    use super::{due, live, places_where, rows_where, submitted, to_stop, unacknowledged, waits_for_environment};
    use crate::store::migrate::tests::reads_some;

    #[test]
    fn what_goes_on_is_found_without_reading_all_there_was() {
        reads_some(&rows_where(&live()));
        reads_some(&waits_for_environment());
        [due(), submitted(), to_stop(), unacknowledged()].iter().for_each(|filter| reads_some(&places_where(filter)));
    }
}
