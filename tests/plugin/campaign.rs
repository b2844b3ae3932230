//! Campaigns: what they decide, that it repeats, and every way to misbehave.
use super::*;
use matterstack::model::contract::Next;
use std::time::{Duration, Instant};

fn hostile(limits: PluginLimits) -> Bench {
    Bench::campaign(limits, &guest("hostile"))
}

#[test]
fn a_loop_is_planned_and_analyzed() {
    let bench = Bench::campaign(limits(), &guest("loop-rust"));
    let context = context(json!({"lo": 0, "hi": 1024, "target": 613, "iterations": 3}));
    let first = bench.plan_as(&context).unwrap();
    let Next::Workflow(tasks) = first.value.next else { panic!("no workflow") };
    assert_eq!(serde_json::from_str::<Value>(&tasks).unwrap().as_array().unwrap().len(), 3);
    assert!(first.fuel > 1000);
    let skipped = |task: &str| json!({"task": task, "outcome": "skipped", "attempts": 0, "outputs": []});
    let completed = json!({"task": "i1-x512", "outcome": "completed", "attempts": 1,
        "outputs": [{"path": "value.json", "sha256": "d", "size": 23}]});
    let results = json!([skipped("i1-x256"), completed, skipped("i1-x768")]);
    let folded = bench.host.analyze(&context, &first.value.state, &results.to_string()).value.unwrap();
    let state: Value = serde_json::from_str(&folded.state).unwrap();
    assert_eq!(state["best"]["x"], 512, "{state}");
    assert_eq!(state["lo"], 256);
}

#[test]
fn the_standard_workflow_plans_its_tasks() {
    let mut bench = Bench::new(limits());
    let path = bench.file("workflow.wasm", builtin::builtin("workflow").unwrap());
    bench.host.set_campaign(source(&path));
    let tasks = json!([{"id": "a", "operator": "local", "command": ["true"]}]);
    let Next::Workflow(planned) = bench.plan(json!({"tasks": tasks})).unwrap().value.next else {
        panic!("no workflow")
    };
    assert_eq!(serde_json::from_str::<Value>(&planned).unwrap()[0]["id"], "a");
}

#[test]
fn misbehaviours_are_told_apart() {
    let bench = hostile(PluginLimits { host_calls: 1000, ..limits() });
    let check = |mode: &str, code: &str, words: &str| {
        let error = bench.plan(json!({"mode": mode, "megabytes": 5})).unwrap_err();
        assert_eq!((error.kind.code().as_str(), error.call), (code, Some("plan")), "{mode}: {error}");
        assert!(error.to_string().contains(words), "{mode}: {error}");
    };
    check("loop", "plugin-fuel", "`limits.plugin.fuel` is 2000000000");
    check("memory", "plugin-memory", "`limits.plugin.memory_mb` is 64");
    check("trap", "plugin-trap", "asked to trap");
    check("exit", "plugin-trap", "exited");
    check("stack", "plugin-trap", "out of bounds");
    check("error", "plugin-error", "asked to fail");
    check("invalid", "plugin-error", "invalid: asked to refuse");
    check("huge-state", "plugin-limit", "`limits.plugin.output_mb` is 4");
    check("many-reads", "plugin-limit", "`limits.plugin.host_calls` is 1000");
    check("long-reason", "plugin-bad-output", "the reason has 1000000 bytes");
    check("huge-output", "plugin-limit", "`limits.plugin.output_mb` is 4");
}

/// Each refusal stands in the record, so that there is an end to them which no setting raises.
#[test]
fn refused_reads_have_an_end_of_their_own() {
    // one more asks for the parameters
    for host_calls in [10_000, 10_002, 1_000_000] {
        let error = hostile(PluginLimits { host_calls, ..limits() }).plan(json!({"mode": "many-reads"})).unwrap_err();
        let settable = host_calls == 10_000;
        assert_eq!(error.kind.code(), "plugin-limit", "{host_calls}: {error}");
        assert_eq!(error.kind.word().limit().is_some(), settable, "{host_calls}: {error}");
        assert_eq!(
            error.to_string().contains("`limits.plugin.host_calls` is 10000"),
            settable,
            "{host_calls}: {error}"
        );
        assert_eq!(error.to_string().contains("more than 10000 files"), !settable, "{host_calls}: {error}");
    }
}

/// Random bytes cost the host, not the plugin's fuel: they are counted, before they are made.
#[test]
fn randomness_has_an_end() {
    let bench = hostile(PluginLimits { output_mb: 1, ..limits() });
    for mode in ["random-flood", "random-at-once"] {
        let start = Instant::now();
        let error = bench.plan(json!({"mode": mode})).unwrap_err();
        assert_eq!(error.kind.code(), "plugin-limit", "{mode}: {error}");
        assert!(error.to_string().contains("`limits.plugin.output_mb` is 1"), "{mode}: {error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{mode}: {:?}", start.elapsed());
    }
}

#[test]
fn a_fuse_ends_what_fuel_would_let_go_on() {
    let limits = PluginLimits { plan_ms: 60, fuel: 1 << 60, output_mb: 1_000_000, memory_mb: 512, ..limits() };
    let bench = hostile(limits);
    for mode in ["loop", "random-flood", "log-empty"] {
        let start = Instant::now();
        let error = bench.plan(json!({"mode": mode})).unwrap_err();
        let PluginErrorKind::Deadline(bound) = error.kind else { panic!("{mode}: {error}") };
        assert_eq!((bound.key, bound.value), ("limits.plugin.plan_ms", 60), "{mode}");
        assert!((60..20_000).contains(&start.elapsed().as_millis()), "{mode}: {:?}", start.elapsed());
        // the next one is sound; on a busy machine it may itself take too long
        assert!((0..50).any(|_| bench.plan(json!({})).is_ok()), "{mode}");
    }
}

