//! The campaign as the host calls it, natively.
use super::*;
use matterstack_sdk::{Next, artifacts, json};

mod asked;
mod decided;
mod told;

/// A run: the host's part of it.
struct Run {
    params: Value,
    state: Option<State>,
    decision: u64,
    /// Tasks that have not ended, as they were planned.
    open: BTreeMap<String, Value>,
    cancelled: Vec<String>,
    reason: String,
}

fn params() -> Value {
    json!({
        "ask": {"command": ["python3", "ask.py"]}, "tell": {"command": "measure {x}"},
        "variables": {"x": [0, 1], "s": ["a", "b"]}, "objectives": {"y": "MINIMIZE"}, "parallel": 3,
    })
}

fn with(more: Value) -> Value {
    let mut all = params();
    more.as_object().into_iter().flatten().for_each(|(key, value)| all[key] = value.clone());
    all
}

/// Runs a test whose files live as long as it does.
fn on(params: Value, body: impl FnOnce(&mut Run)) {
    artifacts::with_files([], || {
        let (open, cancelled) = (BTreeMap::new(), Vec::new());
        body(&mut Run { params, state: None, decision: 0, open, cancelled, reason: String::new() });
    });
}

/// A file that a task has left.
fn file(path: &str, text: &str) -> Value {
    let sha256 = artifacts::write(text.as_bytes()).expect("a file");
    json!({"path": path, "sha256": sha256, "size": text.len()})
}

fn point(x: f64) -> Value {
    json!({"params": {"x": x, "s": "a"}})
}

impl Run {
    fn context(&mut self, asked: &[&str]) -> Context<Params> {
        self.decision += 1;
        let params = serde_json::from_value(self.params.clone()).expect("parameters");
        let mut ctx = Context::first(params).with_open_tasks(self.open.keys().cloned());
        (ctx.decision, ctx.asked) = (self.decision, asked.iter().map(|word| (*word).to_owned()).collect());
        ctx
    }

    fn try_plan(&mut self, ctx: &Context<Params>) -> Result<Next, Error> {
        let decision = AskTell::plan(ctx, self.state.clone())?;
        for id in &decision.cancel {
            self.open.remove(id);
        }
        self.cancelled = decision.cancel;
        self.reason = decision.reason;
        // what the host keeps is JSON
        let text = serde_json::to_string(&decision.state).expect("a state");
        self.state = Some(serde_json::from_str(&text).expect("a state"));
        if let Next::RawWorkflow(text) = &decision.next {
            let tasks: Vec<Value> = serde_json::from_str(text).expect("a list");
            for task in tasks {
                let id = task["id"].as_str().expect("an id").to_owned();
                assert!(self.open.insert(id, task).is_none());
            }
        }
        Ok(decision.next)
    }

    fn plan_for(&mut self, asked: &[&str]) -> Next {
        let ctx = self.context(asked);
        self.try_plan(&ctx).expect("a plan")
    }

    fn plan(&mut self) -> Next {
        self.plan_for(&["results"])
    }

    fn supply(&mut self, supplied: Value) -> Result<Next, String> {
        let ctx = self.context(&["resumed"]).with_supplied(supplied);
        self.try_plan(&ctx).map_err(|error| error.detail().message.clone())
    }

    fn fold(&mut self, result: Value) {
        if let Some(task) = result["task"].as_str() {
            self.open.remove(task);
        }
        let ctx = self.context(&[]);
        let results = vec![serde_json::from_value(result).expect("a result")];
        let state = AskTell::analyze(&ctx, self.state.take().expect("a state"), results).expect("a state");
        let text = serde_json::to_string(&state).expect("a state");
        self.state = Some(serde_json::from_str(&text).expect("a state"));
    }

    /// Ends a task that has left a file.
    fn leave(&mut self, task: &str, path: &str, text: &str) {
        let outputs = [file(path, text)];
        self.fold(json!({"task": task, "outcome": "completed", "outputs": outputs}));
    }

    /// Ends the live ask with this answer and plans.
    fn answer(&mut self, answer: Value) -> Next {
        let ask = self.ask().0;
        self.leave(&ask, "trials.json", &answer.to_string());
        self.plan()
    }

    /// Ends a trial with this result and plans.
    fn measure(&mut self, trial: &str, result: Value) -> Next {
        self.leave(trial, "result.json", &result.to_string());
        self.plan()
    }

    /// The live ask, and what it is told.
    fn ask(&self) -> (String, Value) {
        let (id, task) = self.open.iter().find(|(id, _)| id.starts_with("ask-")).expect("an ask");
        let source = &task["files"]["ask.json"];
        let parts = source.get("parts").and_then(Value::as_array).cloned();
        let parts = parts.unwrap_or_else(|| vec![source["digest"].clone()]).into_iter();
        let read = |part: Value| artifacts::read(part.as_str().expect("a digest"), 0, u32::MAX).expect("a file");
        let bytes: Vec<u8> = parts.flat_map(read).collect();
        assert_eq!(source["digest"], matterstack_sdk::work::sha256(&bytes).as_str());
        (id.clone(), serde_json::from_slice(&bytes).expect("JSON"))
    }

