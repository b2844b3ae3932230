//! The coatings campaign: active learning over the compositions of a five-element alloy, for little friction and slow
//! dissolution at once.
//!
//! [`design`] proposes without a model, [`surrogate`] with one, by the [`acquisition`] value of each candidate;
//! [`objectives`] says what progress is; [`candidates`] makes tasks and reads their results. Everything here is a pure
//! function of the parameters, the seed, the result files and, with the parameter `parallel`, the order in which these
//! come.
pub mod acquisition;
pub mod alloy;
pub mod candidates;
pub mod design;
pub mod objectives;
mod overlap;
pub mod params;
mod report;
pub mod surrogate;

use alloy::Composition;
use candidates::Candidate;
use matterstack_sdk::{Campaign, Context, Decision, Detail, Error, Next, Rng, Summary, TaskResult, log};
use objectives::{Objectives, Scaled, dominates, hypervolume};
use params::Params;
use serde::{Deserialize, Serialize};
use std::slice;
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
    /// The hypervolume after each iteration, or what stands for one with `parallel`.
    hypervolume: Vec<f64>,
    /// Where the next fit starts.
    lengths: Option<Lengths>,
    /// How many candidates there were, or with `parallel` had ended, when the campaign last asked for a person.
    held_at: Option<usize>,
    /// With `parallel` the places of the candidates that have ended, in the order in which they did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<usize>,
}

impl State {
    /// The candidates with both objectives.
    fn measured(&self) -> Vec<(&Candidate, Objectives)> {
        self.candidates.iter().filter_map(|candidate| Some((candidate, candidate.objectives()?))).collect()
    }

    /// How many candidates have not ended.
    fn pending(&self) -> usize {
        self.candidates.iter().filter(|candidate| !candidate.has_ended()).count()
    }

    /// Why a person should be asked, if nothing but failures came back since one was; the next call finds that said.
    fn ask_person(&mut self, params: &Params) -> Option<String> {
        let (text, at) = if params.parallel.is_some() {
            (self.last_failed(params)?, self.ended.len())
        } else {
            (self.all_failed()?, self.candidates.len())
        };
        if self.held_at == Some(at) {
            return None;
        }
        self.held_at = Some(at);
        Some(text)
    }

    /// Why a person should be asked, if the latest iteration has failures and nothing else.
    fn all_failed(&self) -> Option<String> {
        let latest = self.candidates.last()?.iteration;
        let mut proposed = self.candidates.iter().filter(|candidate| candidate.iteration == latest);
        let first = proposed.clone().next()?.failure()?;
        proposed
            .all(|candidate| candidate.failure().is_some())
            .then(|| format!("every candidate of iteration {latest} failed; the first: {first}"))
    }

    /// Why there is nothing more to propose, if so.
    fn at_end(&self, iteration: u32, params: &Params) -> Option<String> {
        if params.parallel.is_some() {
            return self.overlap_at_end(params);
        }
        if iteration > params.max_iterations {
            return Some(format!("the {} iterations are used up", params.max_iterations));
        }
        let tolerance = params.tolerance;
        has_stalled(&self.hypervolume, self.hypervolume.len(), tolerance)
            .then(|| format!("no iteration of the last {PATIENCE} raised the hypervolume by more than {tolerance}"))
    }

    /// How many candidates are to be proposed now, beside what has not ended.
    fn missing(&self, params: &Params) -> usize {
        let pending = self.pending();
        match params.parallel {
            _ if self.candidates.is_empty() => params.initial,
            Some(parallel) => parallel.saturating_sub(pending).min(params.budget() - self.candidates.len()),
            None if pending == 0 => params.batch,
            None => 0,
        }
    }
}

/// Whether the hypervolume did not grow in the last iterations of those that are whole, nor in one that is not.
fn has_stalled(volumes: &[f64], whole: usize, tolerance: f64) -> bool {
    whole > PATIENCE && volumes[whole - PATIENCE - 1..].windows(2).all(|pair| pair[1] - pair[0] <= tolerance)
}

