//! With `parallel` candidates overlap. They are counted as they end: the initial design, and then each `batch` of them,
//! stand for an iteration, so that a campaign gives up after as many evaluations as in batches.
use crate::objectives::{Scaled, hypervolume};
use crate::params::Params;
use crate::{PATIENCE, State, has_stalled};

/// How far the campaign had come when so many candidates had ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mark {
    /// Candidates that had ended.
    pub(crate) ended: usize,
    /// Those of them with both objectives.
    pub(crate) evaluated: usize,
    /// Their hypervolume.
    pub(crate) hypervolume: f64,
}

impl State {
    /// Notes the candidates that have ended since the last call.
    pub(crate) fn note_ended(&mut self) {
        let new = |place: &usize| self.candidates[*place].has_ended() && !self.ended.contains(place);
        let new: Vec<usize> = (0..self.candidates.len()).filter(new).collect();
        self.ended.extend(new);
    }

    /// How far the campaign has come: after the initial design, after each `batch` of candidates that ended since, and
    /// now.
    pub(crate) fn growth(&self, params: &Params) -> Vec<Mark> {
        let now = self.ended.len();
        let before = (0..).map(|batches| params.initial + batches * params.batch).take_while(|ended| *ended < now);
        before.chain([now]).map(|ended| self.mark(ended)).collect()
    }

    fn mark(&self, ended: usize) -> Mark {
        let objectives = self.ended[..ended].iter().filter_map(|place| self.candidates[*place].objectives());
        let scaled: Vec<Scaled> = objectives.map(|objectives| objectives.scaled()).collect();
        Mark { ended, evaluated: scaled.len(), hypervolume: hypervolume(&scaled) }
    }

    /// Why a person should be asked, if the last `batch` candidates that ended have failed, all of them since one was
    /// asked.
    pub(crate) fn last_failed(&self, params: &Params) -> Option<String> {
        let count = params.batch.min(params.budget());
        let since = self.ended.get(self.held_at.unwrap_or_default()..)?;
        let last = &since[since.len().checked_sub(count)?..];
        let failures: Option<Vec<&str>> = last.iter().map(|place| self.candidates[*place].failure()).collect();
        let first = *failures?.first()?;
        Some(format!("the last {count} candidates that ended failed; the first: {first}"))
    }

    /// Why there is nothing more to propose, if so. What has not ended may bring progress that takes this back.
    pub(crate) fn overlap_at_end(&self, params: &Params) -> Option<String> {
        let Params { initial, batch, tolerance, .. } = *params;
        if self.candidates.len() >= params.budget() {
            return Some(format!("the {} candidates are used up", params.budget()));
        }
        let growth = self.growth(params);
        let is_whole = |mark: &&Mark| mark.ended.checked_sub(initial).is_some_and(|more| more % batch == 0);
        let whole = growth.iter().filter(is_whole).count();
        let volumes: Vec<f64> = growth.iter().map(|mark| mark.hypervolume).collect();
        has_stalled(&volumes, whole, tolerance).then(|| {
            format!("{PATIENCE} times {batch} candidates did not raise the hypervolume by more than {tolerance}")
        })
    }
}

#[cfg(test)]
mod tests;
