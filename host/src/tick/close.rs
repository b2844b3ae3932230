//! Ends an iteration: analyzes its results, and asks the campaign what comes next.
use super::{Moment, Run, Tick, TickError};
use crate::model::contract::{Context, Decision, Detail, Next};
use crate::model::document::{canonical, sha256};
use crate::model::id::RunId;
use crate::model::states::RunState;
use crate::model::workflow::{PlannedTask, Task, WorkflowError, validate};
use crate::plugin::{PluginError, PluginErrorKind};
use crate::store::{Durability, NewDecision, RunRow};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Results handed to one call of `analyze`.
const RESULTS_PER_CALL: u32 = 1_000;
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
    Workflow(#[from] WorkflowError),
    /// The store or the machine failed.
    #[error(transparent)]
    Tick(#[from] TickError),
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
        let (open, analyzed) = run.store.workflow_progress(row.iteration)?;
        if open > 0 {
            return Ok(false);
        }
        if !analyzed && !held_by(run, moment, |run| analyze(run, moment))? {
            return Ok(false);
        }
    }
    tick.decided = true;
    let mut planned = 0;
    let went_on = held_by(run, moment, |run| {
        planned = plan_first(run, moment)?;
        Ok(())
    })?;
    tick.planned += planned;
    Ok(went_on && planned > 0)
}

/// Does a decision; what the campaign does wrong holds the run with that reason and loses nothing.
fn held_by(
    run: &mut Run,
    moment: Moment<'_>,
    decision: impl FnOnce(&mut Run) -> Result<(), PlanError>,
) -> Result<bool, TickError> {
    let (code, text) = match decision(run) {
        Ok(()) => return Ok(true),
        Err(PlanError::Tick(error)) => return Err(error),
        Err(PlanError::Plugin(error)) => (error.kind.code(), error.to_string()),
        Err(PlanError::Workflow(error)) => (PluginErrorKind::BadOutput(String::new()).code(), format!("plan: {error}")),
    };
    run.store.transaction(Durability::Full, |writer| {
        writer.set_run_state(RunState::Active, RunState::Held, Some((code, &text)), moment.now_ms)
    })?;
    Ok(false)
}

/// Folds the results of the ended iteration into the campaign's state, in bounded batches.
fn analyze(run: &mut Run, moment: Moment<'_>) -> Result<(), PlanError> {
    loop {
        let row = run.store.run()?;
        let Some((last, results)) = run.store.undelivered(row.iteration, RESULTS_PER_CALL)? else {
            run.store.transaction(Durability::Lazy, |writer| writer.close_workflow(row.iteration, moment.now_ms))?;
            return Ok(());
        };
        let context = context(run, &row, moment, row.iteration);
        let state = row.state_document.as_deref().unwrap_or("null");
        let finished = serde_json::to_value(results)
            .map_err(|error| crate::store::StoreError::Row(error.to_string()))?
            .to_string();
        crate::ground::failpoint::hit("analyze.before");
        let answer = run.plugins.analyze(&context, state, &finished)?;
        crate::ground::failpoint::hit("analyze.after");
        let state_after = canonical_output(&answer.value, "analyze", "state")?;
        let decision = NewDecision {
            number: context.decision,
            kind: "analyze".to_owned(),
            iteration: row.iteration,
            next: None,
            reason: "results of the iteration".to_owned(),
            plugin_sha256: campaign_digest(run),
            input_sha256: input_digest("analyze", &context, Some(state), Some(&finished)),
            output_sha256: sha256(state_after.as_bytes()),
            fuel: answer.fuel,
            now_ms: moment.now_ms,
        };
        run.store.transaction(Durability::Full, |writer| {
            writer.add_decision(&decision, &state_after)?;
            writer.deliver(row.iteration, last, context.decision)
        })?;
    }
}

/// Asks the campaign for the next decision and records it with what it planned, in one transaction. Returns how many
/// tasks were planned.
///
/// # Errors
/// If the campaign fails or answers with something the contract does not allow; then nothing is recorded.
pub fn plan_first(run: &mut Run, moment: Moment<'_>) -> Result<u64, PlanError> {
    let row = run.store.run()?;
    let iteration = row.iteration + 1;
    let context = context(run, &row, moment, iteration);
    crate::ground::failpoint::hit("plan.before");
    let answer = run.plugins.plan(&context, row.state_document.as_deref())?;
    crate::ground::failpoint::hit("plan.after");
    let Decision { state, next, reason } = answer.value;
    let state = canonical_output(&state, "plan", "state")?;
    let (word, canonical_next, tasks) = read_next(run, &next)?;
    let output = format!("{{\"next\":{canonical_next},\"reason\":{},\"state\":{state}}}", Value::from(reason.as_str()));
    let decision = NewDecision {
        number: context.decision,
        kind: "plan".to_owned(),
        iteration,
        next: Some(word.to_owned()),
        reason,
        plugin_sha256: campaign_digest(run),
        input_sha256: input_digest("plan", &context, row.state_document.as_deref(), None),
        output_sha256: sha256(output.as_bytes()),
        fuel: answer.fuel,
        now_ms: moment.now_ms,
    };
    drop(output);
    record_plan(run, moment, &row, (&decision, &state), &next, &tasks)?;
    Ok(tasks.len() as u64)
}

