//! Mode `each-result` through the binary, with a compiled campaign that answers what its parameters list.
use crate::support::world::{Done, World};
use crate::support::{guest, until};
use matterstack::model::document::sha256;
use serde_json::{Value, json};

/// A workspace whose campaign plans these steps.
fn world(steps: &Value) -> World {
    let world = World::new(&config(steps));
    std::fs::copy(guest("steps"), world.workspace().join("steps.wasm")).expect("a copy");
    world
}

fn config(steps: &Value) -> Value {
    json!({
        "campaign": {"plugin": "steps.wasm", "params": {"steps": steps}},
        "operators": {"local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}}},
        "backends": {"local": {"kind": "local", "cores": 2}},
    })
}

fn task(id: &str, command: &str) -> Value {
    json!({"id": id, "operator": "local", "command": command})
}

/// What each plan was asked with, and the results in the order in which they came.
fn told(world: &World) -> (Vec<Value>, Vec<String>) {
    world.run(&["evidence", "r"]).code(0);
    let state = world.evidence()["run"]["campaign_state"].clone();
    let plans = state["plans"].as_array().expect("plans").clone();
    let results = state["results"].as_array().expect("results");
    let result =
        |one: &Value| format!("{}={}", one["task"].as_str().unwrap_or(""), one["outcome"].as_str().unwrap_or(""));
    (plans, results.iter().map(result).collect())
}

fn asked(plans: &[Value]) -> Vec<String> {
    let words = |plan: &Value| {
        let words = plan["asked"].as_array().expect("words").iter().map(|word| word.as_str().unwrap_or_default());
        words.collect::<Vec<_>>().join("+")
    };
    plans.iter().map(words).collect()
}

/// A command that waits for a file in the run directory.
fn waits_for(name: &str) -> String {
    format!("while [ -e stdout ] && [ ! -e ../../../{name} ]; do sleep 0.02; done")
}

fn release(world: &World, name: &str) {
    std::fs::write(world.run_dir("r").join(name), "").expect("a file");
}

fn step(world: &World) -> Done {
    world.run(&["step", "r", "--json"])
}

/// Steps until the tasks stand so.
fn until_tasks(world: &World, words: &str) {
    until(words, || {
        step(world).code(0);
        world.tasks().contains(words)
    });
}

#[test]
fn iterations_overlap_and_results_come_as_tasks_end() {
    let world = world(&json!([
        {"tasks": [task("slow", &waits_for("go")), task("fast", "cat written")], "write": "hello"},
        {"tasks": [task("more", "true")], "ask_open": 1},
        {},
        {"complete": true},
    ]));
    world.init();
    until_tasks(&world, "more=completed");
    assert!(world.tasks().contains("slow=running"), "nobody waited for the slowest");
    assert_eq!(world.status()["summary"]["text"], "2 results");
    release(&world, "go");
    world.run(&["loop", "r"]).code(0);
    let (plans, results) = told(&world);
    assert_eq!(results, ["fast=Completed", "more=Completed", "slow=Completed"]);
    assert_eq!(asked(&plans), ["first", "results", "results", "results"]);
    assert_eq!((&plans[1]["told"], &plans[1]["open"]), (&json!(["slow"]), &json!(1)));
    assert_eq!(world.run(&["logs", "r", "fast"]).code(0).stdout, "hello");
    let workflows = world.evidence()["workflows"].clone();
    assert!(workflows.as_array().expect("workflows").iter().all(|one| !one["analyzed_at"].is_null()), "{workflows}");
    let inputs = world.run(&["attempts", "r", "fast", "--json"]).code(0).json()[0]["inputs"].clone();
    assert_eq!(inputs[0]["destination"], "written");
    world.run(&["replay", "r"]).code(0);
    world.is_sound("r");
}

#[test]
fn what_lies_where_a_campaign_writes_is_trouble_with_the_machine_and_loses_nothing() {
    let world = world(&json!([
        {"tasks": [task("a", "cat written")], "write": "one"},
        {"tasks": [task("b", "cat written")], "write": "two"},
        {"complete": true},
    ]));
    world.init();
    let place = world.run_dir("r").join("inputs").join(sha256(b"two"));
    std::fs::create_dir(&place).expect("a folder in its place");
    let troubled = world.run(&["loop", "r", "--timeout", "20s"]).code(74);
    assert!(troubled.stderr.contains(&sha256(b"two")), "{troubled:?}");
    std::fs::remove_dir(&place).expect("gone");
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.run(&["logs", "r", "b"]).code(0).stdout, "two");
    world.run(&["doctor", "r"]).code(0);
    std::fs::write(&place, "too").expect("other bytes");
    let changed = world.run(&["doctor", "r"]).code(1);
    assert!(format!("{changed:?}").contains(&sha256(b"two")), "{changed:?}");
    world.run(&["replay", "r"]).code(0);
}

