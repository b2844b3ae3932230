//! The compiled component, driven without a run: what it learns from the true simulators, and what that costs.
mod overlap;

use super::super::{coatings_component, workspace};
use super::{Oracle, SLUG};
use crate::support::view::{View, first_context};
use crate::support::world::PROGRAM;
use matterstack::backend::Backends;
use matterstack::model::contract::{Detail, GuestError, Next};
use matterstack::model::document::sha256;
use matterstack::model::limit::{CompileLimits, PluginLimits};
use matterstack::plugin::{Artifacts, Compiler, HostSettings, LogEntry, PluginHost, PluginLog, PluginSource, Plugins};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// How much more hypervolume than random search the median campaign must reach; the workspace's README says it.
const MARGIN: f64 = 0.1;
/// The share of the default fuel that a call may use at most, with the workspace's own parameters.
const FUEL_SHARE: f64 = 0.05;
/// The same with the largest parameters that are allowed.
const LARGEST_FUEL_SHARE: f64 = 0.4;

/// The output files of the simulations, by digest.
#[derive(Default)]
struct Outputs(Mutex<HashMap<String, Vec<u8>>>);

impl Outputs {
    fn keep(&self, content: String) -> Value {
        let digest = sha256(content.as_bytes());
        let size = content.len();
        self.0.lock().expect("the outputs").insert(digest.clone(), content.into_bytes());
        json!({"sha256": digest, "size": size})
    }
}

impl Artifacts for Outputs {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError> {
        let files = self.0.lock().expect("the outputs");
        let bytes = files.get(digest).ok_or_else(|| GuestError::Denied(Detail::new("unknown-digest", digest)))?;
        Ok(bytes.iter().skip(offset as usize).take(max as usize).copied().collect())
    }
}

/// Shows what the campaign says where a failing test shows it.
struct Said;

impl PluginLog for Said {
    fn write(&self, entry: &LogEntry<'_>) -> usize {
        eprintln!("{}: {}", entry.plugin, entry.message);
        entry.message.len()
    }
}

/// The component, and what the host would keep for it.
struct Drive {
    host: PluginHost,
    outputs: Arc<Outputs>,
    oracle: Oracle,
    /// The most fuel that one call used.
    fuel_max: u64,
}

impl Drive {
    fn new(limits: PluginLimits) -> Self {
        let component = coatings_component().clone();
        let bytes = std::fs::read(&component).expect("the component");
        let outputs = Arc::new(Outputs::default());
        let mut host = PluginHost::new(HostSettings {
            compiler: Compiler {
                cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("coatings-native")),
                program: PROGRAM.into(),
                limits: CompileLimits::default(),
            },
            backends: Vec::new(),
            compute: Arc::new(Backends::new(Path::new("/nonexistent"))),
            artifacts: outputs.clone(),
            log: Arc::new(Said),
            limits,
        });
        host.set_campaign(PluginSource {
            name: "coatings".to_owned(),
            path: component,
            sha256: sha256(&bytes),
            script: None,
        });
        Self { host, outputs, oracle: Oracle::start(), fuel_max: 0 }
    }

    /// Runs a campaign to its end; returns its result. Simulations of the candidates that `fails` names fail.
    fn run(&mut self, seed: u64, params: &Value, fails: impl Fn(&str) -> bool) -> Value {
        let mut context = first_context(View::of(params), seed);
        let mut state = None;
        loop {
            let plan = self.host.plan(&context, state.as_deref());
            self.fuel_max = self.fuel_max.max(plan.fuel);
            let plan = plan.value.expect("a plan");
            context.decision += 1;
            let tasks: Vec<Value> = match plan.next {
                Next::Workflow(tasks) => serde_json::from_str(&tasks).expect("tasks"),
                Next::Complete(result) => return serde_json::from_str(&result).expect("a result"),
                other => panic!("{other:?}"),
            };
            context.asked = Vec::new();
            let results = tasks.iter().map(|task| self.carry_out(task, &fails)).collect();
            let analyzed = self.host.analyze(&context, &plan.state, &Value::Array(results).to_string());
            self.fuel_max = self.fuel_max.max(analyzed.fuel);
            let analyzed = analyzed.value.expect("an analysis").state;
            assert!(analyzed.len() < 64 * 1024, "the state has {} bytes", analyzed.len());
            state = Some(analyzed);
            context.decision += 1;
            context.iteration += 1;
            context.asked = vec!["results".to_owned()];
        }
    }

    /// Does what the task's command would do.
    fn carry_out(&mut self, task: &Value, fails: &impl Fn(&str) -> bool) -> Value {
        let id = task["id"].as_str().expect("an id");
        let result = json!({"task": id, "attempts": 1, "allow_failure": true});
        let mut result = result.as_object().expect("an object").clone();
        if fails(id) {
            result.insert("outcome".to_owned(), json!("failed"));
            result.insert("reason".to_owned(), json!("exit code 3"));
            return Value::Object(result);
        }
        let input = task["files"]["input.json"]["content"].as_str().expect("an input");
        let input: Value = serde_json::from_str(input).expect("JSON");
        let values = self.oracle.ask(&input);
        let path = task["outputs"][0].as_str().expect("an output").to_owned();
        let content = match id.ends_with("-friction") {
            true => json!({"candidate": input["candidate"], "friction_coefficient": values[0]}),
            false => json!({"candidate": input["candidate"], "dissolution_rate_nm_h": values[1]}),
        };
        let mut file = self.outputs.keep(content.to_string());
        file["path"] = json!(path);
        result.insert("outcome".to_owned(), json!("completed"));
        result.insert("outputs".to_owned(), json!([file]));
        Value::Object(result)
    }

    /// The hypervolume that as many compositions drawn at random reach.
    fn random(&mut self, seed: u64, count: usize) -> f64 {
        let drawn = self.oracle.ask(&json!({"random": seed, "count": count}));
        hypervolume(&pairs(drawn.as_array().expect("pairs").iter().map(|pair| (&pair[0], &pair[1]))))
    }
}