/// An empty message, or one of a letter, takes a hundred bytes of the disk.
#[test]
fn what_the_log_takes_is_counted_and_not_what_was_said() {
    for mode in ["log-empty", "print-lines"] {
        let bench = hostile(PluginLimits { output_mb: 1, ..limits() });
        let _ = bench.plan(json!({"mode": mode}));
        let notes = bench.notes.0.lock().unwrap();
        assert!((9_000..11_000).contains(&notes.len()), "{mode}: {}", notes.len());
        assert!(notes.last().unwrap().3.contains("has been dropped"), "{mode}");
    }
}

#[test]
fn a_table_that_is_too_large_is_named() {
    let error = hostile(PluginLimits { table_elements: 1, ..limits() }).plan(json!({})).unwrap_err();
    assert_eq!(error.kind.code(), "plugin-limit", "{error}");
    assert!(error.to_string().contains("`limits.plugin.table_elements` is 1"), "{error}");
}

#[test]
fn words_and_sentences_cannot_command_a_terminal() {
    let error = hostile(limits()).plan(json!({"mode": "ugly-error"})).unwrap_err();
    let PluginErrorKind::Guest(GuestError::Other(detail)) = &error.kind else { panic!("{error}") };
    assert_eq!(detail.code, "other");
    let beginning: String = detail.message.chars().take(25).collect();
    assert_eq!(beginning, "red \\u{1b}[31m alert xxxx");
    assert!(detail.message.len() < 5_000 && !detail.message.contains(char::is_control));
}

#[test]
fn analyze_fails_under_its_own_name() {
    let bench = hostile(limits());
    let check = |mode: &str, code: &str| {
        let error = bench.host.analyze(&context(json!({"mode": mode})), "{}", "[]").value.unwrap_err();
        assert_eq!((error.kind.code().as_str(), error.call), (code, Some("analyze")), "{mode}: {error}");
    };
    check("trap-in-analyze", "plugin-trap");
    check("loop-in-analyze", "plugin-fuel");
    check("memory-in-analyze", "plugin-memory");
    check("error-in-analyze", "plugin-error");
}

#[test]
fn a_campaign_that_sleeps_loses_no_time() {
    let start = Instant::now();
    // an hour on a clock that stands still: the sleep is over at once, or its fuel is
    match hostile(limits()).plan(json!({"mode": "sleep"})) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind.code(), "plugin-fuel", "{error}"),
    }
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn decisions_repeat_exactly() {
    let (one, two) = (hostile(limits()), hostile(limits()));
    for mode in ["random", "clock", "look", ""] {
        let (first, second) = (one.plan(json!({"mode": mode})).unwrap(), two.plan(json!({"mode": mode})).unwrap());
        let again = one.plan(json!({"mode": mode})).unwrap();
        assert_eq!(first.value, second.value, "{mode}");
        assert_eq!(first.value, again.value, "{mode}");
        assert_eq!((first.fuel, first.fuel), (second.fuel, again.fuel), "{mode}");
    }
}

#[test]
fn randomness_follows_from_seed_and_decision() {
    let bench = hostile(limits());
    let state = |seed, decision| {
        let context = Context { seed, decision, ..context(json!({"mode": "random"})) };
        bench.plan_as(&context).unwrap().value.state
    };
    assert_eq!(state(1, 1), state(1, 1));
    assert_ne!(state(1, 1), state(2, 1));
    assert_ne!(state(1, 1), state(1, 2));
}

#[test]
fn the_clock_is_the_context_and_there_is_no_world() {
    let bench = hostile(limits());
    let state = |mode: &str| -> Value {
        serde_json::from_str(&bench.plan(json!({"mode": mode})).unwrap().value.state).unwrap()
    };
    assert_eq!(state("clock"), json!({"system": "1700000000123000000", "elapsed": "0"}));
    let expected = json!({"env": 0, "args": 0, "root": false, "passwd": false, "network": false});
    assert_eq!(state("look"), expected);
    assert_eq!(state("denied-artifact"), json!({"denied": "artifacts"}));
}

#[test]
fn a_flood_of_messages_is_cut_and_noted_once() {
    let bench = hostile(PluginLimits { output_mb: 1, ..limits() });
    let ended = bench.plan(json!({"mode": "log-flood"}));
    if let Err(error) = ended {
        assert!(matches!(error.kind, PluginErrorKind::Fuel(_)), "{error}");
    }
    let notes = bench.notes.0.lock().unwrap();
    assert!((900..1100).contains(&notes.len()), "{}", notes.len());
    assert_eq!(notes.iter().filter(|note| note.2 == LogLevel::Warn).count(), 1);
    assert!(notes.last().unwrap().3.contains("output_mb"));
}

#[test]
fn what_a_panic_says_reaches_the_log() {
    let bench = hostile(limits());
    bench.plan(json!({"mode": "trap"})).unwrap_err();
    let notes = bench.notes.0.lock().unwrap();
    assert!(notes.iter().any(|note| note.2 == LogLevel::Warn && note.3.contains("asked to trap")), "{notes:?}");
}
