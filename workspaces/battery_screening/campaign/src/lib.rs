//! The battery campaign: every cathode in every electrolyte, each a task that may fail, then a summary of those that
//! did not.
//!
//! The screening is one iteration and the summary the next. A task that took files `from` all candidates in the first
//! iteration could not start, because some of them leave none; in the second, the campaign knows which ones did.
mod candidates;

use candidates::{Candidate, Fate};
use matterstack_sdk::task::Resources;
use matterstack_sdk::{
    Campaign, Context, Decision, Detail, Error, Next, Outcome, Summary, Task, TaskResult, artifacts, json,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The operator key that carries all tasks.
const OPERATOR: &str = "compute";
/// The id of a summary's task, before the number of its iteration. No candidate's id begins so: it holds a `+`.
const SUMMARY: &str = "summary-";
const RANKING: &str = "ranking.json";
/// Bytes of a ranking that is read; a candidate takes about 200.
const RANKING_MAX: u64 = 16 << 20;

/// The campaign.
pub struct Battery;

matterstack_sdk::export_campaign!(Battery);

/// `campaign.params`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// The discharge rate: full capacities an hour, from 0.01 to 20; 1 by default.
    pub c_rate: f64,
    /// The step of the model in seconds, 0.01 to 60; 2 by default. A shorter one rescues candidates that diverge.
    pub time_step_s: f64,
    /// How many of the ranking the result names, at least 1; 5 by default.
    pub top: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self { c_rate: 1.0, time_step_s: 2.0, top: 5 }
    }
}

impl Params {
    fn check(&self) -> Result<(), Error> {
        let within = |name: &str, value: f64, least: f64, most: f64| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(Error::invalid("params", format!("`{name}` is {value}; it must be from {least} to {most}"))),
        };
        within("c_rate", self.c_rate, 0.01, 20.0)?;
        within("time_step_s", self.time_step_s, 0.01, 60.0)?;
        within("top", self.top as f64, 1.0, 10_000.0)
    }
}

/// What the campaign remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    candidates: Vec<Candidate>,
    /// What the latest summary left, once it has ended.
    ranking: Option<Ranking>,
}

/// The end of a summary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Ranking {
    task: String,
    /// The ranking, or why there is none.
    entries: Result<Vec<Value>, String>,
}

impl State {
    fn completed(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|candidate| candidate.fate == Fate::Completed)
    }

    /// The candidates without a result and why, by id.
    fn failed(&self) -> Map<String, Value> {
        let reason = |candidate: &Candidate| Some((candidate.id.clone(), json!(candidate.failure()?)));
        self.candidates.iter().filter_map(reason).collect()
    }

    fn line(&self) -> String {
        let (total, completed, failed) = (self.candidates.len(), self.completed().count(), self.failed().len());
        let screened = format!("{completed} of {total} candidates have a result, {failed} failed");
        match self.ranking.as_ref().map(|ranking| &ranking.entries) {
            Some(Ok(entries)) => match entries.first() {
                Some(best) => {
                    format!("{screened}; best: {}, {} Wh/kg", words(&best["candidate"]), best["energy_wh_kg"])
                }
                None => screened,
            },
            Some(Err(reason)) => format!("{screened}; no summary: {reason}"),
            None => screened,
        }
    }
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

