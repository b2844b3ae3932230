//! The closed-loop test campaign in Rust: a search that narrows an interval around the best of three points. On the way
//! it does everything that a campaign can: it reads an input, keeps notes in the run and reads them again, draws random
//! numbers, has a task fail, waits, gives a task up, asks a person, and takes a result back. The campaigns of
//! `loop-python`, `loop-javascript` and `loop-typescript` make the same decisions.
use matterstack_sdk::{
    Campaign, Context, Decision, Detail, Error, Next, Outcome, OutputFile, Summary, Task, TaskResult, Value, artifacts,
    json,
};
use serde::{Deserialize, Serialize};

/// The campaign.
pub struct Bisect;

matterstack_sdk::export_campaign!(Bisect);

/// `campaign.params`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Params {
    lo: i64,
    hi: i64,
    target: i64,
    iterations: u32,
    /// A whole number beyond 2^53, which crosses, is reckoned with, and comes back.
    carried: f64,
    /// Points are moved by less than this, at random.
    jitter: u32,
    /// The iteration whose second task fails, if any.
    fails_in: u32,
    /// Whether the tasks of an iteration follow one another, beside one that does not end.
    watch: bool,
    /// Whether a person says the last word.
    ask: bool,
    /// How long to wait before looking again.
    wake_s: Option<u64>,
}

/// The interval, the best point so far, and what has happened.
#[derive(Serialize, Deserialize)]
pub struct State {
    lo: i64,
    hi: i64,
    /// The distance between two points of the next iteration.
    step: f64,
    best: Option<Best>,
    evaluated: u32,
    carried: f64,
    dose: f64,
    label: Option<String>,
    numbers: Value,
    signs: Value,
    /// The digest of the newest notes.
    notes: Option<String>,
    /// Why each plan was asked.
    asked: Vec<String>,
    /// The tasks of the iteration whose results have not come.
    waiting: Vec<String>,
    failed: Vec<Failed>,
    cancelled: u32,
    corrected: u32,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
struct Best {
    x: i64,
    value: i64,
}

#[derive(Serialize, Deserialize)]
struct Failed {
    task: String,
    code: Option<String>,
}

/// The input `start`.
#[derive(Deserialize, Default)]
struct Start {
    label: Option<String>,
    numbers: Value,
    signs: Value,
}

impl Campaign for Bisect {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let params = ctx.params()?;
        let mut state = state.map_or_else(|| State::first(ctx), Ok)?;
        state.asked.push(ctx.asked.join("+"));
        if !state.waiting.is_empty() {
            return Ok(wait(ctx, params, state));
        }
        if ctx.iteration > params.iterations {
            return end(ctx, params, state);
        }
        if let Some(label) = &state.label {
            state.notes = Some(artifacts::write(format!("{label}, round {}\n", ctx.iteration).as_bytes())?);
        }
        let mut tasks: Vec<Task> = Vec::new();
        for k in 1..=3 {
            tasks.push(point(ctx, params, &state, k, tasks.last()));
        }
        if params.watch {
            tasks.push(Task::new(format!("i{}-watch", ctx.iteration), "local").command(["sleep", "1000"]));
        }
        state.waiting = tasks.iter().map(|task| task.id.clone()).collect();
        let told = state.label.as_ref().map(|label| format!("{label}: ")).unwrap_or_default();
        let reason = format!("{told}three points between {} and {}", state.lo, state.hi);
        Ok(Decision::new(state, Next::Workflow(tasks), reason))
    }

