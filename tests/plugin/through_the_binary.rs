//! Every way in which a plugin can misbehave, through the binary: what the store, `explain` and the exit codes say, and
//! that nothing hangs, nothing is lost and nobody else is disturbed.
use crate::support::guest;
use crate::support::world::{Done, World, tasks_config};
use matterstack::plugin::builtin;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn limits() -> Value {
    json!({"max_tasks": 100, "attempt_files": 100, "attempt_mb": 2,
        "plugin": {"memory_mb": 64, "fuel": 300_000_000, "output_mb": 4, "host_calls": 5000, "call_ms": 1000}})
}

/// A workspace whose campaign is the hostile guest.
fn campaign(params: &Value) -> World {
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "hostile.wasm", "params": params});
    config["limits"] = limits();
    let world = World::new(&config);
    std::fs::copy(guest("hostile"), world.workspace().join("hostile.wasm")).expect("the guest");
    world
}

#[test]
fn what_an_operator_says_of_an_attempt_is_kept() {
    let modes = ["tells", "garbage-prepared", "garbage-usage", "listed-usage"];
    let world = operator(&modes.iter().map(|mode| evil(mode, json!({"mode": mode}))).collect());
    world.init();
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.tasks(), "tells=completed garbage-prepared=failed garbage-usage=failed listed-usage=failed");
    let attempt = world.run(&["attempts", "r", "tells", "--json"]).code(0).json()[0].clone();
    let prepared = json!({"made_ready": 1});
    assert_eq!(attempt["external_id"].as_str().map(|id| id.contains("sample 7") && !id.contains('\u{1b}')), Some(true));
    assert_eq!(attempt["usage"]["material"]["ink"], json!({"amount": 2, "unit": "mL"}), "{attempt}");
    world.run(&["evidence", "r"]).code(0);
    let evidence = world.evidence();
    let recorded = &evidence["attempts"][0];
    assert_eq!((&recorded["prepared"], &recorded["usage"]["shots"]), (&prepared, &json!(3)), "{recorded}");
    // every later call has it
    let given = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap_or_default()).expect("JSON");
    assert_eq!(given(&recorded["handle"]["prepared"]), prepared);
    assert_eq!(given(&recorded["data"]["prepared"]), prepared);
    for mode in &modes[1..] {
        let told = world.run(&["explain", "r", mode, "--json"]).code(0).json()[0].clone();
        assert_eq!(told["code"], "plugin-bad-output", "{told}");
    }
}

/// The one explanation of the run as a whole: code and command.
fn explained(world: &World, run: &str) -> (String, String) {
    let all = world.run(&["explain", run, "--json"]).code(0).json();
    let own = all.as_array().into_iter().flatten().find(|one| one["task"].is_null()).cloned().unwrap_or_default();
    let text = |key: &str| own[key].as_str().unwrap_or_default().to_owned();
    assert!(!text("sentence").is_empty(), "{all}");
    (text("code"), text("command"))
}

/// Modes that break the rules of documents: the mode, and what is said about it.
const BAD_DOCUMENTS: [(&str, &str); 7] = [
    ("garbage-state", "state is not canonical JSON"),
    ("big-integer-state", "`n` is 9007199254740993, an integer beyond 2^53"),
    ("huge-integer-state", "an integer beyond 2^53"),
    ("deep-state", "recursion limit"),
    ("garbage-result", "complete is not canonical JSON"),
    ("long-reason", "the reason has 1000000 bytes"),
    ("garbage-tasks", "the workflow is not an array of tasks"),
];

