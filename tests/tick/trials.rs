//! A seed makes the workflow, what the outside answers, and everything that can come between: processes that die before
//! or after any call, clocks that jump, configurations and tasks that are amended, people who pause, cancel and rerun.
//! No attempt is ever started twice, the store keeps its rules after every tick, and the run ends or says who can move
//! it.
use super::scripted::{Fixture, Scripted, act};
use super::simulation::{behave, workflow};
use crate::support::random::Random;
use matterstack::model::act::Verb;
use matterstack::model::contract::{
    AttemptRequest, Collected, Context, Decision, Folded, Found, Next, StatusReport, Submitted,
};
use matterstack::model::evidence::EngineRecord;
use matterstack::model::id::OperatorKey;
use matterstack::model::selection::Selection;
use matterstack::model::states::RunState;
use matterstack::model::workflow::TaskChange;
use matterstack::plugin::{Answer, PluginError, Plugins};
use matterstack::run::Run;
use matterstack::tick::{ControlError, cancel_task, mend, pause, rerun, resume};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// Ticks within which a run has come to its end, or waits for somebody.
const TICKS: u32 = 400;
/// What a process dies of.
struct Death;

/// The outside, as it remembers itself, and a process that dies after so many passages.
#[derive(Clone)]
struct World {
    scripted: Scripted,
    /// Whether its campaign has each result as it comes, plans beside what goes on, cancels and asks to be woken.
    each_result: bool,
    workflows: Rc<Vec<Value>>,
    /// How often each attempt was started out there.
    started: Rc<RefCell<BTreeMap<String, u32>>>,
    left: Rc<RefCell<Option<u64>>>,
}

impl World {
    /// Passes a place at which the process may die.
    fn pass<T>(&self, call: impl FnOnce() -> T) -> T {
        let die = || {
            let mut left = self.left.borrow_mut();
            if let Some(count) = left.as_mut() {
                if *count == 0 {
                    *left = None;
                    return true;
                }
                *count -= 1;
            }
            false
        };
        if die() {
            resume_unwind(Box::new(Death));
        }
        let answer = call();
        if die() {
            resume_unwind(Box::new(Death));
        }
        answer
    }

    fn start(&self, attempt: &AttemptRequest) {
        *self.started.borrow_mut().entry(attempt.attempt_id.as_str().to_owned()).or_default() += 1;
    }
}

impl Plugins for World {
    fn plan(&self, context: &Context, state: Option<&str>) -> Answer<Decision> {
        self.pass(|| {
            // a campaign is pure: what it plans is a matter of what it is asked with alone
            let planned =
                self.workflows.get(context.iteration as usize - 1).map(|tasks| Next::Workflow(tasks.to_string()));
            let mut answer = self.scripted.plan(context, state);
            if let Ok(decision) = &mut answer.value {
                // now and then it ends what is live, else it waits for that
                let waits = context.open_tasks > 0 && !context.decision.is_multiple_of(5);
                decision.next = match planned {
                    Some(next) => next,
                    None if self.each_result && waits => Next::Wait,
                    None => decision.next.clone(),
                };
                if self.each_result && context.decision.is_multiple_of(3) {
                    let tasks = self.workflows[0].as_array().into_iter().flatten();
                    decision.cancel = tasks.take(2).filter_map(|task| Some(task["id"].as_str()?.to_owned())).collect();
                }
                if self.each_result && context.decision.is_multiple_of(4) {
                    decision.wake_at_ms = Some(context.now_ms + 3_000);
                }
            }
            answer
        })
    }

    fn analyze(&self, context: &Context, state: &str, finished: &str) -> Answer<Folded> {
        self.pass(|| self.scripted.analyze(context, state, finished))
    }

    fn engine(&self) -> EngineRecord {
        self.scripted.engine()
    }

