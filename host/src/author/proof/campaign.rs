//! What a campaign is asked: each call twice, so that chance is seen.
use super::outside::Outside;
use super::{HUGE, Stop, Subject, Trial, host};
use crate::model::contract::{Context, Decision, Folded, GuestError, Next, RunView};
use crate::model::document;
use crate::model::workflow::read_task;
use crate::plugin::{Answer, PluginHost, PluginSource, Plugins};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Results of one portion, as many as the host delivers at once.
const PORTION: usize = 1000;
/// Bytes of the output document of each of them.
const DATA: usize = 8 * 1024;
/// A seed like any other, and the time of the first call.
const SEED: u64 = 42;
const NOW_MS: u64 = 1_700_000_000_123;

/// A run as the campaign sees it.
#[derive(Debug)]
struct View {
    params: String,
    supplied: Option<String>,
}

impl RunView for View {
    fn id(&self) -> &str {
        "20260101T000000Z-test"
    }

    fn params(&self) -> Result<String, String> {
        Ok(self.params.clone())
    }

    fn inputs(&self) -> String {
        "{}".to_owned()
    }

    fn supplied(&self) -> Option<String> {
        self.supplied.clone()
    }

    fn open_tasks(&self, _: Option<&str>, _: u32) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

fn context(params: &Value, decision: u64, asked: &[&str]) -> Context {
    let supplied = asked.contains(&"resumed").then(|| r#"{"answer":"yes"}"#.to_owned());
    Context {
        decision,
        iteration: 1 + u32::from(decision > 1),
        now_ms: NOW_MS + decision * 60_000,
        seed: SEED,
        asked: asked.iter().map(|word| (*word).to_owned()).collect(),
        open_tasks: 0,
        run: Arc::new(View { params: params.to_string(), supplied }),
    }
}

/// A campaign and what is written down of it.
struct Asking<'a> {
    host: PluginHost,
    subject: &'a Subject<'a>,
    trial: &'a mut Trial,
}

/// Tries a campaign.
pub(super) fn run(subject: &Subject<'_>, source: PluginSource, trial: &mut Trial) -> Result<(), Stop> {
    let mut host = host(subject, &Arc::new(Outside::default()));
    host.set_campaign(source);
    host.load_all()?;
    let mut asking = Asking { host, subject, trial };
    let (state, tasks) = asking.first()?;
    asking.later_plans(&state)?;
    asking.results(&state, &tasks)?;
    asking.other_params()
}

impl Asking<'_> {
    /// The first plan, by which everything else goes.
    fn first(&mut self) -> Result<(String, Vec<Value>), Stop> {
        self.trial.case("the first plan");
        match self.plan(&context(&self.subject.given.clone(), 1, &["first"]), None)? {
            Ok(decision) => {
                let tasks = self.tasks(&decision)?;
                Ok((decision.state, tasks))
            }
            Err(error) => Err(self.trial.found(format!(
                "does not make a first plan: {error}; test the workspace that names it, or give its parameters with \
                 --params FILE"
            ))),
        }
    }

    fn later_plans(&mut self, state: &str) -> Result<(), Stop> {
        for (name, asked) in [
            ("a plan with its own state, asked for `results`", "results"),
            ("a plan with its own state, asked for `waited`", "waited"),
            ("a plan with its own state, asked for `time`", "time"),
            ("a plan with its own state, asked for `changed`", "changed"),
            ("a plan with its own state, asked for `reopened`", "reopened"),
            ("a plan with its own state, asked for `resumed`", "resumed"),
            ("a plan with its own state, asked for a word that is not known yet", "tomorrow"),
        ] {
            self.trial.case(name);
            if let Ok(decision) = self.plan(&context(&self.subject.given.clone(), 2, &[asked]), Some(state))? {
                self.tasks(&decision)?;
            }
        }
        Ok(())
    }

    fn results(&mut self, state: &str, tasks: &[Value]) -> Result<(), Stop> {
        let ids: Vec<&str> = tasks.iter().filter_map(|task| task["id"].as_str()).collect();
        let id = ids.first().copied().unwrap_or("a");
        let one = |outcome: &str| match outcome {
            "completed" => json!([{"task": id, "outcome": outcome, "outputs": []}]),
            _ => json!([{"task": id, "outcome": outcome, "code": "exit-code", "reason": "it ended so", "outputs": []}]),
        };
        let all: Value = ids.iter().map(|id| json!({"task": id, "outcome": "completed", "outputs": []})).collect();
        let data = "x".repeat(DATA);
        let huge: Value = (0..PORTION)
            .map(|number| json!({"task": format!("t{number}"), "outcome": "completed", "data": {"x": data}, "outputs": []}))
            .collect();
        let mut superseding = one("completed");
        superseding[0]["supersedes"] = json!("failed");
        for (name, results) in [
            ("results of no task", json!([])),
            ("a task that completed", one("completed")),
            ("a task that failed", one("failed")),
            ("a task that was cancelled", one("cancelled")),
            ("a task that was skipped", one("skipped")),
            ("a task of which nobody has heard", json!([{"task": "µ∅", "outcome": "completed", "outputs": []}])),
            ("a result with a key that is not known yet", json!([{"task": id, "outcome": "failed", "tomorrow": 1}])),
            ("a result that takes an earlier one back", superseding),
            ("every task of its first plan", all),
            ("1000 results of 8 MB together", huge),
        ] {
            self.trial.case(name);
            let Ok(folded) = self.analyze(&context(&self.subject.given.clone(), 2, &[]), state, &results)? else {
                continue;
            };
            // the same portion again, as after a rerun, and then the next plan
            let again = self.analyze(&context(&self.subject.given.clone(), 3, &[]), &folded.state, &results)?;
            let state = again.map_or(folded.state, |again| again.state);
            if let Ok(decision) = self.plan(&context(&self.subject.given.clone(), 4, &["results"]), Some(&state))? {
                self.tasks(&decision)?;
            }
        }
        Ok(())
    }