/// Modes that break the rules of a plan.
const BAD_TASKS: [(&str, &str); 21] = [
    ("deep-tasks", "nested deeper than 127 levels"),
    ("not-an-array", "expected a sequence"),
    ("many-tasks", "`limits.max_tasks` is 100"),
    ("duplicate-ids", "task id `a` is used twice"),
    ("empty-id", "an id of 0 bytes"),
    ("long-id", "an id of 201 bytes"),
    ("control-id", "a NUL character"),
    ("cycle", "depends on itself"),
    ("self-dependency", "depends on itself"),
    ("unknown-dependency", "depends on `nowhere`, which is not in the run"),
    ("unknown-operator", "names operator `nobody`"),
    ("unknown-key", "unknown field `comand`"),
    ("wrong-type", "expected a sequence"),
    ("escaping-file", "outside its attempt directory"),
    ("absolute-file", "outside its attempt directory"),
    ("unknown-file", "names file `scripts/nowhere.py`"),
    ("big-integer-tasks", "n` is 9007199254740993, an integer beyond 2^53"),
    ("bad-pattern", "output pattern `[a`"),
    ("no-attempts", "retry.max_attempts is 0"),
    ("garbage-tasks", "the workflow is not an array of tasks"),
    ("not-an-array", "the workflow is not an array of tasks"),
];

/// Modes in which a call does not answer, answers too much, or says no: mode, code, words.
const BROKEN_CALLS: [(&str, &str, &str); 11] = [
    ("loop", "plugin-fuel", "`limits.plugin.fuel` is 300000000"),
    ("memory", "plugin-memory", "`limits.plugin.memory_mb` is 64"),
    ("trap", "plugin-trap", "asked to trap"),
    ("exit", "plugin-trap", "exited"),
    ("stack", "plugin-trap", "trapped"),
    ("many-reads", "plugin-limit", "`limits.plugin.host_calls` is 5000"),
    ("huge-state", "plugin-limit", "`limits.plugin.output_mb` is 4"),
    ("huge-output", "plugin-limit", "`limits.plugin.output_mb` is 4"),
    ("error", "plugin-error", "asked to fail"),
    ("invalid", "plugin-error", "asked to refuse"),
    ("ugly-error", "plugin-error", "alert"),
];

fn refused(mode: &str, code: i32, words: &str) {
    let world = campaign(&json!({"mode": mode, "megabytes": 5, "count": 1000}));
    let done = world.run(&["init", "demo"]);
    assert_eq!(done.code, Some(code), "{mode}: {done:?}");
    assert!(done.stderr.contains(words) && done.stderr.matches("error:").count() == 1, "{mode}: {done:?}");
    assert!(!done.stderr.contains("panicked at host") && done.stderr.len() < 10_000, "{mode}: {done:?}");
    assert!(!done.stderr.contains('\u{1b}'), "{mode}: {done:?}");
    let left = std::fs::read_dir(world.workspace().join("runs")).expect("runs").count();
    assert_eq!(left, 0, "{mode}: nothing is left");
}

#[test]
fn init_refuses_a_campaign_whose_first_plan_is_bad() {
    for (mode, code, words) in BROKEN_CALLS {
        refused(mode, if code == "plugin-error" { 2 } else { 4 }, words);
    }
    for (mode, words) in BAD_DOCUMENTS {
        refused(mode, if mode == "garbage-tasks" { 2 } else { 4 }, words);
    }
    for (mode, words) in BAD_TASKS {
        refused(mode, 2, words);
    }
}

/// What a held run says: its code, words of its reason, and the beginning of the command that helps.
struct Held<'a> {
    code: &'a str,
    words: &'a str,
    command: &'a str,
}