    fn open(&self) -> Vec<&str> {
        self.open.keys().map(String::as_str).collect()
    }

    /// The trial of this id, as the next ask would be told.
    fn trial(&self, id: &str) -> Value {
        let all = self.state.as_ref().expect("a state").trials.all().expect("trials");
        let trial = all.iter().find(|trial| trial.trial == id).expect("a trial");
        serde_json::to_value(trial).expect("JSON")
    }

    fn summary(&self) -> String {
        AskTell::summary(self.state.as_ref().expect("a state")).expect("a summary").text
    }
}

fn held(next: &Next) -> (&str, &str) {
    let Next::Hold(detail) = next else { panic!("{next:?}") };
    (&detail.code, &detail.message)
}

fn completed(next: Next) -> Value {
    let Next::Complete(result) = next else { panic!("{next:?}") };
    result
}

#[test]
fn what_is_wrong_with_parameters_is_said() {
    for (more, words) in [
        (json!({"variabels": {}}), "unknown field `variabels`"),
        (json!({"variables": {}}), "`variables` has none"),
        (json!({"variables": {"a-b": [0, 1]}}), "`a-b` is no name"),
        (json!({"variables": {"x": [0, 1], "trial": [0, 1]}}), "`trial` cannot be the name"),
        (json!({"variables": {"x": [1, 0]}}), "`variables.x`: the range [1, 0] does not rise"),
        (json!({"objectives": {}}), "`objectives` has none"),
        (json!({"objectives": {"y": "MIN"}}), "unknown variant `MIN`"),
        (json!({"objectives": {"x": "MINIMIZE"}}), "`x` is a variable or a constant, and is measured"),
        (json!({"constraints": {"c": ["BELOW", 3]}}), "`constraints.c`: a constraint is"),
        (json!({"constants": {"x": 1}}), "`x` is a variable and a constant"),
        (json!({"parallel": 0}), "`parallel` is 0"),
        (json!({"batch": 4}), "`batch` 4"),
        (json!({"budget": {"trial": 3}}), "unknown field `trial`"),
        (json!({"stop": {"improvement": 3}}), "unknown field `improvement`"),
        (json!({"reference_point": {"y": 1}}), "`reference_point` is for two objectives"),
        (json!({"reference_point": {"z": 1}}), "`reference_point.z` is no objective"),
        (json!({"start": {"run": "old"}}), "`start` names the run \"old\": a past run cannot be taken over yet"),
        (json!({"start": "none"}), "`campaign.inputs` has no `none`"),
        (json!({"ask": {"command": "a", "id": "x"}}), "`ask.id` is not the template's to say"),
        (json!({"ask": {"command": "a", "keep": ["*.pkl"]}}), "`ask.keep` has `*.pkl`, which is no name of a file"),
        (json!({"ask": {"command": "a", "files": {"ask.json": {}}}}), "`ask.files` has `ask.json`"),
        (json!({"tell": {"command": "m {z}"}}), "in `tell` `{z}` in `command` is no parameter; there are `s`, `x`"),
        (json!({"tell": {"command": "m", "files": {"params.json": {}}}}), "`tell.files` has `params.json`"),
        (json!({"tell": {"cheap": {"command": "m"}, "exact": {}}}), "`tell.exact` is no template"),
    ] {
        let read = serde_json::from_value::<Params>(with(more.clone())).map_err(|error| error.to_string());
        let plan =
            |params| AskTell::plan(&Context::first(params), None).map_err(|error| error.detail().message.clone());
        let error = artifacts::with_files([], || read.and_then(plan)).expect_err("a refusal");
        assert!(error.contains(words), "{more}: {error}");
    }
}

#[test]
fn a_late_decision_holds_about_what_an_early_one_does() {
    on(with(json!({"parallel": 1})), |run| {
        run.plan_for(&["first"]);
        let mut sizes = Vec::new();
        for number in 1..=650_u32 {
            run.answer(json!([{"x": f64::from(number) / 1000.0, "s": "a"}]));
            run.measure(&format!("trial-{number:04}"), json!({"y": number}));
            sizes.push(serde_json::to_string(&run.state).expect("a state").len());
        }
        let (early, late) = (sizes[..200].iter().max(), sizes.iter().max());
        assert!(late.expect("sizes") < &(early.expect("sizes") + 1000), "{early:?} {late:?}");
        assert_eq!(run.ask().1["trials"].as_array().expect("trials").len(), 650);
        // what lies in a file is corrected too
        let row = json!({"tell": [{"trial": "trial-0003", "result": {"y": -1}}]});
        run.supply(row).expect("a plan");
        assert_eq!(run.trial("trial-0003")["supersedes"]["result"], json!({"y": 3}));
        assert!(run.summary().starts_with("best y -1 (trial-0003)"), "{}", run.summary());
    });
}
