//! Attempts: where each stands, and when to ask about it.
use super::word::columns;
use super::{CarriedInput, Output, Store, StoreError, Writer, changed_one};
use crate::model::act::Act;
use crate::model::code::{Code, Word};
use crate::model::evidence::{JobRecord, LogRecord};
use crate::model::reason::Reason;
use crate::model::states::AttemptState;
use rusqlite::OptionalExtension;

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
    pub waits_for: Option<Word>,
    /// Why, for a program.
    pub reason_code: Option<Word>,
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

/// An attempt that is to be seen to, without its documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the database.
    pub key: i64,
    /// The operator key.
    pub operator: String,
    /// When it was seen to last, in milliseconds since the epoch.
    pub seen_ms: i64,
}

impl AttemptRow {
    /// The size of its documents.
    pub fn bytes(&self) -> u64 {
        let texts = [&self.handle, &self.note, &self.reason, &self.data];
        (self.task_json.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()) as u64
    }
}

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
    /// Why; needed for failed and lost.
    pub reason: Option<Reason>,
    /// The output document.
    pub data: Option<String>,
    /// The files it left.
    pub outputs: Vec<Output>,
    /// What its backend tells of the job.
    pub job: JobRecord,
    /// What the host and the job wrote about it.
    pub logs: Vec<LogRecord>,
    /// What a cluster tells that it found of an earlier attempt there.
    pub carried: Vec<CarriedInput>,
    /// The place of an earlier attempt whose work it ends with: it consumed what that one did, in the same environment.
    pub takes_over: Option<i64>,
    /// The act of somebody who held no lease, by which it ended.
    pub act: Option<Act>,
}

impl AttemptEnd {
    /// An end that left nothing.
    pub fn new(state: AttemptState, reason: Option<Reason>) -> Self {
        Self {
            state,
            reason,
            data: None,
            outputs: Vec::new(),
            job: JobRecord::default(),
            logs: Vec::new(),
            carried: Vec::new(),
            takes_over: None,
            act: None,
        }
    }
}

/// An attempt by a person's word: it ran nothing, and names a lost one.
#[derive(Debug)]
pub struct SettledAttempt<'a> {
    /// The attempt's id.
    pub id: String,
    /// The lost attempt.
    pub of: &'a AttemptRow,
    /// Completed or failed.
    pub state: AttemptState,
    /// Who says so and why.
    pub reason: &'a Reason,
    /// The files that the lost attempt left, in its directory.
    pub outputs: &'a [Output],
}

