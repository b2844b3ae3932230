//! The catalyst campaign: binary alloys are proposed by a cheap estimate, a person approves some of them, those are
//! computed, and what the computation says corrects the estimate of the next round.
//!
//! A rejection is a result like any other: the alloys of a rejected proposal are not proposed again, and the person's
//! comment is kept.
mod alloys;
mod approval;
mod report;

use alloys::{Alloy, Computed};
use approval::{Proposal, Verdict};
use matterstack_sdk::{Campaign, Context, Decision, Detail, Error, Next, Summary, Task, TaskResult, artifacts};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The campaign.
pub struct Catalyst;

matterstack_sdk::export_campaign!(Catalyst);

/// `campaign.params`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Alloys in a proposal, 1 to 50; 4 by default.
    pub batch: usize,
    /// Approved proposals that are computed, at least 1; 2 by default.
    pub rounds: usize,
    /// Rejections after which the campaign gives up, at least 1; 3 by default.
    pub max_rejections: usize,
    /// The binding energy at the top of the volcano, in eV; -0.5 by default.
    pub optimum_ev: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { batch: 4, rounds: 2, max_rejections: 3, optimum_ev: -0.5 }
    }
}

impl Params {
    fn check(&self) -> Result<(), Error> {
        let wrong = |text: String| Err(Error::invalid("params", text));
        if !(1..=50).contains(&self.batch) {
            return wrong(format!("`batch` is {}; it must be from 1 to 50", self.batch));
        }
        if self.rounds == 0 || self.max_rejections == 0 {
            return wrong("`rounds` and `max_rejections` must be at least 1".to_owned());
        }
        match self.optimum_ev.abs() <= 5.0 {
            true => Ok(()),
            false => wrong(format!("`optimum_ev` is {}; it must be from -5 to 5", self.optimum_ev)),
        }
    }
}

/// What the campaign remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    proposals: Vec<Proposal>,
    /// What became of the alloys that were computed, by id.
    computed: BTreeMap<String, Computed>,
}

impl Campaign for Catalyst {
    type Params = Params;
    type State = State;

    fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
        let params = ctx.params()?;
        params.check()?;
        let pool = alloys::pool(&artifacts::read_text(ctx.input("elements")?)?)?;
        let mut state = state.unwrap_or_default();
        let Some(latest) = state.proposals.last() else { return Ok(propose(params, &pool, state)) };
        match &latest.verdict {
            Verdict::Pending => Err(Error::other("no-verdict", "the latest proposal has no answer")),
            Verdict::Approved(chosen) => {
                let tasks = tasks(&pool, chosen, &state.computed)?;
                if !tasks.is_empty() {
                    let reason = format!("{} alloys were approved", tasks.len());
                    return Ok(Decision::new(state, Next::Workflow(tasks), reason));
                }
                if state.approved() < params.rounds {
                    return Ok(propose(params, &pool, state));
                }
                Ok(finish(state, "every approved alloy of every round is computed"))
            }
            Verdict::Rejected => {
                let rejections = state.rejected();
                if rejections < params.max_rejections {
                    return Ok(propose(params, &pool, state));
                }
                let text = format!("{rejections} proposals were rejected; the last comment: {}", latest.comment());
                Ok(Decision::new(state, Next::Fail(Detail::new("not-approved", text.clone())), text))
            }
            Verdict::Unanswered { reason, held: false } => {
                let text = format!("proposal {} has no answer: {reason}", latest.number);
                let number = state.proposals.len();
                state.proposals[number - 1].hold();
                Ok(Decision::new(state, Next::Hold(Detail::new("no-answer", text.clone())), text))
            }
            Verdict::Unanswered { held: true, .. } => Ok(propose(params, &pool, state)),
        }
    }

    fn analyze(_: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
        for result in &results {
            match approval::number(&result.task) {
                Some(number) => {
                    let proposal = state.proposals.iter_mut().find(|proposal| proposal.number == number);
                    proposal.ok_or_else(|| unknown(&result.task))?.answer(result);
                }
                None => {
                    let approved = state.proposals.iter().any(|proposal| proposal.alloys.contains(&result.task));
                    if !approved {
                        return Err(unknown(&result.task));
                    }
                    state.computed.insert(result.task.clone(), Computed::of(result)?);
                }
            }
        }
        Ok(state)
    }

    fn summary(state: &State) -> Option<Summary> {
        Some(Summary::new(report::line(state)))
    }
}