/// A run whose first workflow is honest and whose campaign then misbehaves is held, and goes on once that is mended.
fn held(mode: &str, expected: &Held<'_>) {
    let world = campaign(&json!({"mode": "", "again": true, "megabytes": 5, "count": 1000}));
    world.init();
    world.run(&["amend", "r", "config", &format!("campaign.params.mode=\"{mode}\"")]).code(0);
    let start = Instant::now();
    let done = world.run(&["loop", "r", "--timeout", "100s"]);
    assert_eq!(done.code, Some(5), "{mode}: {done:?}");
    assert!(start.elapsed() < Duration::from_secs(90), "{mode}");
    let status = world.status();
    assert_eq!(status["state"], "held", "{mode}: {status}");
    let reason = status["reason"].as_str().expect("a reason");
    assert!(reason.contains(expected.words), "{mode}: {reason}");
    let (code, command) = explained(&world, "r");
    assert_eq!(code, expected.code, "{mode}: {reason}");
    assert!(command.starts_with(expected.command), "{mode}: {command}");
    let tick = world.run(&["step", "r", "--json"]).code(0).json();
    assert_eq!(
        (&tick["state"], &tick["planned"], &tick["submitted"]),
        (&json!("held"), &json!(0), &json!(0)),
        "{mode}"
    );
    assert_eq!(world.tasks(), "first=completed", "{mode}: nothing is lost");
    world.run(&["resume", "r"]).code(0);
    let again = world.run(&["step", "r", "--json"]).code(0).json();
    if expected.code != "planned-nothing" {
        assert_eq!(again["state"], "held", "{mode}: it does so again");
    }
    world.run(&["amend", "r", "config", "campaign.params={\"mode\":\"\"}"]).code(0);
    world.run(&["resume", "r"]).code(0);
    assert_eq!(world.run(&["loop", "r", "--timeout", "100s"]).code, Some(0), "{mode}: {}", world.status());
    world.run(&["doctor", "r"]).code(0);
}

const UPGRADE: &str = "matterstack amend r plugin FILE";

#[test]
fn a_campaign_that_breaks_a_call_holds_its_run() {
    for (mode, code, words) in BROKEN_CALLS {
        let command = match code {
            "plugin-trap" => UPGRADE.to_owned(),
            "plugin-error" => "matterstack resume r".to_owned(),
            _ => {
                let key = words.split('`').nth(1).expect("a key");
                format!("matterstack amend r config {key}=")
            }
        };
        held(mode, &Held { code, words, command: &command });
    }
}

#[test]
fn a_campaign_that_answers_badly_holds_its_run() {
    for (mode, words) in BAD_DOCUMENTS.into_iter().chain(BAD_TASKS) {
        let command = if mode == "many-tasks" { "matterstack amend r config limits.max_tasks=200" } else { UPGRADE };
        held(mode, &Held { code: "plugin-bad-output", words, command });
    }
}

#[test]
fn a_campaign_that_breaks_analyze_holds_its_run() {
    held("trap-in-analyze", &Held { code: "plugin-trap", words: "in `analyze`", command: UPGRADE });
    held("loop-in-analyze", &Held { code: "plugin-fuel", words: "in `analyze`", command: "matterstack amend r" });
    held("memory-in-analyze", &Held { code: "plugin-memory", words: "in `analyze`", command: "matterstack amend r" });
    held("huge-in-analyze", &Held { code: "plugin-limit", words: "output_mb", command: "matterstack amend r" });
    held("error-in-analyze", &Held { code: "plugin-error", words: "asked to fail", command: "matterstack resume r" });
    held("garbage-in-analyze", &Held { code: "plugin-bad-output", words: "state is not", command: UPGRADE });
    held("big-integer-in-analyze", &Held { code: "plugin-bad-output", words: "beyond", command: UPGRADE });
}

#[test]
fn a_campaign_may_ask_for_a_person_wait_or_give_up() {
    held("hold", &Held { code: "need-person", words: "which way to go", command: "matterstack resume r --set" });
    held("wait", &Held { code: "planned-nothing", words: "planned nothing", command: "matterstack resume r" });
    held("empty", &Held { code: "planned-nothing", words: "planned nothing", command: "matterstack resume r" });
    let world = campaign(&json!({"mode": "", "again": true}));
    world.init();
    world.run(&["amend", "r", "config", "campaign.params.mode=fail"]).code(0);
    world.run(&["loop", "r", "--timeout", "100s"]).code(1);
    world.run(&["step", "r"]).code(1);
    assert_eq!(explained(&world, "r"), ("gave-up".to_owned(), "matterstack resume r".to_owned()));
}

