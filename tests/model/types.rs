//! The types of the host and those of the Rust SDK are the same documents: what one writes the other reads, every
//! field, both ways. The literals name all fields, so that a new one does not go unnoticed.
use matterstack::model::exit::{EXIT_FORMAT, ExitReason, ExitRecord};
use matterstack::model::id::TaskId;
use matterstack::model::job::JobDocument;
use matterstack::model::result as host_result;
use matterstack::model::workflow as host;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// The SDK's own file: as a dependency it would bring features of other crates with it, and have cranelift compiled
/// twice.
#[path = "../../plugins/sdk/rust/src/task.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "it is a library of its own, whose conveniences are not what is compared"
)]
mod sdk;

/// What the other side makes of a document, as the first side reads it back; it must be the same.
#[track_caller]
fn crosses<Mine, Theirs>(mine: &Mine)
where
    Mine: Serialize + DeserializeOwned + PartialEq + Debug,
    Theirs: Serialize + DeserializeOwned,
{
    let document = serde_json::to_value(mine).unwrap();
    let theirs: Theirs = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{error}: {document}"));
    let back = serde_json::to_value(theirs).unwrap();
    assert_eq!(&serde_json::from_value::<Mine>(back).unwrap(), mine, "{document}");
}

/// Every key of a document at any depth.
fn keys(document: &Value) -> Vec<String> {
    let mut all = Vec::new();
    match document {
        Value::Object(members) => {
            for (key, value) in members {
                all.push(key.clone());
                all.extend(keys(value));
            }
        }
        Value::Array(values) => all.extend(values.iter().flat_map(keys)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    all.sort();
    all.dedup();
    all
}

fn host_task() -> host::Task {
    let path = host::FileSource::Path(host::PathSource {
        path: "scripts/a.py".into(),
        stage: Some(host::Stage::Copy),
        executable: Some(true),
    });
    let content = host::FileSource::Content(host::ContentSource { content: "x".into(), executable: Some(true) });
    let from = host::FileSource::From(host::FromSource {
        from: TaskId::from("before"),
        output: "o".into(),
        stage: Some(host::Stage::Link),
        executable: Some(false),
    });
    let other = host::FileSource::Other(host::OtherSource {
        run: "earlier".into(),
        from: TaskId::from("before"),
        output: "o".into(),
        stage: Some(host::Stage::Link),
        executable: Some(true),
    });
    let kept = host::KeptPattern { pattern: "*.big".into(), keep: host::Keep::Remote };
    host::Task {
        id: TaskId::from("a"),
        operator: "hpc".into(),
        command: Some(host::CommandLine::Argv(vec!["true".into(), "1".into()])),
        files: BTreeMap::from([("a".into(), path), ("b".into(), content), ("c".into(), from), ("d".into(), other)]),
        env: BTreeMap::from([("X".into(), "1".into())]),
        depends_on: vec![TaskId::from("before")],
        outputs: vec![host::OutputPattern::Fetched("*.csv".into()), host::OutputPattern::Kept(kept)],
        resources: Some(host::Resources {
            cores: Some(2),
            memory_mb: Some(300),
            gpus: Some(1),
            counts: BTreeMap::from([("licence".into(), 2)]),
            walltime_s: Some(0.5),
            nodes: Some(3),
            tasks: Some(4),
            signal_before_s: Some(5),
        }),
        priority: 7,
        retry: host::Retry {
            max_attempts: 3,
            backoff_s: 0.25,
            on: host::RetryOn {
                timeout: Some(host::TimeoutRetry { walltime_factor: 2.0 }),
                oom: Some(host::OomRetry { memory_factor: 1.5 }),
                lost: true,
            },
            carry: vec!["restart.*".into()],
        },
        allow_failure: true,
        allow_dependency_failure: true,
        input: Some(json!({"x": [1, null]})),
    }
}

fn sdk_task() -> sdk::Task {
    sdk::Task {
        id: "a".into(),
        operator: "hpc".into(),
        command: Some(sdk::Command::Shell("true".into())),
        files: BTreeMap::from([
            (
                "a".into(),
                sdk::FileSource::Pinned {
                    path: "scripts/a.py".into(),
                    stage: Some(sdk::Stage::Copy),
                    executable: Some(true),
                },
            ),
            ("b".into(), sdk::FileSource::Content { content: "x".into(), executable: Some(true) }),
            (
                "c".into(),
                sdk::FileSource::From {
                    from: "before".into(),
                    output: "o".into(),
                    stage: Some(sdk::Stage::Link),
                    executable: Some(false),
                },
            ),
            (
                "d".into(),
                sdk::FileSource::Other {
                    run: "earlier".into(),
                    from: "before".into(),
                    output: "o".into(),
                    stage: Some(sdk::Stage::Link),
                    executable: Some(true),
                },
            ),
        ]),
        env: BTreeMap::from([("X".into(), "1".into())]),
        depends_on: vec!["before".into()],
        outputs: vec![
            sdk::OutputPattern::Fetched("*.csv".into()),
            sdk::OutputPattern::Kept { pattern: "*.big".into(), keep: sdk::Keep::Remote },
        ],
        resources: Some(sdk::Resources {
            cores: Some(2),
            memory_mb: Some(300),
            gpus: Some(1),
            counts: BTreeMap::from([("licence".into(), 2)]),
            walltime_s: Some(0.5),
            nodes: Some(3),
            tasks: Some(4),
            signal_before_s: Some(5),
        }),
        priority: 7,
        retry: Some(serde_json::to_value(host_task().retry).unwrap()),
        allow_failure: true,
        allow_dependency_failure: true,
        input: Some(json!({"x": [1, null]})),
    }
}

#[test]
fn tasks_are_the_same_on_both_sides() {
    crosses::<host::Task, sdk::Task>(&host_task());
    crosses::<sdk::Task, host::Task>(&sdk_task());
    assert_eq!(keys(&serde_json::to_value(host_task()).unwrap()), keys(&serde_json::to_value(sdk_task()).unwrap()));
    // what is left out has the same meaning on both sides
    let least = sdk::Task::new("a", "hpc");
    let read: host::Task = serde_json::from_value(serde_json::to_value(&least).unwrap()).unwrap();
    assert_eq!(read, serde_json::from_value(json!({"id": "a", "operator": "hpc"})).unwrap());
    crosses::<host::Task, sdk::Task>(&read);
}

fn host_results() -> [host_result::TaskResult; 4] {
    use host_result::Outcome::{Cancelled, Completed, Failed, Skipped};
    [Completed, Failed, Cancelled, Skipped].map(|outcome| host_result::TaskResult {
        task: "a".into(),
        outcome,
        code: Some("exit-code".into()),
        reason: Some("exited with code 3".into()),
        allow_failure: true,
        attempt: Some("a1".into()),
        attempts: 2,
        data: Some(json!({"exit": 3})),
        data_sha256: Some("ab".repeat(32)),
        data_size: Some(70_000),
        outputs: vec![host_result::OutputFile {
            path: "o".into(),
            sha256: "0".repeat(64),
            size: 1 << 40,
            remote: Some(host::RemotePlace { backend: "hpc".into(), path: "/scratch/o".into() }),
        }],
        supersedes: Some(Failed),
    })
}

#[test]
fn results_are_the_same_on_both_sides() {
    use sdk::Outcome::{Cancelled, Completed, Failed, Skipped};
    for (host, outcome) in host_results().into_iter().zip([Completed, Failed, Cancelled, Skipped]) {
        crosses::<host_result::TaskResult, sdk::TaskResult>(&host);
        let sdk = sdk::TaskResult {
            task: "a".into(),
            outcome,
            code: Some("exit-code".into()),
            reason: Some("exited with code 3".into()),
            attempt: Some("a1".into()),
            attempts: 2,
            allow_failure: true,
            data: Some(json!({"exit": 3})),
            data_sha256: Some("ab".repeat(32)),
            data_size: Some(70_000),
            outputs: vec![sdk::OutputFile {
                path: "o".into(),
                sha256: "0".repeat(64),
                size: 1 << 40,
                remote: Some(sdk::RemotePlace { backend: "hpc".into(), path: "/scratch/o".into() }),
            }],
            supersedes: Some(Failed),
        };
        crosses::<sdk::TaskResult, host_result::TaskResult>(&sdk);
        assert_eq!(serde_json::to_value(&sdk).unwrap(), serde_json::to_value(&host).unwrap());
    }
    let [least, ..] = host_results();
    let least = host_result::TaskResult {
        code: None,
        reason: None,
        attempt: None,
        data: None,
        data_sha256: None,
        data_size: None,
        outputs: Vec::new(),
        attempts: 0,
        ..least
    };
    crosses::<host_result::TaskResult, sdk::TaskResult>(&least);
}

#[test]
fn a_job_that_an_operator_writes_is_the_one_that_a_backend_reads() {
    let task = host_task();
    let job = JobDocument {
        command: task.command.unwrap(),
        env: task.env,
        resources: task.resources.unwrap(),
        outputs: task.outputs,
        launcher: Some(host::CommandLine::Shell("srun -n 4".into())),
    };
    let text = serde_json::to_string(&job).unwrap();
    assert_eq!(serde_json::from_str::<JobDocument>(&text).unwrap(), job);
    // an operator takes it from the task as the SDK writes it
    let written = serde_json::to_value(sdk_task()).unwrap();
    let read: JobDocument = serde_json::from_value(written).unwrap();
    assert_eq!((read.resources, read.env, read.outputs), (job.resources, job.env, job.outputs));
}

#[test]
fn exit_records_are_read_as_they_are_written() {
    let record = ExitRecord {
        format: EXIT_FORMAT,
        attempt: "a1".into(),
        code: Some(0),
        signal: None,
        reason: ExitReason::Exited,
        message: Some("x".into()),
        queued_at: Some("2026-11-24T09:59:59.000Z".into()),
        started_at: Some("2026-11-24T10:00:00.000Z".into()),
        ended_at: "2026-11-24T10:00:01.000Z".into(),
        host: Some("n1".into()),
        cpu_s: Some(0.25),
        memory_peak_mb: Some(12),
    };
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<ExitRecord>(&text).unwrap(), record);
    let later = text.replace("{\"format\"", "{\"of_a_later_version\":1,\"format\"");
    assert_eq!(serde_json::from_str::<ExitRecord>(&later).unwrap(), record, "keys that are not known are ignored");
}
