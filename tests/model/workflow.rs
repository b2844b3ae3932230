//! Every rule that a plan's tasks must keep.
use matterstack::model::config::RunConfig;
use matterstack::model::id::TaskId;
use matterstack::model::workflow::{PlannedTask, Task, WorkflowError, nearest, stays_inside, validate};
use serde_json::{Value, json};

fn config() -> RunConfig {
    serde_json::from_value(json!({
        "campaign": {"plugin": "x"},
        "operators": {"local": {"plugin": "x"}, "cluster": {"plugin": "x"}, "runs": {"plugin": "builtin:compute"}},
        "pinned": {"plugins": {}, "inputs": {},
                   "files": {"scripts/sim.py": {"path": "inputs/files/scripts/sim.py", "sha256": "0", "size": 1}}},
    }))
    .unwrap()
}

/// Validates tasks in a run that has the task `earlier` already.
fn planned(tasks: &Value) -> Result<Vec<PlannedTask>, WorkflowError> {
    let tasks: Vec<(Task, String)> = tasks
        .as_array()
        .unwrap()
        .iter()
        .map(|task| (serde_json::from_value(task.clone()).unwrap(), task.to_string()))
        .collect();
    validate(tasks.into_iter().map(Ok), &config(), &|id| Ok(*id == TaskId::from("earlier")))
}

fn task(id: &str, more: Value) -> Value {
    let mut task = json!({"id": id, "operator": "local"});
    for (key, value) in more.as_object().unwrap() {
        task[key] = value.clone();
    }
    task
}

fn one(more: Value) -> Value {
    json!([task("a", more)])
}

#[test]
fn what_is_allowed_is_planned() {
    for tasks in [
        json!([]),
        one(json!({})),
        json!([task(&"x".repeat(200), json!({}))]),
        json!([task("any text / at all: é\n", json!({}))]),
        json!([task("b", json!({"depends_on": ["a"]})), task("a", json!({}))]),
        one(json!({"depends_on": ["earlier"]})),
        one(json!({"files": {"a/b.txt": {"content": ""}, "sim.py": {"path": "scripts/sim.py"}}})),
        one(json!({"outputs": ["*.json", "a/**/b", "[ab]?"], "retry": {"max_attempts": 9, "backoff_s": 0}})),
        one(json!({"resources": {"walltime_s": 0.5}})),
    ] {
        let count = tasks.as_array().unwrap().len();
        assert_eq!(planned(&tasks).unwrap().len(), count, "{tasks}");
    }
}

#[test]
fn dependencies_are_found_inside_and_outside_of_the_plan_once_each() {
    let tasks = json!([
        task(
            "c",
            json!({"depends_on": ["a", "a", "earlier"],
                         "files": {"x": {"from": "b", "output": "y"}, "z": {"from": "a", "output": "y"}}})
        ),
        task("a", json!({})),
        task("b", json!({})),
    ]);
    let planned = planned(&tasks).unwrap();
    assert_eq!(planned[0].inner, [1, 2]);
    assert_eq!(planned[0].outer, [TaskId::from("earlier")]);
    assert!(planned[1].inner.is_empty() && planned[2].outer.is_empty());
}

