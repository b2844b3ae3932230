//! The coatings campaign: active learning over the compositions of a five-element alloy, for little friction and slow
//! dissolution at once.
//!
//! [`design`] proposes without a model, [`surrogate`] with one, by the [`acquisition`] value of each candidate;
//! [`objectives`] says what progress is; [`candidates`] makes tasks and reads their results. Everything here is a pure
//! function of the parameters, the seed and the result files.
pub mod acquisition;
pub mod alloy;
pub mod candidates;
pub mod design;
pub mod objectives;
pub mod params;
mod report;
pub mod surrogate;

use alloy::Composition;
use candidates::Candidate;
use matterstack_sdk::{Campaign, Context, Decision, Detail, Error, Next, Rng, TaskResult, log};
use objectives::{Objectives, Scaled, dominates, hypervolume};
use params::Params;
use serde::{Deserialize, Serialize};
use surrogate::{Lengths, Surrogate};

/// Results that a surrogate needs at least; with fewer, a batch fills space.
const RESULTS_MIN: usize = 4;
/// Iterations without progress after which the campaign is at its end.
const PATIENCE: usize = 3;

/// The campaign.
pub struct Coatings;

matterstack_sdk::export_campaign!(Coatings);

/// What the campaign remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Everything proposed so far, in order.
    candidates: Vec<Candidate>,
    /// The hypervolume after each iteration.
    hypervolume: Vec<f64>,
    /// Where the next fit starts.
    lengths: Option<Lengths>,
    /// How many candidates there were when the campaign last asked for a person.
    held_at: Option<usize>,
    /// What the host shows.
    summary: Summary,
}

/// What the host shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// One line on progress.
    text: String,
}

impl State {
    /// The candidates with both objectives.
    fn measured(&self) -> Vec<(&Candidate, Objectives)> {
        self.candidates.iter().filter_map(|candidate| Some((candidate, candidate.objectives()?))).collect()
    }

    /// The reason of the first failure, if the latest iteration has failures and nothing else.
    fn all_failed(&self) -> Option<&str> {
        let latest = self.candidates.last()?.iteration;
        let mut proposed = self.candidates.iter().filter(|candidate| candidate.iteration == latest);
        let first = proposed.clone().next()?.failure();
        if proposed.all(|candidate| candidate.failure().is_some()) { first } else { None }
    }

    /// Why there is nothing more to propose, if so.
    fn at_end(&self, ctx: &Context<Params>) -> Option<String> {
        if ctx.iteration > ctx.params.max_iterations {
            return Some(format!("the {} iterations are used up", ctx.params.max_iterations));
        }
        let volumes = &self.hypervolume;
        let tolerance = ctx.params.tolerance;
        let stalled = volumes.len() > PATIENCE
            && volumes[volumes.len() - PATIENCE - 1..].windows(2).all(|pair| pair[1] - pair[0] <= tolerance);
        stalled.then(|| format!("no iteration of the last {PATIENCE} raised the hypervolume by more than {tolerance}"))
    }
}

impl Campaign for Coatings {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let mut state = state.unwrap_or_default();
        if let Some(reason) = state.all_failed().map(str::to_owned)
            && state.held_at != Some(state.candidates.len())
        {
            state.held_at = Some(state.candidates.len());
            let text = format!("every candidate of iteration {} failed; the first: {reason}", ctx.iteration - 1);
            return Ok(Decision::new(state, Next::Hold(Detail::new("all-failed", text.clone())), text));
        }
        if let Some(stopped) = state.at_end(ctx) {
            let result = report::result(&state, &stopped);
            return Ok(Decision::new(state, Next::Complete(result), stopped));
        }
        let (chosen, reason) = propose(ctx, &mut state)?;
        let known = state.candidates.len();
        let proposed = chosen.into_iter().enumerate();
        state.candidates.extend(proposed.map(|(n, point)| Candidate::new(known + n + 1, ctx.iteration, point)));
        if state.summary.text.is_empty() {
            state.summary.text = report::summary(&state);
        }
        let tasks = state.candidates[known..].iter().flat_map(Candidate::tasks).collect();
        Ok(Decision::new(state, Next::Workflow(tasks), reason))
    }

    fn analyze(ctx: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        candidates::fold(&mut state.candidates, &results)?;
        let scaled: Vec<Scaled> = state.measured().iter().map(|(_, objectives)| objectives.scaled()).collect();
        let volume = hypervolume(&scaled);
        // an iteration is analyzed in several calls if it is large, and again after a rerun
        let iteration = ctx.iteration as usize;
        let before = state.hypervolume.last().copied().unwrap_or_default();
        state.hypervolume.resize(iteration, before);
        state.hypervolume[iteration - 1] = volume;
        state.summary.text = report::summary(&state);
        Ok(state)
    }
}

/// Chooses the compositions of the next iteration, and says how.
fn propose(ctx: &Context<Params>, state: &mut State) -> Result<(Vec<Composition>, String), Error> {
    let mut rng = ctx.rng();
    let taken: Vec<Composition> = state.candidates.iter().map(|candidate| candidate.composition).collect();
    let (points, values): (Vec<Composition>, Vec<Scaled>) =
        state.measured().iter().map(|(candidate, objectives)| (candidate.composition, objectives.scaled())).unzip();
    let Params { initial, batch, pool, .. } = ctx.params;
    if taken.is_empty() {
        return Ok((design::space_filling(initial, &[], &mut rng), format!("{initial} candidates that fill space")));
    }
    if points.len() < RESULTS_MIN {
        let reason = format!("{batch} candidates that fill space, because only {} have results", points.len());
        return Ok((design::space_filling(batch, &taken, &mut rng), reason));
    }
    let good: Vec<Composition> = points
        .iter()
        .zip(&values)
        .filter(|(_, value)| !values.iter().any(|other| dominates(other, value)))
        .map(|(point, _)| *point)
        .collect();
    let candidates = design::pool(pool, &good, &taken, &mut rng);
    let chosen = Surrogate::fit(&points, &values, state.lengths.as_ref()).and_then(|surrogate| {
        let lengths = surrogate.lengths();
        Ok((surrogate.choose(batch, &candidates, &values)?, lengths))
    });
    Ok(match chosen {
        Ok((chosen, lengths)) => {
            state.lengths = Some(lengths);
            let reason = format!(
                "{} of {} candidates, by expected hypervolume improvement from {} results",
                chosen.len(),
                candidates.len(),
                points.len()
            );
            (chosen, reason)
        }
        Err(error) => without_model(batch, &taken, &error.to_string(), &mut rng),
    })
}

/// A batch for an iteration whose surrogate cannot be computed; the reason says so.
fn without_model(batch: usize, taken: &[Composition], error: &str, rng: &mut Rng) -> (Vec<Composition>, String) {
    let reason = format!("{batch} candidates that fill space, because the surrogate failed: {error}");
    log::warn(&reason);
    (design::space_filling(batch, taken, rng), reason)
}

#[cfg(test)]
mod tests;
