//! One unchanging view of a store, read row by row: a record of a large run is never held whole.
use super::{Store, StoreError, document, optional};
use crate::model::evidence::{AttemptRecord, DecisionRecord, HistoryRecord, RunRecord, TaskRecord, WorkflowRecord};
use crate::model::states::TaskState;
use crate::model::time::Time;
use rusqlite::Row;

/// One unchanging view of a store; others may write meanwhile.
#[derive(Debug)]
pub struct Snapshot<'a> {
    store: &'a Store,
}

/// Where the files of an attempt lie, and whose they are.
#[derive(Debug, Clone)]
pub struct AttemptPlace {
    /// The attempt's id.
    pub attempt_id: String,
    /// The task's id.
    pub task: String,
    /// Its directory, relative to the run's.
    pub directory: String,
}

impl Store {
    /// Runs `work` on one unchanging view of the store. Where the journal is a rollback journal, nobody can write
    /// before `work` returns, so it must not wait for anything.
    ///
    /// # Errors
    /// What `work` answers, or that the database cannot be read.
    pub fn snapshot<T, E: From<StoreError>>(&self, work: impl FnOnce(&Snapshot<'_>) -> Result<T, E>) -> Result<T, E> {
        if !self.connection.is_autocommit() {
            // somebody else's database is read in one view from its opening on
            return work(&Snapshot { store: self });
        }
        let transaction = self.connection.unchecked_transaction().map_err(StoreError::from)?;
        // The view is that of the first read, not that of the beginning.
        self.connection.query_row("SELECT one FROM run", [], |_| Ok(())).map_err(StoreError::from)?;
        let result = work(&Snapshot { store: self });
        drop(transaction);
        result
    }

    /// Where the files of an attempt lie.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn attempt_place(&self, attempt_key: i64) -> Result<AttemptPlace, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT a.attempt_id, t.task_id, a.directory FROM attempts a JOIN tasks t ON t.task_key = a.task_key \
             WHERE a.attempt_key = ?1",
        )?;
        Ok(statement.query_row([attempt_key], |row| {
            Ok(AttemptPlace { attempt_id: row.get(0)?, task: row.get(1)?, directory: row.get(2)? })
        })?)
    }
}