#[test]
fn every_broken_rule_is_named() {
    let check = |tasks: Value, words: &str| {
        let error = planned(&tasks).unwrap_err().to_string();
        assert!(error.contains(words), "{tasks}: {error}");
    };
    check(json!([task("", json!({}))]), "task 1 has an id of 0 bytes; 1 to 200 are allowed");
    check(json!([task("a", json!({})), task(&"é".repeat(101), json!({}))]), "task 2 has an id of 202 bytes");
    check(json!([task("a\0b", json!({}))]), "task 1 has an id with a NUL character");
    check(json!([task("a", json!({})), task("a", json!({}))]), "task id `a` is used twice");
    check(json!([task("earlier", json!({}))]), "task id `earlier` is used twice");
    check(one(json!({"depends_on": ["b"]})), "task `a` depends on `b`, which is not in the run");
    check(
        one(json!({"files": {"x": {"from": "b", "output": "y"}}})),
        "task `a` depends on `b`, which is not in the run",
    );
    check(one(json!({"depends_on": ["a"]})), "task `a` depends on itself");
    check(one(json!({"files": {"x": {"from": "a", "output": "y"}}})), "task `a` depends on itself");
    check(
        json!([
            task("start", json!({})),
            task("a", json!({"depends_on": ["c", "start"]})),
            task("b", json!({"depends_on": ["a"]})),
            task("c", json!({"depends_on": ["b"]})),
        ]),
        "task `a` depends on itself, directly or through others",
    );
    check(
        json!([{"id": "a", "operator": "locl"}]),
        "names operator `locl`, which config.json does not configure; did you mean `local`?",
    );
    check(json!([{"id": "a", "operator": "zzz"}]), "names operator `zzz`, which config.json does not configure");
    for path in ["..", "../x", "/x", "a/../../x", "a/..", "./../x"] {
        check(one(json!({"files": {path: {"content": "x"}}})), "outside its attempt directory");
    }
    for (path, words) in [
        ("", "file `` cannot be staged: its destination is empty"),
        (".", "the attempt directory itself"),
        ("./.", "the attempt directory itself"),
        ("./x", "file `./x` cannot be staged: destinations are relative to the attempt directory without `./`"),
        ("a\0b", "a NUL character"),
    ] {
        check(one(json!({"files": {path: {"content": "x"}}})), words);
    }
    check(
        one(json!({"files": {"x": {"path": "scripts/none.py"}}})),
        "names file `scripts/none.py`, which no pattern of campaign.files",
    );
    check(one(json!({"outputs": ["[a"]})), "output pattern `[a`");
    check(one(json!({"retry": {"max_attempts": 0}})), "retry.max_attempts is 0");
    check(one(json!({"priority": 1_000_001})), "priority is 1000001; it must be within ±1000000");
    check(one(json!({"retry": {"backoff_s": -1}})), "retry.backoff_s is negative");
    check(one(json!({"resources": {"walltime_s": 0}})), "resources.walltime_s is not positive");
    check(one(json!({"resources": {"walltime_s": -5}})), "resources.walltime_s is not positive");
    check(one(json!({"retry": {"on": {"timeout": {"walltime_factor": 0}}}})), "retry.on.timeout.walltime_factor");
    check(one(json!({"retry": {"on": {"oom": {"memory_factor": -1}}}})), "retry.on.oom.memory_factor");
}

#[test]
fn a_task_whose_command_cannot_start_is_not_planned() {
    let run = |mut more: Value| {
        more["operator"] = json!("runs");
        planned(&one(more)).map(drop).map_err(|error| error.to_string())
    };
    let fine = json!({"command": "true", "env": {"A": "b=c", "B": ""}});
    run(fine).expect("a task that runs");
    run(json!({"command": ["true", ""]})).expect("a task that runs");
    for (more, words) in [
        (json!({}), "task `a`: it has no `command`, which operator `runs` needs"),
        (json!({"command": ""}), "its `command` is empty"),
        (json!({"command": " "}), "its `command` is empty"),
        (json!({"command": []}), "its `command` is empty"),
        (json!({"command": [""]}), "its `command` is empty"),
        (json!({"command": "a\0b"}), "its `command` holds a NUL"),
        (json!({"command": ["a", "\0"]}), "its `command` holds a NUL"),
        (json!({"command": "true", "env": {"": "x"}}), "a variable without a name"),
        (json!({"command": "true", "env": {"A=B": "x"}}), "a variable `A=B`"),
        (json!({"command": "true", "env": {"A": "\0"}}), "`env.A` holds a NUL"),
    ] {
        let error = run(more.clone()).expect_err(words);
        assert!(error.contains(words), "{more}: {error}");
    }
}

#[test]
fn a_task_with_an_unknown_key_or_a_wrong_type_is_no_task() {
    for text in [
        r#"{"operator":"local"}"#,
        r#"{"id":1,"operator":"local"}"#,
        r#"{"id":"a","operator":"local","comand":"x"}"#,
        r#"{"id":"a","operator":"local","command":{"x":1}}"#,
        r#"{"id":"a","operator":"local","depends_on":"b"}"#,
        r#"{"id":"a","operator":"local","files":{"x":{"path":"a","content":"b"}}}"#,
        r#"{"id":"a","operator":"local","resources":{"core":1}}"#,
        r#"{"id":"a","operator":"local","resources":{"cores":-1}}"#,
        r#"{"id":"a","operator":"local","retry":{"on":{"los":true}}}"#,
    ] {
        assert!(serde_json::from_str::<Task>(text).is_err(), "{text}");
    }
}

