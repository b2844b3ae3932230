//! Domain types come through JSON as they were.
use matterstack::model::config::RunConfig;
use matterstack::model::contract::Detail;
use matterstack::model::id::{AttemptId, OperatorKey, RunId, TaskId};
use matterstack::model::states::{AttemptState, RunState, TaskCounts, TaskState};
use matterstack::model::time::Time;
use matterstack::model::workflow::{CommandLine, FileSource, Resources, Retry, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

/// Reads each document, writes it, and reads it again.
#[track_caller]
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(documents: impl IntoIterator<Item = Value>) {
    for document in documents {
        let value: T = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{error}: {document}"));
        let written = serde_json::to_value(&value).expect("a value");
        assert_eq!(serde_json::from_value::<T>(written.clone()).expect("it reads again"), value, "{document}");
        contains(&written, &document);
        let text = serde_json::to_string(&value).expect("a text");
        assert_eq!(serde_json::from_str::<T>(&text).expect("it reads again"), value, "{text}");
    }
}

/// Nothing of `part` is missing in `whole`, which may add defaults.
#[track_caller]
fn contains(whole: &Value, part: &Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part.iter().for_each(|(key, value)| {
            contains(whole.get(key).unwrap_or_else(|| panic!("`{key}` is lost: {whole:?}")), value);
        }),
        (Value::Number(whole), Value::Number(part)) => assert_eq!(whole.as_f64(), part.as_f64()),
        _ => assert_eq!(whole, part),
    }
}

#[test]
fn tasks_come_through() {
    round_trip::<CommandLine>([json!("a | b"), json!(["a", "b"]), json!([])]);
    round_trip::<FileSource>([
        json!({"path": "scripts/x.py"}),
        json!({"content": "line\n\u{1f600}"}),
        json!({"from": "other task", "output": "o/x.json"}),
    ]);
    round_trip::<Resources>([json!({}), json!({"cores": 4, "memory_mb": 2000, "gpus": 1, "walltime_s": 0.5})]);
    round_trip::<Retry>([
        json!({}),
        json!({"max_attempts": 3, "backoff_s": 2.5, "on": {"timeout": {"walltime_factor": 2.0}, "oom": {"memory_factor": 1.5}, "lost": true}}),
    ]);
    round_trip::<Task>([
        json!({"id": "a", "operator": "local"}),
        json!({
            "id": "odd | `id`\n", "operator": "hpc", "command": ["x"], "files": {"a": {"content": ""}},
            "env": {"OMP_NUM_THREADS": "1"}, "depends_on": ["b", "c"], "outputs": ["*.json"], "resources": {"cores": 2},
            "retry": {"max_attempts": 2}, "allow_failure": true, "allow_dependency_failure": true,
            "input": {"form": [1, null, {"x": 9_007_199_254_740_991_u64}]},
        }),
    ]);
    for unknown in [json!({"id": "a", "operator": "l", "comand": "x"}), json!({"operator": "l"}), json!([])] {
        assert!(serde_json::from_value::<Task>(unknown.clone()).is_err(), "{unknown}");
    }
}

#[test]
fn configurations_come_through() {
    round_trip::<RunConfig>([
        json!({"campaign": {"plugin": "builtin:workflow"}}),
        json!({
            "campaign": {"plugin": "c.wasm", "params": {"batch": 5, "x": [1.5]}, "seed": 42, "inputs": {"a": "data/a.csv"},
                         "files": [], "analyze": "workflow"},
            "operators": {"local": {"plugin": "builtin:compute", "max_active": 2, "config": {"x": 1},
                          "grants": {"compute": ["local"], "work": false, "clock": true, "random": true, "env": ["HOME"]}}},
            "backends": {"local": {"kind": "local", "cores": 2}},
            "limits": {"max_active": 1, "max_tasks": 2, "plugin": {"memory_mb": 3, "call_ms": 4, "fuel": 5, "output_mb": 6}},
            "store": {"journal": "rollback"},
            "pinned": {"plugins": {"c.wasm": {"path": "plugins/c.wasm", "sha256": "00", "size": 1}}, "inputs": {}, "files": {}},
        }),
    ]);
}

#[test]
fn words_ids_and_times_come_through() {
    fn words<S: Serialize + DeserializeOwned + PartialEq + Debug + Copy>(
        all: &[S],
        word: impl Fn(S) -> &'static str,
        parse: impl Fn(&str) -> Option<S>,
    ) {
        for &state in all {
            assert_eq!(serde_json::to_value(state).expect("a word"), json!(word(state)), "SQL and JSON say the same");
            assert_eq!(serde_json::from_value::<S>(json!(word(state))).expect("a state"), state);
            assert_eq!(parse(word(state)), Some(state));
        }
        assert_eq!(parse("nowhere"), None);
        assert!(serde_json::from_value::<S>(json!("nowhere")).is_err());
    }
    words(RunState::ALL, RunState::as_str, RunState::parse);
    words(TaskState::ALL, TaskState::as_str, TaskState::parse);
    words(AttemptState::ALL, AttemptState::as_str, AttemptState::parse);

    round_trip::<RunId>([json!("20261123T101500Z-7f3a9c")]);
    round_trip::<TaskId>([json!("any text | at all\n")]);
    round_trip::<AttemptId>([json!("0123456789abcdef0123456789abcdef")]);
    round_trip::<OperatorKey>([json!("hpc")]);
    round_trip::<Detail>([json!({"code": "busy", "message": "too many jobs"})]);
    round_trip::<TaskCounts>([
        json!({"total": 6, "pending": 1, "running": 1, "completed": 1, "failed": 1, "cancelled": 1, "skipped": 1}),
    ]);
    round_trip::<Time>([
        json!("1970-01-01T00:00:00.000Z"),
        json!("2026-11-24T23:57:58.883Z"),
        json!("9999-12-30T00:00:00.001Z"),
    ]);
    assert_eq!(serde_json::to_value(Time(1_000)).expect("a time"), json!("1970-01-01T00:00:01.000Z"));
    assert!(serde_json::from_value::<Time>(json!("yesterday")).is_err());
}
