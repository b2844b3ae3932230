//! What no campaign can skip: what operators accept, what they may use, and whose word their tasks need.
use crate::support::world::{PROGRAM, World, done, tasks_config};
use crate::support::{guest, until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

/// Somebody who is named nowhere.
const STRANGER: u32 = 65_534;

/// A configuration whose operator `local` has these rules.
fn config(tasks: &Value, rules: &Value) -> Value {
    let mut config = tasks_config(tasks);
    for (key, value) in rules.as_object().expect("rules") {
        config["operators"]["local"][key] = value.clone();
    }
    config
}

fn task(id: &str, command: &str) -> Value {
    json!({"id": id, "operator": "local", "command": command})
}

pub(super) fn explained(world: &World, task: &str) -> (String, String, String) {
    let one = world.run(&["explain", "r", task, "--json"]).code(0).json()[0].clone();
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("sentence"), text("command"))
}

pub(super) fn acts(world: &World, verb: &str) -> Vec<Value> {
    let acts = world.evidence()["acts"].as_array().expect("acts").clone();
    acts.into_iter().filter(|act| act["verb"] == verb).collect()
}

fn accepts() -> Value {
    json!({"type": "object", "properties": {"temperature_c": {"maximum": 600}}, "required": ["temperature_c"]})
}

#[test]
fn what_accepts_refuses_is_refused_where_somebody_hears_it() {
    let hot = |id: &str, celsius: f64| json!({"id": id, "operator": "robot", "input": {"temperature_c": celsius}});
    let configured = |tasks: Value| {
        let operators = json!({"robot": {"plugin": "builtin:experiment", "accepts": accepts()}});
        json!({"campaign": {"plugin": "builtin:workflow", "params": {"tasks": tasks}}, "operators": operators})
    };
    let world = World::new(&configured(json!([hot("mild", 500.0), hot("hot", 700.0)])));
    let refused = world.run(&["init", "demo", "--run-id", "r"]).code(2);
    let said = ["task `hot`", "`operators.robot.accepts`", "at `/temperature_c`: 700 is more than 600"];
    assert!(said.iter().all(|word| refused.stderr.contains(word)), "{refused:?}");
    assert_eq!(world.run(&["list", "--json"]).code(0).json(), json!([]), "nothing is left behind");
    world.write("config.json", &configured(json!([hot("mild", 500.0)])).to_string());
    world.init();
    world.run(&["step", "r"]).code(0);
    for change in ["input.temperature_c=601", "input.temperature_c=\"hot\"", "input={}", "input=null"] {
        let expected = if change.contains("hot") { 0 } else { 2 };
        let amended = world.run(&["amend", "r", "task", "mild", change]).code(expected);
        assert!(expected == 0 || amended.stderr.contains("`operators.robot.accepts`"), "{change}: {amended:?}");
    }
    let longer = json!([hot("mild", 500.0), hot("more", 800.0)]);
    let grown = world.run(&["amend", "r", "config", &format!("campaign.params.tasks={longer}")]).code(2);
    assert!(grown.stderr.contains("task `more`") && grown.stderr.contains("800"), "{grown:?}");
    world.run(&["doctor", "r"]).code(0);
    let mut failing = task("a", "exit 3");
    failing["input"] = json!({"temperature_c": 5});
    let world = World::new(&config(&json!([failing]), &json!({"accepts": accepts()})));
    world.init();
    world.run(&["loop", "r"]).code(1);
    let rerun = world.run(&["rerun", "r", "a", "--set", "input.temperature_c=900"]).code(2);
    assert!(rerun.stderr.contains("900 is more than 600"), "{rerun:?}");
    world.run(&["rerun", "r", "a", "--set", "input.temperature_c=9"]).code(0);
}

#[test]
fn a_request_that_a_campaign_plans_later_fails_alone_and_is_told_it() {
    let one = |id: &str, x: f64| json!({"id": id, "operator": "local", "command": "true", "input": {"x": x}, "allow_failure": true});
    for mode in ["each-result", "workflow"] {
        let steps = json!([{"tasks": [one("first", 1.0)]}, {"tasks": [one("bad", 9.0), one("good", 2.0),
            {"id": "behind", "operator": "local", "command": "true", "input": {"x": 1}, "depends_on": ["bad"], "allow_failure": true}]},
            {"complete": true}]);
        let mut config =
            config(&json!([]), &json!({"accepts": {"type": "object", "properties": {"x": {"maximum": 5}}}}));
        config["campaign"] = json!({"plugin": "steps.wasm", "params": {"steps": steps}, "analyze": mode});
        let world = World::new(&config);
        std::fs::copy(guest("steps"), world.workspace().join("steps.wasm")).expect("a copy");
        world.init();
        world.run(&["loop", "r", "--timeout", "60s"]).code(0);
        assert_eq!(world.tasks(), "first=completed bad=failed good=completed behind=skipped", "{mode}");
        let (code, sentence, _) = explained(&world, "bad");
        assert_eq!(code, "not-accepted");
        assert!(sentence.contains("at `/x`: 9"), "{sentence}");
        assert_eq!(world.run(&["attempts", "r", "bad", "--json"]).code(0).json(), json!([]), "nothing was tried");
        world.is_sound("r");
    }
}