    fn analyze(ctx: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        let waited = !state.waiting.is_empty();
        for result in results {
            if result.supersedes.is_some() {
                state.corrected += 1;
                continue;
            }
            state.waiting.retain(|task| *task != result.task);
            match result.outcome {
                Outcome::Completed => {
                    let file = result.output("value.json");
                    let file = file.ok_or_else(|| Error::invalid("no-output", "no `value.json`"))?;
                    let point: Best = serde_json::from_slice(&artifacts::read_all(file)?)?;
                    state.evaluated += 1;
                    if state.best.is_none_or(|best| point.value < best.value) {
                        state.best = Some(point);
                    }
                }
                Outcome::Cancelled => state.cancelled += 1,
                Outcome::Failed | Outcome::Skipped => {
                    state.failed.push(Failed { task: result.task, code: result.code });
                }
            }
        }
        if waited && state.waiting.is_empty() {
            state.narrow(ctx.params()?);
        }
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

impl State {
    fn first(ctx: &Context<Params>) -> Result<Self, Error> {
        let params = ctx.params()?;
        let start = match ctx.inputs()?.get("start") {
            Some(file) => serde_json::from_slice(&artifacts::read_all(file)?)?,
            None => Start::default(),
        };
        Ok(Self {
            lo: params.lo,
            hi: params.hi,
            step: (params.hi - params.lo) as f64 / 4.0,
            best: None,
            evaluated: 0,
            carried: params.carried,
            dose: 0.0,
            label: start.label,
            numbers: start.numbers,
            signs: start.signs,
            notes: None,
            asked: Vec::new(),
            waiting: Vec::new(),
            failed: Vec::new(),
            cancelled: 0,
            corrected: 0,
        })
    }

    fn narrow(&mut self, params: &Params) {
        let quarter = (self.hi - self.lo) / 4;
        if let Some(best) = self.best {
            self.lo = (best.x - quarter).max(params.lo);
            self.hi = (best.x + quarter).min(params.hi);
        }
        self.step = (self.hi - self.lo) as f64 / 4.0;
        self.dose = self.dose * 1.5 + self.carried;
    }
}

fn point(ctx: &Context<Params>, params: &Params, state: &State, k: i64, before: Option<&Task>) -> Task {
    let moved = (ctx.random() * f64::from(params.jitter)).floor() as i64;
    let x = state.lo + (state.hi - state.lo) * k / 4 + moved;
    let script = "echo \"{\\\"x\\\": $1, \\\"value\\\": $((($1 - $2) * ($1 - $2)))}\" > value.json";
    let task = Task::new(format!("i{}-x{x}", ctx.iteration), "local").output("value.json");
    let mut task = if ctx.iteration == params.fails_in && k == 2 {
        task.command(["sh", "-c", "exit 3"]).allow_failure()
    } else {
        task.command(["sh", "-c", script, "sh", &x.to_string(), &params.target.to_string()])
    };
    if let Some(notes) = &state.notes {
        task = task.file_written("notes.txt", notes);
    }
    match before.filter(|_| params.watch) {
        Some(before) => task.after(&before.id).allow_dependency_failure(),
        None => task,
    }
}

fn wait(ctx: &Context<Params>, params: &Params, state: State) -> Decision<State> {
    if state.waiting.iter().all(|task| task.ends_with("-watch")) {
        let open = ctx.open_tasks_after(None, 10_000);
        return Decision::new(state, Next::Wait, "only the watch is left").cancel(open);
    }
    let reason = format!("{} are waited for, {} are open", state.waiting.len(), ctx.open_tasks);
    let decision = Decision::new(state, Next::Wait, reason);
    match params.wake_s {
        Some(wake_s) => decision.wake_at_ms(ctx.now_ms + 1000 * wake_s),
        None => decision,
    }
}

fn end(ctx: &Context<Params>, params: &Params, state: State) -> Result<Decision<State>, Error> {
    let supplied = ctx.supplied()?;
    if params.ask && supplied.is_none() {
        let form = json!({"properties": {"note": {"type": "string"}, "n": {"type": "number"}}});
        let detail = Detail::new("look", "is this the right one? 🧪").with_data(json!({"form": form}));
        return Ok(Decision::new(state, Next::Hold(detail), "a person looks at it"));
    }
    let read = |digest: &String| {
        let file = OutputFile { path: "notes".to_owned(), sha256: digest.clone(), size: 0, remote: None };
        artifacts::read_text(&file)
    };
    let result = json!({
        "best": state.best, "evaluated": state.evaluated, "failed": state.failed, "cancelled": state.cancelled,
        "corrected": state.corrected, "asked": state.asked, "unit": "µm",
        "notes": state.notes.as_ref().map(read).transpose()?, "supplied": supplied,
    });
    Ok(Decision::new(state, Next::Complete(result), "the iterations are used up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_iterations_close_in_on_the_target() {
        let params = Params { lo: 0, hi: 1024, target: 613, iterations: 3, ..Params::default() };
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
