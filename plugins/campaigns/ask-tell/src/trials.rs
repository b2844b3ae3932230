//! All trials of a run: those that have not ended, and a ledger of those that have.
use crate::front::Front;
use crate::goals::Goals;
use crate::ledger::Ledger;
use crate::pieces::Pieces;
use crate::space::same_point;
use crate::trial::{Trial, TrialState};
use matterstack_sdk::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// All trials of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trials {
    pending: Vec<Pending>,
    ended: Ledger,
    counts: Counts,
    front: Front,
    /// Tasks whose results matter no more: their trials have ended without them.
    unheeded: Vec<String>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Planned so far.
    pub(crate) planned: u64,
    /// Those of them that ended.
    pub(crate) ended: u64,
    /// Those of them that failed or were abandoned.
    pub(crate) failed: u64,
    /// The last planned ones that ended, as far as all of them failed.
    pub(crate) failed_in_row: u64,
    /// Read from a table at the beginning.
    pub(crate) started: u64,
    /// Points that a person chose.
    pub(crate) told: u64,
}

/// A trial that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// The trial.
    pub(crate) trial: Trial,
    /// How many tasks it takes, one after the other.
    pub(crate) steps: usize,
    /// How many of them have ended.
    #[serde(default)]
    heard: usize,
}

impl Pending {
    /// The ids of its tasks, in their order.
    pub(crate) fn tasks(&self) -> Vec<String> {
        tasks_of(&self.trial.trial, self.steps)
    }
}

/// The ids of the tasks of a trial.
pub(crate) fn tasks_of(trial: &str, steps: usize) -> Vec<String> {
    match steps {
        0 | 1 => vec![trial.to_owned()],
        _ => (1..=steps).map(|step| format!("{trial}.{step}")).collect(),
    }
}

/// What a trial's id may be beside that of its task: a chain's tasks have numbers behind it.
fn trial_of_step(task: &str) -> Option<(&str, usize)> {
    let (trial, step) = task.rsplit_once('.')?;
    Some((trial, step.parse().ok()?))
}

/// How a document begins that holds all trials.
pub(crate) const BEGINNING: &str = "{\"trials\":[";

impl Default for Trials {
    fn default() -> Self {
        Self {
            pending: Vec::new(),
            ended: Ledger::after(BEGINNING),
            counts: Counts::default(),
            front: Front::default(),
            unheeded: Vec::new(),
        }
    }
}

impl Trials {
    /// How many there are.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Counts from now on whether the last trials all failed.
    pub(crate) fn forget_failures(&mut self) {
        self.counts.failed_in_row = 0;
    }

    /// The best so far.
    pub(crate) fn front(&self) -> &Front {
        &self.front
    }

    /// Those that have not ended.
    pub(crate) fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// How many take up room: pending ones that are still wanted.
    pub(crate) fn active(&self) -> u64 {
        self.pending.iter().filter(|one| one.trial.state == TrialState::Pending).count() as u64
    }

    /// Tasks that may be open, and whose results matter no more.
    pub(crate) fn unwanted(&self) -> impl Iterator<Item = String> {
        let abandoned = self.pending.iter().filter(|one| one.trial.state == TrialState::Abandoned);
        self.unheeded.iter().cloned().chain(abandoned.flat_map(Pending::tasks))
    }

    /// Looks at the objectives again if they are others than before.
    pub(crate) fn follow(&mut self, goals: &Goals) -> Result<(), Error> {
        if self.front.is_of(goals) { Ok(()) } else { self.look_again(goals) }
    }

    fn look_again(&mut self, goals: &Goals) -> Result<(), Error> {
        self.front = Front::new(goals);
        let ended: Vec<Trial> = self.ended.read()?;
        ended.iter().for_each(|trial| self.front.add(trial, goals));
        Ok(())
    }

    /// The next id of a planned trial.
    pub(crate) fn next_id(&mut self) -> String {
        self.counts.planned += 1;
        format!("trial-{:04}", self.counts.planned)
    }

    /// The next id of a trial of a table at the beginning.
    pub(crate) fn next_start_id(&mut self) -> String {
        self.counts.started += 1;
        format!("start-{:04}", self.counts.started)
    }

    /// The next id of a point that a person chose.
    pub(crate) fn next_told_id(&mut self) -> String {
        self.counts.told += 1;
        format!("told-{:04}", self.counts.told)
    }

    /// Adds a planned trial.
    pub(crate) fn plan(&mut self, trial: Trial, steps: usize) {
        self.pending.push(Pending { trial, steps, heard: 0 });
    }

    /// Adds a trial that has ended.
    pub(crate) fn record(&mut self, trial: &Trial, goals: &Goals) -> Result<(), Error> {
        if trial.is_planned() {
            self.counts.ended += 1;
            self.count_failure(trial.state, 1);
            self.counts.failed_in_row = match trial.state {
                TrialState::Failed => self.counts.failed_in_row + 1,
                TrialState::Abandoned => self.counts.failed_in_row,
                TrialState::Pending | TrialState::Completed | TrialState::Infeasible => 0,
            };
        }
        self.front.add(trial, goals);
        self.ended.push(trial)
    }

