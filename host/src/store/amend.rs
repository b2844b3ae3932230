//! Versions of tasks, and which completed tasks have become stale.
use super::transition::list;
use super::{Store, StoreError, Writer, changed_one, document};
use crate::model::evidence::TaskVersion;
use crate::model::reason::Reason;
use rusqlite::OptionalExtension;

/// A task as it stands from now on.
#[derive(Debug)]
pub struct AmendedTask {
    /// Its place in the database.
    pub key: i64,
    /// The operator key.
    pub operator: String,
    /// Whether its failure is not the run's.
    pub allow_failure: bool,
    /// Whether it starts although a dependency did not complete.
    pub tolerant: bool,
    /// What it is ordered by among those that are ready.
    pub rank: i64,
    /// The ids of the tasks it depends on.
    pub dependencies: Vec<String>,
    /// Whether it computes something else than before.
    pub computes_anew: bool,
    /// Its JSON text.
    pub json: String,
}

impl Writer<'_> {
    /// Puts another version in the place of a task. What is live goes on as it was begun, and its retries count from
    /// here.
    ///
    /// # Errors
    /// If the task would depend on itself, or the database cannot be written.
    pub fn amend_task(&self, task: &AmendedTask, act: i64, now_ms: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT OR IGNORE INTO task_specs (task_key, version, spec, act) SELECT task_key, version, spec, NULL FROM tasks \
                 WHERE task_key = ?1 AND version = 1",
            )?
            .execute([task.key])?;
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE tasks SET spec = ?2, version = version + 1, operator = ?3, allow_failure = ?4, tolerant = ?5, rank = ?7, \
                 tries = 0, misfires = 0, stale = iif(?6 AND (state = 'completed' OR EXISTS (SELECT 1 FROM attempts a WHERE \
                 a.task_key = tasks.task_key AND a.ended_at_ms IS NULL)), 1, stale) WHERE task_key = ?1",
            )?
            .execute((
                task.key,
                &task.json,
                &task.operator,
                task.allow_failure,
                task.tolerant,
                task.computes_anew,
                task.rank,
            ))?;
        changed_one(changed, "the task")?;
        self.connection
            .prepare_cached(
                "INSERT INTO task_specs (task_key, version, spec, act) SELECT task_key, version, spec, ?2 FROM tasks WHERE task_key = ?1",
            )?
            .execute((task.key, act))?;
        // who was asked was asked about another request
        self.look_again_at(Some(task.key), now_ms)?;
        self.set_dependencies(task, now_ms)
    }

    /// Lets a task wait for these others, and for no more.
    fn set_dependencies(&self, task: &AmendedTask, now_ms: i64) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM dependencies WHERE task_key = ?1")?.execute([task.key])?;
        for id in &task.dependencies {
            let added = self
                .connection
                .prepare_cached(
                    "INSERT INTO dependencies (task_key, on_key) SELECT ?1, task_key FROM tasks WHERE task_id = ?2",
                )?
                .execute((task.key, id))?;
            changed_one(added, "a task that others depend on")?;
        }
        let circle = self
            .connection
            .prepare_cached(
                "WITH RECURSIVE before(key) AS (SELECT on_key FROM dependencies WHERE task_key = ?1 UNION \
                 SELECT d.on_key FROM before b JOIN dependencies d ON d.task_key = b.key) SELECT 1 FROM before WHERE key = ?1",
            )?
            .exists([task.key])?;
        if circle {
            return Err(StoreError::Circle(self.task_id(task.key)?));
        }
        let key = list([task.key]);
        self.count_unmet(&key)?;
        self.skip_unreachable(&key, now_ms)
    }

    fn task_id(&self, key: i64) -> Result<String, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT task_id FROM tasks WHERE task_key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0))?)
    }

    /// Marks the tasks as stale that completed on another version of a pinned file, or are going to. Returns how many
    /// those are.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn stale_by_file(&self, path: &str, sha256: &str) -> Result<u64, StoreError> {
        let marked = self.connection.execute(
            "UPDATE tasks SET stale = 1 WHERE task_key IN (SELECT a.task_key FROM attempt_inputs i \
             JOIN attempts a ON a.attempt_key = i.attempt_key WHERE i.from_attempt IS NULL AND i.from_path = ?1 AND \
             i.sha256 <> unhex(?2) AND (a.state = 'completed' OR a.ended_at_ms IS NULL) AND a.number = \
             (SELECT max(b.number) FROM attempts b WHERE b.task_key = a.task_key))",
            (path, sha256),
        )?;
        Ok(marked as u64)
    }

    /// Lets a stale task count with what it has, for this reason.
    ///
    /// # Errors
    /// If it is not stale, or the database cannot be written.
    pub fn set_fresh(&self, key: i64, reason: &Reason) -> Result<(), StoreError> {
        let changed = self.connection.execute(
            "UPDATE tasks SET stale = 0, reason_code = ?2, reason = ?3 WHERE task_key = ?1 AND stale = 1 AND state = 'completed'",
            (key, &reason.word, &reason.text),
        )?;
        changed_one(changed, "the task")
    }

    /// Marks the tasks as stale that completed on what an earlier attempt at a task left, where the one that completes
    /// now left something else.
    pub(super) fn stale_by_output(&self, key: i64, attempt_key: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE tasks SET stale = 1 WHERE state = 'completed' AND task_key IN (SELECT c.task_key FROM dependencies d \
                 JOIN attempts c ON c.task_key = d.task_key AND c.state = 'completed' AND c.number = \
                 (SELECT max(e.number) FROM attempts e WHERE e.task_key = c.task_key) \
                 JOIN attempt_inputs i ON i.attempt_key = c.attempt_key JOIN attempts f ON f.attempt_key = i.from_attempt \
                 WHERE d.on_key = ?1 AND f.task_key = ?1 AND NOT EXISTS (SELECT 1 FROM outputs o WHERE o.attempt_key = ?2 AND \
                 o.path = i.from_path AND o.sha256 = i.sha256))",
            )?
            .execute((key, attempt_key))?;
        Ok(())
    }
}