#[test]
fn rules_that_cannot_be_meant_are_refused_by_name() {
    let cases = [
        (json!({"accepts": {"type": "text"}}), "operators.local.accepts"),
        (
            json!({"accepts": {"$ref": "https://example.org/schema.json"}}),
            "leads out of the document; nothing is fetched",
        ),
        (json!({"accepts": {"$ref": "#/$defs/none"}}), "there is nothing at `#/$defs/none`"),
        (json!({"accepts": [1]}), "a schema is an object"),
        (json!({"accepts": {"pattern": "("}}), "operators.local.accepts"),
        (json!({"budget": {}}), "operators.local.budget names no bound"),
        (json!({"budget": {"attempts": -1}}), "operators.local.budget.attempts"),
        (json!({"budget": {"core_h": -2}}), "operators.local.budget.core_h is -2"),
        (json!({"budget": {"core_hours": 2}}), "core_h"),
        (json!({"approve": {"by": []}}), "operators.local.approve.by names nobody"),
        (json!({"approve": {"by": ["a b"]}}), "no user's name"),
        (json!({"approve": {"by": [1.5]}}), "the name of a user, or the number of one"),
        (json!({"approve": {"over": {"core_h": 1}}}), "missing field `by`"),
        (json!({"approve": {"by": ["pi"], "over": {}}}), "missing field `core_h`"),
        (json!({"approve": {"by": ["pi"], "over": {"core_h": -1}}}), "operators.local.approve.over.core_h is -1"),
    ];
    for (rules, word) in cases {
        let world = World::new(&config(&json!([task("a", "true")]), &rules));
        for command in [&["config", "check", "demo"][..], &["init", "demo", "--run-id", "r"]] {
            let refused = world.run(command).code(2);
            assert!(refused.stderr.contains(word), "{rules}: {refused:?}");
        }
    }
    let world = World::new(&config(&json!([task("a", "true")]), &json!({})));
    world.init();
    let refused = world.run(&["amend", "r", "config", "operators.local.accepts={\"type\": 3}"]).code(2);
    assert!(refused.stderr.contains("operators.local.accepts"), "{refused:?}");
}

fn spent(world: &World) -> (i64, i64) {
    let store = rusqlite::Connection::open(world.run_dir("r").join("state.sqlite")).expect("the database");
    let row = "SELECT started, core_ms FROM live_counts WHERE operator = 'local'";
    store.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("counts")
}

#[test]
fn a_budget_of_attempts_lets_so_many_start_and_the_others_wait_until_it_is_raised() {
    let tasks: Vec<Value> = (0..6).map(|n| task(&format!("t{n}"), "true")).collect();
    let world = World::new(&config(&json!(tasks), &json!({"budget": {"attempts": 4}})));
    world.init();
    world.run(&["loop", "r"]).code(5);
    let status = world.status();
    let counts = (&status["state"], &status["tasks"]["completed"], &status["tasks"]["pending"]);
    assert_eq!(counts, (&json!("active"), &json!(4), &json!(2)), "{status}");
    assert_eq!(status["waiting_on"][0]["kind"], "budget", "{status}");
    let (code, sentence, command) = explained(&world, "t5");
    assert_eq!(
        (code.as_str(), command.as_str()),
        ("budget", "matterstack amend r config operators.local.budget.attempts=8")
    );
    assert!(sentence.contains("`operators.local.budget.attempts` is 4, and 4 have been started"), "{sentence}");
    assert_eq!(world.run(&["step", "r", "--json"]).code(0).json()["state"], "active", "no tick holds the run");
    let mut driver = world.waiting_loop(&["--wait"]);
    world.run(&["amend", "r", "config", "operators.local.budget.attempts=5"]).code(0);
    until("one more", || world.tasks().matches("completed").count() == 5);
    world.run(&["amend", "r", "config", "operators.local.budget.attempts=60"]).code(0);
    assert_eq!(driver.wait().expect("a loop").code(), Some(0));
    assert_eq!(spent(&world).0, 6);
    world.is_sound("r");
}

