//! Tasks, their dependencies and the workflow they form.
use super::{Store, StoreError, Writer, changed_one, parse_state};
use crate::model::states::{TaskCounts, TaskState};
use crate::model::workflow::PlannedTask;
use rusqlite::{Connection, OptionalExtension};
use std::collections::{BTreeMap, BTreeSet};

/// A task as a person or a report sees it.
#[derive(Debug, Clone)]
pub struct TaskRow {
    /// Its place in the database.
    pub key: i64,
    /// The task's id.
    pub id: String,
    /// The iteration that planned it.
    pub iteration: u32,
    /// The operator key.
    pub operator: String,
    /// Where it stands.
    pub state: TaskState,
    /// Dependencies that have not ended well yet.
    pub blocked: u32,
    /// Why, for a program.
    pub reason_code: Option<String>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// Attempts made in all.
    pub attempts: u32,
    /// When the next attempt is due.
    pub retry_at_ms: Option<i64>,
    /// Whether the campaign expects that it may fail.
    pub allow_failure: bool,
}

/// What starting an attempt needs of a task.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    /// Its place in the database.
    pub key: i64,
    /// The task's id.
    pub id: String,
    /// The operator key.
    pub operator: String,
    /// Where it stands: pending, or running between two attempts.
    pub state: TaskState,
    /// Attempts made in all.
    pub attempts: u32,
}

