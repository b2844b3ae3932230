//! Whose a run is: moved, mounted again, copied, adopted; and a person's word on what nobody saw end.
use crate::support::disk::Disk;
use crate::support::until;
use crate::support::world::World;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};

/// A run with a task that waits for a person.
fn asks() -> World {
    let operators = json!({"human": {"plugin": "builtin:human"}});
    let tasks =
        json!([{"id": "a", "operator": "human", "input": {"instructions": "look", "schema": {"type": "object"}}}]);
    World::new(&json!({"campaign": {"plugin": "builtin:workflow", "params": {"tasks": tasks}}, "operators": operators}))
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(copied.success());
}

#[test]
fn a_run_on_a_disk_that_comes_back_under_another_number_is_no_copy() {
    let world = asks();
    let mut disk = Disk::new(64);
    copy(&world.root(), &disk.root());
    let root = disk.root().join("workspaces").to_string_lossy().into_owned();
    let run = |arguments: &[&str]| world.run(&[arguments, &["--workspaces", &root]].concat());
    run(&["init", "demo", "--run-id", "r"]).code(0);
    run(&["step", "r"]).code(0);
    let place = disk.root().join("workspaces/demo/runs");
    let device = || std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(&place).expect("a directory"));
    let before = device();
    disk.mount_elsewhere();
    assert_ne!(device(), before, "the test tests nothing");
    run(&["step", "r"]).code(0);
    std::fs::rename(place.join("r"), place.join("moved")).expect("moved");
    run(&["step", "moved"]).code(0);
    // a copy is one, on this disk and on another, and whatever else is copied with it
    copy(&place.join("moved"), &place.join("copied"));
    let refused = run(&["step", place.join("copied").to_str().expect("UTF-8")]).code(2);
    assert!(refused.stderr.contains("is a copy of run `r`"), "{refused:?}");
    let elsewhere = world.workspace().join("runs");
    std::fs::create_dir_all(&elsewhere).expect("a directory");
    copy(&place.join("moved"), &elsewhere.join("copied"));
    let refused = world.run(&["step", "copied"]).code(2);
    assert!(refused.stderr.contains("adopt"), "{refused:?}");
    run(&["step", "moved"]).code(0);
    let adopted = world.run(&["adopt", "copied", "--json"]).code(0).json();
    assert_eq!(adopted["lost"], 1);
    world.run(&["step", "copied"]).code(0);
}

#[test]
fn what_had_ended_in_a_copy_is_taken_and_only_the_rest_is_lost() {
    let command = |text: &str| json!(format!("echo started >> \"$MATTERSTACK_COUNT\"; {text}"));
    let env = |world: &World| json!({"MATTERSTACK_COUNT": world.root().join("count").to_string_lossy()});
    let world = World::with_tasks(&json!([]));
    let tasks: Vec<Value> = ["done", "long"]
        .iter()
        .map(|id| {
            let rest = if *id == "done" { "echo 1 > o" } else { "sleep 600; echo 1 > o" };
            json!({"id": id, "operator": "local", "command": command(rest), "outputs": ["o"], "env": env(&world)})
        })
        .collect();
    world.write("config.json", &crate::support::world::tasks_config(&json!(tasks)).to_string());
    world.init();
    world.run(&["step", "r"]).code(0);
    let done = || std::fs::read_dir(world.run_dir("r").join("operators/local")).expect("attempts").flatten();
    until("the first job to end", || done().any(|entry| entry.path().join("exit.json").exists()));
    until("both to start", || {
        std::fs::read_to_string(world.root().join("count")).is_ok_and(|t| t.lines().count() == 2)
    });
    copy(&world.run_dir("r"), &world.run_dir("copy"));
    world.run(&["step", "copy"]).code(2);
    let adopted = world.run(&["adopt", "copy", "--json"]).code(0);
    assert!(adopted.stderr.contains("1 attempt(s) had ended and were taken, 1 were given up"), "{adopted:?}");
    let tasks = world.run(&["tasks", "copy", "--json"]).code(0).json();
    assert_eq!((&tasks[0]["state"], &tasks[0]["outputs"][0]["path"]), (&json!("completed"), &json!("o")));
    assert_eq!(tasks[1]["state"], "running");
    world.run(&["step", "copy"]);
    world.run(&["cancel", "copy"]).code(0);
    world.run(&["cancel", "r"]).code(0);
    world.run(&["loop", "r"]).code(1);
    assert_eq!(std::fs::read_to_string(world.root().join("count")).expect("a count").lines().count(), 2);
}

