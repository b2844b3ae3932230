//! `init` beside others of its kind, and when the power fails.
use crate::support::disk::Disk;
use crate::support::world::World;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};

fn world() -> World {
    World::with_tasks(&json!([{"id": "a", "operator": "local", "command": ["true"]}]))
}

/// Starts an `init` for each of these ids, all at once; the exit codes.
fn init_all(world: &World, ids: &[String]) -> Vec<i32> {
    let start = |id: &String| {
        let mut command = world.command(&["init", "demo", "--run-id", id]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("init starts")
    };
    let started: Vec<_> = ids.iter().map(start).collect();
    let code = |mut child: std::process::Child| child.wait().expect("init ends").code().unwrap_or(-1);
    started.into_iter().map(code).collect()
}

/// What a killed `init` left, so that those who come clear up while others make.
fn abandon(world: &World, number: usize) {
    let left = world.workspace().join(format!("runs/.init-x{number}"));
    std::fs::create_dir_all(left.join("plugins")).expect("a directory");
    std::fs::write(left.join("lock"), "pid 1").expect("a file");
    std::fs::create_dir_all(world.workspace().join(format!("runs/.init-y{number}"))).expect("a directory");
}

fn names(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.workspace().join("runs")).expect("runs");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn of_several_with_one_id_one_wins() {
    let world = world();
    world.init();
    for round in 0..8 {
        abandon(&world, round);
        let id = format!("same{round}");
        let mut codes = init_all(&world, &vec![id.clone(); 5]);
        codes.sort_unstable();
        assert_eq!(codes, [0, 2, 2, 2, 2], "round {round}");
        world.run(&["doctor", &id]).code(0);
        world.run(&["loop", &id]).code(0);
    }
    assert_eq!(names(&world).len(), 9, "{:?}", names(&world));
}

#[test]
fn with_different_ids_all_succeed_and_all_stay() {
    let world = world();
    world.init();
    for round in 0..8 {
        abandon(&world, round);
        let ids: Vec<String> = (0..6).map(|number| format!("d{round}-{number}")).collect();
        assert_eq!(init_all(&world, &ids), [0; 6], "round {round}");
        for id in &ids {
            world.run(&["doctor", id]).code(0);
        }
    }
    assert_eq!(names(&world).len(), 49, "{:?}", names(&world));
}

/// Every file below a directory, with its size.
fn files(root: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory").map(|entry| entry.expect("an entry")) {
            let file = entry.metadata().expect("metadata");
            let name = entry.path().strip_prefix(root).expect("below").to_string_lossy().into_owned();
            match file.is_dir() {
                true => left.push(entry.path()),
                // what they hold is in the database itself, or is written by the next tick
                false if name.ends_with("-wal") || name.ends_with("-shm") || name == "lock" => {}
                false => found.push((name, file.len())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_run_whose_id_was_printed_survives_the_power() {
    let disk = Disk::new(64);
    let root = disk.root().join("workspaces");
    let world = world();
    let copied = Command::new("cp").arg("-r").arg(world.root()).arg(disk.root()).status().expect("cp");
    assert!(copied.success());
    std::fs::create_dir_all(root.join("demo/scripts/deep/er")).expect("a directory");
    std::fs::write(root.join("demo/scripts/deep/er/s.sh"), "true\n").expect("a file");
    std::fs::write(root.join("demo/data.csv"), "x\n1\n").expect("a file");
    Command::new("sync").arg("-f").arg(disk.root()).status().expect("sync");
    let set = ["--set", "campaign.inputs.d=data.csv"];
    let root_text = root.to_str().expect("UTF-8");
    let made = world.run(&[&["init", "demo", "--run-id", "r", "--workspaces", root_text], &set[..]].concat());
    made.code(0);
    let after = disk.as_after_power_failure();
    let runs = |disk: &Disk| disk.root().join("workspaces/demo/runs/r");
    assert_eq!(files(&runs(&after)), files(&runs(&disk)));
    assert!(files(&runs(&after)).iter().any(|(name, _)| name.ends_with("deep/er/s.sh")));
    let after_text = after.root().join("workspaces");
    let looped = world.run(&["loop", "r", "--workspaces", after_text.to_str().expect("UTF-8")]);
    assert_eq!(looped.code, Some(0), "{looped:?}");
}
