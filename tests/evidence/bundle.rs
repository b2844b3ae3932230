//! evidence.json says all that is recorded, in every state of a run.
use super::{NAMES, attempt_dir, bundle, bytes, ended, evidence_dir, names, report, tasks};
use crate::support::world::World;
use matterstack::model::code::Code;
use matterstack::model::evidence::{FileKind, Integrity, Verified};
use matterstack::model::states::{AttemptState, RunState, TaskState};
use matterstack::run::RunDir;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

#[test]
fn a_completed_run_is_recorded_whole() {
    let world = ended();
    let done = world.run(&["evidence", "r", "--json"]).code(0);
    assert!(done.stderr.lines().all(|line| line.contains("does not say a licence and an author")), "{done:?}");
    let directory = evidence_dir(&world);
    assert_eq!(names(&directory), NAMES);
    let bundle = bundle(&directory);
    assert!(bundle.complete);
    assert_eq!((bundle.run.run_id.as_str(), bundle.run.workspace.as_str()), ("r", "demo"));
    assert_eq!((bundle.run.state, bundle.run.iteration, bundle.run.tasks.total), (RunState::Completed, 1, 3));
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.run_dir("r").join("config.json")).expect("a file")).expect("JSON");
    assert_eq!(serde_json::to_value(&bundle.config).expect("a value"), config);

    let plugins: Vec<_> =
        bundle.plugins.iter().map(|plugin| (plugin.name.as_str(), plugin.used_by.join(" "))).collect();
    let expected = [("builtin:compute", "local".to_owned()), ("builtin:workflow", "campaign".to_owned())];
    assert_eq!(plugins, expected);
    assert!(bundle.decisions.iter().all(|decision| decision.plugin_sha256 == bundle.plugins[1].sha256));
    let kinds: Vec<&str> = bundle.decisions.iter().map(|decision| decision.kind.as_str()).collect();
    assert_eq!(kinds, ["plan", "analyze", "plan"]);
    assert_eq!((bundle.workflows.len(), bundle.workflows[0].tasks), (1, 3));
    assert!(bundle.workflows[0].analyzed_at.is_some());

    let states: Vec<_> = bundle.tasks.iter().map(|task| (task.id.as_str(), task.state, task.attempts)).collect();
    let expected = [("ok", TaskState::Completed, 1), ("bad", TaskState::Failed, 2), ("last", TaskState::Completed, 1)];
    assert_eq!(states, expected);
    assert!(bundle.tasks.iter().all(|task| task.started_at <= task.ended_at && task.started_at.is_some()));
    let ok = bundle.attempts.iter().find(|attempt| attempt.task == "ok").expect("an attempt");
    assert_eq!(ok.state, AttemptState::Completed);
    let outputs: Vec<_> = ok.outputs.iter().map(|output| (output.path.as_str(), output.size)).collect();
    assert_eq!(outputs, [("r.json", 2), ("sub/s.txt", 2)]);
    assert_eq!(bundle.attempts.len(), 4);
    assert!(bundle.attempts.iter().all(|attempt| world.run_dir("r").join(&attempt.directory).is_dir()));
    assert!(bundle.history.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let last = bundle.history.last().expect("a history");
    assert_eq!((last.kind.as_str(), last.to.as_str()), ("run", "completed"));

    // config.json, two plugins, two outputs, four exit records, and what one of them printed
    assert_eq!((bundle.findings.len(), bundle.verified.files, bundle.verified.intact), (0, 10, 10));
    assert!(bundle.attempts.iter().all(|attempt| attempt.job.started_at <= attempt.job.stopped_at));
    let acts: Vec<&str> = bundle.acts.iter().map(|act| act.verb.as_str()).collect();
    assert_eq!((acts, bundle.configs.len(), bundle.engines.len(), bundle.environments.len()), (vec!["init"], 1, 1, 1));
    let told = done.json();
    assert_eq!((&told["run_id"], &told["state"], &told["complete"]), (&json!("r"), &json!("completed"), &json!(true)));
    assert_eq!(told["verified"], serde_json::to_value(bundle.verified).expect("a value"));
    let digest = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(
        told["sha256"],
        json!(digest(&std::fs::read(directory.join("manifest-sha256.txt")).expect("a manifest")))
    );
    let digest = digest(&bytes(&directory).0);
    assert!(report(&directory).contains(&digest), "the report names the document it was written from");
}

#[test]
fn nothing_changes_while_nothing_changes() {
    let world = ended();
    world.run(&["evidence", "r"]).code(0);
    let first = bytes(&evidence_dir(&world));
    world.run(&["evidence", "r"]).code(0);
    assert_eq!(bytes(&evidence_dir(&world)), first);
    let done = world.run(&["evidence", "r", "--out", "else/where"]).code(0);
    assert_eq!(done.stdout, "else/where\n");
    let out = world.root().parent().expect("a parent").join("else/where");
    assert_eq!(bytes(&out), first, "the place does not matter");
    world.run(&["rerun", "r", "nobody"]).code(2);
    assert_eq!(bytes(&evidence_dir(&world)), first);
}

