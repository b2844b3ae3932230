//! Bad input gets one clear error and the documented exit code, and loses nothing.
use crate::support::until;
use crate::support::world::{World, tasks_config};
use matterstack::run::RunDir;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

fn one_task() -> World {
    World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]))
}

/// Asserts that a command is refused with this code and words, and that it says `error:` once.
#[track_caller]
fn refused(world: &World, arguments: &[&str], code: i32, words: &[&str]) {
    let done = world.run(arguments).code(code);
    assert_eq!(done.stderr.matches("error:").count(), 1, "{done:?}");
    assert!(!done.stderr.contains("panicked"), "{done:?}");
    for word in words {
        assert!(done.stderr.contains(word), "`{word}` is missing: {}", done.stderr);
    }
}

/// Asserts that nothing was left of a refused `init`.
#[track_caller]
fn nothing_left(world: &World) {
    let left = std::fs::read_dir(world.workspace().join("runs")).map(|entries| entries.count()).unwrap_or(0);
    assert_eq!(left, 0);
}

#[test]
fn workspaces_and_runs_are_confined() {
    let world = one_task();
    symlink("/etc", world.root().join("etc")).expect("a link");
    refused(&world, &["init", "demmo"], 2, &["no workspace `demmo`", "did you mean `demo`"]);
    for slug in ["..", "demo/../demo", "/etc", "", "./demo"] {
        refused(&world, &["init", slug], 2, &["is not below the workspaces root"]);
    }
    refused(&world, &["init", "etc"], 2, &["workspaces root"]);
    for id in ["..", "a/b", "/tmp/x", ".hidden", "latest", "a b", "é"] {
        refused(&world, &["init", "demo", "--run-id", id], 2, &["cannot be the id of a run"]);
    }
    nothing_left(&world);
    for run in ["..", "../..", "/nowhere", "nobody", "a b"] {
        assert_eq!(world.run(&["status", run]).code, Some(2), "{run}");
    }
    world.init();
    refused(&world, &["init", "demo", "--run-id", "r"], 2, &["exists already"]);
    world.run(&["init", "demo", "--run-id", "r2"]).code(0);
    refused(&world, &["status", "q"], 2, &["no run `q`"]);
    world.run(&["status", "latest"]).code(0);
    refused(&world, &["--workspaces", "/nowhere", "list"], 2, &["no workspaces root"]);
}

