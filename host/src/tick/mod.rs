//! One step of one run: lease, reconcile, poll, collect, decide, start, analyze, plan.
//!
//! A tick looks, decides, acts and returns; it never waits for outside work. A crash at any point leaves a state from
//! which the next tick goes on: every effect has its intent committed before it and its record after it.
#![warn(clippy::wildcard_enum_match_arm)]
mod adopt;
mod again;
mod amend;
mod carry;
mod close;
mod collect;
mod consumed;
mod control;
mod decide;
mod decision;
mod gather;
mod handover;
mod inputs;
mod job_end;
mod mend;
mod notify;
mod outside;
mod poll;
mod preview;
mod reconcile;
mod rerun;
mod settlement;
mod stage;
mod start;
mod stop;
mod submit;
mod timings;
mod turn;
mod verdict;
mod walk;

pub use adopt::{Adopted, adopt_live_attempts};
pub use again::collect_again;
pub use amend::refuse_amendment;
pub use close::{PlanError, Proposal, plan_first, propose_growth};
pub use control::{ControlError, cancel_run, cancel_task, pause, release, resume, revive};
pub use decide::{Capacity, room};
pub use decision::{
    Occasion, canonical_next, canonical_output, context_of, input_digest, raw_decision, raw_state, sha256_of_answer,
};
pub use mend::{Mended, mend};
pub use preview::{Preview, would_start};
pub use rerun::{Rerun, Selection, rerun};
pub use settlement::{Settlement, settle};
pub use start::task_with_retries;
pub use timings::Timings;
pub use turn::BUDGET;

use crate::ground::carriage::Allowance;
use crate::model::code::Code;
use crate::model::id::{AttemptId, OperatorKey};
use crate::model::reason::Reason;
use crate::model::states::RunState;
use crate::plugin::PluginError;
use crate::run::Run;
use crate::store::{AttemptRow, Durability, StoreError};
use std::time::Duration;
use turn::{Cut, Phase, Turn};

impl Run {
    /// Whether any task is ready to start, room or not.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn has_ready_task(&self) -> Result<bool, TickError> {
        for operator in self.config.operators.keys() {
            if !self.store.ready_tasks(operator, 1)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What a tick may not find out by itself.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// Now, in milliseconds since the epoch.
    pub now_ms: i64,
    /// A new random attempt id.
    pub new_id: &'a dyn Fn() -> AttemptId,
    /// How long the tick has been going on.
    pub spent: &'a dyn Fn() -> Duration,
    /// The name of a user, by number.
    pub user_name: &'a dyn Fn(u32) -> String,
}

impl Moment<'_> {
    /// Whether the tick has gone on for long enough: it begins nothing more, and leaves it to the next.
    fn is_over(&self, tick: &Tick) -> bool {
        self.worked(tick) >= turn::BUDGET
    }

    /// How long the tick has been at work: without the wait for a cluster's answer, of which every attempt there has the use.
    fn worked(&self, tick: &Tick) -> Duration {
        (self.spent)().saturating_sub(tick.waited)
    }
}

/// What one tick did.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Tick {
    /// The run.
    pub run_id: String,
    /// The state it is in now.
    pub state: RunState,
    /// Why.
    pub reason: Option<String>,
    /// Attempts asked about.
    pub polled: u64,
    /// Attempts submitted.
    pub submitted: u64,
    /// Attempts ended.
    pub finished: u64,
    /// Tasks planned.
    pub planned: u64,
    /// The iteration it is in now.
    pub iteration: u32,
    /// Whether its time was up before it had done all that it could do now: the next tick goes on at once.
    pub more: bool,
    /// How long its parts took.
    #[serde(skip)]
    pub timings: Timings,
    /// How long it waited for what backends tell of all their jobs at once.
    #[serde(skip)]
    pub(crate) waited: Duration,
    /// Where its time was up.
    #[serde(skip)]
    pub(crate) cut: Option<Cut>,
    /// Whether the campaign was asked for a plan.
    #[serde(skip)]
    pub decided: bool,
    /// What a person at the terminal should hear, though the tick was done.
    #[serde(skip)]
    pub warning: Option<String>,
    /// What may still be read and copied of files in this tick.
    #[serde(skip)]
    pub(crate) allowance: Allowance,
    /// A plugin that could not be loaded as it was pinned and granted. What it would have carried on stays where it is.
    #[serde(skip)]
    pub unloaded: Option<Unloaded>,
}

/// An operator's plugin that could not be loaded.
#[derive(Debug, Clone)]
pub struct Unloaded {
    /// The operator key.
    pub operator: String,
    /// Why.
    pub error: PluginError,
}

impl Tick {
    /// Keeps the first error that is no answer of a plugin, because the plugin could not be asked at all.
    fn note_unloaded(&mut self, attempt: &AttemptRow, error: &PluginError) {
        if self.unloaded.is_none() && error.kind.says_nothing() {
            self.unloaded = Some(Unloaded { operator: attempt.operator.clone(), error: error.clone() });
        }
    }
}

/// Why a tick could not be done. Nothing of what failed has been recorded.
#[derive(Debug, thiserror::Error)]
pub enum TickError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine failed: what was being done, and why it failed.
    #[error("{0}")]
    Io(String, #[source] std::io::Error),
}

