//! What the jobs of attempts took of machines, a row each.
use super::{Store, StoreError, optional};
use crate::model::evidence::{AttemptUse, ResourcesRecord, Tally};
use crate::model::rules::cores;
use crate::model::workflow::Resources;
use rusqlite::Row;

/// All of an [`AttemptUse`], with what its version of the task asked for.
const SELECT: &str = "SELECT a.attempt_key, t.task_id, a.number, a.operator, a.state, \
     CASE a.version WHEN t.version THEN t.spec ELSE (SELECT s.spec FROM task_specs s WHERE s.task_key = a.task_key AND \
     s.version = a.version) END -> '$.resources', a.queued_ms, a.started_ms, a.stopped_ms, a.cpu_ms, a.memory_peak_mb, \
     coalesce(a.handle ->> '$.settled', '') <> '' OR EXISTS (SELECT 1 FROM reused r WHERE r.attempt_key = a.attempt_key) \
     FROM attempts a JOIN tasks t ON t.task_key = a.task_key";

fn select(filter: &str) -> String {
    format!("{SELECT} WHERE {filter} ORDER BY a.attempt_key")
}

fn attempt_use(row: &Row<'_>) -> Result<AttemptUse, StoreError> {
    let asked: Option<Resources> = optional(row.get_ref(5)?.as_str().ok())?;
    Ok(AttemptUse {
        key: row.get(0)?,
        task: row.get(1)?,
        number: row.get(2)?,
        operator: row.get(3)?,
        state: row.get(4)?,
        cores: cores(asked.as_ref()),
        queued_ms: row.get(6)?,
        started_ms: row.get(7)?,
        stopped_ms: row.get(8)?,
        cpu_ms: row.get(9)?,
        memory_mb: row.get(10)?,
        taken: row.get(11)?,
    })
}

impl Store {
    /// Hands over what every attempt took, in the order made.
    ///
    /// # Errors
    /// What `each` answers, or that the database cannot be read.
    pub fn each_use<E: From<StoreError>>(&self, each: impl FnMut(AttemptUse) -> Result<(), E>) -> Result<(), E> {
        self.each(&select("1"), attempt_use, each)
    }

    /// What the attempts at a task took, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn uses_of(&self, task_key: i64) -> Result<Vec<AttemptUse>, StoreError> {
        let mut statement = self.connection.prepare_cached(&select("a.task_key = ?1"))?;
        let mut rows = statement.query([task_key])?;
        let mut uses = Vec::new();
        while let Some(row) = rows.next()? {
            uses.push(attempt_use(row)?);
        }
        Ok(uses)
    }

    /// What the run took of machines.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn resources(&self) -> Result<ResourcesRecord, StoreError> {
        let mut tally = Tally::default();
        self.each_use(|one| {
            tally.add(&one);
            Ok::<_, StoreError>(())
        })?;
        Ok(tally.finish())
    }
}
