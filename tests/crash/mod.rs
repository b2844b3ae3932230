//! The failpoint matrix: the host dies at every commit, guest call and job start; ticks recover; the store's rules
//! hold, no command was started twice, and the end is the same.
use crate::support::until;
use crate::support::world::World;
use crate::support::{guest, root};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Each command leaves a line in its attempt directory, so that a second start of an attempt shows.
fn world() -> World {
    let command = |text: &str| json!(format!("echo started >> started.log; {text}"));
    World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": command("echo 1 > out.txt; sleep 0.2"), "outputs": ["out.txt"]},
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

/// How often each failpoint was passed, by what the processes themselves listed.
fn traced(trace: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in std::fs::read_to_string(trace).unwrap_or_default().lines() {
        *counts.entry(name.to_owned()).or_insert(0) += 1;
    }
    counts
}

/// Whether the run's supervisor has left, or there never was one.
fn settled(world: &World) -> bool {
    let machines = std::fs::read_dir(world.run_dir("r").join("backends/local")).into_iter().flatten().flatten();
    machines.map(|machine| machine.path().join("journal")).all(|journal| {
        std::fs::read_to_string(journal)
            .is_ok_and(|text| text.lines().last().is_some_and(|last| last.contains("settled")))
    })
}

/// The passages of each failpoint in an undisturbed life.
fn passages(world: &World, arguments: &[&str]) -> Vec<(String, usize)> {
    let trace = world.root().join("trace");
    world.run_with(arguments, &[("MATTERSTACK_FAILPOINT_TRACE", trace.to_str().expect("UTF-8"))]).code(0);
    until("the supervisor to leave", || settled(world));
    let counts = traced(&trace);
    std::fs::remove_file(&trace).expect("the trace is ours");
    counts.into_iter().collect()
}

/// Does the work of every point, three at a time; the work tells whether it was reached.
fn for_each_point(points: &[(String, usize)], work: impl Fn(&str, usize) -> bool + Sync) {
    let all: Vec<(&str, usize)> =
        points.iter().flat_map(|(name, count)| (1..=*count).map(move |n| (name.as_str(), n))).collect();
    let (next, reached) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((name, n)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if work(name, *n) {
                        reached.lock().expect("nobody panicked").insert((*name).to_owned());
                    }
                }
            });
        }
    });
    let reached = reached.into_inner().expect("nobody panicked");
    // how often a tick asks depends on when jobs end, so the last passages of a point may not come; but each point does
    let missed: Vec<_> = points.iter().filter(|(name, _)| !reached.contains(name)).collect();
    assert!(missed.is_empty(), "never reached: {missed:?}");
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

/// Lets a loop die at every point that one passes, and others finish what it began: the tasks come to the same end.
fn dies_anywhere(world: impl Fn() -> World + Sync, end: &str, commands: Option<usize>, needed: &[&str]) {
    let golden = world();
    golden.init();
    let points = passages(&golden, &["loop", "r"]);
    let points: Vec<_> = points.into_iter().filter(|(name, _)| name != "local.claim" && !supervisor(name)).collect();
    assert_eq!(golden.tasks(), end);
    for needed in needed {
        assert!(points.iter().any(|(name, _)| name == needed), "{needed} is not among {points:?}");
    }
    for_each_point(&points, |name, n| {
        let world = world();
        world.init();
        let point = format!("{name}:{n}");
        let died = world.run_with(&["loop", "r"], &[("MATTERSTACK_FAILPOINT", &point)]).code.is_none();
        check(&world, &point);
        let done = world.step_to_end();
        assert_eq!((done["state"].as_str(), world.tasks().as_str()), (Some("completed"), end), "{point}");
        check(&world, &point);
        let started: usize = starts(&world.run_dir("r")).values().sum();
        assert!(commands.is_none_or(|commands| commands == started), "{point}: {started} commands were started");
        world.run(&["replay", "r"]).code(0);
        died
    });
}

#[test]
fn a_tick_that_dies_anywhere_is_finished_by_the_next() {
    let needed =
        ["submit.before", "submit.after", "analyze.after", "plan.before", "store.before-commit", "local.queue-append"];
    dies_anywhere(world, END, Some(3), &needed);
}