#[test]
fn configurations_are_checked_before_anything_is_made() {
    let world = one_task();
    let cases: Vec<(String, &[&str])> = vec![
        ("{".to_owned(), &["is not JSON", "line 1"]),
        ("[]".to_owned(), &["is not valid"]),
        ("{}".to_owned(), &["missing field `campaign`"]),
        (json!({"campain": {}}).to_string(), &["unknown field `campain`", "did you mean `campaign`"]),
        (json!({"campaign": {"plugn": "x"}}).to_string(), &["at `campaign", "did you mean `plugin`"]),
        (json!({"campaign": {"plugin": 3}}).to_string(), &["campaign.plugin", "expected a string"]),
        (with("backends", json!({"local": {"kind": "local", "core": 2}})), &["backends.local", "did you mean `cores`"]),
        (with("backends", json!({"local": {"kind": "locl"}})), &["backends.local", "unknown variant `locl`"]),
        (with("backends", json!({"local": {"kind": "local", "cores": 0}})), &["backends.local.cores is 0"]),
        (with("backends", json!({"locl": {"kind": "local"}})), &["names backend `local`", "did you mean `locl`"]),
        (slurm(json!({"ssh": "cluster"})), &["backends.hpc", "invalid type: string \"cluster\", expected an object"]),
        (
            slurm(json!({"template": "#!/bin/sh\n{{ comand }}"})),
            &["backends.hpc.template", "`comand`", "options", "command"],
        ),
        (slurm(json!({"template": "#!/bin/sh\n{% if x %}"})), &["backends.hpc.template", "syntax error"]),
        (with("limits", json!({"max_tasks": 0})), &["limits.max_tasks is 0"]),
        (with("limits", json!({"plugin": {"memory": 1}})), &["limits.plugin", "unknown field `memory`"]),
        (with("pinned", json!({})), &["only `init` writes"]),
        (with("operators", json!({"../x": {"plugin": "builtin:compute"}})), &["cannot name an operator"]),
        (with("operators", json!({"local": {"plugin": "builtin:compute"}})), &["does not grant", "\"compute\""]),
        (campaign(json!({"plugin": "builtin:workfow"})), &["no standard plugin", "did you mean `builtin:workflow`"]),
        (campaign(json!({"plugin": "none.wasm"})), &["campaign.plugin is `none.wasm`", "cannot be found"]),
        (campaign(json!({"plugin": "../x.wasm"})), &["outside the workspace"]),
        (campaign(json!({"plugin": "builtin:compute"})), &["is an operator where a campaign is needed"]),
        (
            campaign(json!({"plugin": "builtin:workflow", "inputs": {"tasks": "none"}})),
            &["campaign.inputs.tasks", "cannot be found"],
        ),
        (campaign(json!({"plugin": "builtin:workflow", "files": ["none/*"]})), &["matches no file"]),
        (campaign(json!({"plugin": "builtin:workflow", "files": ["../*"]})), &["leads out of the workspace"]),
        (campaign(json!({"plugin": "builtin:workflow", "params": {}})), &["campaign.params.tasks"]),
        (
            campaign(json!({"plugin": "builtin:workflow", "params": {"tasks": [{"command": "true"}]}})),
            &["campaign.params.tasks[0]`", "missing field `id`"],
        ),
        (campaign(json!({"plugin": "builtin:workflow", "seed": 9_007_199_254_740_992_u64})), &["campaign.seed"]),
    ];
    for (text, words) in cases {
        world.write("config.json", &text);
        let done = world.run(&["init", "demo"]);
        assert!(matches!(done.code, Some(2 | 4)), "{text}: {done:?}");
        for word in words {
            assert!(done.stderr.contains(word), "`{word}` is missing for {text}: {}", done.stderr);
        }
        nothing_left(&world);
    }
    std::fs::remove_file(world.workspace().join("config.json")).expect("it exists");
    refused(&world, &["init", "demo"], 2, &["no configuration"]);
}

fn with(key: &str, value: Value) -> String {
    let mut config = tasks_config(&json!([]));
    config[key] = value;
    config.to_string()
}

fn slurm(mut more: Value) -> String {
    more["kind"] = json!("slurm");
    with("backends", json!({"local": {"kind": "local"}, "hpc": more}))
}

fn campaign(value: Value) -> String {
    with("campaign", value)
}

#[test]
fn what_is_no_plugin_is_told_apart() {
    let world = one_task();
    let cases: [(&str, &[u8], &str); 4] = [
        ("text.wasm", b"hello", "is not WebAssembly"),
        ("empty.wasm", b"", "is empty"),
        ("core.wasm", b"\0asm\x01\0\0\0", "core module"),
        ("cut.wasm", b"\0asm\x0d\0\x01\0\x01\x02", "cannot be loaded"),
    ];
    for (name, bytes, word) in cases {
        std::fs::write(world.workspace().join(name), bytes).expect("a file");
        world.write("config.json", &campaign(json!({"plugin": name})));
        refused(&world, &["init", "demo"], 4, &[name, word]);
        nothing_left(&world);
    }
}

#[test]
fn a_pinned_plugin_that_was_changed_is_not_run() {
    let world = one_task();
    world.init();
    let plugins = std::fs::read_dir(world.run_dir("r").join("plugins")).expect("plugins").flatten();
    let mut pinned = Vec::new();
    for plugin in plugins.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "wasm")) {
        let bytes = std::fs::read(plugin.path()).expect("bytes");
        std::fs::write(plugin.path(), [&bytes[..], &[0]].concat()).expect("a change");
        pinned.push((plugin.path(), bytes));
    }
    // native code that was made from the pinned bytes would serve: a cold cache has none
    let cold = world.root().join("cold");
    let cold = [("XDG_CACHE_HOME", cold.to_str().expect("UTF-8"))];
    let refused = world.run_with(&["step", "r"], &cold).code(4);
    for word in ["is pinned", "amend r plugin FILE --operator local"] {
        assert!(refused.stderr.contains(word), "{refused:?}");
    }
    until("its time", || world.run_with(&["loop", "r"], &cold).code == Some(4));
    let explained = world.run(&["explain", "r", "a", "--json"]).code(0).json();
    assert_eq!(explained[0]["code"], "plugin-load", "{explained}");
    world.run(&["doctor", "r"]).code(1);
    for (path, bytes) in pinned {
        std::fs::write(path, bytes).expect("the file as it was");
    }
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.run(&["attempts", "r", "a", "--json"]).json().as_array().map(Vec::len), Some(1), "one attempt");
}