#[test]
fn another_plugin_continues_a_run_that_a_bad_campaign_held() {
    for mode in ["trap", "error", "garbage-state", "trap-in-analyze"] {
        let counts = json!({"total": 0, "completed": 0, "failed": 0, "skipped": 0, "cancelled": 0,
            "unallowed": 0, "unallowed_ids": []});
        let world = campaign(&json!({"mode": "", "again": true, "state": counts}));
        world.init();
        world.run(&["amend", "r", "config", &format!("campaign.params.mode={mode}")]).code(0);
        world.run(&["loop", "r", "--timeout", "100s"]).code(5);
        let file = |name: &str| {
            let path = world.root().join(format!("{name}.wasm"));
            std::fs::write(&path, builtin::builtin(name).expect("a standard plugin")).expect("a file");
            path.display().to_string()
        };
        let refused = world.run(&["amend", "r", "plugin", &file("compute")]).code(4);
        assert!(refused.stderr.contains("is an operator where a campaign is needed"), "{refused:?}");
        assert_eq!(world.status()["state"], "held", "a refused upgrade changes nothing");
        world.run(&["amend", "r", "config", "campaign.params={\"tasks\":[]}"]).code(0);
        let upgraded = world.run(&["amend", "r", "plugin", &file("workflow"), "--json"]).code(0).json();
        assert_eq!(upgraded["state"], "active");
        world.run(&["loop", "r", "--timeout", "100s"]).code(0);
        assert_eq!(world.tasks(), "first=completed", "{mode}");
        world.run(&["doctor", "r"]).code(0);
    }
}

#[test]
fn another_run_is_not_disturbed() {
    let world = campaign(&json!({"mode": "", "again": true}));
    world.init();
    world.run(&["amend", "r", "config", "campaign.params.mode=loop"]).code(0);
    world.write("good.json", &tasks_config(&json!([{"id": "g", "operator": "local", "command": "true"}])).to_string());
    world.run(&["init", "demo", "--config", "workspaces/demo/good.json", "--run-id", "good"]).code(0);
    world.run(&["loop", "--all", "--timeout", "100s"]).code(5);
    let state = |run: &str| world.run(&["status", run, "--json"]).code(0).json()["state"].clone();
    assert_eq!((state("r"), state("good")), (json!("held"), json!("completed")));
}