/// A run whose campaign has each result as it comes, and plans these steps.
fn each_result(steps: &Value) -> World {
    let world = World::new(&json!({
        "campaign": {"plugin": "steps.wasm", "params": {"steps": steps}},
        "operators": {"local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}}},
        "backends": {"local": {"kind": "local", "cores": 2}},
    }));
    std::fs::copy(guest("steps"), world.workspace().join("steps.wasm")).expect("a copy");
    world
}

fn logged(id: &str, command: &str) -> Value {
    json!({"id": id, "operator": "local", "command": format!("echo started >> started.log; {command}")})
}

#[test]
fn what_a_campaign_wrote_and_was_told_survives_a_death_anywhere() {
    let steps = json!([
        {"tasks": [logged("a", "cat written"), logged("b", "sleep 0.2")], "write": "one"},
        {"tasks": [logged("c", "cat written")], "write": "two", "ask_open": 1},
        {},
        {"complete": true},
    ]);
    let needed = ["kept.put", "analyze.after", "plan.before", "plan.after"];
    dies_anywhere(|| each_result(&steps), "a=completed b=completed c=completed", Some(3), &needed);
}

#[test]
fn a_run_that_its_campaign_ends_while_work_is_live_ends_so_after_a_death_anywhere() {
    let steps = json!([
        {"tasks": [logged("quick", "true"), logged("unwanted", "sleep 300"), logged("live", "sleep 300")]},
        {"cancel": ["unwanted"], "complete": true},
    ]);
    let end = "quick=completed unwanted=cancelled live=cancelled";
    dies_anywhere(|| each_result(&steps), end, None, &["cancel.before", "cancel.after"]);
}

fn supervisor(name: &str) -> bool {
    name.starts_with("local.") && name != "local.queue-append"
}

#[test]
fn what_is_taken_from_an_earlier_run_is_taken_once_whatever_dies() {
    let again = || {
        let mut config: Value = json!({"reuse": {"from": "workspace"}, "campaign": {"plugin": "builtin:workflow", "params": {"tasks": [
            logged("a", "echo 1 > out.txt"), logged("b", "true"), logged("c", "cat out.txt"),
        ]}}});
        config["campaign"]["params"]["tasks"][0]["outputs"] = json!(["out.txt"]);
        config["campaign"]["params"]["tasks"][2]["files"] = json!({"out.txt": {"from": "a", "output": "out.txt"}});
        let world = World::new(&config);
        world.run(&["init", "demo", "--run-id", "earlier"]).code(0);
        world.run(&["loop", "earlier"]).code(0);
        world
    };
    dies_anywhere(again, "a=completed b=completed c=completed", Some(0), &["store.before-commit"]);
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
        // The supervisor that this tick starts inherits the failpoint; those of later ticks do not. It lists what it
        // passes before it dies.
        let trace = world.root().join("trace");
        let environment = [
            ("MATTERSTACK_FAILPOINT", point.as_str()),
            ("MATTERSTACK_FAILPOINT_TRACE", trace.to_str().expect("UTF-8")),
        ];
        world.run_with(&["step", "r"], &environment);
        let died = || traced(&trace).get(name).is_some_and(|count| *count >= n);
        until("the supervisor to die or to leave", || died() || settled(&world));
        let died = died();
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
        died
    });
}

#[test]
fn a_command_that_dies_is_finished_or_repeated() {
    let world = World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "echo started >> started.log; sleep 600"},
    ]));
    let dies = |arguments: &[&str], point: &str| {
        let done = world.run_with(arguments, &[("MATTERSTACK_FAILPOINT", point)]);
        assert!(done.code.is_none(), "{point} was not reached: {done:?}");
    };
    world.init();
    for point in ["prepare.before", "prepare.after", "submit.before", "reconcile.before", "reconcile.after"] {
        dies(&["step", "r"], point);
        check(&world, point);
    }
    // the change is committed, and the next tick puts it in place
    dies(&["amend", "r", "config", "limits.max_active=7"], "config.rename");
    world.run(&["step", "r"]).code(0);
    let config = std::fs::read_to_string(world.run_dir("r").join("config.json")).expect("a file");
    assert!(config.contains("\"max_active\": 7"), "{config}");
    until("the job to run", || {
        world.run(&["step", "r"]);
        world.status().to_string().contains("running") && starts(&world.run_dir("r")).values().sum::<usize>() == 1
    });
    for point in ["cancel.before", "cancel.after"] {
        dies(&["cancel", "r"], point);
        check(&world, point);
    }
    until("the end", || world.run(&["step", "r", "--json"]).json()["state"] == "cancelled");
    check(&world, "the end");
    assert_eq!(starts(&world.run_dir("r")).values().sum::<usize>(), 1);
}

