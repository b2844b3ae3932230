//! One decision: what came is carried out, and then the program is asked if there is room for more.
use crate::State;
use crate::answer::{self, Answer, Proposal, Proposed};
use crate::asking::{self, Asking, Told};
use crate::finish;
use crate::free::Decided;
use crate::measure::RESULT;
use crate::params::{Params, Spec};
use crate::recipe::{Given, SHIM};
use crate::told;
use crate::trial::Trial;
use crate::trials::{Pending, tasks_of};
use matterstack_sdk::{Context, Decision, Detail, Error, Next, TaskResult, Value, artifacts, json};
use serde_json::Map;
use std::collections::HashSet;

/// How many trials may fail in a row, beside those at a time, where nothing else ends a run that always fails.
const FAILED_MAX: u64 = 10;

/// How many open tasks are looked at for one that asks.
const ASKS_MAX: u32 = 100;

/// A decision in the making.
pub(crate) struct Turn<'a> {
    ctx: &'a Context<Params>,
    spec: &'a Spec<'a>,
    state: State,
    tasks: Vec<Value>,
    cancel: Vec<String>,
    reasons: Vec<String>,
    skip_known: bool,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(ctx: &'a Context<Params>, spec: &'a Spec<'a>, state: State) -> Self {
        let (tasks, cancel, reasons) = (Vec::new(), Vec::new(), Vec::new());
        Self { ctx, spec, state, tasks, cancel, reasons, skip_known: false }
    }

    /// Decides.
    pub(crate) fn decide(mut self) -> Result<Decision<State>, Error> {
        self.hear()?;
        let next = match self.carry_out()? {
            None => self.judge()?,
            some => some,
        };
        if next.is_none() {
            self.ask()?;
        }
        self.finish(next)
    }

    /// Takes in what a person did: told results, resumed or amended the run.
    fn hear(&mut self) -> Result<(), Error> {
        let (ctx, state) = (self.ctx, &mut self.state);
        if ["changed", "reopened"].iter().any(|word| ctx.is_asked(word)) {
            state.stopped = None;
        }
        if ["changed", "reopened", "resumed", "time"].iter().any(|word| ctx.is_asked(word)) {
            state.waits = false;
        }
        let Some(supplied) = ctx.supplied()? else { return Ok(()) };
        let mut supplied = supplied.clone();
        let rows = supplied.as_object_mut().and_then(|object| object.remove("tell"));
        if let Some(rows) = rows {
            let unneeded = told::hear(&mut state.trials, self.spec, &rows)?;
            let count = rows.as_array().map_or(0, Vec::len);
            self.cancel.extend(unneeded);
            self.reasons.push(format!("{count} results were told"));
            state.note_news();
            self.leave_ended();
        }
        if supplied.as_object().is_none_or(|object| !object.is_empty()) {
            self.state.supplied = Some(supplied);
        }
        Ok(())
    }

    /// Lets tasks be that came back only because a run was opened again to tell it results.
    fn leave_ended(&mut self) {
        if !self.ctx.is_asked("reopened") || self.state.free.is_some() {
            return;
        }
        let pending = self.state.trials.pending().iter().flat_map(Pending::tasks);
        let wanted: HashSet<String> = pending.chain(self.state.asking.iter().map(|ask| ask.task.clone())).collect();
        let open = self.ctx.open_tasks_after(None, u32::MAX);
        self.cancel.extend(open.into_iter().filter(|task| !wanted.contains(task)));
    }

    /// Carries out what the ask answered, if it has; returns how that ends or holds the run.
    fn carry_out(&mut self) -> Result<Option<Next>, Error> {
        let Some(asking) = self.state.asking.clone() else { return Ok(None) };
        let Some(result) = self.state.answer.take() else {
            if asking.failed && !self.is_open(&asking.task) {
                self.state.asking = None;
            }
            return Ok(None);
        };
        let next = match answer::read(self.spec, &result, asking.wanted) {
            Ok(Answer::Trials(proposal)) => match self.refuse_ids(&proposal)? {
                None => self.propose(&asking, proposal)?,
                Some(why) => return Ok(Some(self.refuse(&asking, why))),
            },
            Ok(Answer::Decision(decision)) => match self.free_decision(decision) {
                Ok(next) => next,
                Err(why) => return Ok(Some(self.refuse(&asking, format!("in `decision.json` {why}")))),
            },
            Err(detail) => return Ok(Some(self.hold(detail))),
        };
        self.keep(&result);
        self.state.asking = None;
        Ok(next)
    }

    /// Holds the run: the ask is made again once a person has resumed it.
    fn hold(&mut self, detail: Detail) -> Next {
        if let Some(asking) = &mut self.state.asking {
            asking.failed = true;
        }
        self.state.waits = false;
        Next::Hold(detail)
    }

    fn refuse(&mut self, asking: &Asking, why: String) -> Next {
        self.hold(Detail::new("ask-refused", format!("the answer of `{}` is refused: {why}", asking.task)))
    }

    /// Whether a task of an earlier ask runs again, by a person's word.
    fn is_open(&self, task: &str) -> bool {
        self.ctx.open_tasks_after(Some("ask-"), ASKS_MAX).iter().any(|open| open == task)
    }

    /// Notes which files the next ask gets.
    fn keep(&mut self, result: &TaskResult) {
        for name in self.spec.keep.iter().filter(|name| result.output(name).is_some()) {
            self.state.kept.insert(name.clone(), result.task.clone());
        }
    }

    /// What is wrong with the ids of a proposal: new ones must be new, and abandoned ones known.
    fn refuse_ids(&self, proposal: &Proposal) -> Result<Option<String>, Error> {
        let trials = &self.state.trials;
        for (place, trial) in proposal.trials.iter().enumerate() {
            if let Some(id) = trial.trial.as_deref()
                && trials.knows(id)?
            {
                return Ok(Some(format!("trial {} is wrong: there is a trial `{id}` already", place + 1)));
            }
        }
        for id in &proposal.abandon {
            if !trials.knows(id)? {
                return Ok(Some(format!("`abandon` names `{id}`, and there is no such trial")));
            }
        }
        Ok(None)
    }

    /// Plans the trials of a proposal and gives up others.
    fn propose(&mut self, asking: &Asking, proposal: Proposal) -> Result<Option<Next>, Error> {
        let Proposal { trials, abandon, stop } = proposal;
        let count = trials.len() as u64;
        for id in &abandon {
            self.abandon(id);
        }
        for trial in trials {
            self.plan(trial)?;
        }
        self.state.stopped = self.state.stopped.take().or(stop);
        // one that decides freely is asked after each result
        self.state.waits = (count < asking.wanted || self.state.free.is_some()) && !asking.outdated;
        self.reasons.push(format!("`{}` named {count} of {} trials", asking.task, asking.wanted));
        let idle = self.state.trials.pending().is_empty() && !self.has_more_open();
        if count == 0 && idle && self.state.waits && self.state.stopped.is_none() {
            let why = "it named no trial and did not say `stop`, and there is nothing to wait for".to_owned();
            return Ok(Some(self.refuse(asking, why)));
        }
        Ok(None)
    }

    fn abandon(&mut self, id: &str) {
        let Some(place) = self.state.trials.place(id) else { return };
        self.cancel.extend(self.state.trials.abandon(place));
    }

    /// Plans one trial: a task, or a chain of them.
    fn plan(&mut self, Proposed { params, trial, tell }: Proposed) -> Result<(), Error> {
        let wrong = |why: String| Error::invalid("params", why);
        let recipe = self.spec.recipe(tell.as_deref()).map_err(wrong)?;
        let next = self.state.trials.next_id();
        let id = trial.unwrap_or(next);
        let values = self.spec.space.with_constants(&params);
        let (tasks, shim) = (tasks_of(&id, recipe.len()), artifacts::write(SHIM.as_bytes())?);
        let mut before = "";
        for (place, (template, task)) in recipe.iter().zip(&tasks).enumerate() {
            let last = place + 1 == tasks.len();
            let filled = template.filled(&values, &id, before).map_err(wrong)?;
            let given = Given {
                id: task.clone(),
                document: ("params.json", json!({"content": Value::Object(values.clone()).to_string() + "\n"})),
                answer: RESULT,
                // in the midst of a chain a command need not leave one
                pattern: (last || filled.is_call()).then(|| RESULT.to_owned()),
                objective: self.spec.goals.only_objective().filter(|_| last),
                shim: &shim,
            };
            let filled = match filled.has_program() {
                true => filled,
                false => filled.with_input(|| Value::Object(values.clone())),
            };
            let mut made = filled.task(&given);
            if place > 0 {
                made.insert("depends_on".to_owned(), json!([before]));
            }
            self.tasks.push(Value::Object(made));
            before = task;
        }
        self.state.trials.plan(Trial::pending(id, params, tell), recipe.len());
        Ok(())
    }

    fn free_decision(&mut self, decision: Map<String, Value>) -> Result<Option<Next>, String> {
        let mut free = self.state.free.clone().unwrap_or_default();
        let decided = free.decide(decision);
        let Decided { tasks, next, cancel, reason, skip_known } = decided?;
        self.state.free = Some(free);
        let said = match &next {
            Some(Next::Complete(_)) => "the program says that it is done".to_owned(),
            Some(_) => "the program ends or holds the run".to_owned(),
            None => format!("the program planned {} tasks", tasks.len()),
        };
        self.reasons.push(reason.unwrap_or(said));
        let outdated = self.state.asking.as_ref().is_some_and(|asking| asking.outdated);
        // after a hold it is asked as soon as a person has resumed the run
        self.state.waits = !outdated && !matches!(next, Some(Next::Hold(_)));
        self.tasks.extend(tasks);
        self.cancel.extend(cancel);
        self.skip_known = skip_known;
        Ok(next)
    }

    /// Looks whether there are to be no more trials; returns how the run ends then, once no trial is pending.
    fn judge(&mut self) -> Result<Option<Next>, Error> {
        let since = self.state.trials.front().since_better();
        let most = self.spec.params.stop.no_improvement;
        if let Some(most) = most.filter(|most| self.state.stopped.is_none() && since >= *most) {
            self.state.stopped =
                Some(format!("no trial of the last {since} was better; `stop.no_improvement` is {most}"));
        }
        let budget = self.spec.params.budget.trials.filter(|_| self.state.free.is_none() && self.left() == Some(0));
        let used = budget.map(|budget| format!("the budget of {budget} trials is used up"));
        let Some(why) = self.state.stopped.clone().or(used) else { return Ok(self.hold_if_all_fail()) };
        if let Some(asking) = self.state.asking.take_if(|asking| !asking.failed) {
            self.cancel.push(asking.task);
        }
        if self.state.trials.active() > 0 || self.has_more_open() {
            self.reasons.push(why);
            return Ok(None);
        }
        let result = finish::result(self.spec, &self.state, &why)?;
        self.reasons.push(why);
        Ok(Some(Next::Complete(result)))
    }

    /// Whether tasks are open beside those that are no longer wanted: a person lets them run again, or the program has
    /// planned them.
    fn has_more_open(&self) -> bool {
        if !self.tasks.is_empty() || self.ctx.open_tasks == 0 {
            return !self.tasks.is_empty();
        }
        let unwanted: Vec<String> = self.state.trials.unwanted().chain(self.cancel.iter().cloned()).collect();
        let most = u32::try_from(unwanted.len() + 1).unwrap_or(u32::MAX);
        self.ctx.open_tasks_after(None, most).iter().any(|open| !unwanted.contains(open))
    }

    /// Holds a run of which nothing else would be the end.
    fn hold_if_all_fail(&mut self) -> Option<Next> {
        let budget = &self.spec.params.budget;
        let failed = self.state.trials.counts().failed_in_row;
        let bounded = budget.trials.is_some() && budget.counts_failed();
        (!bounded && self.tasks.is_empty() && failed >= FAILED_MAX + self.spec.parallel).then(|| {
            self.state.trials.forget_failures();
            Next::Hold(Detail::new(
                "all-failed",
                format!("the last {failed} trials all failed, and no budget counts them"),
            ))
        })
    }

    /// How many trials the budget leaves; nothing if there is none.
    fn left(&self) -> Option<u64> {
        let counts = self.state.trials.counts();
        let free = if self.spec.params.budget.counts_failed() { 0 } else { counts.failed };
        Some((self.spec.params.budget.trials? + free).saturating_sub(counts.planned))
    }

    /// How many trials there is room for; nothing while the program is not to be asked.
    fn wanted(&self) -> Option<u64> {
        let state = &self.state;
        if state.asking.is_some() || state.stopped.is_some() || state.waits {
            return None;
        }
        let room = self.spec.parallel.saturating_sub(state.trials.active());
        let left = self.left().unwrap_or(u64::MAX);
        let enough = room > 0 && left > 0 && room >= self.spec.batch.min(left);
        (enough || state.free.is_some()).then(|| room.min(left))
    }

    /// Asks the program, if there is room.
    fn ask(&mut self) -> Result<(), Error> {
        let Some(wanted) = self.wanted() else { return Ok(()) };
        let seed = self.ctx.rng().next_u64() >> 11;
        let state = &mut self.state;
        state.round += 1;
        let task = format!("ask-{:04}", state.round);
        let (round, supplied) = (state.round, state.supplied.take());
        let (trials, free) = (&state.trials, state.free.as_ref());
        let told = Told { seed, round, wanted, trials, free, supplied: supplied.as_ref() };
        let document = asking::document(self.spec, &told)?.source()?;
        self.tasks.push(Value::Object(asking::task(self.spec, &task, document, &state.kept)?));
        self.reasons.push(format!("`{task}` is asked for {wanted} trials"));
        state.asking = Some(Asking { task, wanted, outdated: false, failed: false });
        Ok(())
    }

    fn finish(mut self, next: Option<Next>) -> Result<Decision<State>, Error> {
        self.state.follow(self.spec);
        self.state.trials.settle()?;
        let mut wake_at_ms = None;
        if let Some(free) = &mut self.state.free {
            free.results.settle()?;
            wake_at_ms = free.wake_at_ms.filter(|at_ms| *at_ms > self.ctx.now_ms);
        }
        let next = match next {
            Some(next) => next,
            None if self.tasks.is_empty() => Next::Wait,
            None => Next::RawWorkflow(Value::Array(self.tasks).to_string()),
        };
        if self.reasons.is_empty() {
            self.reasons.push(format!("{} trials are pending", self.state.trials.active()));
        }
        let mut decision = Decision::new(self.state, next, self.reasons.join("; ")).cancel(self.cancel);
        (decision.wake_at_ms, decision.skip_known) = (wake_at_ms, self.skip_known);
        Ok(decision)
    }
}
