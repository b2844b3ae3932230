//! Attempts: where each stands, and when to ask about it.
mod look;

use super::history::Subject;
use super::word::columns;
use super::{CarriedInput, DATA_MAX, Output, StoreError, Writer, changed_one};
use crate::model::act::Act;
use crate::model::code::{Code, Word};
use crate::model::contract::Submitted;
use crate::model::document::sha256;
use crate::model::evidence::{JobRecord, LogRecord};
use crate::model::reason::Reason;
use crate::model::states::{AttemptOutcome, AttemptState};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{ToSql, named_params};

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
    /// The task's JSON text, in the version that it carries out.
    pub task_json: String,
    /// Its number at the task, from 1.
    pub number: u32,
    /// The operator key.
    pub operator: String,
    /// Where it stands.
    pub state: AttemptState,
    /// Its directory, relative to the run's.
    pub directory: String,
    /// What its operator prepared.
    pub prepared: Option<String>,
    /// What the operator calls it.
    pub handle: Option<String>,
    /// What people over there call it.
    pub external_id: Option<String>,
    /// What the last undecided reconcile noted.
    pub note: Option<String>,
    /// The kind of thing it waits for.
    pub waits_for: Option<Word>,
    /// Why, for a program.
    pub reason_code: Option<Word>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// Whether it is to be stopped.
    pub cancel: Cancel,
    /// The output document.
    pub data: Option<String>,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it ended.
    pub ended_at_ms: Option<i64>,
}

/// Whether an attempt is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// Nobody wants that.
    No,
    /// Somebody does; the outside has not been told.
    Asked,
    /// The outside has been told.
    Told,
}

impl Cancel {
    /// Whether somebody wants it stopped, told or not.
    pub fn is_wanted(self) -> bool {
        self != Self::No
    }
}

impl FromSql for Cancel {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::No),
            1 => Ok(Self::Asked),
            2 => Ok(Self::Told),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
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
    /// Keeps what came of its submit.
    pub fn take(&mut self, submitted: Submitted) {
        self.handle = Some(submitted.handle);
        self.external_id = submitted.external_id.or(self.external_id.take());
    }

    /// The size of its documents.
    pub fn bytes(&self) -> u64 {
        let texts = [&self.prepared, &self.handle, &self.note, &self.reason, &self.data];
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
    /// The core milliseconds that are counted on until it has ended, where they are counted.
    pub core_ms: Option<u64>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct AttemptEnd {
    /// The state that it ended in.
    pub outcome: AttemptOutcome,
    /// Why; needed for failed and lost.
    pub reason: Option<Reason>,
    /// The output document.
    pub data: Option<String>,
    /// What it used, by its operator's word: a JSON document.
    pub usage: Option<String>,
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
    /// The core milliseconds that its job took, where its backend tells.
    pub core_ms: Option<u64>,
    /// Whether provably nothing of it started although the outside had it.
    pub unstarted: bool,
}

impl AttemptEnd {
    /// An end that left nothing.
    pub fn new(outcome: AttemptOutcome, reason: Option<Reason>) -> Self {
        Self {
            outcome,
            reason,
            data: None,
            usage: None,
            outputs: Vec::new(),
            job: JobRecord::default(),
            logs: Vec::new(),
            carried: Vec::new(),
            takes_over: None,
            act: None,
            core_ms: None,
            unstarted: false,
        }
    }
}

/// An attempt by a person's word: it ran nothing, and names one that is lost, or whose results are stale.
#[derive(Debug)]
pub struct SettledAttempt<'a> {
    /// The attempt's id.
    pub id: String,
    /// That attempt.
    pub of: &'a AttemptRow,
    /// Completed or failed.
    pub outcome: AttemptOutcome,
    /// Who says so and why.
    pub reason: &'a Reason,
    /// The files that it left, in its directory.
    pub outputs: &'a [Output],
}

/// How often the history notes that an attempt goes from one state to another while the outside has it.
pub(super) const FLIPS_MAX: u32 = 20;