    fn count_failure(&mut self, state: TrialState, by: i64) {
        if matches!(state, TrialState::Failed | TrialState::Abandoned) {
            self.counts.failed = self.counts.failed.saturating_add_signed(by);
        }
    }

    /// The place among the pending ones of the trial of a task, and which of its tasks it is, from 1.
    pub(crate) fn pending_of_task(&self, task: &str) -> Option<(usize, usize)> {
        let place = |id: &str, single: bool| {
            self.pending.iter().position(|one| one.trial.trial == id && (one.steps <= 1) == single)
        };
        let step = || trial_of_step(task).and_then(|(id, step)| Some((place(id, false)?, step)));
        place(task, true).map(|place| (place, 1)).or_else(step)
    }

    /// Gives up the trial at a place; returns its tasks that have not ended.
    pub(crate) fn abandon(&mut self, place: usize) -> Vec<String> {
        let one = &mut self.pending[place];
        one.trial.state = TrialState::Abandoned;
        one.tasks().split_off(one.heard)
    }

    /// Notes that the tasks of the trial at a place have ended up to this one, in the midst of a chain.
    pub(crate) fn hear(&mut self, place: usize, step: usize) -> &mut Trial {
        let one = &mut self.pending[place];
        one.heard = one.heard.max(step.min(one.steps));
        &mut one.trial
    }

    /// The place of the pending trial with this id.
    pub(crate) fn place(&self, id: &str) -> Option<usize> {
        self.pending.iter().position(|one| one.trial.trial == id)
    }

    /// The place of the first pending trial of this point that is still wanted.
    pub(crate) fn place_of_point(&self, params: &Map<String, Value>) -> Option<usize> {
        let wanted = |one: &Pending| one.trial.state == TrialState::Pending && same_point(&one.trial.params, params);
        self.pending.iter().position(wanted)
    }

    /// Ends the pending trial at a place, at the latest by its task number `step`; returns those that have not ended.
    pub(crate) fn end(
        &mut self,
        place: usize,
        step: usize,
        goals: &Goals,
        change: impl FnOnce(&mut Trial),
    ) -> Result<Vec<String>, Error> {
        let mut ended = self.pending.remove(place);
        change(&mut ended.trial);
        let rest = ended.tasks().split_off(step.max(ended.heard).min(ended.steps));
        self.unheeded.extend(rest.iter().cloned());
        self.record(&ended.trial, goals)?;
        Ok(rest)
    }

    /// Whether the result of a task matters no more; it is asked once.
    pub(crate) fn is_unheeded(&mut self, task: &str) -> bool {
        let place = self.unheeded.iter().position(|one| one == task);
        place.map(|place| self.unheeded.swap_remove(place)).is_some()
    }

    /// Puts another in the place of the trial that has ended with this id; tells whether there is one.
    pub(crate) fn supersede(&mut self, id: &str, goals: &Goals, change: impl Fn(&mut Trial)) -> Result<bool, Error> {
        let changed = |old: &Trial| {
            (old.trial == id).then(|| {
                let mut new = Trial { supersedes: Some(old.before()), ..old.clone() };
                change(&mut new);
                new
            })
        };
        let Some(old) = self.ended.replace(changed)? else { return Ok(false) };
        if old.is_planned() {
            self.count_failure(old.state, -1);
            let now = self.ended_trial(id)?.map_or(old.state, |trial| trial.state);
            self.count_failure(now, 1);
        }
        self.look_again(goals)?;
        Ok(true)
    }

    /// The trial that has ended with this id.
    pub(crate) fn ended_trial(&self, id: &str) -> Result<Option<Trial>, Error> {
        let all: Vec<Trial> = self.ended.read()?;
        Ok(all.into_iter().rev().find(|trial| trial.trial == id))
    }

    /// The trial that has ended and whose task this is, and which of its tasks, from 1.
    pub(crate) fn ended_of_task(&self, task: &str) -> Result<Option<(Trial, usize)>, Error> {
        if let Some(trial) = self.ended_trial(task)? {
            return Ok(Some((trial, 1)));
        }
        let Some((id, step)) = trial_of_step(task) else { return Ok(None) };
        Ok(self.ended_trial(id)?.map(|trial| (trial, step)))
    }

    /// Whether there is or was a trial with this id.
    pub(crate) fn knows(&self, id: &str) -> Result<bool, Error> {
        Ok(self.place(id).is_some() || self.ended_trial(id)?.is_some())
    }

    /// Adds all trials to a document that is [`BEGINNING`] so far, with commas between them: those that have ended in
    /// that order, then the others.
    pub(crate) fn put(&self, pieces: &mut Pieces) -> Result<(), Error> {
        self.ended.put(pieces, !self.pending.is_empty())?;
        let pending = self.pending.iter().map(|one| Ok(serde_json::to_string(&one.trial)?));
        pieces.text(&pending.collect::<Result<Vec<String>, Error>>()?.join(","));
        Ok(())
    }

    /// All trials, in the same order.
    pub(crate) fn all(&self) -> Result<Vec<Trial>, Error> {
        let mut all: Vec<Trial> = self.ended.read()?;
        all.extend(self.pending.iter().map(|one| one.trial.clone()));
        Ok(all)
    }

    /// Puts away what need not stand in the state.
    pub(crate) fn settle(&mut self) -> Result<(), Error> {
        self.ended.settle()
    }
}
