//! Ends an iteration: analyzes its results, and asks the campaign what comes next.
use super::decision::{
    canonical_next, canonical_output, context, input_digest, raw_decision, raw_state, sha256_of_answer, summary_of,
    workflow,
};
use super::turn::Phase;
use super::verdict::earlier_task;
use super::{Moment, Run, Tick, TickError};
use crate::model::code::{Code, Word};
use crate::model::config::Limit;
use crate::model::contract::{Context, Next, Reads};
use crate::model::document::{self, canonical_own, sha256};
use crate::model::evidence::{DecisionKind, DecisionOutcome, EngineRecord};
use crate::model::id::TaskId;
use crate::model::outputs::refuse_impossible_sources;
use crate::model::reason::Reason;
use crate::model::states::RunState;
use crate::model::workflow::{PlannedTask, Task, WorkflowError, read_task, validate};
use crate::plugin::{Answer, PluginError};
use crate::store::{Came, Durability, FormerState, NewDecision, RunRow, StoreError, Writer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Results handed to one call of `analyze`.
const RESULTS_PER_CALL: u32 = 1_000;
/// Documents of results handed to one call of `analyze`, in bytes; one result is handed over whatever its size.
const RESULTS_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Plans in a row that may plan nothing.
const IDLE_PLANS_MAX: u32 = 2;

/// Why a plan was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The campaign could not answer.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// It answered with something the contract does not allow.
    #[error("plan: {0}")]
    Workflow(WorkflowError),
    /// The store or the machine failed.
    #[error(transparent)]
    Tick(#[from] TickError),
}

impl From<WorkflowError> for PlanError {
    fn from(error: WorkflowError) -> Self {
        Self::Workflow(error)
    }
}

impl From<crate::store::StoreError> for PlanError {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Tick(error.into())
    }
}

/// Analyzes an ended iteration and plans the next, at most once a tick. Tells whether there is something to start.
pub(super) fn close_iteration(run: &mut Run, moment: Moment<'_>, tick: &mut Tick) -> Result<bool, TickError> {
    let row = run.store.run()?;
    if tick.decided {
        return Ok(false);
    }
    if row.iteration > 0 {
        let workflows = run.store.open_workflows()?;
        if workflows.iter().any(|(_, open)| *open > 0) {
            return Ok(false);
        }
        for (iteration, _) in workflows {
            if !held_by(run, moment, |run| analyze(run, iteration, moment, tick))? {
                return Ok(false);
            }
        }
    }
    if is_cut(moment, tick) {
        return Ok(false);
    }
    tick.decided = true;
    let mut planned = 0;
    let went_on = held_by(run, moment, |run| {
        planned = plan(run, moment)?;
        Ok(())
    })?;
    tick.planned += planned;
    Ok(went_on && planned > 0)
}

