//! What `loop` waits for by itself: a full disk, and a predecessor that is just dying.
use crate::support::until;
use crate::support::world::World;
use matterstack::run::RunDir;
use serde_json::json;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn world() -> World {
    World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]))
}

#[test]
fn a_loop_waits_for_a_full_disk_and_says_so() {
    let world = world();
    let text = super::bad_input::in_mounts(
        &world,
        "cp -r \"$R\" /tmp/w.$$ && mount -t tmpfs -o size=2m none \"$R\" && cp -r /tmp/w.$$/* \"$R\" && rm -r /tmp/w.$$
         $M --workspaces \"$R\" init demo --run-id r || exit 1
         dd if=/dev/zero of=\"$R/fill\" bs=4k 2>/dev/null
         $M --workspaces \"$R\" loop r --timeout 1500ms; echo \"timed out: $?\"
         mkfifo /tmp/said.$$; $M --workspaces \"$R\" loop r 2>/tmp/said.$$ & L=$!
         exec 3</tmp/said.$$; while read line <&3; do echo \"$line\"; case $line in *waits*) rm \"$R/fill\";; esac; done
         wait $L; echo \"loop: $?\"; rm /tmp/said.$$
         $M --workspaces \"$R\" doctor r >/dev/null 2>&1; echo \"doctor: $?\"",
    );
    let text = text.expect("user namespaces are needed for this test");
    for line in ["timed out: 6", "waits, and goes on by itself", "loop: 0", "doctor: 0"] {
        assert!(text.contains(line), "`{line}` is missing: {text}");
    }
}

#[test]
fn a_backend_whose_files_cannot_be_used_holds_up_nobody_elses_tasks() {
    let world = World::new(&json!({
            "campaign": {"plugin": "builtin:workflow", "params": {"tasks": [
                {"id": "far", "operator": "far", "command": "true"},
                {"id": "first", "operator": "local", "command": "true"},
                {"id": "second", "operator": "local", "command": "true", "depends_on": ["first"]},
            ]}},
            "operators": {
                "far": {"plugin": "builtin:compute", "grants": {"compute": ["a-cluster"]}},
                "local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}},
            },
            "backends": {"a-cluster": {"kind": "slurm"}, "local": {"kind": "local"}},
    }));
    world.init();
    let memory = world.run_dir("r").join("backends/a-cluster/queue.jsonl");
    std::fs::create_dir_all(memory.parent().expect("a directory")).expect("made");
    std::fs::write(&memory, b"\xff\n").expect("what is no text");
    let ended = world.run(&["loop", "r"]).code(74);
    assert_eq!(ended.stderr.matches("the rest goes on").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("error: reading the files of backend `a-cluster` failed"), "{}", ended.stderr);
    assert_eq!(world.tasks(), "far=running first=completed second=completed");
    world.run(&["step", "r"]).code(74);
    world.is_sound("r");
    // a run that ends without that backend has no need of it
    let text = std::fs::read_to_string(world.workspace().join("config.json")).expect("a configuration");
    let mut config: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    config["campaign"]["params"]["tasks"].as_array_mut().expect("tasks").remove(0);
    world.write("config.json", &config.to_string());
    world.run(&["init", "demo", "--run-id", "s"]).code(0);
    let other = world.run_dir("s").join("backends/a-cluster/queue.jsonl");
    std::fs::create_dir_all(other.parent().expect("a directory")).expect("made");
    std::fs::copy(&memory, &other).expect("what is no text");
    world.run(&["loop", "s"]).code(0);
}