fn pairs<'a>(values: impl Iterator<Item = (&'a Value, &'a Value)>) -> Vec<(f64, f64)> {
    values.map(|(a, b)| (a.as_f64().expect("a number"), b.as_f64().expect("a number"))).collect()
}

/// The hypervolume of pairs of friction and dissolution, computed in another way than the campaign does: the mean, over
/// exact strips between all first coordinates, of the height that is dominated there.
fn hypervolume(values: &[(f64, f64)]) -> f64 {
    let scaled: Vec<(f64, f64)> =
        values.iter().map(|(friction, rate)| ((friction - 0.01) / 0.49, (rate.log10() + 1.0) / 2.0)).collect();
    let mut borders: Vec<f64> = scaled.iter().map(|point| point.0).chain([0.0, 1.0]).collect();
    borders.sort_by(f64::total_cmp);
    let height = |at: f64| scaled.iter().filter(|point| point.0 <= at).map(|point| 1.0 - point.1).fold(0.0, f64::max);
    borders.windows(2).map(|pair| (pair[1] - pair[0]) * height(pair[0])).sum()
}

fn default_params() -> Value {
    let text = std::fs::read_to_string(workspace(SLUG).join("config.json")).expect("config.json");
    let config: Value = serde_json::from_str(&text).expect("JSON");
    config["campaign"]["params"].clone()
}

fn last_hypervolume(result: &Value) -> (f64, usize) {
    let last = result["hypervolume"].as_array().and_then(|rows| rows.last()).expect("a hypervolume");
    (last["hypervolume"].as_f64().expect("a number"), last["evaluated"].as_u64().expect("a count") as usize)
}