impl Writer<'_> {
    /// Records an attempt by a person's word, from its beginning to its end.
    ///
    /// # Errors
    /// If the state is not an end, or the database cannot be written.
    pub fn settle_attempt(&self, settled: &SettledAttempt<'_>, now_ms: i64) -> Result<(), StoreError> {
        let to = AttemptState::Created.become_state(settled.state)?;
        let of = settled.of;
        let handle = serde_json::json!({"settled": of.id}).to_string();
        self.connection.execute(
            "INSERT INTO attempts (attempt_id, task_key, number, operator, state, directory, handle, reason_code, reason, \
             environment, created_at_ms, ended_at_ms) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, environment, ?10, ?10 FROM attempts WHERE attempt_key = ?11",
            (
                &settled.id,
                of.task_key,
                of.number + 1,
                &of.operator,
                to.as_str(),
                &of.directory,
                handle,
                &settled.reason.word,
                &settled.reason.text,
                now_ms,
                of.key,
            ),
        )?;
        let key = self.connection.last_insert_rowid();
        self.keep_outputs(key, settled.outputs)?;
        self.take_over(key, of.key)?;
        self.record(now_ms, "attempt", &settled.id, (None, "created"), None)?;
        self.record(now_ms, "attempt", &settled.id, (Some("created"), to.as_str()), Some(&settled.reason.text))
    }

    /// Creates an attempt. Returns its place.
    ///
    /// # Errors
    /// If the task has a live attempt already.
    pub fn create_attempt(&self, new: &NewAttempt, now_ms: i64) -> Result<i64, StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO attempts (attempt_id, task_key, number, operator, state, directory, created_at_ms) \
                 VALUES (?1, ?2, ?3, ?4, 'created', ?5, ?6)",
            )?
            .execute((&new.id, new.task_key, new.number, &new.operator, &new.directory, now_ms))?;
        let key = self.connection.last_insert_rowid();
        self.connection
            .prepare_cached(
                "INSERT INTO live_counts (operator, n) VALUES (?1, 1) ON CONFLICT (operator) DO UPDATE SET n = n + 1",
            )?
            .execute([&new.operator])?;
        self.record(now_ms, "attempt", &new.id, (None, "created"), None)?;
        Ok(key)
    }

    /// Moves a live attempt to another live state.
    ///
    /// # Errors
    /// If the attempt is not where the row says, or cannot go there.
    pub fn set_attempt_state(
        &self,
        attempt: &AttemptRow,
        to: AttemptState,
        reason: Option<&Reason>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let from = attempt.state;
        let to = from.become_state(to)?;
        let (code, text) = columns(reason);
        let flip = from.is_outside() && to.is_outside();
        let flips: Option<u32> = self
            .connection
            .prepare_cached(
                "UPDATE attempts SET state = ?3, handle = ?4, waits_for = ?5, reason_code = ?6, reason = ?7, \
                 flips = flips + ?8, environment = CASE ?3 WHEN 'submitting' THEN (SELECT environment FROM run) ELSE environment \
                 END WHERE attempt_key = ?1 AND state = ?2 RETURNING flips",
            )?
            .query_row(
                (
                    attempt.key,
                    from.as_str(),
                    to.as_str(),
                    &attempt.handle,
                    &attempt.waits_for,
                    code,
                    text,
                    flip,
                ),
                |row| row.get(0),
            )
            .optional()?;
        changed_one(usize::from(flips.is_some()), "the attempt")?;
        // how far an attempt is, and to and fro outside without end, is shown but no part of the history
        if flip && flips.is_some_and(|flips| flips > FLIPS_MAX) {
            return Ok(());
        }
        let text = text.filter(|_| reason.is_some_and(|reason| !reason.is(Code::Progress)));
        self.record(now_ms, "attempt", &attempt.id, (Some(from.as_str()), to.as_str()), text)
    }

    /// Notes what was learnt about a live attempt without a change of state, and when to ask again.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn note_attempt(
        &self,
        attempt: &AttemptRow,
        due_at_ms: i64,
        reason: Option<&Reason>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let (code, text) = columns(reason);
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE attempts SET handle = ?2, note = ?3, waits_for = ?4, reason_code = ?5, reason = ?6, due_at_ms = ?7, \
                 due_set_ms = ?8 WHERE attempt_key = ?1",
            )?
            .execute((attempt.key, &attempt.handle, &attempt.note, &attempt.waits_for, code, text, due_at_ms, now_ms))?;
        changed_one(changed, "the attempt")
    }

    /// Sets when to ask about a live attempt again.
    ///
    /// # Errors
    /// If it has ended.
    pub fn set_due(&self, key: i64, due_at_ms: i64, now_ms: i64) -> Result<(), StoreError> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE attempts SET due_at_ms = ?2, due_set_ms = ?3 WHERE attempt_key = ?1 AND \
                 state NOT IN ('completed', 'failed', 'cancelled', 'lost')",
            )?
            .execute((key, due_at_ms, now_ms))?;
        changed_one(changed, "the attempt")
    }

    /// Lets an attempt be asked about now, and keeps its place among those that wait for that.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn make_due(&self, key: i64) -> Result<(), StoreError> {
        let mut statement =
            self.connection.prepare_cached("UPDATE attempts SET due_at_ms = 0 WHERE attempt_key = ?1")?;
        changed_one(statement.execute([key])?, "the attempt")
    }

    /// Ends an attempt.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn end_attempt(&self, attempt: &AttemptRow, end: &AttemptEnd, now_ms: i64) -> Result<(), StoreError> {
        let to = attempt.state.become_state(end.state)?;
        let (code, text) = columns(end.reason.as_ref());
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
        let counted = self
            .connection
            .prepare_cached("UPDATE live_counts SET n = n - 1 WHERE operator = ?1")?
            .execute([&attempt.operator])?;
        changed_one(counted, "the count of live attempts")?;
        self.keep_outputs(attempt.key, &end.outputs)?;
        self.keep_job(attempt.key, &end.job, &end.logs)?;
        self.keep_carried(attempt.key, &end.carried)?;
        end.takes_over.map(|from| self.take_inputs_over(attempt.key, from)).transpose()?;
        end.act.as_ref().map(|act| self.add_act(act)).transpose()?;
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

    /// Records that the outside has been told to stop an attempt that somebody wants stopped.
    ///
    /// # Errors
    /// If nobody wants that, or it was told already.
    pub fn cancel_told(&self, key: i64) -> Result<(), StoreError> {
        let changed = self
            .connection
            .prepare_cached("UPDATE attempts SET cancel_asked = 2 WHERE attempt_key = ?1 AND cancel_asked = 1")?
            .execute([key])?;
        changed_one(changed, "the attempt")
    }
}