impl Snapshot<'_> {
    /// The store, which does not change while this view is held.
    pub fn store(&self) -> &Store {
        self.store
    }

    /// The run's own record.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn run(&self) -> Result<RunRecord, StoreError> {
        let row = self.store.run()?;
        Ok(RunRecord {
            tasks: self.store.task_counts()?,
            supplied: optional(row.supplied.as_deref())?,
            summary: row.summary()?,
            wake_at: self.store.wake()?.map(|wake| Time(wake.at_ms)),
            campaign_state: optional(self.store.campaign_state()?.map(|(_, text)| text).as_deref())?,
            result: optional(row.result.as_deref())?,
            run_id: row.run_id,
            workspace: row.workspace,
            label: row.label,
            state: row.state,
            reason_code: row.reason_code,
            reason: row.reason,
            iteration: row.iteration,
            created_at: Time(row.created_at_ms),
            ended_at: row.ended_at_ms.map(Time),
            config_sha256: row.config_sha256,
            user_id: row.user_id,
        })
    }

    /// What the run waits for, at most `most` things.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn waits(&self, most: u32) -> Result<Vec<super::WaitRow>, StoreError> {
        self.store.waits(most)
    }

    /// The length of the longest task id, in characters.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn longest_task_id(&self) -> Result<usize, StoreError> {
        let sql = "SELECT coalesce(max(length(task_id)), 0) FROM tasks";
        Ok(self.store.connection.query_row(sql, [], |row| row.get::<_, i64>(0))? as usize)
    }

    /// Hands over every decision, in order.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_decision<E: From<StoreError>>(
        &self,
        each: impl FnMut(DecisionRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        self.store.each_decision(each)
    }

    /// Hands over the workflow of every iteration, in order.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_workflow<E: From<StoreError>>(
        &self,
        each: impl FnMut(WorkflowRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT iteration, decision, tasks, created_at_ms, analyzed_at_ms FROM workflows ORDER BY iteration";
        let map = |row: &Row<'_>| {
            Ok(WorkflowRecord {
                iteration: row.get(0)?,
                decision: row.get::<_, i64>(1)? as u64,
                tasks: row.get::<_, i64>(2)? as u64,
                created_at: Time(row.get(3)?),
                analyzed_at: row.get::<_, Option<i64>>(4)?.map(Time),
            })
        };
        self.store.each(sql, map, each)
    }

    /// Hands over every task, in the order planned.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_task<E: From<StoreError>>(&self, each: impl FnMut(TaskRecord) -> Result<(), E>) -> Result<(), E> {
        let sql = "SELECT t.task_id, t.iteration, t.operator, t.state, t.reason_code, t.reason, \
             (SELECT count(*) FROM attempts a WHERE a.task_key = t.task_key), \
             (SELECT min(a.created_at_ms) FROM attempts a WHERE a.task_key = t.task_key), \
             (SELECT max(a.ended_at_ms) FROM attempts a WHERE a.task_key = t.task_key), t.spec, t.delivered, t.version, t.stale, t.task_key, \
             (SELECT max(0, a.stopped_ms - a.started_ms) FROM attempts a WHERE a.task_key = t.task_key ORDER BY a.number DESC LIMIT 1) \
             FROM tasks t ORDER BY t.task_key";
        let map = |row: &Row<'_>| {
            let state: TaskState = row.get(3)?;
            let ended: Option<i64> = row.get(8)?;
            Ok(TaskRecord {
                id: row.get(0)?,
                iteration: row.get(1)?,
                operator: row.get(2)?,
                state,
                reason_code: row.get(4)?,
                reason: row.get(5)?,
                attempts: row.get(6)?,
                started_at: row.get::<_, Option<i64>>(7)?.map(Time),
                ended_at: ended.filter(|_| state.ended()).map(Time),
                delivered: row.get::<_, Option<i64>>(10)?.map(|number| number as u64),
                spec: document(row.get_ref(9)?.as_str().unwrap_or_default())?,
                version: row.get(11)?,
                stale: row.get(12)?,
                ran_ms: row.get(14)?,
                versions: self.store.task_versions(row.get_ref(11)?.as_i64().unwrap_or(1), row.get(13)?)?,
            })
        };
        self.store.each(sql, map, each)
    }

    /// Hands over every attempt, in the order made, with its place in the database.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_attempt<E: From<StoreError>>(
        &self,
        each: impl FnMut((i64, AttemptRecord)) -> Result<(), E>,
    ) -> Result<(), E> {
        let sql = "SELECT a.attempt_key, a.attempt_id, t.task_id, a.number, a.operator, a.state, a.reason_code, a.reason, \
             a.directory, a.handle, a.data, a.created_at_ms, a.ended_at_ms, a.environment, a.version, a.usage, \
             a.prepared \
             FROM attempts a JOIN tasks t ON t.task_key = a.task_key ORDER BY a.attempt_key";
        let map = |row: &Row<'_>| {
            let key: i64 = row.get(0)?;
            let record = AttemptRecord {
                attempt_id: row.get(1)?,
                task: row.get(2)?,
                number: row.get(3)?,
                version: row.get(14)?,
                operator: row.get(4)?,
                state: row.get(5)?,
                reason_code: row.get(6)?,
                reason: row.get(7)?,
                directory: row.get(8)?,
                handle: optional(row.get::<_, Option<String>>(9)?.as_deref())?,
                data: optional(row.get::<_, Option<String>>(10)?.as_deref())?,
                created_at: Time(row.get(11)?),
                ended_at: row.get::<_, Option<i64>>(12)?.map(Time),
                environment: row.get(13)?,
                prepared: optional(row.get::<_, Option<String>>(16)?.as_deref())?,
                usage: optional(row.get::<_, Option<String>>(15)?.as_deref())?,
                job: self.store.job(key)?,
                inputs: self.store.inputs(key)?,
                logs: self.store.logs(key)?,
                outputs: self.store.outputs(key)?,
                removed: self.store.removed(key)?,
                reuse_key: self.store.reuse_key(key)?.map(|key| key.sha256),
                reused: self.store.reused(key)?,
                withheld: Vec::new(),
            };
            Ok((key, record))
        };
        self.store.each(sql, map, each)
    }

    /// Hands over every transition, in order.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_transition<E: From<StoreError>>(
        &self,
        each: impl FnMut(HistoryRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        self.store.each_transition(each)
    }
}
