//! Hands results to the campaign, and asks it what comes next. Each batch of results shares a transaction with the
//! state they led to: after a crash the next tick goes on with the first that was not handed over.
use crate::model::code::{Code, Word};
use crate::model::contract::PlanReason;
use crate::model::document::canonical_own;
use crate::model::evidence::{DecisionKind, DecisionOutcome};
use crate::model::limit::Limit;
use crate::model::reason::Reason;
use crate::model::result::TaskResult;
use crate::model::states::RunState;
use crate::model::workflow::WorkflowError;
use crate::store::{Came, Durability, Portion, StoreError};
use crate::tick::campaign::PlanError;
use crate::tick::campaign::ask::{Asked, Question, Spent, Undecided};
use crate::tick::campaign::decision::{
    WHY_ANALYZED, canonical_output, raw_analysis, rest_of_analysis, sha256_of_answer,
};
use crate::tick::campaign::proposal::plan;
use crate::tick::turn::Phase;
use crate::tick::{Moment, Run, Tick, TickError};

/// What is handed to one call of `analyze`.
const PORTION: Portion = Portion { most: 1_000, bytes_max: 8 * 1024 * 1024 };

/// Hands over the results that the campaign has not received, as far as time allows.
pub(in crate::tick) fn analyze_results(run: &mut Run, moment: Moment<'_>, tick: &mut Tick) -> Result<(), TickError> {
    held_by(run, moment, |run| analyze(run, moment, tick))
}

/// Asks for the next plan, at most once a tick; what it planned is there to be started.
pub(in crate::tick) fn plan_next(run: &mut Run, moment: Moment<'_>, tick: &mut Tick) -> Result<(), TickError> {
    if is_cut(moment, tick) {
        return Ok(());
    }
    tick.decided = true;
    held_by(run, moment, |run| {
        let planned = plan(run, moment)?;
        tick.planned += planned;
        tick.started &= planned == 0;
        Ok(())
    })
}

/// Does a decision; what the campaign does wrong is recorded, holds the run with that reason and loses nothing.
fn held_by(
    run: &mut Run,
    moment: Moment<'_>,
    decision: impl FnOnce(&mut Run) -> Result<(), Undecided>,
) -> Result<(), TickError> {
    let Undecided { error, asked, answer } = match decision(run) {
        Ok(()) => return Ok(()),
        Err(undecided) => undecided,
    };
    let (reason, outcome) = match error {
        PlanError::Tick(error) => return Err(error),
        PlanError::Plugin(error) if error.kind.is_machine() => {
            // It says nothing about the campaign; another tick, or another machine, asks it again.
            return Err(TickError::Unasked(error));
        }
        PlanError::Plugin(error) => (Reason::new(error.kind.word(), error.to_string()), error.kind.outcome()),
        PlanError::Workflow(ref bad) => {
            (Reason::new(bad_plan(bad), error.to_string()), Some(DecisionOutcome::BadOutput))
        }
    };
    run.store.transaction(Durability::Full, |writer| {
        if let (Some(asked), Some(outcome)) = (&asked, outcome) {
            let said = answer.said.as_deref();
            asked.record(writer, &answer, Came::Failure { outcome, error: &reason.text, said })?;
        }
        writer.set_run_state(RunState::Active, RunState::Held, Some(&reason), moment.now_ms)
    })?;
    Ok(())
}

/// The word for a plan that breaks a rule, with the limit where that is one.
fn bad_plan(error: &WorkflowError) -> Word {
    match error {
        WorkflowError::TooMany(..) => Word::Limit(Code::PluginBadOutput, Limit::MaxTasks),
        WorkflowError::InLine(error, _) => bad_plan(error),
        WorkflowError::NoList(_)
        | WorkflowError::Shape { .. }
        | WorkflowError::NoOperator(..)
        | WorkflowError::IdLength(..)
        | WorkflowError::IdNul(_)
        | WorkflowError::Duplicate(_)
        | WorkflowError::Differs(_)
        | WorkflowError::UnknownDependency(..)
        | WorkflowError::Cycle(_)
        | WorkflowError::Overlap(_)
        | WorkflowError::LateWake(..)
        | WorkflowError::UnknownCancelled(_)
        | WorkflowError::UnknownOperator(..)
        | WorkflowError::Escape(..)
        | WorkflowError::UnknownFile(..)
        | WorkflowError::UnknownOther(..)
        | WorkflowError::UnknownDigest(..)
        | WorkflowError::UnknownFolder(..)
        | WorkflowError::Value(..) => Word::Own(Code::PluginBadOutput),
    }
}