const COLUMNS: &str = "a.attempt_key, a.attempt_id, a.task_key, t.task_id, t.spec, a.number, a.operator, a.state, a.directory, \
     a.handle, a.note, a.waits_for, a.reason_code, a.reason, a.cancel_asked, a.data, a.created_at_ms, a.ended_at_ms";

const LIVE: &str = "a.state NOT IN ('completed', 'failed', 'cancelled', 'lost')";

/// Whether the outside has an attempt.
const SUBMITTED: &str = "a.state IN ('submitted', 'running', 'waiting_external')";

/// Whether the time of an attempt has come at ?1: it is past, or the clock is now before it was set.
const DUE: &str = "(a.due_at_ms <= ?1 OR a.due_set_ms > ?1)";

/// How often the history notes that an attempt goes from one state to another while the outside has it.
const FLIPS_MAX: u32 = 20;

/// Whether a tick can do something about an attempt, given whether it submits anything.
const GOES_ON: &str = "(?1 OR a.cancel_asked = 1 OR a.state NOT IN ('created', 'prepared'))";

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
        cancel_asked: row.get(14)?,
        data: row.get(15)?,
        created_at_ms: row.get(16)?,
        ended_at_ms: row.get(17)?,
    })
}

impl Store {
    fn attempt_rows<P: rusqlite::Params>(&self, filter: &str, parameters: P) -> Result<Vec<AttemptRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM attempts a JOIN tasks t ON t.task_key = a.task_key WHERE {filter}"
        ))?;
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

    /// Attempts in these states, all of them not acknowledged by the outside, whose time has come: the longest due first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn unsettled_due(&self, now_ms: i64, states: &[AttemptState]) -> Result<Vec<Waiting>, StoreError> {
        let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        self.waiting(
            &format!(
                "a.state IN ('created', 'prepared', 'submitting') AND a.state IN (SELECT value FROM json_each(?2)) AND {DUE} \
                 ORDER BY a.due_at_ms, a.attempt_key"
            ),
            (now_ms, serde_json::json!(states).to_string()),
        )
    }

    fn waiting<P: rusqlite::Params>(&self, filter: &str, parameters: P) -> Result<Vec<Waiting>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT a.attempt_key, a.operator, a.due_set_ms FROM attempts a WHERE {filter}"
        ))?;
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
        self.attempt_rows(&format!("{LIVE} ORDER BY a.attempt_key LIMIT ?1"), [most])
    }

    /// Attempts that the outside has, to be asked about now: their time has come. The longest due first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempts_due(&self, now_ms: i64) -> Result<Vec<Waiting>, StoreError> {
        self.waiting(&format!("{LIVE} AND {SUBMITTED} AND {DUE} ORDER BY a.due_at_ms, a.attempt_key"), [now_ms])
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
        self.waiting(&format!("{LIVE} AND {SUBMITTED} ORDER BY a.attempt_key"), ())
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

    /// Attempts a person wants stopped and the outside has not been told; those of which nobody knows whether it has them
    /// are settled first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempts_to_stop(&self) -> Result<Vec<Waiting>, StoreError> {
        self.waiting(&format!("{LIVE} AND a.cancel_asked = 1 AND a.state <> 'submitting' ORDER BY a.attempt_key"), ())
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

    /// Whether any live attempt goes on by itself: waits neither for a person, a kit or an instrument, nor for a scheduler that
    /// only a person can move or a machine that only a person can go to, and, if the run submits nothing now, has been
    /// submitted.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn anything_moves(&self, submits: bool) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT 1 FROM attempts a WHERE {LIVE} AND NOT (a.state = 'waiting_external' AND \
             coalesce(a.waits_for, '') IN ('person', 'kit', 'instrument', 'scheduler', 'machine')) AND {GOES_ON}"
        ))?;
        Ok(statement.exists([submits])?)
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