fn record_plan(
    run: &mut Run,
    moment: Moment<'_>,
    row: &RunRow,
    (decision, state): (&NewDecision, &str),
    next: &Next,
    tasks: &[PlannedTask],
) -> Result<(), PlanError> {
    let now = moment.now_ms;
    let from = RunState::Active;
    run.store.transaction(Durability::Full, |writer| {
        writer.add_decision(decision, state)?;
        match next {
            Next::Workflow(_) if !tasks.is_empty() => {
                writer.add_workflow(decision.iteration, decision.number, tasks, now)
            }
            Next::Workflow(_) | Next::Wait => {
                let idle = row.idle_plans + 1;
                writer.set_idle_plans(idle)?;
                if idle < IDLE_PLANS_MAX {
                    return Ok(());
                }
                let text = format!("the campaign planned nothing {idle} times in a row");
                writer.set_run_state(from, RunState::Held, Some(("planned-nothing", &text)), now)
            }
            Next::Complete(document) => {
                writer.set_result(document)?;
                writer.set_run_state(from, RunState::Completed, Some(("completed", &decision.reason)), now)
            }
            Next::Fail(detail) => {
                writer.set_run_state(from, RunState::Failed, Some((&detail.code, &detail.message)), now)
            }
            Next::Hold(detail) => {
                writer.set_run_state(from, RunState::Held, Some((&detail.code, &detail.message)), now)
            }
        }
    })?;
    Ok(())
}

/// The word for a decision, its canonical JSON, and the tasks it plans, checked.
fn read_next(run: &Run, next: &Next) -> Result<(&'static str, String, Vec<PlannedTask>), PlanError> {
    let detail = |detail: &Detail| json!({"code": detail.code, "message": detail.message}).to_string();
    Ok(match next {
        Next::Workflow(document) => {
            let (canonical, tasks) = read_tasks(run, document)?;
            ("workflow", format!("{{\"workflow\":{canonical}}}"), tasks)
        }
        Next::Wait => ("wait", "\"wait\"".to_owned(), Vec::new()),
        Next::Complete(document) => {
            let canonical = canonical_output(document, "plan", "complete")?;
            ("complete", format!("{{\"complete\":{canonical}}}"), Vec::new())
        }
        Next::Fail(d) => ("fail", format!("{{\"fail\":{}}}", detail(d)), Vec::new()),
        Next::Hold(d) => ("hold", format!("{{\"hold\":{}}}", detail(d)), Vec::new()),
    })
}

/// Reads a plan's tasks one at a time, so that a large plan is never held as a tree of values.
fn read_tasks(run: &Run, document: &str) -> Result<(String, Vec<PlannedTask>), PlanError> {
    let bad = |position: usize, error: serde_json::Error| WorkflowError::Shape(position, error.to_string());
    let raw: Vec<&RawValue> = serde_json::from_str(document).map_err(|error| bad(0, error))?;
    let known = run.store.task_counts()?.total;
    let total = known + raw.len() as u64;
    if total > run.config.limits.max_tasks {
        return Err(WorkflowError::TooMany(total, run.config.limits.max_tasks).into());
    }
    let mut canonical_all = String::with_capacity(document.len() + 2);
    canonical_all.push('[');
    let mut tasks = Vec::with_capacity(raw.len());
    for (position, text) in raw.into_iter().enumerate() {
        let task: Task = serde_json::from_str(text.get()).map_err(|error| bad(position, error))?;
        let json = canonical(text.get()).map_err(|error| bad(position, error))?;
        if position > 0 {
            canonical_all.push(',');
        }
        canonical_all.push_str(&json);
        tasks.push((task, json));
    }
    canonical_all.push(']');
    let exists = |id: &crate::model::id::TaskId| known > 0 && run.store.has_task(id.as_str()).unwrap_or(true);
    Ok((canonical_all, validate(tasks, &run.config, &exists)?))
}

fn context(run: &Run, row: &RunRow, moment: Moment<'_>, iteration: u32) -> Context {
    let inputs: serde_json::Map<String, Value> = run
        .config
        .pinned
        .iter()
        .flat_map(|pinned| &pinned.inputs)
        .map(|(name, file)| (name.clone(), json!({"sha256": file.sha256, "size": file.size})))
        .collect();
    Context {
        run_id: RunId(row.run_id.clone()),
        iteration,
        decision: row.decisions + 1,
        now_ms: moment.now_ms.max(0) as u64,
        seed: run.config.campaign.seed,
        params: run.config.campaign.params.to_string(),
        inputs: Value::Object(inputs).to_string(),
        supplied: row.supplied.clone(),
    }
}

fn campaign_digest(run: &Run) -> String {
    let pinned = run.config.pinned.as_ref().and_then(|pinned| pinned.plugins.get(&run.config.campaign.plugin));
    pinned.map(|file| file.sha256.clone()).unwrap_or_default()
}

fn canonical_output(text: &str, call: &'static str, what: &str) -> Result<String, PluginError> {
    canonical(text).map_err(|error| PluginError {
        plugin: "campaign".to_owned(),
        call: Some(call),
        kind: PluginErrorKind::BadOutput(format!("{what} is not canonical JSON: {error}")),
    })
}

/// SHA-256 of all that a decision could depend on, in canonical JSON.
fn input_digest(call: &str, context: &Context, state: Option<&str>, finished: Option<&str>) -> String {
    let document = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    let input = json!({
        "call": call,
        "run": context.run_id.as_str(),
        "iteration": context.iteration,
        "decision": context.decision,
        "now_ms": context.now_ms,
        "seed": context.seed.to_string(),
        "params": document(&context.params),
        "inputs": document(&context.inputs),
        "supplied": context.supplied.as_deref().map(document),
        "state": state.map(document),
        "finished": finished.map(document),
    });
    sha256(canonical(&input.to_string()).unwrap_or_default().as_bytes())
}