/// What becomes of a task whose operator misbehaves.
enum Fate {
    /// It ends in this state.
    Ends(&'static str),
    /// It goes on being asked about; this command would help.
    GoesOn(&'static str),
}
use Fate::{Ends, GoesOn};

const EVIL: &str = "matterstack amend r plugin FILE --operator evil";
const CALL_MS: &str = "matterstack amend r config limits.plugin.call_ms=2000 && matterstack";
const MEMORY: &str = "matterstack amend r config limits.plugin.memory_mb=128 && matterstack";

/// The mode, `explain`'s code for the task, words of its sentence, and its fate with the beginning of the command.
fn operator_modes() -> Vec<(&'static str, &'static str, &'static str, Fate)> {
    let mut all = Vec::new();
    for call in ["prepare", "collect"] {
        let mode = |what: &str| -> &'static str { format!("{what}-in-{call}").leak() };
        all.extend([
            (mode("trap"), "plugin-trap", "asked to trap", Ends("failed")),
            (mode("exit"), "plugin-trap", "exited", Ends("failed")),
            (mode("loop"), "plugin-deadline", "`limits.plugin.call_ms` is 1000", Ends("failed")),
            (mode("sleep"), "plugin-deadline", "`limits.plugin.call_ms` is 1000", Ends("failed")),
            (mode("memory"), "plugin-memory", "`limits.plugin.memory_mb` is 64", Ends("failed")),
            (mode("error"), "hostile", "asked to fail", Ends("failed")),
            (mode("invalid"), "hostile", "asked to fail", Ends("failed")),
            (mode("rejected"), "hostile", "asked to fail", Ends("failed")),
            (mode("ambiguous"), "hostile", "asked to fail", Ends("failed")),
        ]);
    }
    all.extend([
        ("transient-in-prepare", "turned-away", "asked to fail", GoesOn("matterstack step r")),
        ("log-flood-in-prepare", "plugin-limit", "`limits.plugin.host_calls` is 5000", Ends("failed")),
        ("trap-in-submit", "plugin-trap", "asked to trap", Ends("failed")),
        ("exit-in-submit", "plugin-trap", "exited", Ends("failed")),
        ("memory-in-submit", "plugin-memory", "`limits.plugin.memory_mb` is 64", Ends("failed")),
        ("error-in-submit", "hostile", "asked to fail", Ends("failed")),
        ("invalid-in-submit", "hostile", "asked to fail", Ends("failed")),
        ("rejected-in-submit", "hostile", "asked to fail", Ends("failed")),
        ("denied-backend", "denied", "`forbidden` is not granted", Ends("failed")),
        ("garbage-handle", "plugin-bad-output", "the handle is not JSON", Ends("failed")),
        ("long-handle", "plugin-bad-output", "the handle has 1000002 bytes", Ends("failed")),
        ("huge-handle", "plugin-memory", "`limits.plugin.memory_mb` is 64", Ends("failed")),
        ("transient-in-submit", "turned-away", "asked to fail", GoesOn("matterstack step r")),
        ("ambiguous-in-submit", "unknown-submit", "asked to fail", GoesOn("matterstack step r")),
        ("loop-in-submit", "unknown-submit", "`limits.plugin.call_ms` is 1000", GoesOn(CALL_MS)),
        ("sleep-in-submit", "unknown-submit", "`limits.plugin.call_ms` is 1000", GoesOn(CALL_MS)),
        ("trap-in-check", "plugin-trap", "asked to trap", GoesOn(EVIL)),
        ("exit-in-check", "plugin-trap", "exited", GoesOn(EVIL)),
        ("loop-in-check", "plugin-deadline", "call_ms", GoesOn(CALL_MS)),
        ("sleep-in-check", "plugin-deadline", "call_ms", GoesOn(CALL_MS)),
        ("memory-in-check", "plugin-memory", "memory_mb", GoesOn(MEMORY)),
        ("error-in-check", "plugin-error", "asked to fail", GoesOn(EVIL)),
        ("garbage-handle-in-check", "plugin-bad-output", "the handle is not JSON", GoesOn(EVIL)),
        ("garbage-progress-in-check", "plugin-bad-output", "the progress is not JSON", GoesOn(EVIL)),
        ("garbage-output-in-collect", "plugin-bad-output", "the output document is not JSON", Ends("failed")),
        ("deep-output-in-collect", "plugin-bad-output", "recursion limit", Ends("failed")),
        ("integer-output-in-collect", "plugin-bad-output", "beyond", Ends("failed")),
        ("queued", "queued", "not started yet", GoesOn("")),
        ("huge-poll-after", "queued", "not started yet", GoesOn("")),
        ("running", "running", "runs", GoesOn("matterstack logs r")),
        ("waiting", "person", "somebody must look", GoesOn("matterstack respond r")),
        ("unavailable", "hostile", "asked for this status", GoesOn("")),
        ("lost", "lost", "nobody knows whether it ran", GoesOn("matterstack rerun r")),
        ("failed", "hostile", "asked for this status", Ends("failed")),
        ("ugly", "other", "red", Ends("failed")),
        ("cancelled", "cancelled", "cancelled", Ends("cancelled")),
        ("file", "completed", "completed", Ends("completed")),
        ("symlink", "io", "Operation not permitted", Ends("failed")),
        ("symlink-up", "output-missing", "`out*` matches no file", Ends("failed")),
        ("symlink-directory", "output-missing", "matches no file", Ends("failed")),
        ("big-file", "output-quota", "`limits.attempt_mb` is 2", Ends("failed")),
        ("many-files", "output-quota", "`limits.attempt_files` is 100", Ends("failed")),
        ("deep-directories", "output-quota", "more than 64 deep", Ends("failed")),
    ]);
    all
}

/// A workspace with the hostile operator under the key `evil`, and `builtin:compute` beside it.
fn operator(tasks: &Value) -> World {
    let mut config = tasks_config(tasks);
    config["operators"]["evil"] = json!({"plugin": "hostile-operator.wasm", "grants": {"compute": ["local"]}});
    config["limits"] = limits();
    let world = World::new(&config);
    std::fs::copy(guest("hostile-operator"), world.workspace().join("hostile-operator.wasm")).expect("the guest");
    world
}

fn evil(id: &str, input: Value) -> Value {
    json!({"id": id, "operator": "evil", "allow_failure": true, "input": input})
}

fn one(done: Done) -> Value {
    done.code(0).json()[0].clone()
}

#[test]
fn an_operator_that_misbehaves_costs_its_own_attempts_only() {
    let modes = operator_modes();
    let files = ["file", "symlink", "symlink-up", "symlink-directory", "big-file", "many-files", "deep-directories"];
    let mut tasks: Vec<Value> = modes
        .iter()
        .map(|(mode, ..)| {
            let mut task = evil(mode, json!({"mode": mode, "megabytes": 5}));
            if files.contains(mode) {
                task["outputs"] = match *mode {
                    "many-files" => json!(["*.txt"]),
                    "symlink-directory" => json!(["out/**"]),
                    "deep-directories" => json!(["**"]),
                    _ => json!(["out*"]),
                };
            }
            task
        })
        .collect();
    tasks.push(json!({"id": "good", "operator": "local", "command": "echo fine > fine.txt", "outputs": ["fine.txt"]}));
    let world = operator(&Value::from(tasks));
    world.init();
    let ending = |task: &Value| modes.iter().any(|(mode, .., fate)| task["id"] == *mode && matches!(fate, Ends(_)));
    let start = Instant::now();
    loop {
        world.run(&["step", "r"]).code(0);
        let tasks = world.run(&["tasks", "r", "--json"]).code(0).json();
        let open = tasks.as_array().into_iter().flatten();
        let mut open = open.filter(|task| task["id"] == "good" || ending(task));
        let live = open.any(|task| task["state"] == "pending" || task["state"] == "running");
        if !live {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(120), "tasks that should end do not: {tasks}");
    }
    // once more, so that what goes on has been asked about
    world.run(&["step", "r"]).code(0);
    let tasks = world.run(&["tasks", "r", "--json"]).code(0).json();
    let state =
        |id: &str| tasks.as_array().into_iter().flatten().find(|task| task["id"] == id).expect("it")["state"].clone();
    assert_eq!(state("good"), "completed");
    for (mode, code, words, fate) in &modes {
        let told = one(world.run(&["explain", "r", mode, "--json"]));
        let (sentence, command) =
            (told["sentence"].as_str().expect("one"), told["command"].as_str().unwrap_or_default());
        assert_eq!(told["code"], *code, "{mode}: {told}");
        assert!(sentence.contains(words), "{mode}: {told}");
        assert!(sentence.len() < 6_000 && !sentence.contains(char::is_control), "{mode}: {told}");
        match fate {
            Ends(expected) => assert_eq!(state(mode), *expected, "{mode}: {told}"),
            GoesOn(expected) => {
                assert_eq!(state(mode), "running", "{mode}: {told}");
                assert!(command.starts_with(expected), "{mode}: {told}");
            }
        }
        if matches!(fate, Ends("failed")) {
            let attempt = one(world.run(&["attempts", "r", mode, "--json"]));
            assert_eq!(attempt["state"], "failed", "{mode}: {attempt}");
            assert!(attempt["reason"].as_str().expect("a reason").contains(words), "{mode}: {attempt}");
            assert!(command.starts_with("matterstack "), "{mode}: {told}");
        }
    }
    world.run(&["doctor", "r"]).code(0);
    world.run(&["status", "r"]).code(0);
}

#[test]
fn a_broken_submit_that_took_effect_is_adopted() {
    let tasks: Vec<Value> = ["trap-in-submit", "garbage-handle", "memory-in-submit", "error-in-submit"]
        .into_iter()
        .map(|mode| evil(mode, json!({"mode": mode, "reconcile": "yes"})))
        .collect();
    let world = operator(&Value::from(tasks));
    world.init();
    assert_eq!(world.step_to_end()["state"], "completed");
    assert_eq!(world.tasks().matches("=completed").count(), 4, "{}", world.tasks());
}

#[test]
fn an_operator_that_cannot_reconcile_leaves_the_submit_undecided() {
    let modes = [
        ("trap-in-reconcile", "asked to trap", EVIL),
        ("exit-in-reconcile", "exited", EVIL),
        ("sleep-in-reconcile", "call_ms", CALL_MS),
        ("memory-in-reconcile", "memory_mb", MEMORY),
        ("error-in-reconcile", "asked to fail", "matterstack step r"),
        ("garbage-note-in-reconcile", "the note is not JSON", EVIL),
        ("garbage-handle-in-reconcile", "the handle is not JSON", EVIL),
    ];
    for (mode, words, command) in modes {
        let world = operator(&json!([evil("a", json!({"mode": mode}))]));
        world.init();
        let died = world.run_with(&["step", "r"], &[("MATTERSTACK_FAILPOINT", "submit.after:1")]);
        assert_eq!(died.code, None, "{mode}: {died:?}");
        world.run(&["step", "r"]).code(0);
        let told = one(world.run(&["explain", "r", "a", "--json"]));
        assert_eq!(told["code"], "unknown-submit", "{mode}: {told}");
        assert!(told["sentence"].as_str().expect("one").contains(words), "{mode}: {told}");
        assert!(told["command"].as_str().expect("one").starts_with(command), "{mode}: {told}");
        assert_eq!(one(world.run(&["attempts", "r", "a", "--json"]))["state"], "submitting", "{mode}");
        world.run(&["loop", "r", "--timeout", "1s"]).code(6);
        world.run(&["doctor", "r"]).code(0);
    }
}

#[test]
fn an_operator_that_cannot_cancel_is_asked_again_and_not_without_end() {
    let world = operator(&json!([evil("a", json!({"mode": "trap-in-cancel", "status": "queued"}))]));
    world.init();
    world.run(&["step", "r"]).code(0);
    world.run(&["cancel", "r", "a"]).code(0);
    world.run(&["loop", "r", "--timeout", "3s"]).code(6);
    let log = std::fs::read_to_string(world.run_dir("r").join("plugins/log.jsonl")).expect("the log");
    let asked = log.matches("asked to trap in cancel").count();
    assert!((1..=40).contains(&asked), "asked {asked} times in three seconds");
    let told = one(world.run(&["explain", "r", "a", "--json"]));
    assert_eq!(told["code"], "cancel-failed", "{told}");
    assert!(told["sentence"].as_str().expect("one").contains("asked to trap"), "{told}");
}

#[test]
fn output_names_that_are_not_utf_8_fail_the_attempt_only_where_a_pattern_names_them() {
    let task = |id: &str, pattern: &str| {
        json!({"id": id, "operator": "local", "allow_failure": true, "outputs": [pattern],
            "command": "touch \"$(printf 'bad\\377')\" good.txt"})
    };
    let world = World::with_tasks(&json!([task("all", "*"), task("some", "*.txt")]));
    world.init();
    assert_eq!(world.step_to_end()["state"], "completed");
    assert_eq!(world.tasks(), "all=failed some=completed");
    let told = one(world.run(&["explain", "r", "all", "--json"]));
    assert_eq!(told["code"], "output-unreadable");
    assert!(told["sentence"].as_str().expect("one").contains("is not UTF-8"), "{told}");
}

#[test]
fn an_operator_without_its_grant_is_refused_with_the_json_to_paste() {
    let mut config = tasks_config(&json!([]));
    config["operators"]["local"] = json!({"plugin": "builtin:compute"});
    let world = World::new(&config);
    let done = world.run(&["init", "demo"]).code(4);
    let grant = done.stderr.split("add to config.json: ").nth(1).expect("a grant").trim();
    let grant: Value = serde_json::from_str(grant).expect("JSON");
    config["operators"]["local"]["grants"] = grant["operators"]["local"]["grants"].clone();
    world.write("config.json", &config.to_string());
    world.run(&["init", "demo"]).code(0);
}