/// The hypervolume after each iteration.
fn volumes(result: &Value) -> Vec<f64> {
    let rows = result["hypervolume"].as_array().expect("rows");
    rows.iter().map(|row| row["hypervolume"].as_f64().expect("a number")).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

/// Final hypervolumes of the campaign and of random search for these seeds, and the most fuel that a call used.
fn compare(seeds: impl Iterator<Item = u64>) -> (Vec<(f64, f64)>, u64) {
    let mut drive = Drive::new(PluginLimits::default());
    let params = default_params();
    let both = seeds.map(|seed| {
        let result = drive.run(seed, &params, |_| false);
        let (volume, evaluated) = last_hypervolume(&result);
        let measured = result["ranking"].as_array().expect("a ranking").iter();
        let again = hypervolume(&pairs(
            measured.map(|entry| (&entry["friction_coefficient"], &entry["dissolution_rate_nm_h"])),
        ));
        assert!((volume - again).abs() < 1e-9, "seed {seed}: the campaign says {volume}, and it is {again}");
        let random = drive.random(seed, evaluated);
        eprintln!(
            "seed {seed}: {volume:.3} with {evaluated} candidates, random search {random:.3}; {}",
            result["stopped"]
        );
        (volume, random)
    });
    let both = both.collect();
    (both, drive.fuel_max)
}

#[test]
fn over_20_seeds_the_median_campaign_beats_random_search_by_the_margin_of_the_readme() {
    coatings_component();
    let (halves, others) = std::thread::scope(|scope| {
        let others = scope.spawn(|| compare((0..20).skip(1).step_by(2)));
        (compare((0..20).step_by(2)), others.join().expect("the other half"))
    });
    let fuel = halves.1.max(others.1);
    let (learned, random): (Vec<f64>, Vec<f64>) = halves.0.into_iter().chain(others.0).unzip();
    assert_eq!(learned.len(), 20);
    let wins = learned.iter().zip(&random).filter(|(learned, random)| learned > random).count();
    let (learned, random) = (median(learned), median(random));
    eprintln!("median {learned:.3} against {random:.3}, better for {wins} of 20; a call used {fuel} fuel at most");
    assert!(learned >= random + MARGIN, "the median is {learned:.3}, that of random search {random:.3}");
    let limit = PluginLimits::default().fuel as f64;
    assert!((fuel as f64) < FUEL_SHARE * limit, "a call used {fuel} of {limit} fuel");
}

#[test]
fn failed_simulations_are_left_out_of_what_is_learned() {
    let mut drive = Drive::new(PluginLimits::default());
    let params = json!({"initial": 8, "batch": 4, "max_iterations": 5, "pool": 100, "tolerance": 0});
    let fails = |task: &str| task.ends_with("2-friction") || task.ends_with("5-dissolution");
    let result = drive.run(3, &params, fails);
    let failed: Vec<&str> =
        result["failed"].as_array().expect("failures").iter().filter_map(|entry| entry["id"].as_str()).collect();
    assert_eq!(failed, ["c002", "c005", "c012", "c015", "c022"]);
    assert_eq!(last_hypervolume(&result).1, 24 - failed.len());
    assert_eq!(result["ranking"].as_array().map(Vec::len), Some(19));
    let volumes = volumes(&result);
    assert!(volumes[4] > volumes[0], "it goes on learning: {volumes:?}");
}

#[test]
fn a_seed_decides_everything() {
    let mut drive = Drive::new(PluginLimits::default());
    let params = json!({"initial": 6, "batch": 3, "max_iterations": 3, "pool": 100, "tolerance": 0});
    let first = drive.run(5, &params, |_| false);
    assert_eq!(first, drive.run(5, &params, |_| false));
    assert_ne!(first["ranking"], drive.run(6, &params, |_| false)["ranking"]);
}

#[test]
fn it_stops_when_the_hypervolume_stops_growing() {
    let mut drive = Drive::new(PluginLimits::default());
    let params = json!({"initial": 10, "batch": 2, "max_iterations": 40, "pool": 100, "tolerance": 0.2});
    let result = drive.run(1, &params, |_| false);
    let volumes = volumes(&result);
    assert!((4..40).contains(&volumes.len()), "{volumes:?}");
    assert!(volumes[volumes.len() - 4..].windows(2).all(|pair| pair[1] - pair[0] <= 0.2), "{volumes:?}");
    let stopped = result["stopped"].as_str().expect("a sentence");
    assert_eq!(stopped, "no iteration of the last 3 raised the hypervolume by more than 0.2");
}

#[test]
fn the_largest_campaign_allowed_stays_within_the_default_limits() {
    // a quarter of the default memory is enough
    let mut drive = Drive::new(PluginLimits { memory_mb: 128, ..PluginLimits::default() });
    let params = json!({"initial": 180, "batch": 20, "max_iterations": 2, "pool": 2000, "tolerance": 0});
    let result = drive.run(1, &params, |_| false);
    assert_eq!(last_hypervolume(&result).1, 200);
    let limit = PluginLimits::default().fuel;
    eprintln!("the largest campaign uses {} of {limit} fuel in a call", drive.fuel_max);
    assert!((drive.fuel_max as f64) < LARGEST_FUEL_SHARE * limit as f64, "{}", drive.fuel_max);
}