const UNMET: &str = "SELECT count(*) FROM dependencies d JOIN tasks u ON u.task_key = d.on_key WHERE d.task_key = tasks.task_key \
     AND NOT (u.state = 'completed' OR (tasks.tolerant AND u.state IN ('failed', 'cancelled', 'skipped')))";

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
        self.connection
            .execute("UPDATE run SET iteration = ?1, idle_plans = 0, plan_document = state_document", [iteration])?;
        let first: i64 =
            self.connection.query_row("SELECT coalesce(max(task_key), 0) + 1 FROM tasks", [], |row| row.get(0))?;
        self.insert_tasks(first, iteration, tasks)?;
        self.insert_dependencies(first, tasks)?;
        self.connection.execute("UPDATE task_counts SET n = n + ?1 WHERE state = 'pending'", [tasks.len() as i64])?;
        let text = format!("{} tasks", tasks.len());
        self.record(now_ms, "workflow", &iteration.to_string(), (None, "planned"), Some(&text))?;
        self.settle_earlier(first, tasks, now_ms)
    }

    fn insert_tasks(&self, first: i64, iteration: u32, tasks: &[PlannedTask]) -> Result<(), StoreError> {
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO tasks (task_key, task_id, iteration, operator, state, blocked, allow_failure, tolerant, spec) \
             VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?6, ?7, ?8)",
        )?;
        for (position, planned) in tasks.iter().enumerate() {
            let blocked = planned.inner.len() + planned.outer.len();
            insert.execute((
                first + position as i64,
                planned.task.id.as_str(),
                iteration,
                &planned.task.operator,
                blocked as i64,
                planned.task.allow_failure,
                planned.task.allow_dependency_failure,
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
    fn settle_earlier(&self, first: i64, tasks: &[PlannedTask], now_ms: i64) -> Result<(), StoreError> {
        for (position, planned) in tasks.iter().enumerate().filter(|(_, planned)| !planned.outer.is_empty()) {
            let key = first + position as i64;
            self.connection.execute(&format!("UPDATE tasks SET blocked = ({UNMET}) WHERE task_key = ?1"), [key])?;
            for other in &planned.outer {
                let state: String = self.connection.query_row(
                    "SELECT state FROM tasks WHERE task_id = ?1",
                    [other.as_str()],
                    |row| row.get(0),
                )?;
                let state = parse_state(&state, TaskState::parse)?;
                let ended_badly = state.ended() && state != TaskState::Completed;
                if ended_badly && !planned.task.allow_dependency_failure && self.task_state(key)? == TaskState::Pending
                {
                    self.skip(key, other.as_str(), state, now_ms)?;
                }
            }
        }
        Ok(())
    }

    /// Where a task stands now.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task_state(&self, key: i64) -> Result<TaskState, StoreError> {
        let text: String = self
            .connection
            .prepare_cached("SELECT state FROM tasks WHERE task_key = ?1")?
            .query_row([key], |row| row.get(0))?;
        parse_state(&text, TaskState::parse)
    }

    /// Moves a task to another state, and lets its dependents feel it.
    ///
    /// # Errors
    /// If it is not in `from`, or cannot go to `to` from there.
    pub fn set_task_state(
        &self,
        key: i64,
        (from, to): (TaskState, TaskState),
        reason: Option<(&str, &str)>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.move_task(key, (from, to), reason, now_ms)?;
        if to.ended() { self.release_dependents(key, to, now_ms) } else { Ok(()) }
    }

    fn move_task(
        &self,
        key: i64,
        (from, to): (TaskState, TaskState),
        reason: Option<(&str, &str)>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        from.become_state(to)?;
        let (code, text) = reason.unzip();
        let (id, iteration): (String, u32) = self
            .connection
            .prepare_cached(
                "UPDATE tasks SET state = ?3, reason_code = ?4, reason = ?5, retry_at_ms = NULL, retry_set_ms = NULL \
                 WHERE task_key = ?1 AND state = ?2 RETURNING task_id, iteration",
            )?
            .query_row((key, from.as_str(), to.as_str(), code, text), |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => StoreError::Row(format!("task {key} is not `{from}`")),
                other => other.into(),
            })?;
        let mut count = self.connection.prepare_cached("UPDATE task_counts SET n = n + ?2 WHERE state = ?1")?;
        count.execute((from.as_str(), -1))?;
        count.execute((to.as_str(), 1))?;
        let opened = i64::from(from.ended()) - i64::from(to.ended());
        if opened != 0 {
            self.connection
                .prepare_cached("UPDATE workflows SET open_tasks = open_tasks + ?2 WHERE iteration = ?1")?
                .execute((iteration, opened))?;
        }
        self.record(now_ms, "task", &id, (Some(from.as_str()), to.as_str()), text)
    }

    fn release_dependents(&self, key: i64, outcome: TaskState, now_ms: i64) -> Result<(), StoreError> {
        if outcome == TaskState::Completed {
            self.connection
                .prepare_cached(
                    "UPDATE tasks SET blocked = blocked - 1 WHERE state = 'pending' AND task_key IN \
                     (SELECT task_key FROM dependencies WHERE on_key = ?1)",
                )?
                .execute([key])?;
            return Ok(());
        }
        let mut ended = vec![(key, outcome)];
        while let Some((on, state)) = ended.pop() {
            self.connection
                .prepare_cached(
                    "UPDATE tasks SET blocked = blocked - 1 WHERE state = 'pending' AND tolerant AND task_key IN \
                     (SELECT task_key FROM dependencies WHERE on_key = ?1)",
                )?
                .execute([on])?;
            let id: String = self
                .connection
                .prepare_cached("SELECT task_id FROM tasks WHERE task_key = ?1")?
                .query_row([on], |row| row.get(0))?;
            for dependent in self.intolerant_dependents(on)? {
                let text = format!("task `{id}` {}", past(state));
                let reason = Some(("dependency-failed", text.as_str()));
                self.move_task(dependent, (TaskState::Pending, TaskState::Skipped), reason, now_ms)?;
                ended.push((dependent, TaskState::Skipped));
            }
        }
        Ok(())
    }

    fn intolerant_dependents(&self, on: i64) -> Result<Vec<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT t.task_key FROM dependencies d JOIN tasks t ON t.task_key = d.task_key \
             WHERE d.on_key = ?1 AND t.state = 'pending' AND NOT t.tolerant",
        )?;
        let keys = statement.query_map([on], |row| row.get(0))?;
        Ok(keys.collect::<Result<_, _>>()?)
    }

    fn skip(&self, key: i64, other: &str, state: TaskState, now_ms: i64) -> Result<(), StoreError> {
        let text = format!("task `{other}` {}", past(state));
        self.set_task_state(key, (TaskState::Pending, TaskState::Skipped), Some(("dependency-failed", &text)), now_ms)
    }

    /// Notes why a task does not move, without a change of state.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_task_reason(&self, key: i64, reason: Option<(&str, &str)>) -> Result<(), StoreError> {
        let (code, text) = reason.unzip();
        self.connection
            .prepare_cached("UPDATE tasks SET reason_code = ?2, reason = ?3 WHERE task_key = ?1")?
            .execute((key, code, text))?;
        Ok(())
    }

    /// Sets when the next attempt of a running task is due.
    ///
    /// # Errors
    /// If the task is not running.
    pub fn set_retry(&self, key: i64, due_ms: i64, now_ms: i64, reason: (&str, &str)) -> Result<(), StoreError> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE tasks SET retry_at_ms = ?2, retry_set_ms = ?3, reason_code = ?4, reason = ?5 \
                 WHERE task_key = ?1 AND state = 'running'",
            )?
            .execute((key, due_ms, now_ms, reason.0, reason.1))?;
        changed_one(changed, "the task")
    }

    /// Ends the back-off of a task that gets its next attempt.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn clear_retry(&self, key: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "UPDATE tasks SET retry_at_ms = NULL, retry_set_ms = NULL, reason_code = NULL, reason = NULL WHERE task_key = ?1",
            )?
            .execute([key])?;
        Ok(())
    }

    /// Cancels every running task that has no live attempt: between two attempts, or lost.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn cancel_waiting(&self, reason: (&str, &str), now_ms: i64) -> Result<(), StoreError> {
        let keys: Vec<i64> = self
            .connection
            .prepare(
                "SELECT t.task_key FROM tasks t WHERE t.state = 'running' AND NOT EXISTS (SELECT 1 FROM attempts a WHERE \
                 a.task_key = t.task_key AND a.state NOT IN ('completed', 'failed', 'cancelled', 'lost'))",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for key in keys {
            self.move_task(key, (TaskState::Running, TaskState::Cancelled), Some(reason), now_ms)?;
        }
        Ok(())
    }

    /// Counts an attempt against the task's tries, or against those in a row that never started.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn count_try(&self, key: i64, started: bool) -> Result<(u32, u32), StoreError> {
        let sql = if started {
            "UPDATE tasks SET tries = tries + 1, misfires = 0 WHERE task_key = ?1 RETURNING tries, misfires"
        } else {
            "UPDATE tasks SET misfires = misfires + 1 WHERE task_key = ?1 RETURNING tries, misfires"
        };
        Ok(self.connection.prepare_cached(sql)?.query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// Marks results as delivered by this decision.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn deliver(&self, iteration: u32, up_to: i64, decision: u64) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE tasks SET delivered = ?3 WHERE iteration = ?1 AND task_key <= ?2 AND delivered IS NULL",
            (iteration, up_to, decision as i64),
        )?;
        Ok(())
    }

    /// Marks an iteration as analyzed.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn close_workflow(&self, iteration: u32, now_ms: i64) -> Result<(), StoreError> {
        self.connection
            .execute("UPDATE workflows SET analyzed_at_ms = ?2 WHERE iteration = ?1", (iteration, now_ms))?;
        Ok(())
    }

    /// Cancels every task that has not started.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn cancel_pending(&self, reason: (&str, &str), now_ms: i64) -> Result<(), StoreError> {
        let keys: Vec<i64> = self
            .connection
            .prepare("SELECT task_key FROM tasks WHERE state = 'pending'")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for key in keys {
            self.move_task(key, (TaskState::Pending, TaskState::Cancelled), Some(reason), now_ms)?;
        }
        Ok(())
    }

    /// Brings tasks back to pending, and with them what was skipped because of them; `recursive` also brings back what
    /// had completed on their results. What still depends on a task that ended badly is skipped again. Returns how many
    /// came back.
    ///
    /// # Errors
    /// If a task has a live attempt, or is of an iteration that is over.
    pub fn rerun(&self, keys: &[i64], recursive: bool, reason: &str, now_ms: i64) -> Result<u64, StoreError> {
        let back = self.with_dependents(keys, recursive)?;
        for &key in &back {
            let from = self.task_state(key)?;
            if from != TaskState::Pending {
                self.move_task(key, (from, TaskState::Pending), Some(("rerun", reason)), now_ms)?;
            }
            self.connection.execute(
                "UPDATE tasks SET tries = 0, misfires = 0, delivered = NULL, reason_code = NULL, reason = NULL WHERE task_key = ?1",
                [key],
            )?;
        }
        for &key in &back {
            self.connection.execute(
                &format!(
                    "UPDATE tasks SET blocked = ({UNMET}) WHERE state = 'pending' AND (task_key = ?1 OR task_key IN \
                     (SELECT task_key FROM dependencies WHERE on_key = ?1))"
                ),
                [key],
            )?;
        }
        for &key in &back {
            if let Some((on, state)) = self.bad_dependency(key)?
                && self.task_state(key)? == TaskState::Pending
            {
                self.skip(key, &on, state, now_ms)?;
            }
        }
        let mut count = 0;
        for &key in &back {
            count += u64::from(self.task_state(key)? == TaskState::Pending);
        }
        Ok(count)
    }

    /// A dependency that ended badly, of a task that needs all of them to end well.
    fn bad_dependency(&self, key: i64) -> Result<Option<(String, TaskState)>, StoreError> {
        let found: Option<(String, String)> = self
            .connection
            .prepare_cached(
                "SELECT u.task_id, u.state FROM dependencies d JOIN tasks t ON t.task_key = d.task_key \
                 JOIN tasks u ON u.task_key = d.on_key WHERE d.task_key = ?1 AND NOT t.tolerant AND \
                 u.state IN ('failed', 'cancelled', 'skipped') ORDER BY u.task_key LIMIT 1",
            )?
            .query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        found.map(|(id, state)| Ok((id, parse_state(&state, TaskState::parse)?))).transpose()
    }

    /// These tasks, and what a rerun of them brings back too.
    fn with_dependents(&self, keys: &[i64], recursive: bool) -> Result<BTreeSet<i64>, StoreError> {
        let mut queue: Vec<i64> = keys.to_vec();
        let mut back = BTreeSet::new();
        while let Some(key) = queue.pop() {
            if !back.insert(key) {
                continue;
            }
            let mut statement = self.connection.prepare_cached(
                "SELECT t.task_key, t.state FROM dependencies d JOIN tasks t ON t.task_key = d.task_key WHERE d.on_key = ?1",
            )?;
            let dependents: Vec<(i64, String)> =
                statement.query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
            queue.extend(
                dependents
                    .into_iter()
                    .filter(|(_, state)| {
                        state == "skipped" || (recursive && (state == "completed" || state == "failed"))
                    })
                    .map(|(dependent, _)| dependent),
            );
        }
        Ok(back)
    }

    /// How many tasks wait for a person's word on a lost attempt.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn lost_tasks(&self) -> Result<u64, StoreError> {
        lost_tasks(self.connection)
    }

    /// Takes the iteration back to the state it was planned with, so that its results are analyzed again.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn reopen_workflow(&self, iteration: u32) -> Result<(), StoreError> {
        self.connection.execute("UPDATE workflows SET analyzed_at_ms = NULL WHERE iteration = ?1", [iteration])?;
        self.connection.execute("UPDATE tasks SET delivered = NULL WHERE iteration = ?1", [iteration])?;
        self.connection.execute("UPDATE run SET state_document = plan_document, result = NULL", [])?;
        Ok(())
    }
}

