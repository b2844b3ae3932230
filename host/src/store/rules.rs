//! What the rules of operators go by: what each has used of its budget, and whose approval was asked and given.
use super::{Store, StoreError, Writer, changed_one};
use crate::model::act::Act;
use crate::model::code::Code;
use crate::model::reason::Reason;
use crate::store::TaskSpec;
use rusqlite::{OptionalExtension, Row};

/// What an operator has used in the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Attempts that were started, those that go on among them.
    pub attempts: u64,
    /// Core milliseconds: what was counted on for attempts that go on, what those took that have ended.
    pub core_ms: u64,
}

/// Something that the people are asked whom an operator names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its id, which names the file of the answer.
    pub approval: String,
    /// The place of the task.
    pub task_key: i64,
    /// The task's id.
    pub task: String,
    /// The operator key.
    pub operator: String,
    /// SHA-256 of the task's text.
    pub request: String,
    /// The task's text.
    pub spec: String,
    /// What is asked, in a sentence.
    pub sentence: String,
    /// Since when, in milliseconds since the epoch.
    pub asked_ms: i64,
}

const ASKED: &str = "SELECT p.approval, t.task_key, t.task_id, t.operator, lower(hex(p.request)), t.spec, t.reason, p.asked_ms \
     FROM approvals p JOIN tasks t ON t.task_key = p.task_key WHERE p.state = 'asked' AND t.state = 'running' AND \
     t.reason_code = 'approval' AND";

fn asked(row: &Row<'_>) -> rusqlite::Result<Asked> {
    Ok(Asked {
        approval: row.get(0)?,
        task_key: row.get(1)?,
        task: row.get(2)?,
        operator: row.get(3)?,
        request: row.get(4)?,
        spec: row.get(5)?,
        sentence: row.get(6)?,
        asked_ms: row.get(7)?,
    })
}

impl Writer<'_> {
    /// Asks for approval of a running task, which waits until it is given; what was asked before is withdrawn.
    ///
    /// # Errors
    /// If the task does not run.
    pub fn ask_approval(
        &self,
        approval: &str,
        task_key: i64,
        request: &str,
        sentence: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.withdraw(task_key)?;
        self.connection
            .prepare_cached(
                "INSERT INTO approvals (approval, task_key, version, request, asked_ms, state) \
                 SELECT ?1, task_key, version, unhex(?3), ?4, 'asked' FROM tasks WHERE task_key = ?2",
            )?
            .execute((approval, task_key, request, now_ms))?;
        self.set_task_reason(task_key, Some(&Reason::new(Code::Approval, sentence)))
    }

    fn withdraw(&self, task_key: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("UPDATE approvals SET state = 'withdrawn' WHERE task_key = ?1 AND state = 'asked'")?
            .execute([task_key])?;
        Ok(())
    }

    /// Records what was answered, and who gave the answer.
    ///
    /// # Errors
    /// If that is asked no more.
    pub fn answer_approval(&self, approval: &str, approved: bool, act: &Act) -> Result<(), StoreError> {
        let number = self.add_act(act)?;
        let changed = self
            .connection
            .prepare_cached("UPDATE approvals SET state = ?2, act = ?3 WHERE approval = ?1 AND state = 'asked'")?
            .execute((approval, if approved { "approved" } else { "rejected" }, number))?;
        changed_one(changed, "what is asked")
    }

    /// Lets a running task that waits with a reason, and without an attempt, be looked at again at once.
    ///
    /// # Errors
    /// If it does not run.
    pub fn look_again(&self, task_key: i64, why: &str, now_ms: i64) -> Result<(), StoreError> {
        self.withdraw(task_key)?;
        self.set_retry(task_key, now_ms, now_ms, &Reason::new(Code::Ready, why))
    }

    /// Lets what waits for approval or in a budget be looked at again, because what it goes by was changed: of one
    /// task, or of all.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn look_again_at(&self, task_key: Option<i64>, now_ms: i64) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT task_key FROM tasks WHERE state = 'running' AND (reason_code = 'approval' OR reason_code = 'budget') AND \
             (?1 IS NULL OR task_key = ?1)",
        )?;
        let keys: Vec<i64> = statement.query_map([task_key], |row| row.get(0))?.collect::<Result<_, _>>()?;
        keys.into_iter().try_for_each(|key| self.look_again(key, "what it waited for was changed", now_ms))
    }

    /// Lets a task whose back-off has passed wait for room in the budget of its operator.
    ///
    /// # Errors
    /// If it is in no back-off.
    pub fn wait_in_budget(&self, task_key: i64, reason: &Reason) -> Result<(), StoreError> {
        self.clear_retry(task_key)?;
        self.set_task_reason(task_key, Some(reason))
    }
}