    fn prepare(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Option<String>, PluginError> {
        self.pass(|| self.scripted.prepare(operator, attempt))
    }

    fn submit(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Submitted, PluginError> {
        self.pass(|| {
            let answer = self.scripted.submit(operator, attempt);
            let lost = matches!(&answer, Err(error) if error.kind.code() == "plugin-trap");
            // an answer that was lost may be that of a submit that took effect
            if answer.is_ok() || (lost && attempt.attempt_id.as_str().ends_with(['0', '2', '4', '6', '8'])) {
                self.start(attempt);
            }
            answer
        })
    }

    fn reconcile(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Found, PluginError> {
        self.pass(|| {
            let started = self.started.borrow().contains_key(attempt.attempt_id.as_str());
            self.scripted.reconcile(operator, attempt).map(|found| match (found, started) {
                (unknown @ Found::Unknown { .. }, _) => unknown,
                (_, true) => Found::Yes(Submitted::new("{}")),
                (_, false) => Found::No,
            })
        })
    }

    fn check_status(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<StatusReport, PluginError> {
        self.pass(|| self.scripted.check_status(operator, attempt))
    }

    fn collect_results(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Collected, PluginError> {
        self.pass(|| self.scripted.collect_results(operator, attempt))
    }

    fn cancel(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<(), PluginError> {
        self.pass(|| self.scripted.cancel(operator, attempt))
    }
}

/// What a person does now and then; what cannot be done now is refused, and only that.
fn interfere(run: &mut Run, random: &mut Random, now_ms: i64) {
    let row = run.store.run().expect("a run");
    let tasks = run.store.tasks(None, None).expect("tasks");
    let some = tasks[random.below(tasks.len() as u64) as usize].id.clone();
    let done = match random.below(8) {
        0 => pause(run, &act(Verb::Pause, now_ms)).map(drop),
        1 => cancel_task(run, &some, &act(Verb::Cancel, now_ms)).map(drop),
        2 | 3 => rerun(run, &Selection::default(), &act(Verb::Rerun, now_ms)).map(drop),
        4 => {
            let selection = Selection { task: Some(some), recursive: true, ..Selection::default() };
            rerun(run, &selection, &act(Verb::Rerun, now_ms)).map(drop)
        }
        5 | 6 => {
            let change = format!("resources.walltime_s={}", 1 + random.below(100));
            let changes = [TaskChange::parse(&change).expect("a change")];
            mend(
                run,
                &Selection::of_task(if random.one_in(2) { "*" } else { &some }),
                &changes,
                &act(Verb::Amend, now_ms),
            )
            .map(drop)
        }
        _ => resume(run, None, &act(Verb::Resume, now_ms)).map(drop),
    };
    match done {
        Ok(()) | Err(ControlError::NotNow { .. }) => {}
        Err(error) => panic!("an act upon a run that is {}: {error}", row.state),
    }
}

/// Lives one life; returns how often its process died.
fn trial(seed: u64) -> u64 {
    let mut random = Random::of(seed);
    let workflows: Vec<Value> = (0..1 + random.below(3) as usize).map(|n| workflow(&mut random, n)).collect();
    let each_result = random.one_in(2);
    let mode = if each_result { "each-result" } else { "workflow" };
    let campaign = json!({"plugin": "scripted", "analyze": mode, "takes_back": random.one_in(2)});
    let settings = json!({"campaign": campaign, "limits": {"max_active": 1 + random.below(5)}});
    let mut fixture = Fixture::new(&settings, &[]);
    for task in workflows.iter().flat_map(|tasks| tasks.as_array().into_iter().flatten()) {
        behave(&fixture, task["id"].as_str().expect("an id"), &mut random);
    }
    let world = World {
        scripted: fixture.plugins.clone(),
        each_result,
        workflows: Rc::new(workflows),
        started: Rc::default(),
        left: Rc::default(),
    };
    let open = |fixture: &Fixture| {
        let mut run = fixture.open();
        run.plugins = Rc::new(world.clone());
        run
    };
    let mut run = open(&fixture);
    fixture.plan_of(&mut run).expect("a plan");
    let mut deaths = 0;
    for count in 0..TICKS {
        fixture.now_ms += match random.below(40) {
            0 => 86_400_000,
            1 => -3_600_000,
            _ => 1_000 + 4_000 * random.below(3) as i64,
        };
        // people let it be after a while
        let troubled = count < TICKS / 4;
        if troubled && random.one_in(20) {
            fixture.config.limits.max_active = 1 + random.below(6);
            run = open(&fixture);
        }
        if troubled && random.one_in(12) {
            interfere(&mut run, &mut random, fixture.now_ms);
        }
        *world.left.borrow_mut() = (troubled && random.one_in(3)).then(|| random.below(16));
        let ticked = catch_unwind(AssertUnwindSafe(|| fixture.tick_of(&mut run)));
        *world.left.borrow_mut() = None;
        match ticked {
            Ok(_) => {}
            Err(death) if death.is::<Death>() => {
                deaths += 1;
                run = open(&fixture);
            }
            Err(panic) => resume_unwind(panic),
        }
        assert_eq!(run.store.check_invariants().expect("a readable store"), Vec::<String>::new(), "seed {seed}");
        match run.store.run().expect("a run").state {
            RunState::Completed | RunState::Cancelled | RunState::Failed => {
                settle_up(seed, &world);
                return deaths;
            }
            RunState::Paused => drop(resume(&mut run, None, &act(Verb::Resume, fixture.now_ms)).expect("it goes on")),
            RunState::Held => {
                let explained = crate::tick::explained(&run.store, &run.config, "r");
                assert!(explained.iter().any(|one| one.command.is_some()), "seed {seed}: {explained:?}");
                settle_up(seed, &world);
                return deaths;
            }
            RunState::Active | RunState::Cancelling => {}
        }
    }
    panic!("seed {seed}: the run neither ends nor explains itself: {}", fixture.tasks());
}

fn settle_up(seed: u64, world: &World) {
    let twice: Vec<String> =
        world.started.borrow().iter().filter(|(_, count)| **count > 1).map(|(id, _)| id.clone()).collect();
    assert!(twice.is_empty(), "seed {seed}: started more than once: {twice:?}");
}

#[test]
fn nothing_starts_twice_whatever_comes_between() {
    let deaths: u64 = (1..=200).map(trial).sum();
    assert!(deaths > 200, "{deaths} deaths in 200 lives");
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --slow`"]
fn nothing_starts_twice_in_ten_thousand_lives() {
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || (1..=2_500).map(|n| trial(1_000 + 4 * n + part)).sum::<u64>());
        }
    });
}
