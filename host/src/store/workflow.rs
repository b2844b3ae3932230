//! The workflow of an iteration: the tasks one plan made, and which of their outcomes `analyze` has received.
use super::history::Subject;
use super::transition::list;
use super::{Store, StoreError, Writer, changed_one};
use crate::model::code::Word;
use crate::model::document::sha256;
use crate::model::result::{Outcome, TaskResult};
use crate::model::states::TaskState;
use crate::model::workflow::PlannedTask;
use rusqlite::{OptionalExtension, Row};

/// How much is handed to one call of `analyze`.
#[derive(Debug, Clone, Copy)]
pub struct Portion {
    /// Results.
    pub most: u32,
    /// Bytes of their documents; one result is handed over whatever its size.
    pub bytes_max: usize,
}

/// The largest output document that is handed over within a result, in bytes; of a larger one its digest is.
pub const DATA_MAX: usize = 64 * 1024;

/// What a result is made of, beside the place of the row.
const RESULT_COLUMNS: &str =
    "t.task_key, t.task_id, t.state, t.reason_code, t.reason, t.allow_failure, t.superseded FROM";

/// The place, id and number of an attempt, and its output document.
type LastAttempt = (i64, String, u32, Option<String>);

impl Writer<'_> {
    /// Adds the workflow of a new iteration.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn add_workflow(
        &self,
        iteration: u32,
        decision: u64,
        tasks: &[PlannedTask],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO workflows (iteration, decision, tasks, open_tasks, created_at_ms) VALUES (?1, ?2, ?3, ?3, ?4)",
            (iteration, decision as i64, tasks.len() as i64, now_ms),
        )?;
        self.connection.execute("UPDATE run SET iteration = ?1, idle_plans = 0", [iteration])?;
        let first: i64 =
            self.connection.query_row("SELECT coalesce(max(task_key), 0) + 1 FROM tasks", [], |row| row.get(0))?;
        self.insert_tasks(first, iteration, tasks)?;
        self.insert_dependencies(first, tasks)?;
        let counted = self
            .connection
            .execute("UPDATE task_counts SET n = n + ?1 WHERE state = 'pending'", [tasks.len() as i64])?;
        changed_one(counted, "the count of tasks")?;
        let text = format!("{} tasks", tasks.len());
        self.record(now_ms, Subject::Workflow(iteration), (None, "planned"), Some(&text))?;
        self.apply_earlier(first, tasks, now_ms)
    }

    fn insert_tasks(&self, first: i64, iteration: u32, tasks: &[PlannedTask]) -> Result<(), StoreError> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO tasks (task_key, task_id, iteration, operator, state, blocked, rank, allow_failure, tolerant, spec) \
             VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?6, ?7, ?8, ?9)",
        )?;
        for (position, planned) in tasks.iter().enumerate() {
            let blocked = planned.inner.len() + planned.outer.len();
            insert.execute((
                first + position as i64,
                planned.id.as_str(),
                iteration,
                &planned.operator,
                blocked as i64,
                planned.rank(),
                planned.allow_failure,
                planned.allow_dependency_failure,
                &planned.json,
            ))?;
        }
        Ok(())
    }

    fn insert_dependencies(&self, first: i64, tasks: &[PlannedTask]) -> Result<(), StoreError> {
        let mut insert =
            self.connection.prepare_cached("INSERT INTO dependencies (task_key, on_key) VALUES (?1, ?2)")?;
        let mut find = self.connection.prepare_cached("SELECT task_key FROM tasks WHERE task_id = ?1")?;
        for (position, planned) in tasks.iter().enumerate() {
            let key = first + position as i64;
            for other in &planned.inner {
                insert.execute((key, first + *other as i64))?;
            }
            for other in &planned.outer {
                let on: i64 = find.query_row([other.as_str()], |row| row.get(0))?;
                insert.execute((key, on))?;
            }
        }
        Ok(())
    }

    /// Applies what earlier tasks of the run, which new ones depend on, have already come to.
    fn apply_earlier(&self, first: i64, tasks: &[PlannedTask], now_ms: i64) -> Result<(), StoreError> {
        let late = tasks.iter().enumerate().filter(|(_, planned)| !planned.outer.is_empty());
        let late = list(late.map(|(position, _)| first + position as i64));
        self.count_unmet(&late)?;
        self.skip_unreachable(&late, now_ms)
    }

    /// Marks results as delivered by this decision.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn deliver(&self, iteration: u32, up_to: i64, decision: u64) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE tasks SET delivered = ?3, superseded = NULL WHERE iteration = ?1 AND task_key <= ?2 AND delivered IS NULL",
            (iteration, up_to, decision as i64),
        )?;
        Ok(())
    }

    /// Marks results as delivered by this decision, up to a place among those that wait, and ends the iterations of
    /// which none is left.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn deliver_each(&self, up_to: i64, decision: u64, now_ms: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE tasks SET delivered = ?2, superseded = NULL WHERE task_key IN \
                 (SELECT task_key FROM outcomes WHERE place <= ?1)",
            )?
            .execute((up_to, decision as i64))?;
        self.connection
            .prepare_cached(
                "UPDATE workflows SET analyzed_at_ms = ?2 WHERE analyzed_at_ms IS NULL AND open_tasks = 0 AND iteration IN \
                 (SELECT t.iteration FROM outcomes o JOIN tasks t ON t.task_key = o.task_key WHERE o.place <= ?1) AND \
                 NOT EXISTS (SELECT 1 FROM tasks t WHERE t.iteration = workflows.iteration AND t.delivered IS NULL)",
            )?
            .execute((up_to, now_ms))?;
        self.connection.prepare_cached("DELETE FROM outcomes WHERE place <= ?1")?.execute([up_to])?;
        Ok(())
    }

    /// Marks an iteration as analyzed.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn close_workflow(&self, iteration: u32, now_ms: i64) -> Result<(), StoreError> {
        let closed = self.connection.execute(
            "UPDATE workflows SET analyzed_at_ms = ?2 WHERE iteration = ?1 AND analyzed_at_ms IS NULL",
            (iteration, now_ms),
        )?;
        changed_one(closed, "the iteration")
    }
}

