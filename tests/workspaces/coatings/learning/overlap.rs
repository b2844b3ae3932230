//! What it costs in learning that candidates overlap: the campaign that is handed each result as it comes, on eight
//! cores of a virtual clock and with run times that are exponential, against the same in batches of eight with the same
//! budget. The component is driven by the real plugin host; a tick between them would add time and no other decision.
use super::{Drive, FUEL_SHARE, LARGEST_FUEL_SHARE, last_hypervolume, median};
use crate::support::random::Random;
use crate::support::view::{View, first_context};
use crate::workspaces::coatings_component;
use matterstack::model::contract::{Context, Next};
use matterstack::model::limit::PluginLimits;
use matterstack::plugin::Plugins;
use serde_json::{Value, json};
use std::collections::VecDeque;

/// Cores, candidates of a batch, and candidates under way at once.
const CORES: usize = 8;
/// The mean run time of a task, and how long a plan takes.
const MEAN: f64 = 1.0;
const PLAN: f64 = 0.02;
/// How much of the hypervolume may be lost.
const LOSS_MAX: f64 = 0.05;
/// The same for a few seeds, whose median is known less well.
const LOSS_MAX_OF_FEW: f64 = 0.1;

/// How large a study is.
#[derive(Clone, Copy)]
struct Size {
    /// From 0.
    seeds: u64,
    /// Of each campaign in batches, the initial design included.
    iterations: usize,
}

impl Size {
    fn params(self) -> Value {
        json!({"initial": CORES, "batch": CORES, "max_iterations": self.iterations, "tolerance": 0})
    }
}

/// Tasks on cores, and the clock.
struct Machine {
    now: f64,
    waiting: VecDeque<Value>,
    /// When each ends.
    running: Vec<(f64, Value)>,
    random: Random,
}

impl Machine {
    /// Starts what there is room for.
    fn start(&mut self) {
        while self.running.len() < CORES
            && let Some(task) = self.waiting.pop_front()
        {
            let uniform = (self.random.below(1 << 30) as f64 + 0.5) / f64::from(1 << 30);
            self.running.push((self.now - MEAN * uniform.ln(), task));
        }
    }

    /// What has ended, in that order; the clock goes on to the next end if nothing has.
    fn ended(&mut self) -> Vec<Value> {
        self.running.sort_by(|a, b| a.0.total_cmp(&b.0));
        let next = self.running.first().expect("something runs where the campaign waits").0;
        self.now = self.now.max(next);
        let count = self.running.iter().take_while(|(end, _)| *end <= self.now).count();
        self.running.drain(..count).map(|(_, task)| task).collect()
    }

    fn open(&self) -> u64 {
        (self.waiting.len() + self.running.len()) as u64
    }
}

/// Runs a campaign to its end that is handed each result as it comes; returns its result.
fn overlapping(drive: &mut Drive, seed: u64, params: &Value) -> Value {
    let mut context: Context = first_context(View::of(params), seed);
    let random = Random::of(seed + 1);
    let mut machine = Machine { now: 0.0, waiting: VecDeque::new(), running: Vec::new(), random };
    let mut state: Option<String> = None;
    loop {
        let plan = drive.host.plan(&context, state.as_deref());
        drive.fuel_max = drive.fuel_max.max(plan.fuel);
        let plan = plan.value.expect("a plan");
        machine.now += PLAN;
        context.decision += 1;
        match plan.next {
            Next::Workflow(tasks) => {
                machine.waiting.extend(serde_json::from_str::<Vec<Value>>(&tasks).expect("tasks"));
                context.iteration += 1;
            }
            Next::Wait => {}
            Next::Complete(result) => return serde_json::from_str(&result).expect("a result"),
            other => panic!("{other:?}"),
        }
        machine.start();
        let results: Vec<Value> = machine.ended().iter().map(|task| drive.carry_out(task, &|_: &str| false)).collect();
        machine.start();
        // what is analyzed belongs to what has been planned
        (context.iteration, context.open_tasks, context.asked) = (context.iteration - 1, machine.open(), Vec::new());
        let analyzed = drive.host.analyze(&context, &plan.state, &Value::Array(results).to_string());
        state = Some(analyzed.value.expect("an analysis").state);
        (context.iteration, context.asked) = (context.iteration + 1, vec!["results".to_owned()]);
        context.decision += 1;
    }
}

/// What share of the hypervolume that batches reach is lost with a seed: where candidates overlap, and where they are
/// drawn at random.
struct Loss {
    overlapping: f64,
    random: f64,
}

