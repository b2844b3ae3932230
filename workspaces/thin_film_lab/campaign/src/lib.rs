//! The thin-film campaign: a film is simulated, a robot makes and measures it, and the difference corrects the
//! parameters of the simulation, until both agree or the budget is used up.
//!
//! A cycle is one workflow of three tasks: `simulate-N`, then `deposit-N`, then `reconcile-N`, which reads the files of
//! both. Each cycle has another recipe, so that agreement means that the simulation predicts, not that it was fitted.
mod cycle;
mod report;

use cycle::{Cycle, Outcome, Parameters};
use matterstack_sdk::{Campaign, Context, Decision, Detail, Error, Next, Summary, TaskResult};
use serde::{Deserialize, Serialize};

/// The campaign.
pub struct ThinFilm;

matterstack_sdk::export_campaign!(ThinFilm);

/// `campaign.params`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// The relative difference of simulation and measurement that counts as agreement, 0.001 to 1; 0.03 by default.
    pub tolerance: f64,
    /// Agreements in a row that end the campaign, at least 1; 2 by default.
    pub agreements: usize,
    /// Cycles at most, 1 to 200; 8 by default.
    pub max_cycles: usize,
    /// Deposition time in seconds, 1 to 100000; 600 by default.
    pub time_s: f64,
    /// The share of arriving atoms that stay, as first guessed, 0.001 to 10; 0.9 by default.
    pub sticking: f64,
    /// Scattering by the gas as first guessed, in 1/(Pa m), 0 to 100; 0 by default.
    pub scattering_per_pa_m: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { tolerance: 0.03, agreements: 2, max_cycles: 8, time_s: 600.0, sticking: 0.9, scattering_per_pa_m: 0.0 }
    }
}

impl Params {
    fn check(&self) -> Result<(), Error> {
        let within = |name: &str, value: f64, least: f64, most: f64| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(Error::invalid("params", format!("`{name}` is {value}; it must be from {least} to {most}"))),
        };
        within("tolerance", self.tolerance, 0.001, 1.0)?;
        within("agreements", self.agreements as f64, 1.0, 200.0)?;
        within("max_cycles", self.max_cycles as f64, 1.0, 200.0)?;
        within("time_s", self.time_s, 1.0, 100_000.0)?;
        within("sticking", self.sticking, 0.001, 10.0)?;
        within("scattering_per_pa_m", self.scattering_per_pa_m, 0.0, 100.0)
    }

    /// The parameters before any film.
    fn first_guess(&self) -> Parameters {
        Parameters { sticking: self.sticking, scattering_per_pa_m: self.scattering_per_pa_m, errors: None }
    }
}

/// What the campaign remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    cycles: Vec<Cycle>,
    /// Agreements in a row, as of the latest decision.
    agreements: usize,
    /// Agreements in a row that end the campaign.
    wanted: usize,
}

impl State {
    /// The parameters after the latest film that was compared.
    fn parameters(&self, params: &Params) -> Parameters {
        let latest = self.cycles.iter().rev().find_map(Cycle::comparison);
        latest.map_or_else(|| params.first_guess(), |comparison| comparison.parameters.clone())
    }

    /// Counts how many of the latest cycles agreed, without a break.
    fn count(&mut self, params: &Params) {
        let agrees = |cycle: &&Cycle| cycle.comparison().is_some_and(|it| it.difference.abs() <= params.tolerance);
        self.agreements = self.cycles.iter().rev().take_while(agrees).count();
        self.wanted = params.agreements;
    }
}

impl Campaign for ThinFilm {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let params = ctx.params()?;
        params.check()?;
        let mut state = state.unwrap_or_default();
        if let Some(Cycle { number, outcome: Outcome::Failed { reason, held }, .. }) = state.cycles.last_mut()
            && !*held
        {
            *held = true;
            let text = format!("cycle {number} failed: {reason}");
            return Ok(Decision::new(state, Next::Hold(Detail::new("cycle-failed", text.clone())), text));
        }
        state.count(params);
        let stopped = if state.agreements >= state.wanted {
            format!("simulation and measurement agreed {} times in a row", state.agreements)
        } else if state.cycles.len() >= params.max_cycles {
            format!("the {} cycles are used up", params.max_cycles)
        } else {
            return Ok(next_cycle(params, state));
        };
        let result = report::result(&state, params, &stopped);
        Ok(Decision::new(state, Next::Complete(result), stopped))
    }

    fn analyze(ctx: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        for result in &results {
            let unknown = || Error::invalid("unknown-task", format!("task `{}` is none of this campaign", result.task));
            let (step, number) = cycle::step(&result.task).ok_or_else(unknown)?;
            let cycle = state.cycles.iter_mut().find(|cycle| cycle.number == number).ok_or_else(unknown)?;
            cycle.fold(step, result)?;
        }
        state.count(ctx.params()?);
        Ok(state)
    }

    fn summary(state: &State) -> Option<Summary> {
        Some(Summary::new(report::line(state)).done(state.agreements as f64).total(state.wanted as f64))
    }
}

fn next_cycle(params: &Params, mut state: State) -> Decision<State> {
    let number = state.cycles.len() + 1;
    let cycle = Cycle::new(number, params.time_s);
    let known = state.parameters(params);
    let tasks = cycle.tasks(&known, &params.first_guess(), &state.cycles);
    let reason = format!(
        "cycle {number}: {} W at {} Pa, with sticking {:.3} and scattering {:.3}",
        cycle.recipe.power_w, cycle.recipe.pressure_pa, known.sticking, known.scattering_per_pa_m
    );
    state.cycles.push(cycle);
    Decision::new(state, Next::Workflow(tasks), reason)
}

#[cfg(test)]
mod tests;
