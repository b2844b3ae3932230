//! How busy a campaign keeps eight cores, on a virtual clock: real ticks on a real store, and tasks whose run times are
//! exponential. A plan takes its time, in which nothing starts and what runs goes on; all else takes none. What counts
//! is when attempts really ran outside, up to the start of the last task: the drain after that is nobody's fault.
use super::scripted::{Fixture, decision, task};
use crate::support::random::Random;
use matterstack::model::contract::{
    AttemptRequest, Collected, Context, Decision, Folded, Found, Next, Reads, Status, StatusReport, Submitted,
};
use matterstack::model::evidence::EngineRecord;
use matterstack::model::id::{AttemptId, OperatorKey};
use matterstack::model::states::RunState;
use matterstack::plugin::{Answer, PluginError, Plugins};
use matterstack::run::Run;
use matterstack::tick::{Moment, Tick, step_run};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// Cores, and as many attempts at once.
const CORES: usize = 8;
/// The mean run time of a task, in milliseconds.
const MEAN_MS: f64 = 60_000.0;
/// How long a plan takes: 2 % of that.
const PLAN_MS: i64 = 1_200;
/// The tasks of a run.
const TASKS: usize = 1_000;

/// A campaign that has eight tasks under way, and the outside that runs them; both share a clock.
#[derive(Clone)]
struct Lab(Rc<Inside>);

struct Inside {
    clock: Cell<i64>,
    plan_ms: i64,
    /// How long each task runs, in the order in which they are planned.
    run_ms: Vec<i64>,
    /// When each attempt ran, by its id.
    ran: RefCell<BTreeMap<String, (i64, i64)>>,
    /// How many plans were asked for.
    plans: Cell<u64>,
}

impl Lab {
    fn new(seed: u64, tasks: usize, plan_ms: i64) -> Self {
        let mut random = Random::of(seed);
        let mut exponential = || {
            let uniform = (random.below(1 << 30) as f64 + 0.5) / f64::from(1 << 30);
            (-MEAN_MS * uniform.ln()).ceil() as i64
        };
        Self(Rc::new(Inside {
            clock: Cell::new(1_000_000),
            plan_ms,
            run_ms: (0..tasks).map(|_| exponential()).collect(),
            ran: RefCell::default(),
            plans: Cell::new(0),
        }))
    }

    fn now(&self) -> i64 {
        self.0.clock.get()
    }

    /// When the next of the attempts that run ends.
    fn next_end(&self) -> Option<i64> {
        let ran = self.0.ran.borrow();
        ran.values().map(|(_, end)| *end).filter(|end| *end > self.now()).min()
    }

    /// How long the attempt still runs; nothing if it has ended.
    fn left_ms(&self, attempt: &AttemptRequest) -> Option<u64> {
        let end = self.0.ran.borrow()[attempt.attempt_id.as_str()].1;
        u64::try_from(end - self.now()).ok().filter(|left| *left > 0)
    }

    /// What came of it.
    fn measure(&self, from: i64) -> Measure {
        let ran: Vec<(i64, i64)> = self.0.ran.borrow().values().copied().collect();
        let until = ran.iter().map(|(start, _)| *start).max().expect("an attempt");
        let busy: i64 = ran.iter().map(|(start, end)| end.min(&until) - start).sum();
        // before what starts in the same instant, what ends there has ended
        let mut edges: Vec<(i64, i64)> = ran.iter().flat_map(|(start, end)| [(*start, 1), (*end, -1)]).collect();
        edges.sort_unstable();
        let at_once = edges.iter().scan(0, |now, (_, step)| {
            *now += step;
            Some(*now)
        });
        Measure {
            busy: busy as f64 / (CORES as f64 * (until - from) as f64),
            at_once: at_once.max().expect("an attempt"),
            attempts: ran.len(),
            plans: self.0.plans.get(),
        }
    }
}

/// How a run went.
#[derive(Debug)]
struct Measure {
    /// The share of the cores' time in which attempts ran, until the last was started.
    busy: f64,
    /// The most attempts that ran at once.
    at_once: i64,
    attempts: usize,
    plans: u64,
}

fn answered<T>(value: T) -> Answer<T> {
    Answer { value: Ok(value), fuel: 1, reads: Reads::default(), written: BTreeMap::new() }
}

impl Plugins for Lab {
    fn plan(&self, context: &Context, state: Option<&str>) -> Answer<Decision> {
        self.0.clock.set(self.now() + self.0.plan_ms);
        self.0.plans.set(self.0.plans.get() + 1);
        let planned: usize = state.map_or(0, |text| text.parse().expect("a count"));
        let room = CORES.saturating_sub(context.open_tasks as usize).min(self.0.run_ms.len() - planned);
        let tasks = (planned..planned + room).map(|place| task(&format!("t{place:05}"), json!({"input": place})));
        let next = match room {
            0 if context.open_tasks == 0 => Next::Complete("{}".to_owned()),
            0 => Next::Wait,
            _ => Next::Workflow(Value::Array(tasks.collect()).to_string()),
        };
        answered(Decision { state: (planned + room).to_string(), ..decision(next) })
    }