fn loss(drive: &mut Drive, seed: u64, size: Size) -> Loss {
    let (mut params, budget) = (size.params(), size.iterations * CORES);
    let (batches, evaluated) = last_hypervolume(&drive.run(seed, &params, |_| false));
    assert_eq!(evaluated, budget, "seed {seed}: batches use the budget up");
    params["parallel"] = json!(CORES);
    let (volume, evaluated) = last_hypervolume(&overlapping(drive, seed, &params));
    assert_eq!(evaluated, budget, "seed {seed}: so does what overlaps");
    let random = drive.random(seed, budget);
    eprintln!("seed {seed}: {batches:.4} in batches, {volume:.4} overlapping, {random:.4} at random");
    Loss { overlapping: (batches - volume) / batches, random: (batches - random) / batches }
}

/// A bound that the median of what these are drawn from exceeds in at most one of twenty cases: the least of them below
/// which, for a fair coin for each, that many or more fall with no greater probability.
fn bound_of_median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let (mut probability, mut below) = (0.5_f64.powi(values.len() as i32), 0.0);
    for (place, value) in values.iter().enumerate() {
        // that at most `place` of them lie below the median
        below += probability;
        if below >= 0.95 {
            return *value;
        }
        probability *= (count - place as f64) / (place as f64 + 1.0);
    }
    panic!("{count} values are too few");
}

/// The bound of the median loss, and that of random search.
fn study(size: Size) -> (f64, f64) {
    coatings_component();
    let part = |of: u64| {
        let mut drive = Drive::new(PluginLimits::default());
        let seeds = (0..size.seeds).filter(|seed| seed % 2 == of);
        let losses: Vec<Loss> = seeds.map(|seed| loss(&mut drive, seed, size)).collect();
        let limit = PluginLimits::default().fuel as f64;
        assert!((drive.fuel_max as f64) < FUEL_SHARE * limit, "a call used {} of {limit} fuel", drive.fuel_max);
        losses
    };
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| part(1));
        (part(0), other.join().expect("the other half"))
    });
    let all: Vec<Loss> = one.into_iter().chain(other).collect();
    let (overlapping, random): (Vec<f64>, Vec<f64>) = all.iter().map(|one| (one.overlapping, one.random)).unzip();
    let medians = (median(overlapping.clone()), median(random.clone()));
    let bounds = (bound_of_median(overlapping), bound_of_median(random));
    eprintln!(
        "median loss {:.4}, at most {:.4}; at random {:.4}, at most {:.4}",
        medians.0, bounds.0, medians.1, bounds.1
    );
    bounds
}

#[test]
fn a_bound_of_a_median_is_an_order_statistic() {
    let numbers = |count: u32| (1..=count).map(f64::from).rev().collect::<Vec<f64>>();
    // from tables of the sign test, one-sided at 0.05
    for (count, place) in [(5, 5.0), (12, 10.0), (20, 15.0), (50, 32.0), (100, 59.0)] {
        assert_eq!(bound_of_median(numbers(count)), place, "{count}");
    }
}

#[test]
fn overlapping_candidates_lose_little_for_a_few_seeds() {
    let (overlapping, random) = study(Size { seeds: 6, iterations: 6 });
    assert!(overlapping <= LOSS_MAX_OF_FEW, "{overlapping}");
    assert!(random > LOSS_MAX_OF_FEW, "it would be seen that nothing is learned: {random}");
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --slow`"]
fn over_200_seeds_overlapping_candidates_lose_at_most_a_twentieth() {
    let (overlapping, random) = study(Size { seeds: 200, iterations: 7 });
    assert!(overlapping <= LOSS_MAX, "{overlapping}");
    assert!(random > LOSS_MAX, "it would be seen that nothing is learned: {random}");
}

/// The most that can be chosen at a time, from the largest pool.
#[test]
fn the_most_candidates_at_once_stay_within_the_default_limits() {
    let mut drive = Drive::new(PluginLimits { memory_mb: 128, ..PluginLimits::default() });
    let params = json!({
        "initial": 150, "batch": 10, "max_iterations": 6, "pool": 2000, "tolerance": 0, "parallel": 50,
    });
    let result = drive.run(1, &params, |_| false);
    assert_eq!(last_hypervolume(&result).1, 200);
    let limit = PluginLimits::default().fuel as f64;
    eprintln!("fifty candidates at once use {} of {limit} fuel", drive.fuel_max);
    assert!((drive.fuel_max as f64) < LARGEST_FUEL_SHARE * limit, "{}", drive.fuel_max);
}