fn unknown(task: &str) -> Error {
    Error::invalid("unknown-task", format!("task `{task}` is none of this campaign"))
}

impl State {
    fn approved(&self) -> usize {
        self.proposals.iter().filter(|proposal| matches!(proposal.verdict, Verdict::Approved(_))).count()
    }

    fn rejected(&self) -> usize {
        self.proposals.iter().filter(|proposal| proposal.verdict == Verdict::Rejected).count()
    }

    /// Whether an alloy was proposed and answered; what nobody answered may be proposed again.
    fn is_settled(&self, id: &str) -> bool {
        let answered = |proposal: &&Proposal| !matches!(proposal.verdict, Verdict::Unanswered { .. });
        self.proposals.iter().filter(answered).any(|proposal| proposal.alloys.iter().any(|alloy| alloy == id))
    }

    /// How much lower binding was computed than estimated, on average, in eV.
    fn shift(&self, pool: &[Alloy]) -> f64 {
        let difference = |alloy: &Alloy| Some(self.computed.get(&alloy.id)?.value()?.binding_ev - alloy.estimate_ev);
        let all: Vec<f64> = pool.iter().filter_map(difference).collect();
        if all.is_empty() { 0.0 } else { all.iter().sum::<f64>() / all.len() as f64 }
    }
}

/// Asks a person about the alloys that the corrected estimate puts nearest to the top of the volcano.
fn propose(params: &Params, pool: &[Alloy], mut state: State) -> Decision<State> {
    let shift = state.shift(pool);
    // to a millionth of an eV, so that no error of rounding decides between equals
    let distance = |alloy: &Alloy| ((alloy.estimate_ev + shift - params.optimum_ev).abs() * 1e6).round();
    let mut left: Vec<&Alloy> = pool.iter().filter(|alloy| !state.is_settled(&alloy.id)).collect();
    left.sort_by(|a, b| distance(a).total_cmp(&distance(b)).then_with(|| a.id.cmp(&b.id)));
    left.truncate(params.batch);
    if left.is_empty() {
        return finish(state, "there is no alloy left to propose");
    }
    let number = state.proposals.len() + 1;
    let task = approval::task(number, &left, shift, &state);
    state.proposals.push(Proposal::new(number, &left));
    let reason = format!("{} alloys, with the estimate corrected by {shift:+.3} eV; a person decides", left.len());
    Decision::new(state, Next::Workflow(vec![task]), reason)
}

/// The tasks of those approved alloys that have none yet.
fn tasks(pool: &[Alloy], chosen: &[String], computed: &BTreeMap<String, Computed>) -> Result<Vec<Task>, Error> {
    let open = chosen.iter().filter(|id| !computed.contains_key(*id));
    let task = |id: &String| {
        let alloy = pool.iter().find(|alloy| &alloy.id == id);
        alloy.map(Alloy::task).ok_or_else(|| Error::other("unknown-alloy", format!("`{id}` is not in the pool")))
    };
    open.map(task).collect()
}

fn finish(state: State, why: &str) -> Decision<State> {
    match report::result(&state, why) {
        Some(result) => Decision::new(state, Next::Complete(result), why),
        None => {
            let text = format!("{why}, and no alloy has a result");
            Decision::new(state, Next::Fail(Detail::new("nothing-to-rank", text.clone())), text)
        }
    }
}

#[cfg(test)]
mod tests;