    fn analyze(&self, _: &Context, state: &str, _: &str) -> Answer<Folded> {
        answered(Folded { state: state.to_owned(), summary: None })
    }

    fn engine(&self) -> EngineRecord {
        matterstack::plugin::this_engine()
    }

    fn prepare(&self, _: &OperatorKey, _: &AttemptRequest) -> Result<Option<String>, PluginError> {
        Ok(None)
    }

    fn submit(&self, _: &OperatorKey, attempt: &AttemptRequest) -> Result<Submitted, PluginError> {
        let task: Value = serde_json::from_str(&attempt.task).expect("a task");
        let place = task["input"].as_u64().expect("its place") as usize;
        let interval = (self.now(), self.now() + self.0.run_ms[place]);
        let before = self.0.ran.borrow_mut().insert(attempt.attempt_id.0.clone(), interval);
        assert_eq!(before, None, "an attempt starts once");
        Ok(Submitted { handle: "{}".to_owned(), external_id: None })
    }

    fn reconcile(&self, _: &OperatorKey, _: &AttemptRequest) -> Result<Found, PluginError> {
        unreachable!("no answer is lost")
    }

    fn check_status(&self, _: &OperatorKey, attempt: &AttemptRequest) -> Result<StatusReport, PluginError> {
        let left = self.left_ms(attempt);
        let status = left.map_or(Status::Succeeded, |_| Status::Running(None));
        Ok(StatusReport { status, handle: None, poll_after_ms: left })
    }

    fn collect_results(&self, _: &OperatorKey, _: &AttemptRequest) -> Result<Collected, PluginError> {
        Ok(Collected::default())
    }

    fn cancel(&self, _: &OperatorKey, _: &AttemptRequest) -> Result<(), PluginError> {
        unreachable!("nothing is cancelled")
    }
}

/// One tick at the time that the clock shows; what it takes is what the clock moves.
fn tick(run: &mut Run, lab: &Lab, ids: &Cell<u64>) -> Tick {
    let begun = lab.now();
    let new_id = || {
        ids.set(ids.get() + 1);
        AttemptId(format!("{:032x}", ids.get()))
    };
    let spent = || Duration::from_millis((lab.now() - begun) as u64);
    let user_name = |user: u32| user.to_string();
    let moment = Moment { now_ms: begun, new_id: &new_id, spent: &spent, user_name: &user_name };
    step_run(run, moment).expect("a tick does not fail")
}

/// Runs a campaign of so many tasks to its end.
fn carry_out(mode: &str, seed: u64, tasks: usize, plan_ms: i64) -> Measure {
    let lab = Lab::new(seed, tasks, plan_ms);
    let settings = json!({
        "campaign": {"plugin": "scripted", "analyze": mode},
        "operators": {"local": {"plugin": "scripted", "max_active": CORES}},
    });
    let mut fixture = Fixture::new(&settings, &[]);
    fixture.now_ms = lab.now();
    let (begun, ids) = (lab.now(), Cell::new(0));
    let mut run = fixture.open();
    run.plugins = Rc::new(lab.clone());
    fixture.plan_of(&mut run).expect("a plan");
    for _ in 0..10 * tasks {
        let before = lab.now();
        let done = tick(&mut run, &lab, &ids);
        if done.state != RunState::Active {
            assert_eq!(done.state, RunState::Completed, "{done:?}");
            assert_eq!(run.store.check_invariants().expect("a readable store"), Vec::<String>::new());
            assert_eq!(run.store.task_counts().expect("counts").completed, tasks as u64);
            return lab.measure(begun);
        }
        // as `loop` does: at once while there is something to do, else when something ends
        let outlook = run.outlook().expect("an outlook");
        let goes_on = done.more || outlook.owes_results() || outlook.owes_plan(lab.now()) || lab.now() > before;
        if !goes_on {
            lab.0.clock.set(lab.next_end().expect("something runs where nothing is to be done"));
        }
    }
    panic!("the run does not end: {:?}", lab.measure(begun));
}

#[test]
fn eight_cores_are_busy_where_each_result_is_handed_over() {
    let came = carry_out("each-result", 1, TASKS, PLAN_MS);
    eprintln!("{came:?}");
    assert_eq!((came.attempts, came.at_once), (TASKS, CORES as i64));
    assert!(came.busy >= 0.95, "{came:?}");
}

/// The longest of eight exponential times is their mean times 1 + 1/2 + … + 1/8 on average.
#[test]
fn eight_cores_wait_for_the_slowest_of_a_batch() {
    let came = carry_out("workflow", 1, TASKS, PLAN_MS);
    eprintln!("{came:?}");
    assert_eq!((came.attempts, came.at_once), (TASKS, CORES as i64));
    assert_eq!(came.plans, (TASKS / CORES) as u64 + 1);
    assert!((0.33..=0.41).contains(&came.busy), "{came:?}");
}

/// A plan that takes a fifth of a task's time is seen: what ends meanwhile stands idle.
#[test]
fn slow_plans_cost_what_they_must() {
    let came = carry_out("each-result", 1, TASKS / 2, PLAN_MS * 10);
    eprintln!("{came:?}");
    assert!((0.5..0.9).contains(&came.busy), "{came:?}");
}
