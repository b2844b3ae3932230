//! What a tick goes by: where the run stands, and what its counters and indexes offer.
use super::{Store, StoreError, Wake};
use crate::model::states::RunState;

/// Where a run stands and what could move in it, as one statement saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Where the run stands.
    pub state: RunState,
    /// Whether it is held, and starts nothing either.
    pub also_paused: bool,
    /// The newest iteration; 0 before the first workflow.
    pub iteration: u32,
    /// Attempts that are live.
    pub live: u64,
    /// Tasks that have not ended.
    pub open: u64,
    /// Whether the campaign receives each result as it comes, and else those of an iteration once all have ended.
    pub each_result: bool,
    /// Whether there are results that the campaign has not received, or an iteration whose end it was not told.
    pub results: bool,
    /// Whether a plan is owed, once the results are analyzed.
    pub asked: bool,
    /// When a plan is asked for though nothing ended.
    pub wake: Option<Wake>,
    /// Whether a task is ready to start, room or not, and its operator's budget has room for it.
    pub ready: bool,
    /// Whether a task waits for approval, or for room in the budget of its operator: only a person gives either.
    pub asks: bool,
    /// Whether a task waits for a person's word on a lost attempt.
    pub lost: bool,
    /// When the next back-off ends, in milliseconds since the epoch.
    pub retry_at_ms: Option<i64>,
    /// The place of the newest row of the history; 0 before the first.
    pub history_end: i64,
}

impl Outlook {
    /// Whether what is ready is started: so it is in an active run, and in a held one unless that is paused too.
    pub fn starts(&self) -> bool {
        self.state == RunState::Active || (self.state == RunState::Held && !self.also_paused)
    }

    /// Whether results are to be handed to the campaign now.
    pub fn owes_results(&self) -> bool {
        self.state == RunState::Active && self.results && (self.each_result || self.open == 0)
    }

    /// Whether the campaign is to be asked for a plan now, once it has the results. Where an iteration ends before the
    /// next is planned, only a time that has come is not waited with until then.
    pub fn owes_plan(&self, now_ms: i64) -> bool {
        let woken = self.wake.is_some_and(|wake| wake.is_due(now_ms));
        self.state == RunState::Active && (woken || (self.asked && (self.each_result || self.open == 0)))
    }
}

const SQL: &str = "SELECT state, iteration, (SELECT coalesce(sum(n), 0) FROM live_counts), \
     (SELECT coalesce(sum(n), 0) FROM task_counts WHERE state IN ('pending', 'running')), \
     iif(each_result, EXISTS (SELECT 1 FROM outcomes), EXISTS (SELECT 1 FROM workflows WHERE analyzed_at_ms IS NULL)), \
     EXISTS (SELECT 1 FROM tasks WHERE state = 'pending' AND blocked = 0 AND \
     operator IN (SELECT value FROM json_each(?1))) OR EXISTS (SELECT 1 FROM tasks WHERE state = 'running' AND \
     reason_code = 'budget' AND (reason_code = 'approval' OR reason_code = 'budget') AND \
     operator IN (SELECT value FROM json_each(?1))), \
     EXISTS (SELECT 1 FROM tasks WHERE state = 'running' AND reason_code = 'lost'), \
     (SELECT min(retry_at_ms) FROM tasks WHERE retry_at_ms IS NOT NULL), \
     (SELECT coalesce(max(seq), 0) FROM history), also_paused, each_result, EXISTS (SELECT 1 FROM asked), \
     wake_at_ms, wake_set_ms, EXISTS (SELECT 1 FROM tasks WHERE state = 'running' AND (reason_code = 'approval' OR \
     reason_code = 'budget')) OR EXISTS (SELECT 1 FROM tasks WHERE state = 'pending' AND blocked = 0 AND \
     operator IN (SELECT value FROM json_each(?2))) FROM run";

impl Store {
    /// Where the run stands and what could move in it. Only tasks of `open` operators count as ready; those that are
    /// ready of `closed` ones wait for room in a budget.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn outlook(&self, open: &[&str], closed: &[&str]) -> Result<Outlook, StoreError> {
        let mut statement = self.connection.prepare_cached(SQL)?;
        let list = |operators: &[&str]| serde_json::json!(operators).to_string();
        Ok(statement.query_row([list(open), list(closed)], |row| {
            let wake = row.get::<_, Option<i64>>(12)?.zip(row.get(13)?);
            Ok(Outlook {
                state: row.get(0)?,
                iteration: row.get(1)?,
                live: row.get::<_, i64>(2)? as u64,
                open: row.get::<_, i64>(3)? as u64,
                results: row.get(4)?,
                ready: row.get(5)?,
                asks: row.get(14)?,
                lost: row.get(6)?,
                retry_at_ms: row.get(7)?,
                history_end: row.get(8)?,
                also_paused: row.get(9)?,
                each_result: row.get(10)?,
                asked: row.get(11)?,
                wake: wake.map(|(at_ms, set_ms)| Wake { at_ms, set_ms }),
            })
        })?)
    }
}