#[test]
fn doctor_names_a_supervisor_that_keeps_a_dead_disk_busy() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "sleep 600"}]));
    let disk = Disk::new(64);
    copy(&world.root(), &disk.root());
    let root = disk.root().join("workspaces").to_string_lossy().into_owned();
    let run = |arguments: &[&str]| world.run(&[arguments, &["--workspaces", &root]].concat());
    run(&["init", "demo", "--run-id", "r"]).code(0);
    run(&["step", "r"]).code(0);
    let place = disk.root().canonicalize().expect("a directory").to_string_lossy().into_owned();
    until("the job to run", || {
        run(&["step", "r"]);
        run(&["attempts", "r", "a", "--json"]).json()[0]["state"] == "running"
    });
    let named = || {
        let checks = world.run(&["doctor", "--json"]).json();
        let checks = checks.as_array().cloned().unwrap_or_default();
        let of_ours = |check: &&Value| check["check"] == "supervisor" && check.to_string().contains(&place);
        checks.iter().find(of_ours).map(|check| check["hint"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(named(), None, "it is sound");
    disk.abort();
    let hint = named().expect("it is named");
    assert!(!disk.try_unmount(), "the test tests nothing");
    let pid = hint.split('`').nth(1).and_then(|command| command.strip_prefix("kill ")).expect("a command").to_owned();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("its jobs");
    Command::new("kill").arg(&pid).status().expect("kill");
    for job in children.split_whitespace() {
        Command::new("kill").args(["-9", "--", &format!("-{job}")]).status().expect("kill");
    }
    until("the disk to be free", || disk.try_unmount());
}

/// A run whose one job ran while its supervisor was killed, and left its output.
fn unseen(world: &World) {
    world.init();
    let mut looped = world.command(&["step", "r"]);
    looped.stdout(Stdio::null()).status().expect("a step");
    until("the job to run", || {
        world.run(&["step", "r"]);
        world.run(&["attempts", "r", "a", "--json"]).json()[0]["state"] == "running"
    });
    for pid in super::supervised::supervisors(world) {
        Command::new("kill").args(["-9", &pid]).status().expect("kill");
    }
    std::fs::write(world.root().join("go"), "").expect("a file");
    let end = world.step_to_end();
    assert_eq!(end["state"], "held", "{end}");
}

fn waits(world: &World) -> Value {
    let go = world.root().join("go");
    let command = format!("while ! test -e {}; do sleep 0.05; done; echo 7 > o", go.display());
    json!([{"id": "a", "operator": "local", "command": command, "outputs": ["o"]},
           {"id": "b", "operator": "local", "command": "cat o", "files": {"o": {"from": "a", "output": "o"}}}])
}

#[test]
fn a_person_takes_the_outputs_of_what_ran_unseen() {
    let world = World::with_tasks(&json!([]));
    world.write("config.json", &crate::support::world::tasks_config(&waits(&world)).to_string());
    unseen(&world);
    let told = world.run(&["explain", "r", "a", "--json"]).code(0).json();
    assert!(
        told[0]["sentence"].as_str().is_some_and(|text| text.contains("ran, and how it ended was not seen")),
        "{told}"
    );
    assert_eq!(told[0]["command"], "matterstack settle r a --completed");
    world.run(&["settle", "r", "a"]).code(2);
    world.run(&["settle", "r", "b", "--completed"]).code(2);
    world.run(&["settle", "r", "a", "--completed", "--reason", "the file is whole"]).code(0);
    world.run(&["settle", "r", "a", "--completed"]).code(2);
    assert_eq!(world.step_to_end()["state"], "completed");
    let attempts = world.run(&["attempts", "r", "a", "--json"]).code(0).json();
    assert_eq!((&attempts[0]["state"], &attempts[1]["state"]), (&json!("lost"), &json!("completed")));
    let reason = attempts[1]["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("attempt 1 was settled as completed by") && reason.contains("the file is whole"),
        "{reason}"
    );
    assert_eq!(attempts[0]["directory"], attempts[1]["directory"]);
    world.run(&["doctor", "r"]).code(0);
    world.run(&["evidence", "r"]).code(0);
    let bundle = std::fs::read_to_string(world.run_dir("r").join("evidence/evidence.json")).expect("a bundle");
    assert!(bundle.contains("the file is whole"));
}

#[test]
fn nothing_advises_to_run_again_what_ran_unseen() {
    let world = World::with_tasks(&json!([]));
    world.write("config.json", &crate::support::world::tasks_config(&waits(&world)).to_string());
    unseen(&world);
    let status = world.run(&["status", "r", "--json"]).code(0).json();
    assert_eq!(status["waiting_on"][0]["hint"], "matterstack explain r a", "{status}");
    assert!(status["reason"].as_str().is_some_and(|text| text.contains("`settle`, `rerun` or `cancel`")), "{status}");
    let explained = world.run(&["explain", "r", "--json"]).code(0).json();
    for (line, task) in [(0, Value::Null), (1, json!("a"))] {
        assert_eq!(explained[line]["task"], task, "{explained}");
        assert_eq!(explained[line]["command"], "matterstack settle r a --completed", "{explained}");
    }
}

#[test]
fn what_is_not_there_cannot_be_settled_as_completed() {
    let world = World::with_tasks(&json!([]));
    world.write("config.json", &crate::support::world::tasks_config(&waits(&world)).to_string());
    unseen(&world);
    let attempts = world.run(&["attempts", "r", "a", "--json"]).code(0).json();
    let directory = world.run_dir("r").join(attempts[0]["directory"].as_str().expect("a directory"));
    std::fs::remove_file(directory.join("o")).expect("a file");
    let refused = world.run(&["settle", "r", "a", "--completed"]).code(2);
    assert!(
        refused.stderr.contains("cannot be taken")
            && refused.stderr.contains("`o`")
            && refused.stderr.contains("--failed"),
        "{refused:?}"
    );
    world.run(&["settle", "r", "a", "--failed"]).code(0);
    assert_eq!(world.step_to_end()["state"], "failed");
    assert_eq!(world.tasks(), "a=failed b=skipped");
}
