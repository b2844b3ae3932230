//! Looking changes nothing: whoever looks at a run of somebody else in a shared directory leaves no file there, and
//! sees what is so.
use crate::support::until;
use crate::support::world::{PROGRAM, World};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A group that the users share.
const GROUP: u32 = 61_000;
/// The user whose run it is.
const OWNER: u32 = 61_001;
/// A user who only looks.
const COLLEAGUE: u32 = 61_002;

/// A workspaces root that a group shares, as its setgid directory has it.
fn shared_world(tasks: &Value) -> World {
    assert!(rustix::process::geteuid().is_root(), "this test acts for two users and must be run as root");
    let world = World::with_tasks(tasks);
    let root = world.root();
    let top = root.parent().expect("a parent");
    std::fs::set_permissions(top, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    for path in [root.clone(), world.workspace(), world.workspace().join("config.json")] {
        chown(&path, Some(OWNER), Some(GROUP)).expect("an owner");
    }
    for path in [root.clone(), world.workspace()] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o2775)).expect("a mode");
    }
    for user in [OWNER, COLLEAGUE] {
        let home = top.join(user.to_string());
        std::fs::create_dir(&home).expect("a home");
        chown(&home, Some(user), Some(user)).expect("an owner");
    }
    world
}

/// The command of a user with an umask.
fn command_of(world: &World, user: u32, umask: &str, arguments: &[&str]) -> Command {
    let home = world.root().parent().expect("a parent").join(user.to_string());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user.to_string(), "--regid", &user.to_string(), "--groups", &GROUP.to_string()]);
    command.args(["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\""), PROGRAM]).args(arguments);
    command.current_dir(world.root()).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", &home);
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn run_as(world: &World, user: u32, umask: &str, arguments: &[&str], code: i32) -> Output {
    let output = command_of(world, user, umask, arguments).output().expect("setpriv runs");
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Every file below a directory that does not belong to the owner.
fn strangers(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        // the owner's processes may take away a file in the meantime
        let Ok(metadata) = entry.path().symlink_metadata() else { continue };
        if metadata.uid() != OWNER {
            found.push(entry.path().display().to_string());
        }
        if metadata.is_dir() {
            found.extend(strangers(&entry.path()));
        }
    }
    found
}

const LOOKS: [&[&str]; 12] = [
    &["list"],
    &["list", "--json"],
    &["status", "r"],
    &["status", "r", "--json"],
    &["tasks", "r"],
    &["attempts", "r", "a"],
    &["logs", "r", "a"],
    &["explain", "r"],
    &["explain", "r", "a"],
    &["graph", "r"],
    &["step", "r", "--dry-run"],
    &["config", "check", "demo"],
];

/// Lets the colleague look in every way.
#[track_caller]
fn look_at_everything(world: &World, umask: &str) {
    for arguments in LOOKS {
        run_as(world, COLLEAGUE, umask, arguments, 0);
        assert_eq!(strangers(&world.workspace()), Vec::<String>::new(), "{arguments:?} leaves nothing");
    }
    // whose run it is, is what it finds
    let found = command_of(world, COLLEAGUE, umask, &["doctor", "r"]).output().expect("it runs");
    assert_eq!(found.status.code(), Some(1), "{}", String::from_utf8_lossy(&found.stdout));
    assert_eq!(strangers(&world.workspace()), Vec::<String>::new(), "doctor leaves nothing");
    // nor does what is refused
    for arguments in [["loop", "r"], ["step", "r"], ["evidence", "r"]] {
        run_as(world, COLLEAGUE, umask, &arguments, 2);
        assert_eq!(strangers(&world.workspace()), Vec::<String>::new(), "{arguments:?} leaves nothing");
    }
}

#[test]
fn a_colleagues_look_leaves_nothing_in_a_shared_directory() {
    let world = shared_world(
        &json!([{"id": "a", "operator": "local", "command": "echo hi; while [ -e stdout ] && [ ! -e ../../../go ]; do sleep 0.05; done"}]),
    );
    run_as(&world, OWNER, "002", &["init", "demo", "--run-id", "r"], 0);
    let database = world.run_dir("r").join("state.sqlite");
    let metadata = std::fs::metadata(&database).expect("the database");
    assert_eq!(
        (metadata.mode() & 0o777, metadata.gid()),
        (0o664, GROUP),
        "it follows the umask and the directory's group"
    );
    run_as(&world, OWNER, "002", &["step", "r"], 0);
    until("the job prints", || !run_as(&world, COLLEAGUE, "022", &["logs", "r", "a"], 0).stdout.is_empty());
    for umask in ["022", "077", "002"] {
        look_at_everything(&world, umask);
        run_as(&world, OWNER, "002", &["step", "r"], 0);
    }
    // while the owner's loop has the database open
    let mut driving = command_of(&world, OWNER, "002", &["loop", "r"]);
    let mut driving = driving.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a loop");
    until("the loop has opened it", || world.run_dir("r").join("state.sqlite-wal").exists());
    look_at_everything(&world, "022");
    // killed, it leaves a log that holds what the database does not
    run_as(&world, OWNER, "002", &["cancel", "r", "nothing"], 2);
    driving.kill().expect("a kill");
    driving.wait().expect("its end");
    look_at_everything(&world, "022");
    let seen = run_as(&world, COLLEAGUE, "022", &["status", "r", "--json"], 0).stdout;
    let seen: Value = serde_json::from_slice(&seen).expect("JSON");
    assert_eq!(seen["tasks"]["running"], 1);
    std::fs::write(world.run_dir("r").join("go"), "").expect("a file");
    chown(world.run_dir("r").join("go"), Some(OWNER), Some(GROUP)).expect("an owner");
    run_as(&world, OWNER, "002", &["loop", "r"], 0);
    look_at_everything(&world, "022");
    let seen = run_as(&world, COLLEAGUE, "022", &["status", "r", "--json"], 0).stdout;
    assert_eq!(serde_json::from_slice::<Value>(&seen).expect("JSON")["state"], "completed");
}