fn lost_tasks(connection: &Connection) -> Result<u64, StoreError> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM tasks WHERE state = 'running' AND reason_code = 'lost'")?
        .query_row([], |row| row.get(0))?;
    Ok(count as u64)
}

/// How a person says what became of a task.
fn past(state: TaskState) -> &'static str {
    match state {
        TaskState::Failed => "failed",
        TaskState::Cancelled => "was cancelled",
        TaskState::Skipped => "was skipped",
        TaskState::Completed => "completed",
        TaskState::Pending | TaskState::Running => "has not ended",
    }
}

fn task_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<(TaskRow, String)> {
    Ok((
        TaskRow {
            key: row.get(0)?,
            id: row.get(1)?,
            iteration: row.get(2)?,
            operator: row.get(3)?,
            state: TaskState::Pending,
            blocked: row.get(5)?,
            reason_code: row.get(6)?,
            reason: row.get(7)?,
            retry_at_ms: row.get(8)?,
            allow_failure: row.get(9)?,
            attempts: row.get(10)?,
        },
        row.get(4)?,
    ))
}

const TASK_COLUMNS: &str = "t.task_key, t.task_id, t.iteration, t.operator, t.state, t.blocked, t.reason_code, t.reason, \
     t.retry_at_ms, t.allow_failure, (SELECT count(*) FROM attempts a WHERE a.task_key = t.task_key)";

