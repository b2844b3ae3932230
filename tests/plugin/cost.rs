//! What calls cost, printed with `--nocapture`; the bounds are loose, for busy machines.
#![allow(clippy::print_stdout, reason = "the numbers are the point")]
use super::*;
use crate::cli::harness::World;
use std::time::{Duration, Instant};

fn per_call(count: u32, mut act: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..count).for_each(|_| act());
    start.elapsed() / count
}

#[test]
fn calls_are_cheap_and_starts_are_quick() {
    let cache = tempfile::tempdir().unwrap();
    let make = || {
        let mut bench = Bench::with_cache(limits(), cache.path().join("native"));
        let (campaign, operator) = (builtin::builtin("workflow").unwrap(), builtin::builtin("compute").unwrap());
        let (campaign, operator) = (bench.file("workflow.wasm", campaign), bench.file("compute.wasm", operator));
        bench.host.set_campaign(source(&campaign));
        bench.host.add_operator(key(), source(&operator), granted(&["local"]));
        bench
    };
    let params = json!({"tasks": [{"id": "a", "operator": "local", "command": ["true"]}]});
    for name in ["compiling", "cached", "cached"] {
        let bench = make();
        let start = Instant::now();
        bench.plan(params.clone()).unwrap();
        let campaign = start.elapsed();
        let start = Instant::now();
        bench.host.submit(&key(), &bench.attempt(json!({"command": ["true"]}))).unwrap();
        println!("{name}: first campaign call {campaign:?}, first operator call {:?}", start.elapsed());
    }
    let bench = make();
    let attempt = bench.attempt(json!({"command": ["true"]}));
    bench.plan(params.clone()).unwrap();
    bench.host.submit(&key(), &attempt).unwrap();
    let plan = per_call(1000, || drop(bench.plan(params.clone()).unwrap()));
    let submit = per_call(1000, || drop(bench.host.submit(&key(), &attempt).unwrap()));
    println!("a campaign call {plan:?}, an operator call {submit:?}");
    assert!(plan < Duration::from_millis(2) && submit < Duration::from_millis(2), "{plan:?} {submit:?}");
}

/// The shortest and the middle wall time of a number of processes. On a busy machine it goes on for a while until one
/// of them was undisturbed.
fn wall(enough: Duration, mut run: impl FnMut()) -> (Duration, Duration) {
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 40 || (times[0] > enough && begin.elapsed() < Duration::from_secs(60)) {
        let start = Instant::now();
        run();
        times.push(start.elapsed());
        times.sort();
    }
    (times[0], times[times.len() / 2])
}

/// A process of its own opens the run and calls `builtin:workflow`, whose native code is cached; it is stopped at the
/// moment the call has returned, so that nothing else is measured and every repetition meets the same run.
#[test]
fn the_first_answer_of_a_plugin_comes_within_milliseconds_of_the_start() {
    const BUDGET: Duration = Duration::from_millis(8);
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.init();
    world.run(&["amend", "r", "--set", "limits.plugin.fuel=1"]).code(0);
    world.run(&["loop", "r", "--timeout", "100s"]).code(5);
    world.run(&["amend", "r", "--set", "limits.plugin.fuel=100000000000"]).code(0);
    world.run(&["resume", "r"]).code(0);
    let first_call = || {
        let died = world.run_with(&["step", "r"], &[("MATTERSTACK_FAILPOINT", "analyze.after:1")]);
        assert_eq!((died.code, died.stderr.as_str()), (None, ""), "the call was not reached");
    };
    first_call();
    let (best, middle) = wall(BUDGET, first_call);
    let floor = wall(BUDGET, || drop(world.run(&["--version"]).code(0)));
    println!(
        "process start to first plugin call returned: best {best:?}, middle {middle:?}; a process alone: {floor:?}"
    );
    assert!(best < BUDGET, "{best:?}");
    assert_eq!(world.step_to_end()["state"], "completed");
}