#[test]
fn a_cancel_reaches_what_a_broken_backend_does_not_carry() {
    let world = World::new(&json!({
            "campaign": {"plugin": "builtin:workflow", "params": {"tasks": [
                {"id": "a", "operator": "x", "command": "sleep 600"},
                {"id": "b", "operator": "y", "command": "sleep 600"},
            ]}},
            "operators": {
                "x": {"plugin": "builtin:compute", "grants": {"compute": ["one"]}},
                "y": {"plugin": "builtin:compute", "grants": {"compute": ["two"]}},
            },
            "backends": {"one": {"kind": "local"}, "two": {"kind": "local"}},
    }));
    world.init();
    world.run(&["step", "r"]).code(0);
    let directories = std::fs::read_dir(world.run_dir("r").join("backends/one")).expect("a backend");
    let directory = directories.flatten().next().expect("of this machine").path();
    std::fs::rename(directory.join("queue"), directory.join("away")).expect("moved");
    std::fs::create_dir(directory.join("queue")).expect("in its place");
    world.run(&["cancel", "r"]).code(0);
    let ended = world.run(&["loop", "r"]).code(74);
    assert!(ended.stderr.contains("backend `one` failed"), "{}", ended.stderr);
    assert_eq!(world.tasks(), "a=running b=cancelled");
    std::fs::remove_dir(directory.join("queue")).expect("removed");
    std::fs::rename(directory.join("away"), directory.join("queue")).expect("back");
    world.run(&["loop", "r"]).code(1);
    assert_eq!(world.tasks(), "a=cancelled b=cancelled");
    world.is_sound("r");
}

#[test]
fn an_operator_that_cannot_be_loaded_holds_up_nobody_elses_tasks() {
    let world = World::new(&json!({
            "campaign": {"plugin": "builtin:workflow", "params": {"tasks": [
                {"id": "asked", "operator": "robot", "input": {}},
                {"id": "first", "operator": "local", "command": "true"},
                {"id": "second", "operator": "local", "command": "true", "depends_on": ["first"]},
            ]}},
            "operators": {
                "local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}},
                "robot": {"plugin": "builtin:experiment"},
            },
            "backends": {"local": {"kind": "local"}},
    }));
    world.init();
    let plugins = std::fs::read_dir(world.run_dir("r").join("plugins")).expect("the pinned plugins");
    let robots = plugins.flatten().find(|entry| entry.file_name().to_string_lossy().starts_with("experiment"));
    std::fs::remove_file(robots.expect("a pinned plugin").path()).expect("it is gone");
    // and no native code of it is kept
    let cache = world.root().join("cache");
    let ended = world.run_with(&["loop", "r"], &[("XDG_CACHE_HOME", cache.to_str().expect("UTF-8"))]).code(4);
    let said = ended.stderr.matches("the rest goes on").count();
    assert_eq!(said, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("--operator robot"), "{}", ended.stderr);
    assert_eq!(world.tasks(), "asked=running first=completed second=completed");
}

#[test]
fn a_loop_waits_a_second_for_a_predecessor_that_dies() {
    let world = world();
    world.init();
    let held = RunDir::new(world.run_dir("r")).loop_lease(Duration::ZERO).expect("the right to loop");
    let start = Instant::now();
    world.run(&["loop", "r"]).code(3);
    assert!(start.elapsed() >= Duration::from_secs(1), "it gave up after {:?}", start.elapsed());
    let mut next = world.command(&["loop", "r"]);
    let mut next = next.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a loop");
    // it has opened the lock, and waits for it
    let lock = world.run_dir("r").join("loop.lock").canonicalize().expect("a lock");
    let opened = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", next.id())).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|path| path == lock)
    };
    until("the next loop to wait", opened);
    drop(held);
    let mut said = String::new();
    next.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert_eq!(next.wait().expect("it ends").code(), Some(0), "{said}");
}

/// Loops that are killed with jobs live are followed at once.
#[test]
fn a_killed_loop_is_followed_at_once() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "sleep 600"}]));
    world.init();
    for _ in 0..5 {
        let mut first =
            world.command(&["loop", "r"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a loop");
        until("its supervisor", || !super::supervised::supervisors(&world).is_empty());
        Command::new("kill").args(["-9", &first.id().to_string()]).status().expect("kill");
        world.run(&["loop", "r", "--timeout", "50ms"]).code(6);
        first.wait().expect("ended");
    }
    world.run(&["cancel", "r"]).code(0);
    world.run(&["loop", "r"]).code(1);
}
