//! A campaign whose plans are listed in `params.steps`, one after the other; the last of them is repeated. Its state
//! tells what each plan was asked with, and which results came, in their order.
//!
//! A step may have `tasks`, `complete`, `fail` (a message) or `hold` (a message, with `form`), else it waits; beside
//! that `cancel` (ids), `wake_in_ms` (from now, perhaps negative), `known` (`"skip"`), `write` (a text, which the tasks
//! get as the file `written`), and `ask_open` (how many open tasks are asked for at once, until there are no more).
use matterstack_sdk::{Campaign, Context, Decision, Detail, Error, Next, Summary, TaskResult, Value, artifacts, json};
use serde::{Deserialize, Serialize};

/// The campaign.
pub struct Steps;

matterstack_sdk::export_campaign!(Steps, manifest: r#"{"format": 1, "name": "steps", "analyze": "each-result"}"#);

/// What is planned, and what each plan answers beside.
#[derive(Debug, Deserialize)]
pub struct Params {
    steps: Vec<Value>,
}

/// What came of it so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    plans: Vec<Value>,
    results: Vec<Value>,
}

impl Campaign for Steps {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let mut state = state.unwrap_or_default();
        let steps = &ctx.params()?.steps;
        let step = steps.get(state.plans.len()).or_else(|| steps.last()).cloned().unwrap_or_default();
        let open = open_tasks(ctx, &step);
        state.plans.push(json!({
            "asked": ctx.asked, "iteration": ctx.iteration, "open": ctx.open_tasks, "told": open,
            "supplied": ctx.supplied()?,
        }));
        let result = json!({"plans": state.plans, "results": state.results});
        let mut decision = Decision::new(state, next(&step, result)?, "as listed");
        if let Some(ids) = step["cancel"].as_array() {
            decision = decision.cancel(ids.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        if let Some(ms) = step["wake_in_ms"].as_i64() {
            decision = decision.wake_at_ms(ctx.now_ms.saturating_add_signed(ms));
        }
        Ok(if step["known"] == "skip" { decision.skipping_known() } else { decision })
    }

    fn analyze(_: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        state.results.extend(results.iter().map(|result| {
            let superseded = result.supersedes.map(|outcome| json!(format!("{outcome:?}")));
            json!({"task": result.task, "outcome": format!("{:?}", result.outcome), "supersedes": superseded})
        }));
        Ok(state)
    }

    fn summary(state: &State) -> Option<Summary> {
        Some(Summary::new(format!("{} results", state.results.len())).done(state.results.len() as f64))
    }
}

/// Asks for the ids of open tasks, so many at once as the step says.
fn open_tasks(ctx: &Context<Params>, step: &Value) -> Vec<String> {
    let Some(most) = step["ask_open"].as_u64() else { return Vec::new() };
    let mut all: Vec<String> = Vec::new();
    loop {
        let some = ctx.open_tasks_after(all.last().map(String::as_str), most as u32);
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// What a step says that comes next.
fn next(step: &Value, result: Value) -> Result<Next, Error> {
    let text = |value: &Value| value.as_str().unwrap_or("as listed").to_owned();
    if step.get("complete").is_some() {
        return Ok(Next::Complete(result));
    }
    if let Some(message) = step.get("fail") {
        return Ok(Next::Fail(Detail::new("listed", text(message))));
    }
    if let Some(message) = step.get("hold") {
        let detail = Detail::new("listed", text(message));
        return Ok(Next::Hold(match step.get("form") {
            Some(form) => detail.with_data(json!({"form": form})),
            None => detail,
        }));
    }
    let Some(mut tasks) = step.get("tasks").cloned() else { return Ok(Next::Wait) };
    if let Some(bytes) = step["write"].as_str() {
        let digest = artifacts::write(bytes.as_bytes())?;
        for task in tasks.as_array_mut().into_iter().flatten() {
            task["files"]["written"] = json!({"digest": digest});
        }
    }
    Ok(Next::RawWorkflow(tasks.to_string()))
}
