//! `builtin:ask-tell`, the campaign whose decisions a scientist's own program makes.
//!
//! A task asks: it gets `ask.json` with all trials so far and leaves `trials.json`. Each trial is a task that measures
//! a point, or a chain of them; its result goes into the next `ask.json`. The campaign chooses nothing by itself. It
//! checks what the program says before any of it counts, refuses the whole of it otherwise, and keeps what ended in
//! files of the run, so that a late decision costs about what an early one does.
mod answer;
mod asking;
mod file;
mod finish;
mod free;
mod front;
mod goals;
mod ledger;
mod measure;
mod params;
mod pieces;
mod recipe;
mod space;
mod told;
mod trial;
mod trials;
mod turn;

pub use params::Params;

use asking::Asking;
use free::Free;
use matterstack_sdk::{Campaign, Context, Decision, Error, Outcome, Summary, TaskResult};
use params::Spec;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use trial::TrialState;
use trials::Trials;

/// The campaign.
pub struct AskTell;

matterstack_sdk::export_campaign!(AskTell, manifest: concat!(
    r#"{"format": 1, "name": "ask-tell", "version": ""#,
    env!("CARGO_PKG_VERSION"),
    r#"", "analyze": "each-result", "takes_back": true}"#
));

/// What is remembered between decisions.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// How many asks there have been.
    round: u64,
    /// The one that is live, or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asking: Option<Asking>,
    /// What it came to, until the next plan carries that out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<TaskResult>,
    trials: Trials,
    /// Files that asks have kept, with the task that left each last.
    kept: BTreeMap<String, String>,
    /// Why there are to be no more trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    /// Whether the program wants to see a result before it is asked again.
    waits: bool,
    /// What a program remembers that decides freely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    free: Option<Free>,
    /// What a person supplied, for the next ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    supplied: Option<Value>,
    /// The budget and the reference point, for the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    budget: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<[f64; 2]>,
}

impl Campaign for AskTell {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let spec = Spec::read(ctx.params()?)?;
        let state = match state {
            Some(mut state) => {
                state.trials.follow(&spec.goals)?;
                state
            }
            None => State { trials: told::start(ctx, &spec)?, ..State::default() },
        };
        turn::Turn::new(ctx, &spec, state).decide()
    }

    fn analyze(ctx: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        let spec = Spec::read(ctx.params()?)?;
        for result in results {
            state.fold(&spec, result)?;
        }
        Ok(state)
    }

    fn summary(state: &State) -> Option<Summary> {
        let own = state.free.as_ref().and_then(|free| free.summary.as_ref());
        Some(own.map_or_else(|| finish::summary(state), free::summary))
    }
}

impl State {
    /// Takes in the result of a task: of the ask, of a trial, or of a task that the program planned itself.
    fn fold(&mut self, spec: &Spec<'_>, result: TaskResult) -> Result<(), Error> {
        if self.asking.as_ref().is_some_and(|asking| asking.task == result.task) {
            self.answer = Some(result);
            return Ok(());
        }
        if let Some((place, step)) = self.trials.pending_of_task(&result.task) {
            self.note_news();
            return self.end_step(spec, place, step, &result);
        }
        if self.trials.is_unheeded(&result.task) || answer::is_ask(&result.task) {
            return Ok(());
        }
        if result.supersedes.is_some() && self.take_back(spec, &result)? {
            self.note_news();
            return Ok(());
        }
        if let Some(free) = &mut self.free {
            free.note(&result)?;
            self.note_news();
        }
        Ok(())
    }

    /// Takes in the result of one of a pending trial's tasks.
    fn end_step(&mut self, spec: &Spec<'_>, place: usize, step: usize, result: &TaskResult) -> Result<(), Error> {
        let steps = self.trials.pending()[place].steps;
        if step < steps && result.outcome == Outcome::Completed {
            measure::note_partial(self.trials.hear(place, step), spec, result);
            return Ok(());
        }
        self.trials.end(place, step, &spec.goals, |trial| {
            let abandoned = trial.state == TrialState::Abandoned && result.outcome != Outcome::Completed;
            measure::end(trial, spec, result);
            if abandoned {
                trial.state = TrialState::Abandoned;
            }
        })?;
        Ok(())
    }

    /// Puts the result of a task that has run again in the place of the earlier one; tells whether it is of a trial.
    fn take_back(&mut self, spec: &Spec<'_>, result: &TaskResult) -> Result<bool, Error> {
        let Some((trial, step)) = self.trials.ended_of_task(&result.task)? else { return Ok(false) };
        let steps = spec.recipe(trial.tell.as_deref()).map_or(1, Vec::len);
        if step < steps && result.outcome == Outcome::Completed {
            return Ok(true);
        }
        // what was told stays until something better is known, and a task that is stopped says nothing
        let told = trial.source != trial::Source::Ask && result.outcome != Outcome::Completed;
        if told || result.outcome == Outcome::Cancelled {
            return Ok(true);
        }
        self.trials.supersede(&trial.trial, &spec.goals, |trial| {
            trial.source = trial::Source::Ask;
            measure::end(trial, spec, result);
        })
    }

    /// Notes that something has ended: the program may have more to say.
    fn note_news(&mut self) {
        self.waits = false;
        if let Some(asking) = &mut self.asking {
            asking.outdated = true;
        }
    }

    /// Notes what the summary needs of the parameters.
    fn follow(&mut self, spec: &Spec<'_>) {
        self.budget = spec.params.budget.trials;
        self.reference = spec.reference;
    }
}

#[cfg(test)]
mod tests;