impl Campaign for Battery {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let params = ctx.params()?;
        params.check()?;
        let Some(state) = state else { return screen(ctx) };
        let Some(Ranking { task, entries }) = &state.ranking else { return summarise(ctx, state) };
        match entries {
            Ok(entries) => {
                let top: Vec<&Value> = entries.iter().take(params.top).collect();
                let result = json!({
                    "ranking": top, "ranked": entries.len(), "failed": state.failed(),
                    "files": {"task": task, "outputs": [RANKING, "ranking.csv"]},
                });
                Ok(Decision::new(state, Next::Complete(result), "every candidate has a result or a reason"))
            }
            Err(reason) => {
                let detail = Detail::new("no-summary", format!("the summary failed: {reason}"));
                Ok(Decision::new(state, Next::Fail(detail), "the summary failed"))
            }
        }
    }

    fn analyze(_: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        for result in &results {
            if result.task.starts_with(SUMMARY) {
                state.ranking = Some(Ranking { task: result.task.clone(), entries: read_ranking(result)? });
                continue;
            }
            let candidate = state.candidates.iter_mut().find(|candidate| candidate.id == result.task);
            let candidate = candidate.ok_or_else(|| {
                Error::invalid("unknown-task", format!("task `{}` is none of this campaign", result.task))
            })?;
            candidate.fate = Fate::of(result);
            // a candidate that was run again is not in the summary there may be
            state.ranking = None;
        }
        Ok(state)
    }

    fn summary(state: &State) -> Option<Summary> {
        let ended = state.candidates.iter().filter(|candidate| candidate.fate != Fate::Pending).count();
        Some(Summary::new(state.line()).done(ended as f64).total(state.candidates.len() as f64))
    }
}

/// The first iteration: one task a candidate, none of which may stop the others.
fn screen(ctx: &Context<Params>) -> Result<Decision<State>, Error> {
    let pairs = candidates::pairs(&artifacts::read_text(ctx.input("candidates")?)?)?;
    let params = ctx.params()?;
    let tasks = pairs.iter().map(|pair| pair.task(params)).collect();
    let candidates = pairs.into_iter().map(|pair| Candidate { id: pair.id, fate: Fate::Pending }).collect();
    let state = State { candidates, ..State::default() };
    let reason = format!("{} candidates, each of which may fail", state.candidates.len());
    Ok(Decision::new(state, Next::Workflow(tasks), reason))
}

/// The second iteration: a task that reads what the completed ones left, and only that.
fn summarise(ctx: &Context<Params>, state: State) -> Result<Decision<State>, Error> {
    let count = state.completed().count();
    if count == 0 {
        let text = "no candidate has a result, so there is nothing to rank";
        return Ok(Decision::new(state, Next::Fail(Detail::new("nothing-to-rank", text)), text));
    }
    let tasks = vec![summary_task(format!("{SUMMARY}{}", ctx.iteration), &state)];
    Ok(Decision::new(state, Next::Workflow(tasks), format!("a summary of {count} results")))
}

fn summary_task(id: String, state: &State) -> Task {
    let task = Task::new(id, OPERATOR)
        .command(["python3", "summarise.py", "results", "--failed", "failed.json"])
        .file("summarise.py", "scripts/summarise.py")
        .file("document.py", "scripts/document.py")
        .content("failed.json", Value::Object(state.failed()).to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output(RANKING)
        .output("ranking.csv")
        .resources(Resources { cores: Some(1), walltime_s: Some(300.0), ..Resources::default() });
    state.completed().fold(task, |task, candidate| {
        task.file_from(format!("results/{}.json", candidate.id), &candidate.id, candidates::OUTPUT)
    })
}

/// The ranking, or why there is none. Fails if the file cannot be fetched.
fn read_ranking(result: &TaskResult) -> Result<Result<Vec<Value>, String>, Error> {
    #[derive(Deserialize)]
    struct File {
        ranking: Vec<Value>,
    }
    if result.outcome != Outcome::Completed {
        return Ok(Err(candidates::reason(result)));
    }
    let Some(file) = result.output(RANKING) else { return Ok(Err(format!("it left no `{RANKING}`"))) };
    if file.size > RANKING_MAX {
        return Ok(Err(format!("`{RANKING}` has {} bytes; at most {RANKING_MAX} are read", file.size)));
    }
    let ranking = serde_json::from_slice::<File>(&artifacts::read_all(file)?);
    Ok(ranking.map(|file| file.ranking).map_err(|error| format!("`{RANKING}` is not a ranking: {error}")))
}

#[cfg(test)]
mod tests;
