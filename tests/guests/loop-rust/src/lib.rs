//! The closed-loop test campaign in Rust: a search that narrows an interval around the best of three points. The
//! campaigns of `loop-python` and `loop-javascript` make the same decisions.
use matterstack_sdk::{Campaign, Context, Decision, Error, Next, Outcome, Summary, Task, TaskResult, artifacts, json};
use serde::{Deserialize, Serialize};

/// The campaign.
pub struct Bisect;

matterstack_sdk::export_campaign!(Bisect);

/// `campaign.params`.
#[derive(Deserialize)]
pub struct Params {
    lo: i64,
    hi: i64,
    target: i64,
    iterations: u32,
    /// A whole number beyond 2^53, which only crosses and comes back.
    #[serde(default)]
    carried: f64,
}

/// The interval and the best point so far.
#[derive(Serialize, Deserialize)]
pub struct State {
    lo: i64,
    hi: i64,
    /// The distance between two points of the next iteration.
    step: f64,
    best: Option<Best>,
    evaluated: u32,
    carried: f64,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
struct Best {
    x: i64,
    value: i64,
}

impl Campaign for Bisect {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let params = ctx.params()?;
        let state = state.unwrap_or_else(|| State {
            lo: params.lo,
            hi: params.hi,
            step: (params.hi - params.lo) as f64 / 4.0,
            best: None,
            evaluated: 0,
            carried: params.carried,
        });
        if ctx.iteration > params.iterations {
            let result = json!({"best": state.best, "evaluated": state.evaluated, "unit": "µm"});
            return Ok(Decision::new(state, Next::Complete(result), "the iterations are used up"));
        }
        let reason = format!("three points between {} and {}", state.lo, state.hi);
        let tasks = (1..=3).map(|k| task(ctx.iteration, state.lo + (state.hi - state.lo) * k / 4, params.target));
        Ok(Decision::new(State { ..state }, Next::Workflow(tasks.collect()), reason))
    }

    fn analyze(ctx: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        let params = ctx.params()?;
        for result in results.iter().filter(|result| result.outcome == Outcome::Completed) {
            let file = result.output("value.json").ok_or_else(|| Error::invalid("no-output", "no `value.json`"))?;
            let point: Best = serde_json::from_slice(&artifacts::read_all(file)?)?;
            state.evaluated += 1;
            if state.best.is_none_or(|best| point.value < best.value) {
                state.best = Some(point);
            }
        }
        let quarter = (state.hi - state.lo) / 4;
        if let Some(best) = state.best {
            state.lo = (best.x - quarter).max(params.lo);
            state.hi = (best.x + quarter).min(params.hi);
        }
        state.step = (state.hi - state.lo) as f64 / 4.0;
        Ok(state)
    }

    fn summary(state: &State) -> Option<Summary> {
        let summary = Summary::new(format!("{} points evaluated", state.evaluated)).done(f64::from(state.evaluated));
        Some(match state.best {
            Some(best) => summary.metric("best", best.value as f64),
            None => summary,
        })
    }
}

fn task(iteration: u32, x: i64, target: i64) -> Task {
    let script = "echo \"{\\\"x\\\": $1, \\\"value\\\": $((($1 - $2) * ($1 - $2)))}\" > value.json";
    Task::new(format!("i{iteration}-x{x}"), "local")
        .command([
            "sh".to_owned(),
            "-c".to_owned(),
            script.to_owned(),
            "sh".to_owned(),
            x.to_string(),
            target.to_string(),
        ])
        .output("value.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use matterstack_sdk::OutputFile;

    #[test]
    fn three_iterations_close_in_on_the_target() {
        let params = Params { lo: 0, hi: 1024, target: 613, iterations: 3, carried: 0.0 };
        let mut ctx = Context::first(params);
        let mut state = None;
        for iteration in 1..=3 {
            ctx.iteration = iteration;
            let decision = Bisect::plan(&ctx, state.take()).unwrap();
            let Next::Workflow(tasks) = decision.next else { panic!("no workflow") };
            let xs: Vec<i64> = tasks.iter().map(|task| task.id.split_once('x').unwrap().1.parse().unwrap()).collect();
            let files = xs.iter().map(|x| {
                let text = json!({"x": x, "value": (x - 613) * (x - 613)}).to_string();
                (format!("digest-{x}"), text.into_bytes())
            });
            let results = xs.iter().map(|x| TaskResult {
                task: format!("i{iteration}-x{x}"),
                outcome: Outcome::Completed,
                code: None,
                reason: None,
                attempts: 1,
                allow_failure: false,
                attempt: None,
                data: None,
                outputs: vec![OutputFile {
                    path: "value.json".into(),
                    sha256: format!("digest-{x}"),
                    size: 20,
                    remote: None,
                }],
                data_sha256: None,
                data_size: None,
                supersedes: None,
            });
            let results = results.collect();
            state = Some(artifacts::with_files(files, || Bisect::analyze(&ctx, decision.state, results)).unwrap());
        }
        ctx.iteration = 4;
        let Next::Complete(result) = Bisect::plan(&ctx, state).unwrap().next else { panic!("not complete") };
        assert_eq!(result["evaluated"], 9);
        assert_eq!(result["best"]["x"], 640);
    }
}
