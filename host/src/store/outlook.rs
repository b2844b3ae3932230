//! What a tick goes by: where the run stands, and what its counters and indexes offer.
use super::{Store, StoreError};
use crate::model::states::RunState;

/// Where a run stands and what could move in it, as one statement saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Where the run stands.
    pub state: RunState,
    /// The newest iteration; 0 before the first workflow.
    pub iteration: u32,
    /// Attempts that are live.
    pub live: u64,
    /// Tasks that have not ended, of the iterations whose results have not all been analyzed.
    pub open: u64,
    /// The first iteration whose results have not all been analyzed.
    pub owed: Option<u32>,
    /// Whether a task is ready to start, room or not.
    pub ready: bool,
    /// Whether a task waits for a person's word on a lost attempt.
    pub lost: bool,
    /// When the next back-off ends, in milliseconds since the epoch.
    pub retry_at_ms: Option<i64>,
    /// The place of the newest row of the history; 0 before the first.
    pub history_end: i64,
}

impl Store {
    /// Where the run stands and what could move in it. Only tasks of these operators count as ready.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn outlook(&self, operators: &[&str]) -> Result<Outlook, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT state, iteration, (SELECT coalesce(sum(n), 0) FROM live_counts), \
             (SELECT coalesce(sum(open_tasks), 0) FROM workflows WHERE analyzed_at_ms IS NULL), \
             (SELECT min(iteration) FROM workflows WHERE analyzed_at_ms IS NULL), \
             EXISTS (SELECT 1 FROM tasks WHERE state = 'pending' AND blocked = 0 AND \
             operator IN (SELECT value FROM json_each(?1))), \
             EXISTS (SELECT 1 FROM tasks WHERE state = 'running' AND reason_code = 'lost'), \
             (SELECT min(retry_at_ms) FROM tasks WHERE retry_at_ms IS NOT NULL), \
             (SELECT coalesce(max(seq), 0) FROM history) FROM run",
        )?;
        Ok(statement.query_row([serde_json::json!(operators).to_string()], |row| {
            Ok(Outlook {
                state: row.get(0)?,
                iteration: row.get(1)?,
                live: row.get::<_, i64>(2)? as u64,
                open: row.get::<_, i64>(3)? as u64,
                owed: row.get(4)?,
                ready: row.get(5)?,
                lost: row.get(6)?,
                retry_at_ms: row.get(7)?,
                history_end: row.get(8)?,
            })
        })?)
    }
}