#[test]
fn retries_count_and_what_never_started_is_given_back() {
    let retried =
        json!({"id": "r", "operator": "local", "command": "exit 3", "retry": {"max_attempts": 9, "backoff_s": 0}});
    let world = World::new(&config(&json!([retried]), &json!({"budget": {"attempts": 2}})));
    world.init();
    world.run(&["loop", "r"]).code(5);
    assert_eq!(spent(&world).0, 2);
    assert_eq!(explained(&world, "r").0, "budget");
    assert_eq!(world.status()["waiting_on"][0]["kind"], "budget");
    world.run(&["amend", "r", "config", "operators.local.budget.attempts=3"]).code(0);
    world.run(&["loop", "r"]).code(5);
    assert_eq!(spent(&world).0, 3);
    // a task of which a file is missing is never handed in
    world.run(&["amend", "r", "task", "r", "command=[\"no-such-program\"]", "retry.max_attempts=1"]).code(0);
    world.run(&["cancel", "r"]).code(0);
    world.run(&["loop", "r"]).code(1);
    world.run(&["doctor", "r"]).code(0);
    // two jobs for two cores, and a third that waits for one until it is cancelled
    let tasks: Vec<Value> = (0..3).map(|n| task(&format!("t{n}"), "sleep 600")).collect();
    let world = World::new(&config(&json!(tasks), &json!({"budget": {"attempts": 3}})));
    world.init();
    world.run(&["step", "r"]).code(0);
    assert_eq!(spent(&world).0, 3);
    until("two to run", || {
        world.run(&["step", "r"]).code(0);
        world.status()["tasks"]["running"] == 2
    });
    world.run(&["cancel", "r", "t2"]).code(0);
    until("it to be cancelled", || {
        world.run(&["step", "r"]).code(0);
        world.tasks().contains("t2=cancelled")
    });
    assert_eq!(spent(&world).0, 2, "the one that waited for a core never started");
    world.run(&["cancel", "r"]).code(0);
    world.run(&["loop", "r"]).code(1);
    assert_eq!(spent(&world).0, 2, "those two did");
    world.run(&["doctor", "r"]).code(0);
}

#[test]
fn core_hours_are_counted_on_before_the_start_and_settled_by_what_was_taken() {
    let hours = |id: &str, command: &str, cores: u32| {
        let resources = json!({"cores": cores, "walltime_s": 3600});
        json!({"id": id, "operator": "local", "command": command, "resources": resources})
    };
    let unbounded = World::new(&config(&json!([task("a", "true")]), &json!({"budget": {"core_h": 9}})));
    let refused = unbounded.run(&["init", "demo", "--run-id", "r"]).code(2);
    assert!(refused.stderr.contains("task `a`") && refused.stderr.contains("resources.walltime_s"), "{refused:?}");
    let wait = "while [ ! -e ../../../go ]; do sleep 0.02; done";
    let tasks =
        json!([hours("one", wait, 1), hours("two", wait, 1), hours("three", "true", 1), hours("large", "true", 2)]);
    let world = World::new(&config(&tasks, &json!({"budget": {"core_h": 2}})));
    world.init();
    world.run(&["step", "r"]).code(0);
    assert_eq!(spent(&world), (2, 2 * 3_600_000), "both are counted on in full");
    let (code, sentence, _) = explained(&world, "three");
    assert_eq!(code, "budget");
    assert!(sentence.contains("of which 2 are used or counted on, and task `three` asks for 1"), "{sentence}");
    std::fs::write(world.run_dir("r").join("go"), "").expect("a file");
    world.run(&["loop", "r"]).code(5);
    assert_eq!(world.tasks(), "one=completed two=completed three=completed large=pending");
    let (attempts, core_ms) = spent(&world);
    assert!(attempts == 3 && core_ms > 0 && core_ms < 600_000, "what they took is far less: {core_ms}");
    let (code, _, command) = explained(&world, "large");
    assert_eq!(
        (code.as_str(), command.as_str()),
        ("budget", "matterstack amend r config operators.local.budget.core_h=3")
    );
    world.run(&command.split(' ').skip(1).collect::<Vec<_>>()).code(0);
    world.run(&["loop", "r"]).code(0);
    world.is_sound("r");
}

