//! Ends an iteration: analyzes its results, and asks the campaign what comes next. Each batch of results shares a
//! transaction with the state they led to: after a crash the next tick goes on with the first that was not handed over.
use crate::model::code::{Code, Word};
use crate::model::document::{canonical_own, sha256};
use crate::model::evidence::{DecisionKind, DecisionOutcome};
use crate::model::limit::Limit;
use crate::model::reason::Reason;
use crate::model::states::RunState;
use crate::model::workflow::WorkflowError;
use crate::plugin::Answer;
use crate::store::{Came, Durability};
use crate::tick::campaign::PlanError;
use crate::tick::campaign::ask::{Asked, Question, Spent, Undecided, plan};
use crate::tick::campaign::decision::{canonical_output, raw_state, summary_of};
use crate::tick::turn::Phase;
use crate::tick::{Moment, Run, Tick, TickError};

/// Results handed to one call of `analyze`.
const RESULTS_PER_CALL: u32 = 1_000;
/// Documents of results handed to one call of `analyze`, in bytes; one result is handed over whatever its size.
const RESULTS_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Analyzes an iteration of which every task has ended, as far as time allows.
pub(in crate::tick) fn analyze_iteration(
    run: &mut Run,
    iteration: u32,
    moment: Moment<'_>,
    tick: &mut Tick,
) -> Result<(), TickError> {
    held_by(run, moment, |run| analyze(run, iteration, moment, tick))
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
        | WorkflowError::UnknownOperator(..)
        | WorkflowError::Escape(..)
        | WorkflowError::UnknownFile(..)
        | WorkflowError::UnknownOther(..)
        | WorkflowError::UnknownFolder(..)
        | WorkflowError::Value(..) => Word::Own(Code::PluginBadOutput),
    }
}

/// Folds the results of an ended iteration into the campaign's state, in bounded batches.
fn analyze(run: &mut Run, iteration: u32, moment: Moment<'_>, tick: &mut Tick) -> Result<(), Undecided> {
    while !is_cut(moment, tick) {
        let row = run.store.run()?;
        let Some((last, results)) = run.store.undelivered(iteration, RESULTS_PER_CALL, RESULTS_MAX_BYTES)? else {
            run.store.transaction(Durability::Lazy, |writer| writer.close_workflow(iteration, moment.now_ms))?;
            return Ok(());
        };
        let finished = canonical_own(&results);
        let question = Question { kind: DecisionKind::Analyze, row: &row, iteration, finished: Some(finished) };
        let asked = Asked::new(run, question, moment)?;
        crate::ground::failpoint::hit("analyze.before");
        let Answer { value, fuel, reads } = run.plugins.analyze(
            &asked.context,
            asked.state().unwrap_or("null"),
            asked.finished.as_deref().unwrap_or("[]"),
        );
        crate::ground::failpoint::hit("analyze.after");
        let spent = Spent { fuel, reads, said: None };
        let said = match value {
            Ok(state) => state,
            Err(error) => return Err(asked.undecided(error, spent)),
        };
        let state = match canonical_output(&said, "analyze", "state") {
            Ok(state) => state,
            Err(error) => return Err(asked.undecided(error, Spent { said: Some(raw_state(&said)), ..spent })),
        };
        let (summary, output_sha256) = (summary_of(&state), sha256(state.as_bytes()));
        run.store.transaction(Durability::Full, |writer| {
            let came = Came::Answer {
                state: &state,
                rest: "{}",
                next: None,
                reason: "results of the iteration",
                summary: summary.as_deref(),
                output_sha256: &output_sha256,
            };
            asked.record(writer, &spent, came)?;
            writer.deliver(iteration, last, asked.context.decision)
        })?;
    }
    Ok(())
}

/// Whether the tick's time is up before the campaign is asked; the next tick then begins with that.
fn is_cut(moment: Moment<'_>, tick: &mut Tick) -> bool {
    if moment.is_over(tick) {
        tick.cut_short(Phase::Advance, None);
    }
    tick.cut.is_some()
}