    /// What people write wrongly is refused in words, not by a trap.
    fn other_params(&mut self) -> Result<(), Stop> {
        let huge = json!({"unknown": "x".repeat(HUGE)});
        let nested = (0..100).fold(json!({}), |inner, _| json!({"unknown": inner}));
        for (name, params) in [
            ("parameters that are empty", json!({})),
            ("parameters that are no object", json!([1.5e17, null, "µ"])),
            ("parameters of 1 MB", huge),
            ("parameters nested 100 deep", nested),
        ] {
            self.trial.case(name);
            if let Ok(decision) = self.plan(&context(&params, 1, &["first"]), None)? {
                self.tasks(&decision)?;
            }
        }
        Ok(())
    }

    fn plan(&mut self, context: &Context, state: Option<&str>) -> Result<Result<Decision, GuestError>, Stop> {
        let params = context.run.params().unwrap_or_default();
        let given = format!("asked {:?}, params {params}, state {}", context.asked, state.unwrap_or("none"));
        let once = self.host.plan(context, state);
        self.trial.called("plan", &given, &once.value);
        self.same("plan", &once, &self.host.plan(context, state))?;
        let answer = self.trial.answered("plan", once.value)?;
        self.kept("plan", answer.as_ref().ok().map(|decision| &decision.state))?;
        Ok(answer)
    }

    fn analyze(&mut self, context: &Context, state: &str, results: &Value) -> Result<Result<Folded, GuestError>, Stop> {
        let finished = results.to_string();
        let once = self.host.analyze(context, state, &finished);
        self.trial.called("analyze", &format!("state {state}, results {finished}"), &once.value);
        self.same("analyze", &once, &self.host.analyze(context, state, &finished))?;
        let answer = self.trial.answered("analyze", once.value)?;
        self.kept("analyze", answer.as_ref().ok().map(|folded| &folded.state))?;
        Ok(answer)
    }

    /// A state has to be a document that every reader reads alike.
    fn kept(&self, call: &str, state: Option<&String>) -> Result<(), Stop> {
        let Some(Err(fault)) = state.map(|state| document::check(state)) else { return Ok(()) };
        let why = fault.sentence();
        Err(self.trial.found(format!("answers `{call}` with a state that cannot be kept: {why}")))
    }

    /// Two calls with the same arguments give the same answer, and use as much fuel.
    fn same<T: std::fmt::Debug>(&self, call: &str, once: &Answer<T>, twice: &Answer<T>) -> Result<(), Stop> {
        // a fuse, and what a machine refuses, ends a call where it happens to be
        let by_chance = |answer: &Answer<T>| answer.value.as_ref().is_err_and(|error| error.kind.bound().is_some());
        if by_chance(once) || by_chance(twice) {
            return Ok(());
        }
        let text = |answer: &Answer<T>| match &answer.value {
            Ok(value) => format!("{value:?}"),
            Err(error) => error.to_string(),
        };
        if text(once) != text(twice) {
            let second = super::shortened(&text(twice));
            return Err(self.trial.found(format!("answers `{call}` otherwise when it is asked again: {second}")));
        }
        match once.fuel == twice.fuel {
            true => Ok(()),
            false => Err(self.trial.found(format!("computes otherwise when `{call}` is called again, by its fuel"))),
        }
    }

    /// The tasks of a decision, each as the host takes it.
    fn tasks(&self, decision: &Decision) -> Result<Vec<Value>, Stop> {
        let Next::Workflow(text) = &decision.next else { return Ok(Vec::new()) };
        let tasks: Vec<Map<String, Value>> = serde_json::from_str(text)
            .map_err(|error| self.trial.found(format!("plans what is no list of tasks: {error}")))?;
        let mut ids = BTreeSet::new();
        for (position, task) in tasks.iter().enumerate() {
            let text = Value::Object(task.clone()).to_string();
            if let Some(Err(error)) = self.subject.config.map(|config| read_task(position, &text, config)) {
                return Err(self.trial.found(format!("plans a task that the host refuses: {error}")));
            }
            let Some(id) = task.get("id").and_then(Value::as_str) else {
                return Err(self.trial.found(format!("plans a task without an `id`, at position {position}")));
            };
            if !ids.insert(id) {
                return Err(self.trial.found(format!("plans two tasks with the id `{id}`")));
            }
        }
        Ok(tasks.iter().cloned().map(Value::Object).collect())
    }
}
