//! Looks for the lowest point of a measured curve: five points at a time, around the best one so far.
use matterstack_sdk::{Campaign, Context, Decision, Error, Next, Outcome, Summary, Task, TaskResult, artifacts, json};
use serde::{Deserialize, Serialize};

pub struct Descent;

matterstack_sdk::export_campaign!(Descent, manifest: include_str!("manifest.json"));

/// `campaign.params` of config.json.
#[derive(Deserialize)]
pub struct Params {
    from: f64,
    step: f64,
    iterations: u32,
}

/// What the campaign remembers: the host keeps it, and hands it to the next call.
#[derive(Serialize, Deserialize)]
pub struct State {
    x: f64,
    y: Option<f64>,
    step: f64,
}

impl Campaign for Descent {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let Params { from, step, iterations } = *ctx.params()?;
        let state = state.unwrap_or(State { x: from, y: None, step });
        if ctx.iteration > iterations {
            let result = json!({"x": state.x, "y": state.y});
            return Ok(Decision::new(state, Next::Complete(result), "the iterations are used up"));
        }
        let tasks = (-2..=2).map(|k| {
            let x = state.x + f64::from(k) * state.step;
            Task::new(format!("i{}-{}", ctx.iteration, k + 3), "local")
                .shell(format!("awk 'BEGIN {{ x = {x}; print x, (x - 3) ^ 2 + 1 }}' > y.txt"))
                .output("y.txt")
        });
        let tasks = tasks.collect();
        let reason = format!("five points around {}", state.x);
        Ok(Decision::new(state, Next::Workflow(tasks), reason))
    }

    fn analyze(_: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        for result in results.iter().filter(|result| result.outcome == Outcome::Completed) {
            let file = result.output("y.txt").ok_or_else(|| Error::invalid("no-output", "no `y.txt`"))?;
            let text = artifacts::read_text(file)?;
            let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let [x, y] = numbers[..] else { return Err(Error::invalid("y.txt", "is not two numbers")) };
            if state.y.is_none_or(|best| y < best) {
                (state.x, state.y) = (x, Some(y));
            }
        }
        state.step /= 2.0;
        Ok(state)
    }

    /// What `loop` and `status` show of the campaign's progress; asked after `plan` and `analyze`.
    fn summary(state: &State) -> Option<Summary> {
        let y = state.y?;
        Some(Summary::new(format!("best: {y} at {}", state.x)).metric("y", y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Params {
        Params { from: 0.0, step: 1.0, iterations: 2 }
    }

    #[test]
    fn it_begins_with_five_points() {
        let decision = Descent::plan(&Context::first(params()), None).unwrap();
        let Next::Workflow(tasks) = decision.next else { panic!("no tasks") };
        assert_eq!(tasks.len(), 5);
    }

    #[test]
    fn it_goes_on_from_the_lowest_point() {
        let context = Context::first(params());
        let state = Descent::plan(&context, None).unwrap().state;
        let files = [("a", "-2 26"), ("b", "2 2")].map(|(digest, text)| (digest.to_owned(), text.as_bytes().to_vec()));
        let result = |digest: &str, size: u64| {
            let output = json!({"path": "y.txt", "sha256": digest, "size": size});
            TaskResult::deserialize(json!({"task": digest, "outcome": "completed", "outputs": [output]})).unwrap()
        };
        let results = vec![result("a", 5), result("b", 3)];
        let state = artifacts::with_files(files, || Descent::analyze(&context, state, results)).unwrap();
        assert_eq!((state.x, state.y, state.step), (2.0, Some(2.0), 0.5));
    }
}