impl Store {
    /// What an operator has used.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn spent(&self, operator: &str) -> Result<Spent, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT started, core_ms FROM live_counts WHERE operator = ?1")?;
        let of =
            |row: &Row<'_>| Ok(Spent { attempts: row.get::<_, i64>(0)? as u64, core_ms: row.get::<_, i64>(1)? as u64 });
        Ok(statement.query_row([operator], of).optional()?.unwrap_or_default())
    }

    /// Whether any task waits for approval.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn waits_for_approval(&self) -> Result<bool, StoreError> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT 1 FROM tasks WHERE state = 'running' AND reason_code = 'approval' AND \
                 (reason_code = 'approval' OR reason_code = 'budget')",
            )?
            .exists([])?)
    }

    /// What is asked under an id, if it is.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn asked_under(&self, approval: &str) -> Result<Option<Asked>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!("{ASKED} p.approval = ?1"))?;
        Ok(statement.query_row([approval], asked).optional()?)
    }

    /// All that is asked: the id of each, and the operator of the task.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn all_asked(&self) -> Result<Vec<(String, String)>, StoreError> {
        let mut statement = self.connection.prepare_cached(ALL_ASKED)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What is asked about a task, if anything.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn asked_about(&self, task_key: i64) -> Result<Option<Asked>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!("{ASKED} p.task_key = ?1"))?;
        Ok(statement.query_row([task_key], asked).optional()?)
    }

    /// Whether a task was approved in the version that it has.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn is_approved(&self, task_key: i64) -> Result<bool, StoreError> {
        Ok(self
            .connection
            .prepare_cached(
                "SELECT 1 FROM approvals p JOIN tasks t ON t.task_key = p.task_key WHERE p.task_key = ?1 AND \
                 p.version = t.version AND p.state = 'approved'",
            )?
            .exists([task_key])?)
    }

    /// Up to `most` tasks of an operator that wait for room in its budget.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn waiting_in_budget(&self, operator: &str, most: u64) -> Result<Vec<TaskSpec>, StoreError> {
        self.specs(IN_BUDGET, (operator, most as i64))
    }
}

const ALL_ASKED: &str = "SELECT p.approval, t.operator FROM tasks t JOIN approvals p ON p.task_key = t.task_key AND \
     p.state = 'asked' WHERE t.state = 'running' AND t.reason_code = 'approval' AND (t.reason_code = 'approval' OR \
     t.reason_code = 'budget')";

const IN_BUDGET: &str = "t.state = 'running' AND t.reason_code = 'budget' AND (t.reason_code = 'approval' OR \
     t.reason_code = 'budget') AND t.operator = ?1 ORDER BY t.task_key LIMIT ?2";

#[cfg(test)]
mod tests {
    use super::{ALL_ASKED, ASKED, IN_BUDGET};
    use crate::store::migrate::tests::{plan, reads_some};

    #[test]
    fn what_the_rules_ask_for_is_found_without_reading_all_tasks() {
        for end in ["p.approval = ?1", "p.task_key = ?1"] {
            reads_some(&format!("{ASKED} {end}"));
        }
        reads_some(ALL_ASKED);
        let sql = format!("SELECT t.task_key FROM tasks t WHERE {IN_BUDGET}");
        assert!(plan(&sql).iter().all(|step| step.contains("tasks_ruled")), "{:?}", plan(&sql));
    }
}
