//! `backup`: the database of a run that goes on, of one moment, which is a run again.
use crate::support::until;
use crate::support::world::World;
use matterstack::store::Store;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(done.success());
}

#[test]
fn a_backup_of_a_live_run_is_consistent_and_goes_on_once_it_is_adopted() {
    const TASKS: usize = 40;
    let tasks: Vec<Value> = (0..TASKS)
        .map(|n| {
            let before = if n < 4 { Vec::new() } else { vec![format!("t{}", n - 4)] };
            json!({"id": format!("t{n}"), "operator": "local", "command": "echo $$ > o", "outputs": ["o"], "depends_on": before})
        })
        .collect();
    let world = World::with_tasks(&json!(tasks));
    world.init();
    let mut driver = world.command(&["loop", "r"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a loop");
    until("something has ended", || world.status()["tasks"]["completed"].as_u64() > Some(0));
    let mut copies = Vec::new();
    while driver.try_wait().expect("a loop").is_none() && copies.len() < 100 {
        let out = world.root().join(format!("backup-{}.sqlite", copies.len()));
        let told = world.run(&["backup", "r", "--out", out.to_str().expect("UTF-8"), "--json"]).code(0).json();
        let bytes = std::fs::read(&out).expect("the copy");
        assert_eq!(told["sha256"], matterstack::model::document::sha256(&bytes));
        copies.push(out);
    }
    assert!(driver.wait().expect("a loop").success());
    // each is whole, and of one moment
    let mut between = None;
    for out in &copies {
        let store = Store::read(out).expect("it opens");
        assert_eq!(store.check_invariants().expect("readable"), Vec::<String>::new());
        let done = store.task_counts().expect("counts").completed;
        if (1..TASKS as u64).contains(&done) {
            between.get_or_insert((out, done));
        }
    }
    let (backup, done) = between.expect("one was made while the run went on");
    // a copy of the directory with the database of that moment is no run of its own until somebody takes it
    copy(&world.run_dir("r"), &world.run_dir("copy"));
    let database = world.run_dir("copy").join("state.sqlite");
    for name in ["state.sqlite-wal", "state.sqlite-shm"] {
        let _ = std::fs::remove_file(world.run_dir("copy").join(name));
    }
    std::fs::copy(backup, &database).expect("in its place");
    let refused = world.run(&["step", "copy"]).code(2);
    assert!(refused.stderr.contains("adopt"), "{refused:?}");
    world.run(&["adopt", "copy"]).code(0);
    let counts = || world.run(&["status", "copy", "--json"]).code(0).json()["tasks"]["completed"].as_u64();
    assert!(counts() >= Some(done));
    // what was live in that moment, and is not known to have ended, waits for a person's word
    until("the copy comes to its end", || {
        let code = world.run(&["loop", "copy"]).code;
        world.run(&["rerun", "copy", "--state", "lost"]);
        code == Some(0)
    });
    assert_eq!(counts(), Some(TASKS as u64));
    let store = Store::read(&database).expect("it opens");
    assert_eq!(store.check_invariants().expect("readable"), Vec::<String>::new());
    let again = world.run(&["backup", "r", "--out", backup.to_str().expect("UTF-8")]).code(2);
    assert!(again.stderr.contains("exists already"), "{again:?}");
}

/// What ran since the backup is not in it: nothing starts again before a person says so.
#[test]
fn a_backup_that_is_put_back_starts_nothing_by_itself() {
    let world = World::with_tasks(&json!([
        {"id": "a", "command": "echo a >> ../../../started; while [ -e stdout ] && [ ! -e ../../../go ]; do sleep 0.05; done"},
    ]));
    world.init();
    let out = world.root().join("backup.sqlite");
    world.run(&["backup", "r", "--out", out.to_str().expect("UTF-8")]).code(0);
    world.run(&["step", "r"]).code(0);
    let run = world.run_dir("r");
    let started = || std::fs::read_to_string(run.join("started")).unwrap_or_default();
    until("the job runs", || started() == "a\n");
    for name in ["state.sqlite-wal", "state.sqlite-shm"] {
        let _ = std::fs::remove_file(run.join(name));
    }
    std::fs::copy(&out, run.join("state.sqlite")).expect("put back");
    for arguments in [["step", "r"], ["loop", "r"], ["resume", "r"], ["cancel", "r"]] {
        let refused = world.run(&arguments).code(2);
        assert!(refused.stderr.contains("put back from a backup") && refused.stderr.contains("adopt r"), "{refused:?}");
    }
    let found = world.run(&["doctor", "r"]).code(1);
    assert!(found.stdout.contains("put back from a backup"), "{}", found.stdout);
    assert_eq!(started(), "a\n");
    std::fs::write(run.join("go"), "").expect("a file");
    until("the job has ended", || {
        run.join("operators").read_dir().is_ok_and(|all| {
            all.flatten()
                .flat_map(|one| one.path().read_dir().into_iter().flatten().flatten())
                .any(|one| one.path().join("exit.json").exists())
        })
    });
    world.run(&["adopt", "r"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(started(), "a\na\n", "a person has said that it may");
}