impl Store {
    fn task_rows<P: rusqlite::Params>(&self, filter: &str, parameters: P) -> Result<Vec<TaskRow>, StoreError> {
        let mut statement = self
            .connection
            .prepare(&format!("SELECT {TASK_COLUMNS} FROM tasks t WHERE {filter} ORDER BY t.task_key"))?;
        let rows = statement.query_map(parameters, task_row)?.collect::<Result<Vec<_>, _>>()?;
        rows.into_iter()
            .map(|(row, state)| Ok(TaskRow { state: parse_state(&state, TaskState::parse)?, ..row }))
            .collect()
    }

    /// Every task, in the order planned; `state` and `operator` narrow the list.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn tasks(&self, state: Option<TaskState>, operator: Option<&str>) -> Result<Vec<TaskRow>, StoreError> {
        self.task_rows(
            "(?1 IS NULL OR t.state = ?1) AND (?2 IS NULL OR t.operator = ?2)",
            (state.map(TaskState::as_str), operator),
        )
    }

    /// One task by its id.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task(&self, id: &str) -> Result<Option<TaskRow>, StoreError> {
        Ok(self.task_rows("t.task_id = ?1", [id])?.pop())
    }

    /// Tasks that did not move on: pending or running, at most `most`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn open_tasks(&self, most: u32) -> Result<Vec<TaskRow>, StoreError> {
        let mut rows = self.task_rows("t.state IN ('pending', 'running')", ())?;
        rows.truncate(most as usize);
        Ok(rows)
    }

    /// The ids of an operator's tasks that have not ended, in the order planned.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn open_tasks_of(&self, operator: &str) -> Result<Vec<String>, StoreError> {
        self.ids(
            "SELECT task_id FROM tasks WHERE operator = ?1 AND state IN ('pending', 'running') ORDER BY task_key",
            operator,
        )
    }

    /// The ids of the tasks of which an operator has a live attempt, in the order made.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn live_tasks_of(&self, operator: &str) -> Result<Vec<String>, StoreError> {
        self.ids(
            "SELECT t.task_id FROM attempts a JOIN tasks t ON t.task_key = a.task_key WHERE a.operator = ?1 AND \
             a.state NOT IN ('completed', 'failed', 'cancelled', 'lost') ORDER BY a.attempt_key",
            operator,
        )
    }

    fn ids(&self, sql: &str, operator: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare(sql)?;
        let ids = statement.query_map([operator], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Whether a task of this id exists.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn has_task(&self, id: &str) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM tasks WHERE task_id = ?1")?.exists([id])?)
    }

    /// The JSON text of a task.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task_json(&self, key: i64) -> Result<String, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT spec FROM tasks WHERE task_key = ?1")?
            .query_row([key], |row| row.get(0))?)
    }

    /// What each task waits for: pairs of task id and the id it depends on.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn dependency_pairs(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut statement = self.connection.prepare(
            "SELECT t.task_id, u.task_id FROM dependencies d JOIN tasks t ON t.task_key = d.task_key \
             JOIN tasks u ON u.task_key = d.on_key ORDER BY d.task_key, d.on_key",
        )?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The dependencies of a task that have not completed.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn unmet_dependencies(&self, key: i64) -> Result<Vec<(String, TaskState)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT u.task_id, u.state FROM dependencies d JOIN tasks u ON u.task_key = d.on_key \
             WHERE d.task_key = ?1 AND u.state <> 'completed' ORDER BY u.task_key",
        )?;
        let rows: Vec<(String, String)> =
            statement.query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        rows.into_iter().map(|(id, state)| Ok((id, parse_state(&state, TaskState::parse)?))).collect()
    }

    /// How many tasks are in each state.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn task_counts(&self) -> Result<TaskCounts, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT state, n FROM task_counts")?;
        let rows: BTreeMap<String, i64> =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let of = |state: TaskState| rows.get(state.as_str()).copied().unwrap_or(0) as u64;
        Ok(TaskCounts {
            total: rows.values().sum::<i64>() as u64,
            pending: of(TaskState::Pending),
            running: of(TaskState::Running),
            completed: of(TaskState::Completed),
            failed: of(TaskState::Failed),
            cancelled: of(TaskState::Cancelled),
            skipped: of(TaskState::Skipped),
        })
    }

    /// Tasks of an iteration that have not ended, and whether its results have all been analyzed.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn workflow_progress(&self, iteration: u32) -> Result<(u64, bool), StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT open_tasks, analyzed_at_ms IS NOT NULL FROM workflows WHERE iteration = ?1")?
            .query_row([iteration], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))?)
    }

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

    /// Up to `most` tasks of an operator that are ready to start, in the order planned.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ready_tasks(&self, operator: &str, most: u64) -> Result<Vec<TaskSpec>, StoreError> {
        self.specs(
            "t.state = 'pending' AND t.blocked = 0 AND t.operator = ?1 ORDER BY t.task_key LIMIT ?2",
            (operator, most as i64),
        )
    }

    /// Up to `most` tasks of an operator whose next attempt is due: the back-off has passed, or the clock is now before it
    /// was set.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn retries_due(&self, operator: &str, now_ms: i64, most: u64) -> Result<Vec<TaskSpec>, StoreError> {
        self.specs(
            "t.task_key IN (SELECT task_key FROM tasks WHERE operator = ?1 AND retry_at_ms IS NOT NULL AND retry_at_ms <= ?2 \
             UNION SELECT task_key FROM tasks WHERE operator = ?1 AND retry_at_ms IS NOT NULL AND retry_set_ms > ?2 \
             ORDER BY task_key LIMIT ?3) ORDER BY t.task_key",
            (operator, now_ms, most as i64),
        )
    }

    fn specs<P: rusqlite::Params>(&self, filter: &str, parameters: P) -> Result<Vec<TaskSpec>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT t.task_key, t.task_id, t.operator, t.state, \
             (SELECT count(*) FROM attempts a WHERE a.task_key = t.task_key) FROM tasks t WHERE {filter}"
        ))?;
        let rows = statement.query_map(parameters, |row| {
            let state: String = row.get(3)?;
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, state, row.get(4)?))
        })?;
        rows.map(|row| {
            let (key, id, operator, state, attempts) = row?;
            Ok(TaskSpec { key, id, operator, state: parse_state(&state, TaskState::parse)?, attempts })
        })
        .collect()
    }

    /// How many tasks wait for a person's word on a lost attempt.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn lost_tasks(&self) -> Result<u64, StoreError> {
        lost_tasks(&self.connection)
    }

    /// The failed or cancelled task because of which a task cannot run: a dependency of it, or of one that was skipped
    /// for the same reason.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn held_back_by(&self, key: i64) -> Result<Option<TaskRow>, StoreError> {
        Ok(self
            .task_rows(
                "t.task_key IN (WITH RECURSIVE bad(task_key, state) AS ( \
                 SELECT u.task_key, u.state FROM dependencies d JOIN tasks u ON u.task_key = d.on_key \
                 WHERE d.task_key = ?1 AND u.state IN ('failed', 'cancelled', 'skipped') \
                 UNION SELECT u.task_key, u.state FROM bad b JOIN dependencies d ON d.task_key = b.task_key \
                 JOIN tasks u ON u.task_key = d.on_key WHERE b.state = 'skipped' AND \
                 u.state IN ('failed', 'cancelled', 'skipped')) \
                 SELECT task_key FROM bad WHERE state IN ('failed', 'cancelled'))",
                [key],
            )?
            .into_iter()
            .next())
    }

    /// The operators that have a task that is ready to start, in no order.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn ready_operators(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT DISTINCT operator FROM tasks WHERE state = 'pending' AND blocked = 0")?;
        let operators = statement.query_map([], |row| row.get(0))?;
        Ok(operators.collect::<Result<_, _>>()?)
    }

    /// When the next back-off ends.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn next_retry(&self) -> Result<Option<i64>, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT min(retry_at_ms) FROM tasks WHERE retry_at_ms IS NOT NULL")?
            .query_row([], |row| row.get(0))?)
    }
}