#[test]
fn what_the_campaign_no_longer_wants_is_cancelled() {
    let world = world(&json!([
        {"tasks": [task("live", "sleep 300"), task("quick", "true"),
            {"id": "after", "operator": "local", "command": "true", "depends_on": ["live"]}]},
        {"cancel": ["live", "quick", "after"]},
        {"complete": true},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.tasks(), "live=cancelled quick=completed after=cancelled");
    let explained = world.run(&["explain", "r", "live"]).code(0).stdout;
    assert!(explained.contains("cancelled"), "{explained}");
    world.run(&["replay", "r"]).code(0);
    world.is_sound("r");
}

#[test]
fn a_run_ends_with_what_is_live_once_that_has_stopped() {
    for (end, state, code) in [("complete", "completed", 0), ("fail", "failed", 1)] {
        let world = world(&json!([
            {"tasks": [task("live", "trap '' TERM; sleep 0.3; exit 3"), task("quick", "true"), task("later", "sleep 300")]},
            {end: "no more is wanted"},
        ]));
        world.init();
        world.run(&["loop", "r"]).code(code);
        let status = world.status();
        assert_eq!(status["state"], state, "{status}");
        assert_eq!(status["tasks"]["running"], 0);
        let (plans, results) = told(&world);
        assert_eq!((plans.len(), results), (2, vec!["quick=Completed".to_owned()]), "what came later is not delivered");
        world.run(&["replay", "r"]).code(0);
        world.is_sound("r");
    }
}

#[test]
fn a_run_that_waits_for_a_time_is_woken() {
    let world = world(&json!([
        {"tasks": [task("a", "true")]},
        {"wake_in_ms": 1500},
        {"complete": true},
    ]));
    world.init();
    until_tasks(&world, "a=completed");
    step(&world).code(0);
    let explained = world.run(&["explain", "r", "--json"]).code(0).json();
    assert_eq!(explained[0]["code"], "wake-at", "{explained}");
    assert!(world.run(&["status", "r"]).code(0).stdout.contains("asked again at 20"));
    world.run(&["loop", "r"]).code(0);
    let (plans, _) = told(&world);
    assert_eq!(asked(&plans), ["first", "results", "time"]);
    world.run(&["replay", "r"]).code(0);
}

#[test]
fn a_bad_plan_holds_the_run_and_loses_nothing() {
    let millennium = 1000_u64 * 365 * 86_400_000;
    let cases = [
        (json!({"wake_in_ms": millennium}), "milliseconds since 1970"),
        (json!({"cancel": ["nobody"]}), "`cancel` names task `nobody`"),
        (json!({"tasks": [task("a", "true")]}), "`a`"),
        (json!({"tasks": [task("a", "false")], "known": "skip"}), "`a`"),
        (
            json!({"tasks": [{"id": "b", "operator": "local", "command": "true", "files": {"x": {"digest": "ab".repeat(32)}}}]}),
            "which no file of the run has",
        ),
    ];
    for (step_two, words) in cases {
        let world = world(&json!([{"tasks": [task("a", "true")]}, step_two, {"complete": true}]));
        world.init();
        world.run(&["loop", "r"]).code(5);
        let status = world.status();
        assert_eq!(status["state"], "held", "{status}");
        assert!(status["reason"].as_str().unwrap_or_default().contains(words), "{words}: {status}");
        assert_eq!(status["tasks"]["completed"], 1);
        let explained = world.run(&["explain", "r", "--json"]).code(0).json();
        assert_eq!(explained[0]["code"], "plugin-bad-output", "{explained}");
        world.run(&["replay", "r"]).code(0);
        world.is_sound("r");
    }
}

#[test]
fn plans_that_wake_in_the_past_do_not_spin() {
    let world = world(&json!([{"tasks": [task("a", &waits_for("go"))]}, {"wake_in_ms": -5}]));
    world.init();
    world.run(&["pause", "r"]).code(0);
    world.run(&["resume", "r", "--set", "go=1"]).code(0);
    let mut looping = world.waiting_loop(&[]);
    until("the run to be held", || world.status()["state"] == "held");
    let status = world.status();
    release(&world, "go");
    assert_eq!(looping.wait().expect("its end").code(), Some(5));
    assert!(status["reason"].as_str().unwrap_or_default().contains("woken in the past"), "{status}");
    let (plans, _) = told(&world);
    assert_eq!(asked(&plans), ["first", "resumed", "time+waited"]);
}

#[test]
fn a_held_run_starts_what_is_planned_and_decides_nothing() {
    let world = world(&json!([
        {"tasks": [task("a", "true"), {"id": "b", "operator": "local", "command": "true", "depends_on": ["slow"]},
            task("slow", &waits_for("go"))]},
        {"hold": "which way", "form": {"properties": {"way": {"enum": ["left", "right"]}}}},
        {"complete": true},
    ]));
    world.init();
    until_tasks(&world, "a=completed");
    until("the run to be held", || {
        step(&world).code(0);
        world.status()["state"] == "held"
    });
    let explained = world.run(&["explain", "r", "--json"]).code(0).json()[0].clone();
    assert_eq!(explained["command"], "matterstack resume r --set way=VALUE", "{explained}");
    assert_eq!(explained["sentence"], "which way; it asks for `way` (\"left\", \"right\")");
    release(&world, "go");
    until_tasks(&world, "b=completed");
    assert_eq!(world.status()["state"], "held");
    let (plans, results) = told(&world);
    assert_eq!((plans.len(), results.len()), (2, 1), "no decision is made");
    world.run(&["resume", "r", "--set", "way=left"]).code(0);
    world.run(&["loop", "r"]).code(0);
    let (plans, _) = told(&world);
    assert_eq!(asked(&plans).last().map(String::as_str), Some("results+resumed"));
    assert_eq!(plans.last().expect("a plan")["supplied"], json!({"way": "left"}));
    world.run(&["replay", "r"]).code(0);
}

#[test]
fn a_held_run_that_is_paused_too_starts_nothing_until_it_is_resumed() {
    let world = world(&json!([
        {"tasks": [task("a", "true"), {"id": "b", "operator": "local", "command": "true", "depends_on": ["slow"]},
            task("slow", &waits_for("go"))]},
        {"hold": "wait"},
        {"complete": true},
    ]));
    world.init();
    until("the run to be held", || {
        step(&world).code(0);
        world.status()["state"] == "held"
    });
    world.run(&["pause", "r"]).code(0);
    assert_eq!(world.status()["state"], "held");
    release(&world, "go");
    until_tasks(&world, "slow=completed");
    (0..3).for_each(|_| drop(step(&world).code(0)));
    assert!(world.tasks().contains("b=pending"), "{}", world.tasks());
    let explained = world.run(&["explain", "r", "b", "--json"]).code(0).json();
    assert_eq!(explained[0]["code"], "run-paused", "{explained}");
    world.run(&["resume", "r"]).code(0);
    world.run(&["loop", "r"]).code(0);
}

#[test]
fn a_delivered_result_is_taken_back_only_by_a_campaign_that_can() {
    let steps = json!([{"tasks": [task("a", "true"), task("stays", &waits_for("go"))]}, {}, {"complete": true}]);
    for takes_back in [false, true] {
        let world = World::new(&json!(null));
        let mut config = config(&steps);
        config["campaign"]["takes_back"] = takes_back.into();
        world.write("config.json", &config.to_string());
        std::fs::copy(guest("steps"), world.workspace().join("steps.wasm")).expect("a copy");
        world.init();
        until("the result to be delivered", || {
            step(&world).code(0);
            told(&world).1.len() == 1
        });
        if !takes_back {
            let refused = world.run(&["rerun", "r", "a"]).code(2).stderr;
            assert!(refused.contains("does not take results back"), "{refused}");
            assert!(world.tasks().contains("a=completed"));
            release(&world, "go");
            continue;
        }
        world.run(&["rerun", "r", "a"]).code(0);
        until("the result to be delivered again", || {
            step(&world).code(0);
            told(&world).1.len() == 2
        });
        world.run(&["evidence", "r"]).code(0);
        let results = world.evidence()["run"]["campaign_state"]["results"].clone();
        assert_eq!((&results[0]["supersedes"], &results[1]["supersedes"]), (&Value::Null, &json!("Completed")));
        release(&world, "go");
        world.run(&["replay", "r"]).code(0);
        world.is_sound("r");
    }
}

#[test]
fn what_a_person_amends_is_a_reason_to_plan() {
    let world = world(&json!([{"tasks": [task("a", &waits_for("go"))]}, {}]));
    world.init();
    step(&world).code(0);
    let steps = json!([{}, {"tasks": [task("b", "true")]}, {"complete": true}]);
    world.run(&["amend", "r", "config", &format!("campaign.params.steps={steps}")]).code(0);
    until_tasks(&world, "b=completed");
    release(&world, "go");
    world.run(&["loop", "r"]).code(0);
    let (plans, _) = told(&world);
    assert_eq!(asked(&plans)[1], "changed");
    let refused = world.run(&["amend", "r", "config", "campaign.analyze=workflow"]).code(2).stderr;
    assert!(refused.contains("`campaign.analyze` cannot be amended"), "{refused}");
    world.run(&["replay", "r"]).code(0);
}