#[test]
fn a_database_that_is_newer_damaged_or_none_is_left_untouched() {
    type Damage = fn(&std::path::Path);
    let cases: [(&str, Damage, &str); 4] = [
        (
            "newer",
            |path| {
                rusqlite::Connection::open(path)
                    .and_then(|db| db.pragma_update(None, "user_version", 99))
                    .expect("a version");
            },
            "schema version 99",
        ),
        ("text", |path| std::fs::write(path, "this is no database at all").expect("a file"), "not a StateStore"),
        (
            "cut",
            |path| {
                let bytes = std::fs::read(path).expect("bytes");
                std::fs::write(path, &bytes[..bytes.len() / 3]).expect("a file");
            },
            "damaged",
        ),
        ("empty", |path| std::fs::write(path, "").expect("a file"), "not a StateStore"),
    ];
    for (name, damage, word) in cases {
        let world = one_task();
        world.init();
        let path = world.run_dir("r").join("state.sqlite");
        damage(&path);
        let before = std::fs::read(&path).expect("bytes");
        for command in ["step", "loop", "cancel", "status"] {
            let done = world.run(&[command, "r"]);
            assert_eq!(done.code, Some(74), "{name} {command}: {done:?}");
            assert!(done.stderr.contains(word) || name == "cut", "{name}: {done:?}");
        }
        assert_eq!(std::fs::read(&path).expect("bytes"), before, "{name}: untouched");
        world.run(&["list"]).code(0);
    }
}

#[test]
fn two_ticks_at_once_are_one_tick_and_one_refusal() {
    let world = one_task();
    world.init();
    let lease = RunDir::new(world.run_dir("r")).lease(Duration::ZERO).expect("the lease");
    refused(&world, &["step", "r"], 3, &["another process", "pid "]);
    world.run(&["status", "r"]).code(0);
    drop(lease);
    world.run(&["step", "r"]).code(0);
}