/// Does a decision; what the campaign does wrong is recorded, holds the run with that reason and loses nothing.
fn held_by(
    run: &mut Run,
    moment: Moment<'_>,
    decision: impl FnOnce(&mut Run) -> Result<(), Undecided>,
) -> Result<bool, TickError> {
    let Undecided { error, asked, answer } = match decision(run) {
        Ok(()) => return Ok(true),
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
    Ok(false)
}

/// The word for a plan that breaks a rule, with the limit where that is one.
fn bad_plan(error: &WorkflowError) -> Word {
    match error {
        WorkflowError::TooMany(..) => Word::Limit(Code::PluginBadOutput, Limit::MaxTasks),
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
        | WorkflowError::Value(..) => Word::Own(Code::PluginBadOutput),
    }
}

/// A decision that came to nothing.
struct Undecided {
    error: PlanError,
    /// What was asked, if it came to that.
    asked: Option<Box<Asked>>,
    /// What the call used, and what it said.
    answer: Spent,
}

impl<E: Into<PlanError>> From<E> for Undecided {
    fn from(error: E) -> Self {
        Self { error: error.into(), asked: None, answer: Spent::default() }
    }
}

/// What a call used beside its answer.
#[derive(Default)]
struct Spent {
    fuel: u64,
    reads: Reads,
    /// What it said, where that could not be taken.
    said: Option<String>,
}

/// A decision as it is asked for: all that it can depend on.
struct Asked {
    kind: DecisionKind,
    iteration: u32,
    context: Context,
    former: Option<(u64, String)>,
    finished: Option<String>,
    plugin_sha256: String,
    engine: EngineRecord,
    input_sha256: String,
}

impl Asked {
    fn new(
        run: &Run,
        kind: DecisionKind,
        (row, iteration): (&RunRow, u32),
        finished: Option<String>,
        moment: Moment<'_>,
    ) -> Result<Self, PlanError> {
        let context = context(run, row, moment.now_ms, iteration)?;
        let former = run.store.campaign_state()?;
        let state = former.as_ref().map(|(_, text)| text.as_str());
        let input_sha256 = input_digest(kind, &context, state, finished.as_deref());
        let (plugin_sha256, engine) = (campaign_digest(run), run.plugins.engine());
        Ok(Self { kind, iteration, context, former, finished, plugin_sha256, engine, input_sha256 })
    }

    fn state(&self) -> Option<&str> {
        self.former.as_ref().map(|(_, text)| text.as_str())
    }

    fn record(&self, writer: &Writer<'_>, spent: &Spent, came: Came<'_>) -> Result<(), StoreError> {
        let former = self.former.as_ref().map(|(number, text)| FormerState { number: *number, text });
        let new = NewDecision {
            number: self.context.decision,
            kind: self.kind,
            iteration: self.iteration,
            now_ms: self.context.now_ms as i64,
            plugin_sha256: &self.plugin_sha256,
            engine: &self.engine,
            former,
            supplied: self.context.supplied.as_deref(),
            finished: self.finished.as_deref(),
            input_sha256: &self.input_sha256,
            fuel: spent.fuel,
            reads: &spent.reads,
        };
        writer.add_decision(&new, came)
    }

    /// It came to nothing.
    fn undecided(self, error: impl Into<PlanError>, answer: Spent) -> Undecided {
        Undecided { error: error.into(), asked: Some(Box::new(self)), answer }
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
        let asked = Asked::new(run, DecisionKind::Analyze, (&row, iteration), Some(finished), moment)?;
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

/// Asks the campaign for the first decision and records it with what it planned, in one transaction. Returns how many tasks
/// were planned.
///
/// # Errors
/// If the campaign fails or answers with something the contract does not allow; then nothing is recorded.
pub fn plan_first(run: &mut Run, moment: Moment<'_>) -> Result<u64, PlanError> {
    plan(run, moment).map_err(|undecided| undecided.error)
}

/// Plans what the amended list of a campaign has more than the run; the run's configuration is the amended one already.
///
/// # Errors
/// If the campaign fails or answers with something the contract does not allow, or the list says something else of a task that
/// the run has.
pub fn propose_growth(run: &Run, moment: Moment<'_>) -> Result<Proposal, PlanError> {
    propose(run, moment, Known::PassedOver).map_err(|undecided| undecided.error)
}

fn plan(run: &mut Run, moment: Moment<'_>) -> Result<u64, Undecided> {
    let proposal = propose(run, moment, Known::Refused)?;
    run.store.transaction(Durability::Full, |writer| proposal.take(writer))?;
    Ok(proposal.planned())
}

/// What becomes of a planned task whose id the run has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The plan is refused.
    Refused,
    /// It is passed over if it is as it was planned, or as it was amended.
    PassedOver,
}

/// A plan that was asked for and that breaks no rule.
pub struct Proposal {
    asked: Asked,
    spent: Spent,
    row: RunRow,
    next: Next,
    state: String,
    rest: String,
    reason: String,
    tasks: Vec<PlannedTask>,
}

impl Proposal {
    /// How many tasks it adds to the run.
    pub fn planned(&self) -> u64 {
        self.tasks.len() as u64
    }

    /// Records it, and does what it says.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn take(&self, writer: &Writer<'_>) -> Result<(), StoreError> {
        let (summary, output_sha256) = (summary_of(&self.state), sha256_of_answer(&self.rest, &self.state));
        let came = Came::Answer {
            state: &self.state,
            rest: &self.rest,
            next: Some(self.next.word()),
            reason: &self.reason,
            summary: summary.as_deref(),
            output_sha256: &output_sha256,
        };
        self.asked.record(writer, &self.spent, came)?;
        follow(writer, &self.asked, (&self.row, &self.reason), &self.next, &self.tasks)
    }
}

fn propose(run: &Run, moment: Moment<'_>, known: Known) -> Result<Proposal, Undecided> {
    let row = run.store.run()?;
    let asked = Asked::new(run, DecisionKind::Plan, (&row, row.iteration + 1), None, moment)?;
    crate::ground::failpoint::hit("plan.before");
    let Answer { value, fuel, reads } = run.plugins.plan(&asked.context, asked.state());
    crate::ground::failpoint::hit("plan.after");
    let spent = Spent { fuel, reads, said: None };
    let mut decision = match value {
        Ok(decision) => decision,
        Err(error) => return Err(asked.undecided(error, spent)),
    };
    let taken = canonical_output(&decision.state, "plan", "state").map_err(PlanError::from).and_then(|state| {
        let tasks = read_tasks(run, &decision.next, known)?;
        let whole = known == Known::PassedOver || !matches!(decision.next, Next::Workflow(_));
        let next = if whole { Some(canonical_next(&decision.next)?) } else { None };
        Ok((state, next, tasks))
    });
    let (state, next, tasks) = match taken {
        Ok(taken) => taken,
        Err(error) => return Err(asked.undecided(error, Spent { said: Some(raw_decision(&decision)), ..spent })),
    };
    let next = next.unwrap_or_else(|| {
        // a document of a million tasks is not held twice
        if let Next::Workflow(document) = &mut decision.next {
            *document = String::new();
        }
        workflow(tasks.iter().map(|planned| &*planned.json))
    });
    let mut rest = next;
    rest.insert_str(0, "{\"next\":");
    rest.push_str(&format!(",\"reason\":{}}}", Value::from(decision.reason.as_str())));
    Ok(Proposal { asked, spent, row, next: decision.next, state, rest, reason: decision.reason, tasks })
}

/// Does what a plan says.
fn follow(
    writer: &Writer<'_>,
    asked: &Asked,
    (row, reason): (&RunRow, &str),
    next: &Next,
    tasks: &[PlannedTask],
) -> Result<(), StoreError> {
    let (now, from) = (asked.context.now_ms as i64, RunState::Active);
    match next {
        Next::Workflow(_) if !tasks.is_empty() => {
            writer.add_workflow(asked.iteration, asked.context.decision, tasks, now)
        }
        Next::Workflow(_) | Next::Wait => {
            let idle = row.idle_plans + 1;
            writer.set_idle_plans(idle)?;
            if idle < IDLE_PLANS_MAX {
                return Ok(());
            }
            let text = format!("the campaign planned nothing {idle} times in a row");
            writer.set_run_state(from, RunState::Held, Some(&Reason::new(Code::PlannedNothing, text)), now)
        }
        Next::Complete(document) => {
            writer.set_result(document)?;
            writer.set_run_state(from, RunState::Completed, Some(&Reason::new(Code::Completed, reason)), now)
        }
        Next::Fail(detail) => writer.set_run_state(from, RunState::Failed, Some(&Reason::of_campaign(detail)), now),
        Next::Hold(detail) => writer.set_run_state(from, RunState::Held, Some(&Reason::of_campaign(detail)), now),
    }
}

/// Reads a plan's tasks one at a time, so that a large plan is never held as a tree of values.
fn read_tasks(run: &Run, next: &Next, passed: Known) -> Result<Vec<PlannedTask>, PlanError> {
    let Next::Workflow(document) = next else { return Ok(Vec::new()) };
    let raw: Vec<&RawValue> = serde_json::from_str(document).map_err(|error| {
        let fault = document::check(document).err();
        WorkflowError::NoList(fault.map_or_else(|| error.to_string(), |fault| fault.sentence()))
    })?;
    let known = run.store.task_counts()?.total;
    let total = if passed == Known::PassedOver { raw.len() as u64 } else { known + raw.len() as u64 };
    if total > run.config.limits.max_tasks {
        return Err(WorkflowError::TooMany(total, run.config.limits.max_tasks).into());
    }
    let tasks = raw.into_iter().enumerate().filter_map(|(position, text)| {
        let text = text.get();
        let read = read_task(position, text, &run.config).map_err(|error| PlanError::from(error.at(text, document)));
        match read {
            Ok(task) if passed == Known::PassedOver => match is_known(run, &task) {
                Ok(true) => None,
                Ok(false) => Some(Ok(task)),
                Err(error) => Some(Err(error)),
            },
            read => Some(read),
        }
    });
    let exists = |id: &TaskId| Ok::<_, PlanError>(known > 0 && run.store.has_task(id.as_str())?);
    let planned = validate(tasks, &run.config, &exists)?;
    refuse_impossible_sources(&planned, |id| Ok::<_, PlanError>(earlier_task(run, id)?))?;
    Ok(planned)
}

/// Whether the run has a task just so, as it was planned or amended.
fn is_known(run: &Run, (task, json): &(Task, String)) -> Result<bool, PlanError> {
    let Some(row) = run.store.task(task.id.as_str())? else { return Ok(false) };
    if run.store.has_version(row.key, json)? {
        return Ok(true);
    }
    Err(WorkflowError::Differs(task.id.clone()).into())
}

fn campaign_digest(run: &Run) -> String {
    let pinned = run.config.pinned.as_ref().and_then(|pinned| pinned.plugins.get(&run.config.campaign.plugin));
    pinned.map(|file| file.sha256.clone()).unwrap_or_default()
}