#[test]
fn a_failed_run_says_so() {
    let world = World::with_tasks(&json!([
        {"id": "bad", "operator": "local", "command": "exit 7"},
        {"id": "after", "operator": "local", "command": "true", "depends_on": ["bad"]},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(1);
    world.run(&["evidence", "r"]).code(0);
    let bundle = bundle(&evidence_dir(&world));
    assert_eq!((bundle.complete, bundle.run.state), (true, RunState::Failed));
    assert!(bundle.run.reason.is_some());
    assert_eq!(bundle.tasks[1].reason_code, Some(Code::DependencyFailed.into()));
    let text = report(&evidence_dir(&world));
    for words in ["**The run is failed**", "exited with code 7", "| `after` | skipped", "task \\`bad\\` failed"] {
        assert!(text.contains(words), "`{words}` is missing: {text}");
    }
}

#[test]
fn a_run_at_work_is_recorded_as_far_as_it_is() {
    let world = World::with_tasks(&json!([
        {"id": "first", "operator": "local", "command": "echo 1 > o", "outputs": ["o"]},
        {"id": "long", "operator": "local", "command": "sleep 600"},
        {"id": "later", "operator": "local", "command": "true", "depends_on": ["long"]},
    ]));
    world.init();
    let start = Instant::now();
    while !world.tasks().starts_with("first=completed") {
        assert!(start.elapsed() < Duration::from_secs(60), "{}", world.tasks());
        world.run(&["step", "r"]).code(0);
    }
    // Neither a tick nor a loop is in the way.
    let lease = RunDir::new(world.run_dir("r")).lease(Duration::from_secs(10)).expect("the lease");
    let done = world.run(&["evidence", "r"]).code(0);
    assert!(done.stderr.contains("has not ended"), "{done:?}");
    drop(lease);
    let bundle = bundle(&evidence_dir(&world));
    assert_eq!((bundle.complete, bundle.run.state), (false, RunState::Active));
    let live = bundle.attempts.iter().find(|attempt| attempt.task == "long").expect("a live attempt");
    assert!(!live.state.ended() && live.ended_at.is_none());
    assert_eq!(bundle.tasks[2].state, TaskState::Pending);
    assert_eq!(bundle.verified.findings(), 0);
    let text = report(&evidence_dir(&world));
    for words in ["**It has not ended.**", "1 running, 1 not started", "The campaign has given no result."] {
        assert!(text.contains(words), "`{words}` is missing: {text}");
    }
    world.run(&["cancel", "r"]).code(0);
    assert_eq!(world.step_to_end()["state"], "cancelled");
    world.run(&["evidence", "r"]).code(0);
    assert!(report(&evidence_dir(&world)).contains("**The run is cancelled**"));
}

#[test]
fn a_held_run_says_why() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.init();
    let plugins = world.run_dir("r").join("plugins");
    let campaign = names(&plugins).into_iter().find(|name| name.contains("workflow")).expect("the campaign");
    std::fs::write(plugins.join(&campaign), "no longer a plugin").expect("a change");
    // native code that is cached would serve in its place
    let cache = world.root().join("no-cache");
    world.run_with(&["loop", "r"], &[("XDG_CACHE_HOME", cache.to_str().expect("UTF-8"))]).code(5);
    let done = world.run(&["evidence", "r"]).code(0);
    assert!(done.stderr.contains("warning: plugin"), "{done:?}");
    let bundle = bundle(&evidence_dir(&world));
    assert_eq!((bundle.complete, bundle.run.state), (false, RunState::Held));
    assert_eq!((bundle.findings.len(), bundle.findings[0].kind), (1, FileKind::Plugin));
    let text = report(&evidence_dir(&world));
    assert!(text.contains("**The run is held**: ") && text.contains("1 file is not as recorded"), "{text}");
}

#[test]
fn outputs_that_are_not_as_recorded_are_named() {
    let many: Vec<_> = ["changed", "gone", "link", "good", "bigger"]
        .map(|id| json!({"id": id, "operator": "local", "command": format!("echo {id} > o"), "outputs": ["o"]}))
        .into();
    let world = World::with_tasks(&json!(many));
    world.init();
    world.run(&["loop", "r"]).code(0);
    std::fs::write(attempt_dir(&world, "changed").join("o"), "CHANGED\n").expect("a change");
    std::fs::write(attempt_dir(&world, "bigger").join("o"), "bigger\nand bigger\n").expect("a change");
    std::fs::remove_dir_all(attempt_dir(&world, "gone")).expect("a directory");
    let link = attempt_dir(&world, "link");
    std::fs::rename(link.join("o"), link.join("p")).expect("a file");
    std::os::unix::fs::symlink("p", link.join("o")).expect("a link");

    let done = world.run(&["evidence", "r"]).code(0);
    assert_eq!(done.stderr.matches("warning: output").count(), 4, "{done:?}");
    assert!(done.stderr.contains("of task `gone` is missing"), "{done:?}");
    let bundle = bundle(&evidence_dir(&world));
    let mut found: Vec<_> =
        bundle.findings.iter().map(|f| (f.task.clone().expect("a task"), f.kind, f.integrity)).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let logs: Vec<_> = found.extract_if(.., |found| found.1 == FileKind::Log).collect();
    assert_eq!(logs, [("gone".to_owned(), FileKind::Log, Integrity::Missing)], "its exit record is gone with it");
    let expected = [
        ("bigger", Integrity::Changed),
        ("changed", Integrity::Changed),
        ("gone", Integrity::Missing),
        ("link", Integrity::Changed),
    ];
    assert_eq!(found, expected.map(|(task, integrity)| (task.to_owned(), FileKind::Output, integrity)));
    let Verified { files, intact, changed, missing, unreadable, .. } = bundle.verified;
    assert_eq!((files - intact, changed, missing, unreadable), (5, 3, 2, 0));
    let text = report(&evidence_dir(&world));
    assert!(text.contains("> **5 files are not as recorded**"), "{text}");
    assert!(text.contains("output of task `gone`") && text.contains("it is not a regular file now"), "{text}");
}

#[test]
fn a_hand_edited_or_missing_configuration_is_named() {
    let world = ended();
    let path = world.run_dir("r").join("config.json");
    let text = std::fs::read_to_string(&path).expect("config.json");
    let cases = [
        (Some(text.replace("\"cores\": 2", "\"cores\": 9")), Integrity::Changed),
        (Some("{".to_owned()), Integrity::Changed),
        (None, Integrity::Missing),
    ];
    for (content, integrity) in cases {
        match &content {
            Some(content) => std::fs::write(&path, content).expect("an edit"),
            None => std::fs::remove_file(&path).expect("a file"),
        }
        let done = world.run(&["evidence", "r"]).code(0);
        assert!(done.stderr.contains("warning: config `config.json`"), "{done:?}");
        let bundle = bundle(&evidence_dir(&world));
        assert_eq!((bundle.findings[0].kind, bundle.findings[0].integrity), (FileKind::Config, integrity));
        let cores = bundle
            .config
            .map(|config| serde_json::to_value(config.backends).expect("a value")["local"]["cores"].clone());
        assert_eq!(cores, Some(json!(2)), "the record has its own");
        assert_eq!(bundle.tasks.len(), 3, "the store speaks for itself");
    }
}

#[test]
fn an_amended_run_with_a_rollback_journal_is_recorded() {
    let world = World::with_tasks(&tasks());
    world.run(&["init", "demo", "--run-id", "r", "--set", "store.journal=\"rollback\""]).code(0);
    world.run(&["amend", "r", "config", "limits.max_active=1", "--reason", "one at a time"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.run(&["evidence", "r"]).code(0);
    let bundle = bundle(&evidence_dir(&world));
    assert_eq!(bundle.verified.findings(), 0);
    assert_eq!(bundle.config.expect("a configuration").limits.max_active, 1);
    assert!(report(&evidence_dir(&world)).contains("one at a time"), "the change stands in the timeline");
}

#[test]
fn bundles_are_written_while_a_loop_runs() {
    let many: Vec<_> = (0..30)
        .map(|n| json!({"id": format!("t{n}"), "operator": "local", "command": "echo 1 > o; sleep 0.05", "outputs": ["o"]}))
        .collect();
    let world = World::with_tasks(&json!(many));
    world.init();
    let quiet = std::process::Stdio::null;
    let mut driver = world.command(&["loop", "r"]).stdout(quiet()).stderr(quiet()).spawn().expect("a loop");
    let mut seen = Vec::new();
    while driver.try_wait().expect("a process").is_none() {
        world.run(&["evidence", "r"]).code(0);
        let bundle = bundle(&evidence_dir(&world));
        // Every part is of the same moment.
        let count = |state| bundle.tasks.iter().filter(|task| task.state == state).count() as u64;
        let tally = bundle.run.tasks;
        assert_eq!((count(TaskState::Completed), count(TaskState::Running)), (tally.completed, tally.running));
        let outputs: u64 = bundle.attempts.iter().map(|attempt| attempt.outputs.len() as u64).sum();
        assert_eq!((outputs, bundle.verified.files), (tally.completed, 2 * tally.completed + 3));
        let created = bundle.history.iter().filter(|row| row.kind == "attempt" && row.to == "created").count();
        assert_eq!(created, bundle.attempts.len());
        assert_eq!(bundle.verified.findings(), 0);
        seen.push(tally.completed);
    }
    assert!(driver.wait().expect("an end").success());
    assert!(seen.len() > 1, "{seen:?}");
}