impl Writer<'_> {
    /// Records an attempt by a person's word, from its beginning to its end.
    ///
    /// # Errors
    /// If a new attempt cannot end so, or the database cannot be written.
    pub fn settle_attempt(&self, settled: &SettledAttempt<'_>, now_ms: i64) -> Result<(), StoreError> {
        let to = AttemptState::Created.become_state(settled.outcome.into())?;
        let of = settled.of;
        let handle = serde_json::json!({"settled": of.id}).to_string();
        self.connection.execute(
            "INSERT INTO attempts (attempt_id, task_key, number, version, operator, state, directory, handle, reason_code, reason, \
             environment, created_at_ms, ended_at_ms, given_back) SELECT :id, :task, :number, version, :operator, :state, :directory, \
             :handle, :code, :reason, environment, :now, :now, 1 FROM attempts WHERE attempt_key = :of",
            named_params! {
                ":id": settled.id,
                ":task": of.task_key,
                ":number": of.number + 1,
                ":operator": of.operator,
                ":state": to.as_str(),
                ":directory": of.directory,
                ":handle": handle,
                ":code": settled.reason.word,
                ":reason": settled.reason.text,
                ":now": now_ms,
                ":of": of.key,
            },
        )?;
        let key = self.connection.last_insert_rowid();
        self.keep_outputs(key, settled.outputs)?;
        self.take_over(key, of.key)?;
        // also where results are given up that others have taken
        if to == AttemptState::Completed || of.state == AttemptState::Completed {
            self.stale_by_output(of.task_key, key)?;
        }
        let (subject, created) = (Subject::Attempt(&settled.id), AttemptState::Created.as_str());
        self.record(now_ms, subject, (None, created), None)?;
        self.record(now_ms, subject, (Some(created), to.as_str()), Some(&settled.reason.text))
    }

    /// Creates an attempt. Returns its place.
    ///
    /// # Errors
    /// If the task has a live attempt already.
    pub fn create_attempt(&self, new: &NewAttempt, now_ms: i64) -> Result<i64, StoreError> {
        let core_ms = new.core_ms.map(|ms| ms as i64);
        self.connection
            .prepare_cached(
                "INSERT INTO attempts (attempt_id, task_key, number, version, operator, state, directory, created_at_ms, core_ms) \
                 VALUES (?1, ?2, ?3, (SELECT version FROM tasks WHERE task_key = ?2), ?4, 'created', ?5, ?6, ?7)",
            )?
            .execute((&new.id, new.task_key, new.number, &new.operator, &new.directory, now_ms, core_ms))?;
        let key = self.connection.last_insert_rowid();
        if new.number > 1 {
            // what it is going to consume is what there is now
            let mut fresh =
                self.connection.prepare_cached("UPDATE tasks SET stale = 0 WHERE task_key = ?1 AND stale = 1")?;
            fresh.execute([new.task_key])?;
        }
        self.connection
            .prepare_cached(
                "INSERT INTO live_counts (operator, n, started, core_ms) VALUES (?1, 1, 1, coalesce(?2, 0)) ON CONFLICT (operator) \
                 DO UPDATE SET n = n + 1, started = started + 1, core_ms = core_ms + excluded.core_ms",
            )?
            .execute((&new.operator, core_ms))?;
        self.record(now_ms, Subject::Attempt(&new.id), (None, AttemptState::Created.as_str()), None)?;
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
        self.move_attempt(attempt, &[to], reason, None, now_ms)
    }

    /// Moves a live attempt through live states to the last of them, and sets when to ask about it there, if that is
    /// given.
    ///
    /// # Errors
    /// If the attempt is not where the row says, or cannot go there.
    pub fn move_attempt(
        &self,
        attempt: &AttemptRow,
        path: &[AttemptState],
        reason: Option<&Reason>,
        due_at_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut to = attempt.state;
        for state in path {
            to = to.become_state(*state)?;
        }
        let (code, text) = columns(reason);
        let flip = attempt.state.is_outside() && to.is_outside();
        // what is not set is not named, so that its indexes are left alone
        let due = if due_at_ms.is_some() { ", due_at_ms = ?11, due_set_ms = ?12" } else { "" };
        let environment =
            if path.contains(&AttemptState::Submitting) { ", environment = (SELECT environment FROM run)" } else { "" };
        let mut update = self.connection.prepare_cached(&format!(
            "UPDATE attempts SET state = ?3, handle = ?4, waits_for = ?5, reason_code = ?6, reason = ?7, flips = flips + ?8, \
             prepared = ?9, external_id = ?10{due}{environment} \
             WHERE attempt_key = ?1 AND state = ?2"
        ))?;
        let (from, target) = (attempt.state.as_str(), to.as_str());
        let mut values: Vec<&dyn ToSql> =
            vec![&attempt.key, &from, &target, &attempt.handle, &attempt.waits_for, &code, &text, &flip];
        values.extend([&attempt.prepared as &dyn ToSql, &attempt.external_id]);
        if let Some(due) = &due_at_ms {
            values.extend([due as &dyn ToSql, &now_ms]);
        }
        changed_one(update.execute(values.as_slice())?, "the attempt")?;
        // how far an attempt is, and to and fro outside without end, is shown but no part of the history
        if flip && self.flips(attempt.key)? > FLIPS_MAX {
            return Ok(());
        }
        let text = text.filter(|_| reason.is_some_and(|reason| !reason.is(Code::Progress)));
        let mut from = attempt.state;
        for state in path {
            let text = text.filter(|_| *state == to);
            self.record(now_ms, Subject::Attempt(&attempt.id), (Some(from.as_str()), state.as_str()), text)?;
            from = *state;
        }
        Ok(())
    }

    fn flips(&self, key: i64) -> Result<u32, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT flips FROM attempts WHERE attempt_key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0))?)
    }

    /// Notes what was learnt about a live attempt without a change of state, and when to ask again.
    ///
    /// # Errors
    /// If the attempt is not where the row says, or has ended.
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
                "UPDATE attempts SET handle = ?3, note = ?4, waits_for = ?5, reason_code = ?6, reason = ?7, due_at_ms = ?8, \
                 due_set_ms = ?9 WHERE attempt_key = ?1 AND state = ?2 AND ended_at_ms IS NULL",
            )?
            .execute((
                attempt.key,
                attempt.state.as_str(),
                &attempt.handle,
                &attempt.note,
                &attempt.waits_for,
                code,
                text,
                due_at_ms,
                now_ms,
            ))?;
        changed_one(changed, "the attempt")
    }

    /// Lets a live attempt be asked about now, and keeps its place among those that wait for that.
    ///
    /// # Errors
    /// If it has ended.
    pub fn make_due(&self, key: i64) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("UPDATE attempts SET due_at_ms = 0 WHERE attempt_key = ?1 AND ended_at_ms IS NULL")?;
        changed_one(statement.execute([key])?, "the attempt")
    }

    /// Lets every attempt be tried now that is not handed in yet, for this reason.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(in crate::store) fn make_due_for(&self, code: Code) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE attempts SET due_at_ms = 0 WHERE state = 'prepared' AND reason_code = ?1 AND ended_at_ms IS NULL",
            [code.as_str()],
        )?;
        Ok(())
    }

    /// Ends an attempt.
    ///
    /// # Errors
    /// If it has ended already.
    pub fn end_attempt(&self, attempt: &AttemptRow, end: &AttemptEnd, now_ms: i64) -> Result<(), StoreError> {
        let to = attempt.state.become_state(end.outcome.into())?;
        let (code, text) = columns(end.reason.as_ref());
        let job = &end.job;
        // the operator was never told, or nothing came of it
        let given_back = !attempt.state.is_outside() || end.unstarted;
        let core_ms = if given_back { Some(0) } else { end.core_ms.map(|ms| ms as i64) };
        self.count_end(attempt, given_back, core_ms)?;
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE attempts SET state = :to, handle = :handle, reason_code = :code, reason = :reason, data = :data, \
                 usage = :usage, ended_at_ms = :now, waits_for = NULL, external_id = coalesce(:external_id, external_id), host = :host, node = :node, \
                 queued_ms = :queued, started_ms = :started, stopped_ms = :stopped, cpu_ms = :cpu_ms, \
                 memory_peak_mb = :memory_peak_mb, \
                 core_ms = coalesce(:core_ms, core_ms), given_back = :given_back WHERE attempt_key = :key AND state = :from",
            )?
            .execute(named_params! {
                ":key": attempt.key,
                ":from": attempt.state.as_str(),
                ":to": to.as_str(),
                ":handle": attempt.handle,
                ":code": code,
                ":reason": text,
                ":data": end.data,
                ":usage": end.usage,
                ":now": now_ms,
                ":external_id": job.external_id,
                ":host": job.host,
                ":node": job.node,
                ":queued": job.queued_at.map(|time| time.0),
                ":started": job.started_at.map(|time| time.0),
                ":stopped": job.stopped_at.map(|time| time.0),
                ":cpu_ms": job.cpu_ms.map(|ms| ms as i64),
                ":memory_peak_mb": job.memory_peak_mb.map(|mb| mb as i64),
                ":core_ms": core_ms,
                ":given_back": given_back,
            })?;
        changed_one(changed, "the attempt")?;
        if let Some(text) = end.data.as_ref().filter(|text| text.len() > DATA_MAX) {
            self.keep_file(&sha256(text.as_bytes()), text.len() as u64)?;
        }
        self.keep_outputs(attempt.key, &end.outputs)?;
        self.keep_logs(attempt.key, &end.logs)?;
        self.keep_carried(attempt.key, &end.carried)?;
        end.takes_over.map(|from| self.take_inputs_over(attempt.key, from)).transpose()?;
        end.act.as_ref().map(|act| self.add_act(act)).transpose()?;
        if to == AttemptState::Completed && attempt.number > 1 {
            self.stale_by_output(attempt.task_key, attempt.key)?;
        }
        self.record(now_ms, Subject::Attempt(&attempt.id), (Some(attempt.state.as_str()), to.as_str()), text)
    }

    /// Counts an attempt that is going to end: live no more, and what it took in place of what was counted on.
    fn count_end(&self, attempt: &AttemptRow, given_back: bool, core_ms: Option<i64>) -> Result<(), StoreError> {
        let counted = self
            .connection
            .prepare_cached(
                "UPDATE live_counts SET n = n - 1, started = started - ?2, core_ms = live_counts.core_ms + \
                 coalesce(?3, a.core_ms, 0) - coalesce(a.core_ms, 0) FROM attempts a \
                 WHERE a.attempt_key = ?4 AND live_counts.operator = ?1",
            )?
            .execute((&attempt.operator, given_back, core_ms, attempt.key))?;
        changed_one(counted, "the count of live attempts")
    }

    /// Marks every live attempt (of one task, or of all) as wanted stopped.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn ask_cancel(&self, task_key: Option<i64>) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE attempts SET cancel_asked = 1, due_at_ms = 0 WHERE cancel_asked = 0 AND (?1 IS NULL OR task_key = ?1) \
             AND ended_at_ms IS NULL",
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