/// Up to where the results of a batch reach.
enum Batch {
    /// Of one iteration, up to the place of a task.
    Iteration(u32, i64),
    /// Of all that ended, up to a place in that order.
    Each(i64),
}

/// Folds results into the campaign's state, in bounded batches.
fn analyze(run: &mut Run, moment: Moment<'_>, tick: &mut Tick) -> Result<(), Undecided> {
    while !is_cut(moment, tick) {
        let Some((batch, results)) = next_batch(run, moment)? else { return Ok(()) };
        let row = run.store.run()?;
        let finished = Some(canonical_own(&results));
        let (kind, config_sha256) = (DecisionKind::Analyze, row.config_sha256.as_str());
        let asked = Asked::new(run, Question { kind, row: &row, finished, config_sha256, also: None }, moment)?;
        crate::ground::failpoint::hit("analyze.before");
        let answer = run.plugins.analyze(
            &asked.context,
            asked.state().unwrap_or("null"),
            asked.finished.as_deref().unwrap_or("[]"),
        );
        crate::ground::failpoint::hit("analyze.after");
        let (mut spent, value, written) = Spent::of(answer);
        let said = match value {
            Ok(said) => said,
            Err(error) => return Err(asked.undecided(error, spent)),
        };
        let state = canonical_output(&said.state, "analyze", "state").map_err(PlanError::from);
        let state = match state.and_then(|state| spent.keep(run, written).map(|()| state)) {
            Ok(state) => state,
            Err(error) => return Err(asked.undecided(error, Spent { said: Some(raw_analysis(&said)), ..spent })),
        };
        let rest = rest_of_analysis(&said);
        let output_sha256 = sha256_of_answer(&rest, &state);
        run.store.transaction(Durability::Full, |writer| {
            let came = Came::Answer {
                state: &state,
                rest: &rest,
                next: None,
                reason: WHY_ANALYZED,
                summary: said.summary.as_deref(),
                output_sha256: &output_sha256,
            };
            asked.record(writer, &spent, came)?;
            writer.ask_plan(PlanReason::Results)?;
            match batch {
                Batch::Iteration(iteration, last) => writer.deliver(iteration, last, asked.context.decision),
                Batch::Each(last) => writer.deliver_each(last, asked.context.decision, moment.now_ms),
            }
        })?;
    }
    Ok(())
}

/// The results that come next; none if all have been handed over, and then no iteration is left unfinished.
fn next_batch(run: &mut Run, moment: Moment<'_>) -> Result<Option<(Batch, Vec<TaskResult>)>, StoreError> {
    if run.config.campaign.takes_each_result() {
        let next = run.store.undelivered_each(PORTION)?;
        return Ok(next.map(|(last, results)| (Batch::Each(last), results)));
    }
    while let Some(iteration) = run.store.first_unanalyzed()? {
        if let Some((last, results)) = run.store.undelivered(iteration, PORTION)? {
            return Ok(Some((Batch::Iteration(iteration, last), results)));
        }
        run.store.transaction(Durability::Lazy, |writer| {
            writer.ask_plan(PlanReason::Results)?;
            writer.close_workflow(iteration, moment.now_ms)
        })?;
    }
    Ok(None)
}

/// Whether the tick's time is up before the campaign is asked; the next tick then begins with that.
fn is_cut(moment: Moment<'_>, tick: &mut Tick) -> bool {
    if moment.is_over(tick) {
        tick.cut_short(Phase::Advance, None);
    }
    tick.cut.is_some()
}
