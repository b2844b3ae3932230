//! The workflow of an iteration: the tasks one plan made, and which of their outcomes `analyze` has received.
use super::history::Subject;
use super::transition::list;
use super::{Store, StoreError, Writer, changed_one};
use crate::model::code::Word;
use crate::model::result::{Outcome, TaskResult};
use crate::model::states::TaskState;
use crate::model::workflow::PlannedTask;

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

    /// The next results of an iteration that `analyze` has not received, in task order, with the key of
    /// the last one; none if all have been delivered. At most `most`, and no more once their documents have
    /// `bytes_max`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn undelivered(
        &self,
        iteration: u32,
        most: u32,
        bytes_max: usize,
    ) -> Result<Option<(i64, Vec<TaskResult>)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t.task_key, t.task_id, t.state, t.reason_code, t.reason, t.allow_failure, a.attempt_key, a.attempt_id, \
             a.number, a.data, t.superseded FROM tasks t LEFT JOIN attempts a ON a.task_key = t.task_key AND \
             a.number = (SELECT max(b.number) FROM attempts b WHERE b.task_key = t.task_key) \
             WHERE t.iteration = ?1 AND t.delivered IS NULL ORDER BY t.task_key LIMIT ?2",
        )?;
        let mut rows = statement.query((iteration, most))?;
        let (mut last, mut results, mut bytes) = (None, Vec::new(), 0);
        while bytes < bytes_max
            && let Some(row) = rows.next()?
        {
            last = Some(row.get(0)?);
            let attempt_key: Option<i64> = row.get(6)?;
            let outputs = attempt_key.map(|key| self.outputs(key)).transpose()?.unwrap_or_default();
            let data: Option<String> = row.get(9)?;
            bytes += data.as_ref().map_or(0, String::len);
            let data = data.map(|text| serde_json::from_str::<serde_json::Value>(&text));
            let data = data.transpose().map_err(|error| StoreError::Row(error.to_string()))?;
            let state: TaskState = row.get(2)?;
            let outcome = Outcome::of(state);
            let outcome =
                outcome.ok_or_else(|| StoreError::Row(format!("a {state} task has no outcome to deliver")))?;
            results.push(TaskResult {
                task: row.get(1)?,
                outcome,
                code: row.get::<_, Option<Word>>(3)?.map(|word| word.to_string()),
                reason: row.get(4)?,
                allow_failure: row.get(5)?,
                attempt: row.get(7)?,
                attempts: row.get::<_, Option<u32>>(8)?.unwrap_or(0),
                data,
                outputs,
                supersedes: row.get::<_, Option<TaskState>>(10)?.and_then(Outcome::of),
            });
        }
        Ok(last.map(|key| (key, results)))
    }
}