impl Store {
    /// Whether `analyze` has received any outcome of an iteration.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn delivered_any(&self, iteration: u32) -> Result<bool, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT 1 FROM decisions d JOIN workflows w ON w.iteration = d.iteration WHERE d.iteration = ?1 AND \
             d.kind = 'analyze' AND d.number > w.decision",
        )?;
        Ok(statement.exists([iteration])?)
    }

    /// The first iteration whose results have not all been analyzed.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn first_unanalyzed(&self) -> Result<Option<u32>, StoreError> {
        let sql = "SELECT min(iteration) FROM workflows WHERE analyzed_at_ms IS NULL";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// The next results of an iteration that `analyze` has not received, in task order, with the key of
    /// the last one; none if all have been delivered. At most `most`, and no more once their documents have
    /// `bytes_max`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn undelivered(&self, iteration: u32, portion: Portion) -> Result<Option<(i64, Vec<TaskResult>)>, StoreError> {
        let from = "tasks t WHERE t.iteration = ?1 AND t.delivered IS NULL ORDER BY t.task_key LIMIT ?2";
        self.results(&format!("SELECT t.task_key, {RESULT_COLUMNS} {from}"), (iteration, portion.most), portion)
    }

    /// The next results that `analyze` has not received, in the order in which their tasks ended, with the place of the
    /// last one; as [`Store::undelivered`].
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn undelivered_each(&self, portion: Portion) -> Result<Option<(i64, Vec<TaskResult>)>, StoreError> {
        let from = "outcomes o JOIN tasks t ON t.task_key = o.task_key ORDER BY o.place LIMIT ?1";
        self.results(&format!("SELECT o.place, {RESULT_COLUMNS} {from}"), [portion.most], portion)
    }

    fn results<P: rusqlite::Params>(
        &self,
        sql: &str,
        parameters: P,
        portion: Portion,
    ) -> Result<Option<(i64, Vec<TaskResult>)>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(parameters)?;
        let (mut last, mut results, mut bytes) = (None, Vec::new(), 0);
        while bytes < portion.bytes_max
            && let Some(row) = rows.next()?
        {
            last = Some(row.get(0)?);
            let (result, size) = self.result(row)?;
            bytes += size;
            results.push(result);
        }
        Ok(last.map(|key| (key, results)))
    }

    /// What a campaign receives of a task, and the size of its document.
    fn result(&self, row: &Row<'_>) -> Result<(TaskResult, usize), StoreError> {
        let attempt: Option<LastAttempt> = match row.get::<_, Option<i64>>(1)? {
            None => None,
            Some(key) => {
                let mut statement = self.connection.prepare_cached(
                    "SELECT attempt_key, attempt_id, number, data FROM attempts WHERE task_key = ?1 ORDER BY number DESC LIMIT 1",
                )?;
                let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
                statement.query_row([key], row).optional()?
            }
        };
        let state: TaskState = row.get(3)?;
        let outcome =
            Outcome::of(state).ok_or_else(|| StoreError::Row(format!("a {state} task has no outcome to deliver")))?;
        let mut result = TaskResult {
            task: row.get(2)?,
            outcome,
            code: row.get::<_, Option<Word>>(4)?.map(|word| word.to_string()),
            reason: row.get(5)?,
            allow_failure: row.get(6)?,
            attempt: None,
            attempts: 0,
            data: None,
            data_sha256: None,
            data_size: None,
            outputs: Vec::new(),
            supersedes: row.get::<_, Option<TaskState>>(7)?.and_then(Outcome::of),
        };
        let Some((key, id, number, data)) = attempt else { return Ok((result, 0)) };
        (result.attempt, result.attempts, result.outputs) = (Some(id), number, self.outputs(key)?);
        let size = data.as_ref().map_or(0, String::len);
        match data {
            Some(text) if size > DATA_MAX => {
                (result.data_sha256, result.data_size) = (Some(sha256(text.as_bytes())), Some(size as u64));
                return Ok((result, 0));
            }
            data => result.data = super::optional(data.as_deref())?,
        }
        Ok((result, size))
    }
}