#[test]
fn a_budget_survives_kill_9_in_the_middle_of_a_batch() {
    let tasks: Vec<Value> = (0..6).map(|n| task(&format!("t{n}"), "echo started >> started.log; sleep 0.1")).collect();
    for point in [
        "submit.before:2",
        "submit.after:2",
        "submit.after:4",
        "store.before-commit:2",
        "store.before-commit:4",
        "store.after-commit:2",
    ] {
        let world = World::new(&config(&json!(tasks), &json!({"budget": {"attempts": 4}})));
        world.init();
        let died = world.run_with(&["loop", "r"], &[("MATTERSTACK_FAILPOINT", point)]);
        assert!(died.code.is_none() || point.contains("after-commit"), "{point} was not reached: {died:?}");
        world.run(&["loop", "r"]).code(5);
        let status = world.status();
        assert_eq!(
            (&status["tasks"]["completed"], &status["tasks"]["pending"]),
            (&json!(4), &json!(2)),
            "{point}: {status}"
        );
        assert_eq!(spent(&world).0, 4, "{point}");
        let directories = std::fs::read_dir(world.run_dir("r").join("operators/local")).expect("attempts").flatten();
        let started = directories.filter(|attempt| attempt.path().join("started.log").exists()).count();
        assert_eq!(started, 4, "{point}: so many commands were started");
        world.run(&["amend", "r", "config", "operators.local.budget.attempts=6"]).code(0);
        world.run(&["loop", "r"]).code(0);
        world.is_sound("r");
    }
}

/// A run whose one task needs the word of these people; others may look at it, and copy the binary.
pub(super) fn asks(by: &Value) -> World {
    let mut one = task("big", "echo 1 > o");
    one["resources"] = json!({"cores": 2, "walltime_s": 36_000});
    let mut small = task("small", "true");
    small["resources"] = json!({"walltime_s": 60});
    let approve = json!({"approve": {"by": by, "over": {"core_h": 1}}});
    let world = World::new(&config(&json!([one, small]), &approve));
    world.init();
    world.run(&["loop", "r"]).code(5);
    assert_eq!(world.tasks(), "big=running small=completed");
    world
}

/// Gives a command as another user.
pub(super) fn as_user(world: &World, user: u32, arguments: &[&str]) -> crate::support::world::Done {
    let outside = world.root().join("..").canonicalize().expect("a directory");
    for place in [outside.clone(), world.root(), world.workspace(), world.workspace().join("runs"), world.run_dir("r")]
    {
        std::fs::set_permissions(place, PermissionsExt::from_mode(0o755)).expect("ours");
    }
    let program = outside.join("matterstack");
    if !program.exists() {
        std::fs::copy(PROGRAM, &program).expect("a copy");
    }
    let mut command = std::process::Command::new("setpriv");
    let id = user.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(&program).args(arguments);
    command
        .current_dir(outside)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("USER", "daemon");
    done(command.output().expect("setpriv starts"))
}

#[test]
fn a_task_over_the_bound_waits_for_the_word_of_who_is_named() {
    let world = asks(&json!(["daemon", 54_321]));
    let status = world.status();
    let wait = &status["waiting_on"][0];
    assert_eq!((&wait["kind"], &wait["task"]), (&json!("approval"), &json!("big")), "{status}");
    assert_eq!(wait["hint"], "matterstack respond r big --approve");
    assert_eq!((&status["tasks"]["running"], &status["tasks"]["queued"]), (&json!(0), &json!(1)), "{status}");
    let (code, sentence, command) = explained(&world, "big");
    assert_eq!((code.as_str(), command.as_str()), ("approval", "matterstack respond r big --approve"));
    let said = ["`daemon` or uid 54321", "20 core hours", "`operators.local.approve.over.core_h` is 1"];
    assert!(said.iter().all(|word| sentence.contains(word)), "{sentence}");
    // whoever is not named is told so, root and a user whose environment lies among them
    for user in [0, STRANGER] {
        let refused = as_user(&world, user, &["respond", "r", "big", "--approve"]).code(2);
        assert!(
            refused.stderr.contains("only `daemon` or uid 54321 may") && refused.stderr.contains(&user.to_string())
        );
    }
    as_user(&world, 1, &["respond", "r", "big", "--set", "x=1"]).code(2);
    as_user(&world, 1, &["respond", "r", "big", "--approve", "--reason", "worth it"]).code(0);
    let again = as_user(&world, 1, &["respond", "r", "big", "--reject"]).code(2);
    assert!(again.stderr.contains("you have answered"), "{again:?}");
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.tasks(), "big=completed small=completed");
    let given = acts(&world, "respond");
    assert_eq!(given.len(), 1, "{given:?}");
    assert_eq!(
        (&given[0]["user"], &given[0]["user_id"], &given[0]["reason"]),
        (&json!("daemon"), &json!(1), &json!("worth it"))
    );
    assert_eq!((&given[0]["arguments"]["task"], &given[0]["arguments"]["approved"]), (&json!("big"), &json!(true)));
    let approval = world.evidence()["approvals"][0].clone();
    let told = ["kind", "task", "state", "reason", "sha256"].map(|key| approval[key].clone());
    let digest = given[0]["arguments"]["sha256"].clone();
    assert_eq!(json!(told), json!(["start", "big", "approved", "worth it", digest]), "{approval}");
    assert_eq!(
        (&approval["by"]["user_id"], &approval["at"], &approval["act"]),
        (&json!(1), &given[0]["at"], &given[0]["act"])
    );
    world.is_sound("r");
}