/// Runs a script in which a directory of the world is on a small or read-only file system of its own; needs no rights
/// but user namespaces.
pub(crate) fn in_mounts(world: &World, script: &str) -> Option<String> {
    let program = crate::support::world::PROGRAM;
    let script = format!("set -u; M='{program}'; R='{}'; {script}", world.root().display());
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .output();
    let output = output.ok().filter(|output| !String::from_utf8_lossy(&output.stderr).contains("unshare failed"))?;
    Some(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_full_disk_loses_nothing() {
    let world = one_task();
    let text = in_mounts(
        &world,
        "cp -r \"$R\" /tmp/w.$$ && mount -t tmpfs -o size=2m none \"$R\" && cp -r /tmp/w.$$/* \"$R\" && rm -r /tmp/w.$$
         $M --workspaces \"$R\" init demo --run-id r || exit 1
         dd if=/dev/zero of=\"$R/fill\" bs=4k 2>/dev/null
         $M --workspaces \"$R\" step r; echo \"step on a full disk: $?\"
         $M --workspaces \"$R\" init demo --run-id r2; echo \"init on a full disk: $?\"
         ls -A \"$R/demo/runs\"
         rm \"$R/fill\"
         $M --workspaces \"$R\" loop r; echo \"loop afterwards: $?\"
         $M --workspaces \"$R\" doctor r >/dev/null 2>&1; echo \"doctor: $?\"",
    );
    let text = text.expect("user namespaces are needed for this test");
    for line in ["step on a full disk: 74", "init on a full disk: 74", "loop afterwards: 0", "doctor: 0"] {
        assert!(text.contains(line), "`{line}` is missing: {text}");
    }
    assert!(!text.lines().any(|line| line.starts_with(".init-")), "nothing is left of the refused run: {text}");
}

/// Commands that only look at run `r` and its task `a`, each of which says how it ended.
const LOOKS: &str =
    "for c in 'status r' 'explain r' 'tasks r' 'attempts r a' 'logs r a' 'graph r' 'step r --dry-run' list
         do $M --workspaces \"$R\" $c; echo \"$c: $?\"; done";

/// Asserts that each of [`LOOKS`] did its work.
#[track_caller]
fn all_looked(text: &str) {
    for command in
        ["status r", "explain r", "tasks r", "attempts r a", "logs r a", "graph r", "step r --dry-run", "list"]
    {
        assert!(text.contains(&format!("{command}: 0\n")), "`{command}` did not work: {text}");
    }
    assert!(!text.contains("unreadable"), "{text}");
}

#[test]
fn a_disk_full_to_the_last_byte_can_be_looked_at() {
    let world = one_task();
    // The log of a step that died holds what the database does not; the index that readers share is gone, as after a
    // boot.
    let text = in_mounts(
        &world,
        &format!(
            "cp -r \"$R\" /tmp/w.$$ && mount -t tmpfs -o size=8m none \"$R\" && cp -r /tmp/w.$$/* \"$R\" && rm -r /tmp/w.$$
         $M --workspaces \"$R\" init demo --run-id r || exit 1
         MATTERSTACK_FAILPOINT=submit.before:1 $M --workspaces \"$R\" step r
         cd \"$R/demo/runs/r\"; rm state.sqlite-shm; test -s state.sqlite-wal || echo \"the log is empty\"
         fill() {{ cat /dev/zero >> \"$R/fill\"; echo x > \"$R/one\"; test -s \"$R/one\" && echo \"there is room\"; }}
         fill; $M --workspaces \"$R\" status r; echo \"with a log: $?\"
         fill; {LOOKS}
         fill; timeout 60 $M --workspaces \"$R\" status r --watch; echo \"watch: $?\"
         fill; $M --workspaces \"$R\" step r; echo \"step: $?\"
         rm \"$R/fill\"; $M --workspaces \"$R\" loop r; echo \"loop: $?\""
        ),
    );
    let text = text.expect("user namespaces are needed for this test");
    all_looked(&text);
    assert!(!text.contains("the log is empty") && !text.contains("there is room"), "the test tests nothing: {text}");
    assert_eq!(text.matches("1 queued, 0 running, 0 completed").count(), 3, "what stands in the log is seen: {text}");
    for line in ["with a log: 0", "watch: 74", "step: 74", "loop: 0"] {
        assert!(text.contains(line), "`{line}` is missing: {text}");
    }
}

#[test]
fn a_directory_that_cannot_be_written_can_be_looked_at_unless_its_log_is_needed() {
    let world = one_task();
    let text = in_mounts(
        &world,
        &format!(
            "D=\"$R/demo/runs/r\"; P=$M; M=\"setpriv --bounding-set=-dac_override,-dac_read_search $P\"
         $P --workspaces \"$R\" init demo --run-id r || exit 1
         $P --workspaces \"$R\" loop r
         chmod 555 \"$D\"; touch \"$D/x\" 2>/dev/null; setpriv --bounding-set=-dac_override touch \"$D/y\" && echo writable
         {LOOKS}
         chmod 755 \"$D\"; rm \"$D/x\"
         $P --workspaces \"$R\" init demo --run-id r2
         MATTERSTACK_FAILPOINT=submit.before:1 $P --workspaces \"$R\" step r2
         rm \"$R/demo/runs/r2/state.sqlite-shm\"; chmod 555 \"$R/demo/runs/r2\"
         $M --workspaces \"$R\" status r2; echo \"with a log: $?\"; chmod 755 \"$R/demo/runs/r2\""
        ),
    );
    let text = text.expect("user namespaces are needed for this test");
    assert!(!text.contains("writable\n"), "the test tests nothing: {text}");
    all_looked(&text);
    assert!(text.contains("with a log: 74") && text.contains("stands in the log beside it"), "{text}");
}

#[test]
fn a_read_only_directory_is_refused_and_can_be_looked_at() {
    let world = one_task();
    world.init();
    let text = in_mounts(
        &world,
        "mount --bind \"$R\" \"$R\" && mount -o remount,bind,ro \"$R\" || exit 1
         $M --workspaces \"$R\" step r; echo \"step: $?\"
         $M --workspaces \"$R\" init demo; echo \"init: $?\"
         $M --workspaces \"$R\" status r; echo \"status: $?\"",
    );
    let text = text.expect("user namespaces are needed for this test");
    for line in ["step: 74", "init: 74", "status: 0"] {
        assert!(text.contains(line), "`{line}` is missing: {text}");
    }
}

#[test]
fn task_files_cannot_escape_and_missing_sources_fail_the_attempt() {
    let escape =
        |name: &str| json!([{"id": "a", "operator": "local", "command": "true", "files": {name: {"content": "x"}}}]);
    for (name, words) in [
        ("../x", "outside its attempt directory"),
        ("/tmp/x", "outside its attempt directory"),
        ("a/../../x", "outside its attempt directory"),
        ("", "its destination is empty"),
        (".", "its destination is the attempt directory itself"),
        ("./x", "without `./`"),
    ] {
        let world = World::with_tasks(&escape(name));
        refused(&world, &["init", "demo"], 2, &[words]);
        nothing_left(&world);
    }
    let world = World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "touch nothing", "outputs": ["no*"]},
        {"id": "b", "operator": "local", "command": "true", "files": {"x": {"from": "a", "output": "none"}}},
    ]));
    world.init();
    assert_eq!(world.step_to_end()["state"], "failed");
    let explained = world.run(&["explain", "r", "b", "--json"]).json();
    assert_eq!(explained[0]["code"], "staging");
    assert!(explained[0]["sentence"].as_str().expect("a sentence").contains("no output `none`"));
}

