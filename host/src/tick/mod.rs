//! One step of one run, under the lease of whoever calls: reconcile, poll, collect, decide, start, analyze, plan.
//!
//! A tick looks, decides, acts and returns; it never waits for outside work. A crash at any point leaves a state from
//! which the next tick goes on: every effect has its intent committed before it and its record after it.
#![warn(clippy::wildcard_enum_match_arm)]
mod acts;
mod approval;
mod attempts;
mod campaign;
mod capacity;
mod decide;
mod notify;
mod outside;
mod preview;
mod rest;
mod timings;
mod turn;

pub use acts::adopt::{Adopted, adopt_live_attempts};
pub use acts::amend::refuse_amendment;
pub use acts::control::{
    CancelledTasks, ControlError, Resumed, cancel_run, cancel_task, cancel_tasks, note, pause, release, resume,
};
pub use acts::mend::{Mended, mend};
pub use acts::rerun::{Rerun, rerun};
pub use acts::settlement::{Settlement, Unsettled, settle};
pub use acts::tell::{TellError, tell};
pub use attempts::again::collect_again;
pub use attempts::reuse::{Answer, Survey, explain_reuse, reject, survey};
pub use attempts::rules::{UsedUp, used_up};
pub use campaign::PlanError;
pub use campaign::decision::{
    WHY_ANALYZED, canonical_next, canonical_output, input_digest, raw_analysis, raw_decision, rest_of_analysis,
    rest_of_plan, sha256_of_answer,
};
pub use campaign::proposal::{Proposal, plan_first, propose_growth};
pub use capacity::{Capacity, Claim, room, shares};
pub use preview::{Preview, would_start};
pub use rest::end_cancelled;
pub use timings::Timings;
pub use turn::BUDGET;

use crate::backend::BackendTrouble;
use crate::ground::carriage::Allowance;
use crate::model::id::{AttemptId, OperatorKey};
use crate::model::states::RunState;
use crate::plugin::PluginError;
use crate::run::Run;
use crate::store::{AttemptRow, Outlook, StoreError};
use attempts::{poll, reconcile, rules, start, stop};
use campaign::close;
use decide::{Move, Seen, decide};
use std::time::Duration;
use turn::{Cut, Phase, Turn};

impl Run {
    /// Where it stands, and what could move in it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn outlook(&self) -> Result<Outlook, TickError> {
        Ok(outlook(self)?)
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

    /// How long the tick has been at work: without the wait for a cluster's answer, of which every attempt there has
    /// the use.
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
    /// Whether what is ready has been started, as far as there is room, and nothing became ready since.
    #[serde(skip)]
    pub(crate) started: bool,
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
    /// Backends whose files cannot be used, each once. What they carry stays where it is.
    #[serde(skip)]
    pub troubles: Vec<BackendTrouble>,
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

    /// Keeps the first trouble of each backend.
    fn note_troubles(&mut self, troubles: Vec<BackendTrouble>) {
        for trouble in troubles {
            if !self.troubles.iter().any(|known| known.backend == trouble.backend) {
                self.troubles.push(trouble);
            }
        }
    }
}

/// Why a tick could not be done. Nothing of what failed has been recorded.
#[derive(Debug, thiserror::Error)]
pub enum TickError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine did not let the campaign be asked, which says nothing about the campaign.
    #[error("asking the campaign failed")]
    Unasked(#[source] PluginError),
    /// The machine failed: what was being done, and why it failed.
    #[error("{0}")]
    Io(String, #[source] std::io::Error),
}

/// Advances one run by one tick: sees, decides, does, until there is nothing more to do now. The caller holds the
/// lease.
///
/// # Errors
/// If the store or the machine fails; a plugin cannot fail a tick.
pub fn step_run(run: &mut Run, moment: Moment<'_>) -> Result<Tick, TickError> {
    let mut tick = Tick { run_id: run.dir.id(), ..Tick::default() };
    let first = approval::take_answers(run, moment)?;
    if !first.state.ended() {
        start::ensure_backends(run, first.live > 0, &mut tick);
        let turn = Turn::read(run)?;
        let parts = turn.phases();
        let mut seen = Seen::first(first, &parts, moment.now_ms);
        loop {
            let (next, begun) = (decide(&seen), (moment.spent)());
            match next {
                Move::Look => seen.ahead = look(run, moment, &turn, &seen, &mut tick)?,
                Move::Start => start(run, moment, &turn, &mut tick)?,
                Move::Analyze => close::analyze_results(run, moment, &mut tick)?,
                Move::Plan => close::plan_next(run, moment, &mut tick)?,
                Move::Cancel => rest::end_cancelled(run, moment.now_ms)?,
                Move::Hold(stuck) => rest::hold(run, moment, stuck)?,
                Move::Rest => break,
            }
            tick.timings.add(next, (moment.spent)().saturating_sub(begun));
            seen = seen.after(outlook(run)?, &tick);
        }
        turn.leave(run, &tick)?;
        tick.more = tick.cut.is_some();
    }
    tick.warning = notify::tell(run, moment)?.or(tick.warning.take());
    let after = run.store.run()?;
    tick.state = after.state;
    tick.reason = after.reason;
    tick.iteration = after.iteration;
    Ok(tick)
}

/// What the store offers to decide by.
fn outlook(run: &Run) -> Result<Outlook, StoreError> {
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for (key, settings) in &run.config.operators {
        let shut = rules::used_up(&run.store, key, settings)?.is_some();
        if shut { &mut closed } else { &mut open }.push(key.as_str());
    }
    run.store.outlook(&open, &closed)
}

/// Looks after what is live outside, up to where it is the turn of what may be begun. Returns the parts that are still
/// to come then.
fn look<'a>(
    run: &mut Run,
    moment: Moment<'_>,
    turn: &Turn,
    seen: &Seen<'a>,
    tick: &mut Tick,
) -> Result<&'a [Phase], TickError> {
    let submits = seen.run.starts();
    // where that was next, nothing is left to be begun
    let mut ahead = seen.ahead.strip_prefix(&[Phase::Advance]).unwrap_or(seen.ahead);
    while let [phase, after @ ..] = ahead
        && tick.cut.is_none()
    {
        let begun = (moment.spent)();
        match phase {
            Phase::Reconcile => reconcile::reconcile_interrupted_submits(run, moment, turn, submits, tick)?,
            Phase::Stop => stop::stop_what_is_unwanted(run, moment, turn, tick)?,
            Phase::Poll => poll::poll_live_attempts(run, moment, turn, tick)?,
            Phase::Advance => break,
        }
        tick.timings.add_part(*phase, (moment.spent)().saturating_sub(begun));
        ahead = after;
    }
    Ok(ahead)
}

/// Starts what is ready. What ended at once may have made more ready.
fn start(run: &mut Run, moment: Moment<'_>, turn: &Turn, tick: &mut Tick) -> Result<(), TickError> {
    let submitted = start::start_ready_tasks(run, moment, turn, tick)?;
    tick.started = !poll::poll_submitted(run, moment, turn, submitted, tick)?;
    Ok(())
}

fn key(attempt: &AttemptRow) -> OperatorKey {
    OperatorKey(attempt.operator.clone())
}