#[test]
fn another_request_and_other_rules_are_asked_about_anew() {
    let world = asks(&json!(["root"]));
    world.run(&["respond", "r", "big", "--approve"]).code(0);
    world.run(&["amend", "r", "task", "big", "resources.walltime_s=72000"]).code(0);
    world.run(&["loop", "r"]).code(5);
    let (code, sentence, _) = explained(&world, "big");
    assert_eq!(code, "approval", "what was approved was another request");
    assert!(sentence.contains("40 core hours"), "{sentence}");
    world.run(&["amend", "r", "config", "operators.local.approve.over.core_h=50"]).code(0);
    world.run(&["loop", "r"]).code(0);
    // a person who runs it again spends as much again
    world.run(&["amend", "r", "config", "operators.local.approve.over.core_h=5"]).code(0);
    world.run(&["rerun", "r", "big"]).code(0);
    let mut driver = world.waiting_loop(&["--wait"]);
    assert_eq!(explained(&world, "big").0, "approval");
    world.run(&["respond", "r", "big", "--approve"]).code(0);
    assert_eq!(driver.wait().expect("a loop").code(), Some(0), "the loop is woken by it");
    world.is_sound("r");
    // what waits for a word can be cancelled, and the word comes too late
    world.run(&["rerun", "r", "big"]).code(0);
    world.run(&["step", "r"]).code(0);
    world.run(&["respond", "r", "big", "--approve"]).code(0);
    world.run(&["cancel", "r", "big"]).code(0);
    world.run(&["loop", "r"]);
    assert!(world.tasks().starts_with("big=cancelled"), "{}", world.tasks());
    world.is_sound("r");
}

#[test]
fn approval_and_budget_go_together() {
    let tasks: Vec<Value> = (0..3).map(|n| task(&format!("t{n}"), "true")).collect();
    let rules = json!({"approve": {"by": ["root"]}, "budget": {"attempts": 1}});
    let world = World::new(&config(&json!(tasks), &rules));
    world.init();
    world.run(&["loop", "r"]).code(5);
    for n in 0..3 {
        world.run(&["respond", "r", &format!("t{n}"), "--approve"]).code(0);
    }
    world.run(&["loop", "r"]).code(5);
    assert_eq!(world.tasks().matches("completed").count(), 1, "{}", world.tasks());
    assert_eq!(explained(&world, "t2").0, "budget");
    world.run(&["amend", "r", "config", "operators.local.budget.attempts=3"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.is_sound("r");
}

#[test]
fn a_word_is_taken_once_whatever_dies_meanwhile() {
    for point in ["store.before-commit:1", "store.before-commit:2", "store.before-commit:3", "submit.before:1"] {
        let world = asks(&json!(["root"]));
        world.run(&["respond", "r", "big", "--approve"]).code(0);
        let died = world.run_with(&["loop", "r"], &[("MATTERSTACK_FAILPOINT", point)]);
        assert!(died.code.is_none(), "{point} was not reached: {died:?}");
        world.run(&["loop", "r"]).code(0);
        assert_eq!(world.tasks(), "big=completed small=completed", "{point}");
        assert_eq!(acts(&world, "respond").len(), 1, "{point}");
        world.is_sound("r");
    }
}

#[test]
fn what_holds_is_said_before_anything_runs() {
    let rules = json!({
        "accepts": {"type": ["object", "null"]}, "budget": {"attempts": 4, "core_h": 2.5},
        "approve": {"by": ["root", 4711], "over": {"core_h": 1}},
    });
    let bounded = json!({"id": "a", "operator": "local", "command": "true", "resources": {"walltime_s": 60}});
    let world = World::new(&config(&json!([bounded]), &rules));
    let made = world.run(&["init", "demo"]).code(0);
    let said = [
        "only requests that `accepts` takes",
        "at most 4 attempts",
        "at most 2.5 core hours",
        "tasks of more than 1 core hours with the word of `root` or uid 4711 alone",
    ];
    assert!(said.iter().all(|words| made.stderr.contains(words)), "{made:?}");
}