/// What is wrong with a task is told with the line of the file in which it was written, its id, its key and the unit.
#[test]
fn an_error_in_a_file_of_tasks_is_told_with_its_line() {
    let campaign = json!({"plugin": "builtin:workflow", "inputs": {"tasks": "tasks.jsonl"}});
    let world = World::new(&json!({"campaign": campaign}));
    let good = |id: &str| format!("{{\"id\": \"{id}\", \"command\": \"true\"}}");
    let bad = |keys: &str| format!("{{\"id\": \"c\", \"command\": \"true\", {keys}}}");
    for (keys, words) in [
        ("\"resources\": {\"walltime_s\": \"1h\"}", ["`resources.walltime_s`", "a number of seconds"]),
        ("\"resources\": {\"memory\": 5}", ["`resources.memory`", "did you mean `memory_mb`?"]),
        ("\"env\": {\"N\": 1}", ["`env.N`", "expected a text"]),
    ] {
        let lines = [good("a"), String::new(), good("b"), bad(keys), good("d")];
        for list in [lines.join("\n"), format!("\n[{},{},\n\n{}\n]", lines[0], lines[2], lines[3])] {
            world.write("tasks.jsonl", &list);
            refused(&world, &["init", "demo"], 2, &["task 3 (`c`) in line 4 of the list", words[0], words[1]]);
        }
    }
    for (keys, words) in [
        ("\"resources\": {\"walltime_s\": 0}", ["resources.walltime_s is not positive", "a number of seconds"]),
        ("\"retry\": {\"max_attempts\": 0}", ["retry.max_attempts is 0", "a whole number of attempts"]),
        ("\"depends_on\": [\"z\"]", ["task `c`", "depends on `z`"]),
        ("\"operator\": \"locl\"", ["task `c`", "did you mean `local`?"]),
        ("\"files\": {\"x\": {\"path\": \"none\"}}", ["task `c`", "names file `none`"]),
        ("\"files\": {\"./x\": {\"content\": \"\"}}", ["task `c`", "file `./x`"]),
        ("\"outputs\": [\"[a\"]", ["task `c`", "output pattern `[a`"]),
    ] {
        world.write("tasks.jsonl", &[good("a"), String::new(), good("b"), bad(keys), good("d")].join("\n"));
        refused(&world, &["init", "demo"], 2, &["(line 4 of the list)", words[0], words[1]]);
    }
    world.write("tasks.jsonl", &[good("a"), String::new(), good("b"), good("a")].join("\n"));
    refused(&world, &["init", "demo"], 2, &["task id `a` is used twice (line 4 of the list)"]);
    world.write("tasks.jsonl", &[good(""), String::new(), good("b")].join("\n"));
    refused(&world, &["init", "demo"], 2, &["an id of 0 bytes", "(line 1 of the list)"]);
    let text = [good("a").as_bytes(), b"\n\n{\"id\": \"\xff\"}\n"].concat();
    std::fs::write(world.workspace().join("tasks.jsonl"), text).expect("written");
    refused(&world, &["init", "demo"], 2, &["not UTF-8 in line 3"]);
    for (line, words) in [
        ("{\"id\": \"c\"", "input `tasks`"),
        ("{\"id\": \"c\", \"id\": \"d\"}", "`id` stands twice"),
        ("{\"id\": \"c\", \"priority\": NaN}", "`priority`"),
    ] {
        world.write("tasks.jsonl", &[good("a"), String::new(), line.to_owned()].join("\n"));
        refused(&world, &["init", "demo"], 2, &["line 3 of input `tasks`", words]);
    }
    nothing_left(&world);
}