/// Advances one run by one tick. The caller holds the lease.
///
/// # Errors
/// If the store or the machine fails; a plugin cannot fail a tick.
pub fn step_run(run: &mut Run, moment: Moment<'_>) -> Result<Tick, TickError> {
    let mut tick = Tick { run_id: run.dir.id(), ..Tick::default() };
    let history = run.store.history_end()?;
    if !run.store.run()?.state.ended() {
        start::ensure_backends(run)?;
        let turn = Turn::read(run)?;
        for phase in turn.phases() {
            let begun = (moment.spent)();
            match phase {
                Phase::Reconcile => reconcile::reconcile_interrupted_submits(run, moment, &turn, &mut tick)?,
                Phase::Stop => stop::stop_what_is_unwanted(run, moment, &turn, &mut tick)?,
                Phase::Poll => poll::poll_live_attempts(run, moment, &turn, &mut tick)?,
                Phase::Advance => advance(run, moment, &turn, &mut tick)?,
            }
            tick.timings.add(phase, (moment.spent)().saturating_sub(begun));
            finish_cancelling(run, moment)?;
            if tick.cut.is_some() {
                break;
            }
        }
        turn.leave(run, &tick)?;
        tick.more = tick.cut.is_some();
        let changed = tick.more || tick.decided || run.store.history_end()? != history;
        hold_if_stuck(run, moment, changed)?;
    }
    tick.warning = notify::tell(run)?.or(tick.warning.take());
    let after = run.store.run()?;
    tick.state = after.state;
    tick.reason = after.reason;
    tick.iteration = after.iteration;
    Ok(tick)
}

/// Starts what is ready, and asks the campaign where an iteration has ended: over and over while one leads to the other.
fn advance(run: &mut Run, moment: Moment<'_>, turn: &Turn, tick: &mut Tick) -> Result<(), TickError> {
    while run.store.run()?.state == RunState::Active {
        let submitted = start::start_ready_tasks(run, moment, turn, tick)?;
        let ended = poll::poll_submitted(run, moment, turn, submitted, tick)?;
        if tick.cut.is_some() {
            break;
        }
        let begun = (moment.spent)();
        let closed = ended || close::close_iteration(run, moment, tick)?;
        tick.timings.decide += (moment.spent)().saturating_sub(begun);
        if !closed {
            break;
        }
    }
    Ok(())
}

/// A run being cancelled is cancelled once nothing of it is live.
fn finish_cancelling(run: &mut Run, moment: Moment<'_>) -> Result<(), TickError> {
    let state = run.store.run()?.state;
    if state == RunState::Cancelling && run.store.live_count(None)? == 0 {
        run.store.transaction(Durability::Full, |writer| {
            writer.cancel_waiting(&Reason::new(Code::Cancelled, "the run was cancelled"), moment.now_ms)?;
            let reason = Reason::new(Code::Cancelled, "cancelled by a person");
            writer.set_run_state(state, RunState::Cancelled, Some(&reason), moment.now_ms)
        })?;
    }
    Ok(())
}

/// Holds a run in which nothing can move: but by a person's word on lost attempts, or at all. The latter would be a fault of
/// ours or of a hand in the database; a tick that changed nothing and waits for nothing must still not be repeated for ever.
fn hold_if_stuck(run: &mut Run, moment: Moment<'_>, changed: bool) -> Result<(), TickError> {
    let row = run.store.run()?;
    if row.state != RunState::Active || row.iteration == 0 || run.store.live_count(None)? > 0 {
        return Ok(());
    }
    let lost = run.store.lost_tasks()?;
    let retry = run.store.next_retry()?;
    let reason = if lost > 0 && retry.is_none() && !run.has_ready_task()? {
        let text = format!("{lost} lost task(s) wait for `settle`, `rerun` or `cancel`, and nothing else can move");
        Reason::new(Code::Lost, text)
    } else if !changed && retry.is_none_or(|at| at <= moment.now_ms) {
        Reason::new(Code::Stuck, why_stuck(run)?)
    } else {
        return Ok(());
    };
    run.store.transaction(Durability::Full, |writer| {
        writer.set_run_state(RunState::Active, RunState::Held, Some(&reason), moment.now_ms)
    })?;
    Ok(())
}

/// What keeps a run from moving that waits for nothing.
fn why_stuck(run: &Run) -> Result<String, TickError> {
    let unknown = run.store.ready_operators()?.into_iter().find(|key| !run.config.operators.contains_key(key));
    if let Some(operator) = unknown {
        return Ok(format!("nothing is live and nothing can start: the configuration has no operator `{operator}`"));
    }
    let open = run.store.open_tasks(1)?;
    let task = open.first().map_or(String::new(), |task| format!(": task `{}` is {}", task.id, task.state));
    Ok(format!("nothing is live and nothing can start{task}"))
}

/// Whether an operator is granted a backend.
fn may_use(run: &Run, operator: &str, backend: &str) -> bool {
    run.config
        .operators
        .get(operator)
        .is_some_and(|operator| operator.grants.compute.iter().any(|name| name == backend))
}

fn key(attempt: &AttemptRow) -> OperatorKey {
    OperatorKey(attempt.operator.clone())
}
