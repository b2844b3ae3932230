//! The failpoint matrix: the host dies at every commit, guest call and job start; ticks recover; the store's rules hold, no
//! command was started twice, and the end is the same.
use crate::cli::harness::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Each command leaves a line in its attempt directory, so that a second start of an attempt shows.
fn world() -> World {
    let command = |text: &str| json!(format!("echo started >> started.log; {text}"));
    World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": command("echo 1 > out.txt"), "outputs": ["out.txt"]},
        {"id": "b", "operator": "local", "command": command("cat in.txt"), "files": {"in.txt": {"from": "a", "output": "out.txt"}}},
        {"id": "c", "operator": "local", "command": command("exit 3"), "allow_failure": true},
    ]))
}

const END: &str = "a=completed b=completed c=failed";

/// Every attempt directory with the number of times its command was started.
fn starts(run: &Path) -> BTreeMap<String, usize> {
    let attempts = std::fs::read_dir(run.join("operators/local")).into_iter().flatten().flatten();
    attempts
        .map(|attempt| {
            let lines = std::fs::read_to_string(attempt.path().join("started.log")).unwrap_or_default().lines().count();
            (attempt.file_name().to_string_lossy().into_owned(), lines)
        })
        .collect()
}

fn check(world: &World, point: &str) {
    let doctor = world.run(&["doctor", "r", "--json"]);
    assert_eq!(doctor.code, Some(0), "{point}: {doctor:?}");
    for (attempt, count) in starts(&world.run_dir("r")) {
        assert!(count <= 1, "{point}: the command of {attempt} was started {count} times");
    }
}

/// The passages of each failpoint in an undisturbed life, listed by the processes themselves.
fn passages(world: &World, arguments: &[&str]) -> Vec<(String, usize)> {
    let trace = world.root().join("trace");
    world.run_with(arguments, &[("MATTERSTACK_FAILPOINT_TRACE", trace.to_str().expect("UTF-8"))]).code(0);
    // The supervisor may still be writing its last lines.
    std::thread::sleep(Duration::from_millis(200));
    let mut counts = BTreeMap::new();
    for name in std::fs::read_to_string(&trace).expect("a trace").lines() {
        *counts.entry(name.to_owned()).or_insert(0) += 1;
    }
    std::fs::remove_file(&trace).expect("the trace is ours");
    counts.into_iter().collect()
}

/// Does the work of every point, two at a time.
fn for_each_point(points: &[(String, usize)], work: impl Fn(&str, usize) -> bool + Sync) {
    let all: Vec<(&str, usize)> =
        points.iter().flat_map(|(name, count)| (1..=*count).map(move |n| (name.as_str(), n))).collect();
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((name, n)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if !work(name, *n) {
                        missed.lock().expect("nobody panicked").push(format!("{name}:{n}"));
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("nobody panicked");
    // How often a tick asks depends on when jobs end, so the last passages of a point may not come.
    assert!(missed.len() * 5 <= all.len(), "too many of {} points were not reached: {missed:?}", all.len());
}

#[test]
fn init_that_dies_leaves_nothing_that_is_taken_for_a_run() {
    let golden = world();
    let points = passages(&golden, &["init", "demo", "--run-id", "r"]);
    assert!(
        points.iter().any(|(name, _)| name == "plan.after") && points.iter().any(|(name, _)| name == "init.rename")
    );
    for_each_point(&points, |name, n| {
        let world = world();
        let point = format!("{name}:{n}");
        let died =
            world.run_with(&["init", "demo", "--run-id", "r"], &[("MATTERSTACK_FAILPOINT", &point)]).code.is_none();
        assert!(died, "{point} was not reached");
        assert_eq!(world.run(&["list", "--json"]).code(0).json(), json!([]), "{point}");
        world.init();
        let left: Vec<_> = std::fs::read_dir(world.workspace().join("runs")).expect("runs").flatten().collect();
        assert_eq!(left.len(), 1, "{point}: what was begun has been removed");
        died
    });
}

#[test]
fn a_tick_that_dies_anywhere_is_finished_by_the_next() {
    let golden = world();
    golden.init();
    let points = passages(&golden, &["loop", "r"]);
    let points: Vec<_> = points.into_iter().filter(|(name, _)| name != "local.claim" && !supervisor(name)).collect();
    assert_eq!(golden.tasks(), END);
    for needed in
        ["submit.before", "submit.after", "analyze.after", "plan.before", "store.before-commit", "local.queue-append"]
    {
        assert!(points.iter().any(|(name, _)| name == needed), "{needed} is not among {points:?}");
    }
    for_each_point(&points, |name, n| {
        let world = world();
        world.init();
        let point = format!("{name}:{n}");
        let died = world.run_with(&["loop", "r"], &[("MATTERSTACK_FAILPOINT", &point)]).code.is_none();
        check(&world, &point);
        let end = world.step_to_end();
        assert_eq!((end["state"].as_str(), world.tasks().as_str()), (Some("completed"), END), "{point}");
        check(&world, &point);
        let started: usize = starts(&world.run_dir("r")).values().sum();
        assert_eq!(started, 3, "{point}: three commands, each started once");
        died
    });
}

fn supervisor(name: &str) -> bool {
    name.starts_with("local.") && name != "local.queue-append"
}

#[test]
fn a_supervisor_that_dies_anywhere_loses_nothing_unsaid() {
    let golden = world();
    golden.init();
    let points = passages(&golden, &["loop", "r"]);
    let points: Vec<_> = points.into_iter().filter(|(name, _)| supervisor(name)).collect();
    assert!(points.len() >= 4, "{points:?}");
    for_each_point(&points, |name, n| {
        let world = world();
        world.init();
        let point = format!("{name}:{n}");
        // The supervisor that this tick starts inherits the failpoint; those of later ticks do not.
        world.run_with(&["step", "r"], &[("MATTERSTACK_FAILPOINT", &point)]);
        std::thread::sleep(Duration::from_millis(100));
        check(&world, &point);
        let mut end = world.step_to_end();
        let mut lost = 0;
        while end["state"] == "held" {
            lost += world.status()["waiting_on"]
                .as_array()
                .map_or(0, |all: &Vec<Value>| all.iter().filter(|w| w["kind"] == "lost").count());
            assert!(lost > 0 && lost < 10, "{point}: {end}");
            world.run(&["rerun", "r", "--state", "lost"]).code(0);
            world.run(&["resume", "r"]).code(0);
            end = world.step_to_end();
        }
        assert_eq!((end["state"].as_str(), world.tasks().as_str()), (Some("completed"), END), "{point}");
        check(&world, &point);
        true
    });
}