#[test]
fn a_long_chain_and_a_wide_fan_are_ordered_in_no_time() {
    let chain: Vec<Value> = (0..20_000)
        .rev()
        .map(|n| task(&n.to_string(), if n == 0 { json!({}) } else { json!({"depends_on": [(n - 1).to_string()]}) }))
        .collect();
    assert_eq!(planned(&Value::from(chain)).unwrap().len(), 20_000);
}

#[test]
fn paths_stay_inside_by_their_text() {
    for path in ["a", "a/b", "a.b/..c", "ü"] {
        assert!(stays_inside(path), "{path}");
    }
}

#[test]
fn near_names_are_offered_and_far_ones_not() {
    assert_eq!(nearest("clutser", ["local", "cluster"].into_iter()), Some("cluster"));
    assert_eq!(nearest("zzz", ["local", "cluster"].into_iter()), None);
    assert_eq!(nearest("local", std::iter::empty()), None);
}

#[test]
fn files_that_can_never_all_be_written_are_refused_when_planned() {
    let long = "x".repeat(256);
    let deep = "d/".repeat(1_600) + "f";
    let cases: [&[&str]; 12] = [
        &["f", "f/g"],
        &["f", "a", "f/g/h"],
        &["a/b", "a/b/c/d", "a.b", "a/b.c"],
        &["f", "f//g"],
        &["f", "f/./g"],
        &["f/g", "f"],
        &["a/b", "a//b"],
        &["a/b", "a/./b"],
        &["f/"],
        &["a/b/"],
        &[&long],
        &[&deep],
    ];
    for files in cases {
        let files: serde_json::Map<String, Value> =
            files.iter().map(|file| ((*file).to_owned(), json!({"content": ""}))).collect();
        let error = planned(&json!([task("a", json!({"files": files}))])).expect_err(&format!("{files:?}"));
        assert!(matches!(error, WorkflowError::Value(..)), "{error}");
    }
    let fine = json!({"files": {"f": {"content": ""}, "f.g": {"content": ""}, "f-g/h": {"content": ""}, "g/f": {"content": ""}}});
    planned(&json!([task("a", fine)])).expect("these can all be written");
}

#[test]
fn long_lists_are_bounded_and_cost_what_they_are_long() {
    let ids = |count: usize| (0..count).map(|n| format!("{n:07}")).collect::<Vec<_>>();
    let tasks: Vec<Value> = ids(80_000).iter().map(|id| task(id, json!({}))).collect();
    let gather = task("g", json!({"depends_on": ids(80_000)}));
    let all = Value::Array(tasks.into_iter().chain([gather]).collect());
    let start = crate::support::thread_cpu_s();
    assert_eq!(planned(&all).expect("a plan").last().expect("a task").inner.len(), 80_000);
    let error = planned(&json!([task("g", json!({"depends_on": ids(80_000)}))])).expect_err("none of them exists");
    assert!(matches!(error, WorkflowError::UnknownDependency(..)), "{error}");
    let error = planned(&json!([task("g", json!({"depends_on": ids(100_001)}))])).expect_err("too many");
    assert!(error.to_string().contains("depends_on has 100001 entries"), "{error}");
    let many = |count: usize| {
        ids(count).into_iter().map(|id| (id, "".to_owned())).collect::<std::collections::BTreeMap<_, _>>()
    };
    let error = planned(&json!([task("g", json!({"env": many(10_001)}))])).expect_err("too many");
    assert!(error.to_string().contains("env has 10001 entries"), "{error}");
    let error = planned(&json!([task("g", json!({"outputs": ids(1_001)}))])).expect_err("too many");
    assert!(error.to_string().contains("1001 output patterns; 256 are allowed"), "{error}");
    // comparing each with each would take minutes
    let spent_s = crate::support::thread_cpu_s() - start;
    assert!(spent_s < 20.0, "{spent_s} s of processor time");
}