impl Campaign for Coatings {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let mut state = state.unwrap_or_default();
        let params = ctx.params()?;
        if params.parallel.is_some() {
            // what ended while it went on in batches, before a person amended it
            state.note_ended();
        }
        if let Some(text) = state.ask_person(params) {
            return Ok(Decision::new(state, Next::Hold(Detail::new("all-failed", text.clone())), text));
        }
        let pending = state.pending();
        if let Some(stopped) = state.at_end(ctx.iteration, params) {
            if pending > 0 {
                return Ok(Decision::new(state, Next::Wait, format!("{stopped}; {pending} have not ended")));
            }
            let result = report::result(&state, params, &stopped);
            return Ok(Decision::new(state, Next::Complete(result), stopped));
        }
        let missing = state.missing(params);
        if missing == 0 {
            return Ok(Decision::new(state, Next::Wait, format!("{pending} candidates have not ended")));
        }
        let (chosen, reason) = propose(ctx, &mut state, missing)?;
        let known = state.candidates.len();
        let proposed = chosen.into_iter().enumerate();
        state.candidates.extend(proposed.map(|(n, point)| Candidate::new(known + n + 1, ctx.iteration, point)));
        let tasks = state.candidates[known..].iter().flat_map(Candidate::tasks).collect();
        Ok(Decision::new(state, Next::Workflow(tasks), reason))
    }

    fn analyze(ctx: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        let params = ctx.params()?;
        if params.parallel.is_some() {
            for result in &results {
                candidates::fold(&mut state.candidates, slice::from_ref(result))?;
                state.note_ended();
            }
            state.hypervolume = state.growth(params).iter().map(|mark| mark.hypervolume).collect();
            return Ok(state);
        }
        candidates::fold(&mut state.candidates, &results)?;
        let scaled: Vec<Scaled> = state.measured().iter().map(|(_, objectives)| objectives.scaled()).collect();
        let volume = hypervolume(&scaled);
        // an iteration is analyzed in several calls if it is large, and again after a rerun
        let iteration = ctx.iteration as usize;
        let before = state.hypervolume.last().copied().unwrap_or_default();
        state.hypervolume.resize(iteration, before);
        state.hypervolume[iteration - 1] = volume;
        Ok(state)
    }

    fn summary(state: &State) -> Option<Summary> {
        let summary = Summary::new(report::line(state));
        Some(match state.hypervolume.last() {
            Some(volume) => summary.metric("hypervolume", *volume),
            None => summary,
        })
    }
}

/// Chooses so many compositions, and says how.
fn propose(ctx: &Context<Params>, state: &mut State, count: usize) -> Result<(Vec<Composition>, String), Error> {
    let mut rng = ctx.rng();
    let taken: Vec<Composition> = state.candidates.iter().map(|candidate| candidate.composition).collect();
    let (points, values): (Vec<Composition>, Vec<Scaled>) =
        state.measured().iter().map(|(candidate, objectives)| (candidate.composition, objectives.scaled())).unzip();
    if taken.is_empty() {
        return Ok((design::space_filling(count, &[], &mut rng), format!("{count} candidates that fill space")));
    }
    if points.len() < RESULTS_MIN {
        let reason = format!("{count} candidates that fill space, because only {} have results", points.len());
        return Ok((design::space_filling(count, &taken, &mut rng), reason));
    }
    let awaited: Vec<Composition> =
        state.candidates.iter().filter(|candidate| candidate.is_awaited()).map(|one| one.composition).collect();
    let good: Vec<Composition> = points
        .iter()
        .zip(&values)
        .filter(|(_, value)| !values.iter().any(|other| dominates(other, value)))
        .map(|(point, _)| *point)
        .collect();
    let candidates = design::pool(ctx.params()?.pool, &good, &taken, &mut rng);
    let chosen = Surrogate::fit(&points, &values, state.lengths.as_ref()).and_then(|surrogate| {
        let lengths = surrogate.lengths();
        let (surrogate, believed) = surrogate.believing(&awaited)?;
        let known: Vec<Scaled> = values.iter().copied().chain(believed).collect();
        Ok((surrogate.choose(count, &candidates, &known)?, lengths))
    });
    Ok(match chosen {
        Ok((chosen, lengths)) => {
            state.lengths = Some(lengths);
            let mut reason = format!(
                "{} of {} candidates, by expected hypervolume improvement from {} results",
                chosen.len(),
                candidates.len(),
                points.len()
            );
            if !awaited.is_empty() {
                reason += &format!(" and the means of {} that have not ended", awaited.len());
            }
            (chosen, reason)
        }
        Err(error) => without_model(count, &taken, &error.to_string(), &mut rng),
    })
}

/// So many compositions where the surrogate cannot be computed; the reason says so.
fn without_model(count: usize, taken: &[Composition], error: &str, rng: &mut Rng) -> (Vec<Composition>, String) {
    let reason = format!("{count} candidates that fill space, because the surrogate failed: {error}");
    log::warn(&reason);
    (design::space_filling(count, taken, rng), reason)
}

#[cfg(test)]
mod tests;