/// A run that failed, and whose script was mended in the workspace since.
fn failed() -> World {
    let world = World::with_tasks(&json!([
        {"id": "a", "command": "echo started >> started.log; echo 1 > out.txt", "outputs": ["out.txt"]},
        {"id": "b", "command": "echo started >> started.log; sh b.sh",
            "files": {"b.sh": {"path": "scripts/b.sh"}, "in.txt": {"from": "a", "output": "out.txt"}}},
    ]));
    world.write("scripts/b.sh", "exit 3");
    // the shell of later commands has no such variable
    world.run_with(&["init", "demo", "--run-id", "r"], &[("LANG", "de_AT.UTF-8")]).code(0);
    world.run(&["loop", "r"]).code(1);
    world.write("scripts/b.sh", "cat in.txt");
    world
}

/// The same run, mended, and with the script of `b` exchanged once more: what `b` left is stale.
fn stale() -> World {
    let world = failed();
    world.run(&["rerun", "r", "b", "--changed"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.write("scripts/b.sh", "cat in.txt # the same");
    world.run(&["amend", "r", "file", "scripts/b.sh"]).code(0);
    world
}

/// An act, the run that it is done to, and how that run's tasks end.
type ActCase<'a> = (&'a [&'a str], fn() -> World, &'a str);

#[test]
fn an_act_that_dies_anywhere_is_done_or_not_begun() {
    let grown = json!([
        {"id": "a", "command": "echo started >> started.log; echo 1 > out.txt", "outputs": ["out.txt"]},
        {"id": "c", "command": "echo started >> started.log"},
    ]);
    let list = format!("campaign.params.tasks={grown}");
    let acts: [ActCase<'_>; 8] = [
        (&["rerun", "r", "b", "--changed", "--set", "env.N=1"], failed, "a=completed b=completed"),
        (&["amend", "r", "file", "scripts/b.sh"], failed, "a=completed b=failed"),
        (&["amend", "r", "task", "b", "command=true"], failed, "a=completed b=failed"),
        (&["amend", "r", "config", &list], failed, "a=completed b=failed c=completed"),
        (&["amend", "r", "environment"], failed, "a=completed b=failed"),
        (&["resume", "r"], failed, "a=completed b=failed"),
        (&["settle", "r", "b", "--completed"], stale, "a=completed b=completed"),
        (&["reuse", "reject", "r", "b"], stale, "a=completed b=completed"),
    ];
    for (act, made, end) in acts {
        let points = passages(&made(), act);
        assert!(points.iter().any(|(name, _)| name == "store.before-commit"), "{points:?}");
        for_each_point(&points, |name, n| {
            let world = made();
            let point = format!("{act:?} {name}:{n}");
            let died = world.run_with(act, &[("MATTERSTACK_FAILPOINT", &format!("{name}:{n}"))]).code.is_none();
            assert!(died, "{point} was not reached");
            // what was done already is refused as nothing new, and is not done twice
            let again = world.run(act);
            assert!(matches!(again.code, Some(0 | 2)), "{point}: {again:?}");
            world.step_to_end();
            assert_eq!(world.tasks(), end, "{point}");
            check(&world, &point);
            died
        });
    }
}

/// Every failpoint that the sources name.
fn named(directory: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            named(&entry, names);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&entry).expect("a source");
            let hits = text.split("failpoint::hit(\"").skip(1).filter_map(|rest| rest.split('"').next());
            names.extend(hits.map(str::to_owned));
        }
    }
}

/// The text of every suite.
fn suites(directory: &Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() && !entry.ends_with("guests") && !entry.ends_with("xtask") {
            suites(&entry, text);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&entry).expect("a source"));
        }
    }
}

/// A failpoint is passed in the life of which every passage is tried, or a suite dies there by name.
#[test]
fn no_failpoint_is_left_out() {
    let mut names = BTreeSet::new();
    named(&root().join("host/src"), &mut names);
    assert!(names.len() > 30, "{names:?}");
    let world = world();
    let mut passed: BTreeSet<String> =
        passages(&world, &["init", "demo", "--run-id", "r"]).into_iter().map(|(name, _)| name).collect();
    passed.extend(passages(&world, &["loop", "r"]).into_iter().map(|(name, _)| name));
    let mut text = String::new();
    suites(&root().join("tests"), &mut text);
    let left: Vec<_> =
        names.iter().filter(|name| !passed.contains(*name) && !text.contains(&format!("\"{name}"))).collect();
    assert!(left.is_empty(), "nobody dies at {left:?}");
}