/// A moment of the store. It writes nothing.
#[derive(Debug)]
pub struct View<'a> {
    _transaction: Option<rusqlite::Transaction<'a>>,
}

impl Store {
    /// How many completed tasks have become stale.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn stale_tasks(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM tasks WHERE stale = 1 AND state = 'completed'";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([], |row| row.get::<_, i64>(0))? as u64)
    }

    /// The ids of the tasks that depend on a task, in the order planned.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn dependents(&self, key: i64) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t.task_id FROM dependencies d JOIN tasks t ON t.task_key = d.task_key WHERE d.on_key = ?1 ORDER BY t.task_key",
        )?;
        let ids = statement.query_map([key], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Whether the task with this id has, or had, this text; nothing where there is no such task.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn has_version(&self, id: &str, json: &str) -> Result<Option<bool>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t.spec = ?2 OR EXISTS (SELECT 1 FROM task_specs v WHERE v.task_key = t.task_key AND v.spec = ?2) \
             FROM tasks t WHERE t.task_id = ?1",
        )?;
        Ok(statement.query_row((id, json), |row| row.get(0)).optional()?)
    }

    /// One moment of the store, at which everything is looked at until this is dropped: many looks then cost less.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn view(&self) -> Result<View<'_>, StoreError> {
        let transaction = self.connection.is_autocommit().then(|| self.connection.unchecked_transaction());
        Ok(View { _transaction: transaction.transpose()? })
    }

    /// The versions of a task, if it was amended.
    pub(super) fn task_versions(&self, newest: i64, key: i64) -> Result<Vec<TaskVersion>, StoreError> {
        if newest == 1 {
            return Ok(Vec::new());
        }
        let mut statement = self
            .connection
            .prepare_cached("SELECT version, act, spec FROM task_specs WHERE task_key = ?1 ORDER BY version")?;
        let mut rows = statement.query([key])?;
        let mut versions = Vec::new();
        while let Some(row) = rows.next()? {
            let spec = document(row.get_ref(2)?.as_str().unwrap_or_default())?;
            versions.push(TaskVersion { version: row.get(0)?, act: row.get(1)?, spec });
        }
        Ok(versions)
    }
}