#[test]
fn a_run_id_that_two_workspaces_have_leads_to_neither() {
    let world = World::with_tasks(&json!([{"id": "a", "command": "true"}]));
    let other = world.root().join("other");
    std::fs::create_dir(&other).expect("a workspace");
    std::fs::copy(world.workspace().join("config.json"), other.join("config.json")).expect("a copy");
    for workspace in ["demo", "other"] {
        world.run(&["init", workspace, "--run-id", "r"]).code(0);
    }
    for arguments in [&["status", "r"][..], &["cancel", "r"]] {
        let refused = world.run(arguments).code(2);
        let said = &refused.stderr;
        assert!(said.contains("2 workspaces have a run `r`") && said.contains("other/runs/r"), "{said}");
    }
    // in one of them it is that one's
    let mut command = world.command(&["cancel", "r"]);
    let done = crate::support::world::done(command.current_dir(&other).output().expect("it runs")).code(0);
    assert!(done.stderr.contains("other/runs/r"), "{}", done.stderr);
    let first = world.run_dir("r");
    let status = world.run(&["status", first.to_str().expect("UTF-8"), "--json"]).code(0).json();
    assert_eq!(status["state"], "active");
    // and what holds runs is none itself
    world.run(&["status", other.to_str().expect("UTF-8")]).code(2);
    world.run(&["doctor", other.to_str().expect("UTF-8")]).code(2);
    assert!(!other.join("lock").exists(), "nothing is left there");
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_an_error_at_once() {
    let world = World::with_tasks(&json!([{"id": "a", "command": "true"}]));
    world.init();
    let pipe = |path: &std::path::Path| {
        let _ = std::fs::remove_file(path);
        let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
        assert!(made.success());
        path.to_str().expect("UTF-8").to_owned()
    };
    let plugin = pipe(&world.root().join("p.wasm"));
    world.run(&["plugin", "inspect", &plugin]).code(2);
    world.run(&["amend", "r", "plugin", &plugin, "--operator", "local"]).code(2);
    pipe(&world.workspace().join("config.json"));
    world.run(&["init", "demo", "--run-id", "s"]).code(74);
    world.run(&["config", "check", "demo"]).code(74);
    pipe(&world.run_dir("r").join("config.json"));
    world.run(&["status", "r"]).code(0);
    for (arguments, code) in [(["evidence", "r"], 0), (["step", "r"], 74), (["doctor", "r"], 1)] {
        let done = world.run(&arguments).code(code);
        let said = format!("{}{}", done.stdout, done.stderr);
        assert!(said.contains("config.json") && !said.contains("is sound"), "{arguments:?}: {said}");
    }
}