#[test]
fn many_looks_at_a_run_that_goes_on_see_it_whole() {
    let tasks: Vec<Value> = (0..60)
        .map(|n| json!({"id": format!("t{n}"), "operator": "local", "command": "sleep 0.05", "depends_on": if n > 1 { vec![format!("t{}", n - 2)] } else { vec![] }}))
        .collect();
    let world = shared_world(&json!(tasks));
    run_as(&world, OWNER, "002", &["init", "demo", "--run-id", "r"], 0);
    let mut driving = command_of(&world, OWNER, "002", &["loop", "r"]);
    let mut driving = driving.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a loop");
    let mut looks = 0;
    while driving.try_wait().expect("a child").is_none() {
        let seen = run_as(&world, COLLEAGUE, "022", &["status", "r", "--json"], 0).stdout;
        let tasks = &serde_json::from_slice::<Value>(&seen).expect("JSON")["tasks"];
        let states = ["pending", "queued", "running", "completed", "failed", "cancelled", "skipped"];
        let sum: u64 = states.iter().filter_map(|state| tasks[state].as_u64()).sum();
        assert_eq!(tasks["total"].as_u64(), Some(sum), "{tasks}");
        looks += 1;
    }
    assert!(driving.wait().expect("its end").success());
    assert!(looks > 5, "{looks} looks");
    assert_eq!(strangers(&world.workspace()), Vec::<String>::new());
}

#[test]
fn a_graph_folds_tasks_of_a_kind_and_is_a_picture() {
    let mut tasks: Vec<serde_json::Value> = Vec::new();
    for n in 0..1100 {
        tasks.push(json!({"id": format!("relax-{n}"), "command": "true"}));
        tasks.push(json!({"id": format!("static-{n}"), "command": "true", "depends_on": [format!("relax-{n}")]}));
    }
    tasks.push(json!({"id": "sum <&\">", "command": "true", "depends_on": ["static-1", "static-2"]}));
    let world = World::with_tasks(&json!(tasks));
    world.run(&["init", "demo", "--run-id", "r"]).code(0);
    let many = world.run(&["graph", "r", "--format", "svg"]).code(2);
    assert!(many.stderr.contains("2201 boxes") && many.stderr.contains("--fold"), "{many:?}");
    let folded = world.run(&["graph", "r", "--fold"]).code(0).stdout;
    assert!(folded.contains("relax-* (1100 pending)") && folded.contains("t1 --> t2"), "{folded}");
    assert_eq!(folded.lines().count(), 6, "{folded}");
    let document = world.run(&["graph", "r", "--fold", "--json"]).code(0).json();
    assert_eq!(
        document["tasks"][1],
        json!({"id": "static-*", "tasks": 1100, "states": {"pending": 1100}, "reused": 0})
    );
    let svg = world.run(&["graph", "r", "--fold", "--format", "svg"]).code(0).stdout;
    assert_eq!((svg.matches("<rect").count(), svg.matches("class=\"arrow\"").count()), (3, 2), "{svg}");
    assert!(svg.contains("sum &lt;&amp;&quot;&gt;") && !svg.contains("<&"), "{svg}");
}

#[test]
fn a_picture_stands_left_to_right_where_folded_tasks_wait_for_each_other() {
    let name = |n: u32| format!("{}-{n}", ["a", "b"][n as usize & 1]);
    let chain = |n: u32| {
        let on: Vec<String> = n.checked_sub(1).map(name).into_iter().collect();
        json!({"id": name(n), "command": "true", "depends_on": on})
    };
    let world = World::with_tasks(&json!((0..6).map(chain).collect::<Vec<_>>()));
    world.run(&["init", "demo", "--run-id", "r"]).code(0);
    let svg = world.run(&["graph", "r", "--fold", "--format", "svg"]).code(0).stdout;
    assert_eq!((svg.matches("<rect").count(), svg.matches("class=\"arrow\"").count()), (2, 2), "{svg}");
}
