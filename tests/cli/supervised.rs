//! Local jobs through the binary: what a plan may stage, and a supervisor that is killed under a `loop`.
use crate::support::until;
use crate::support::world::{PROGRAM, World};
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The supervisors of the world's run.
pub(super) fn supervisors(world: &World) -> Vec<String> {
    crate::support::supervisors(&world.run_dir("r"))
}

#[test]
fn a_loop_misses_its_supervisor_at_once_although_its_binary_was_replaced() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "sleep 600"}]));
    world.init();
    let program = world.root().join("matterstack");
    std::fs::copy(PROGRAM, &program).expect("a copy");
    let like = world.command(&["loop", "r"]);
    let mut command = Command::new(&program);
    command.args(like.get_args()).current_dir(like.get_current_dir().expect("a directory")).env_clear();
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut driver = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a loop");
    until("the task to run", || world.status().to_string().contains("running") && supervisors(&world).len() == 1);
    std::fs::remove_file(&program).expect("removed");
    let first = supervisors(&world);
    Command::new("kill").args(["-9", &first[0]]).status().expect("killed");
    let killed = Instant::now();
    until("another supervisor", || supervisors(&world).first().is_some_and(|pid| *pid != first[0]));
    let missed = killed.elapsed();
    world.run(&["cancel", "r"]).code(0);
    let ended = driver.wait().expect("the loop ends");
    assert!(missed < Duration::from_secs(9), "missed after {missed:?} only, which a timer does as well");
    assert_eq!(ended.code(), world.run(&["loop", "r"]).code);
}

/// A process that was stopped, and goes on at the latest when the test ends.
struct Stopped(String);

impl Stopped {
    fn new(pid: &str) -> Self {
        Command::new("kill").args(["-STOP", pid]).status().expect("kill");
        let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        until("the stop", || state().contains(") T "));
        Self(pid.to_owned())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-CONT", &self.0]).status();
    }
}

#[test]
fn a_supervisor_that_was_stopped_is_named_with_what_helps() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "sleep 600"}]));
    world.init();
    world.run(&["step", "r"]).code(0);
    until("the job", || {
        world.run(&["step", "r"]).code(0);
        world.run(&["attempts", "r", "a", "--json"]).json()[0]["state"] == "running"
    });
    let pid = supervisors(&world).first().expect("a supervisor").clone();
    assert_eq!(world.run(&["explain", "r", "--json"]).code(0).json(), json!([]));
    assert!(!world.run(&["doctor", "r"]).code(0).stdout.contains("supervisor"));
    let stopped = Stopped::new(&pid);
    let remedy = format!("kill -CONT {pid}");
    for arguments in [vec!["explain", "r", "--json"], vec!["explain", "r", "a", "--json"]] {
        let explained = world.run(&arguments).code(0).json()[0].clone();
        assert_eq!((&explained["code"], &explained["command"]), (&json!("supervisor-stopped"), &json!(remedy)));
        assert!(explained["sentence"].as_str().expect("a sentence").contains("backend `local`"), "{explained}");
    }
    let checks = world.run(&["doctor", "r", "--json"]).code(1).json();
    let trouble: Vec<_> = checks.as_array().expect("a list").iter().filter(|check| check["ok"] == false).collect();
    assert_eq!(trouble.len(), 1, "{checks}");
    assert!(trouble[0]["check"] == "supervisor" && trouble[0]["hint"].to_string().contains(&remedy), "{checks}");
    drop(stopped);
    world.run(&["doctor", "r"]).code(0);
    world.run(&["cancel", "r"]).code(0);
    assert_eq!(world.step_to_end()["state"], "cancelled");
}

#[test]
fn a_plan_cannot_stage_what_the_host_writes_nor_run_for_ever() {
    for file in ["stdout", "stderr/x", "exit.json", "exit.json/x", ".exit.json.tmp"] {
        let files = json!({ file: {"content": "x"} });
        let task = json!({"id": "a", "operator": "local", "command": "true", "files": files});
        let world = World::with_tasks(&json!([task]));
        let refused = world.run(&["init", "demo", "--run-id", "r"]).code(2);
        assert!(refused.stderr.contains("is a name for what the host writes"), "{file}: {refused:?}");
    }
    let resources = json!({"walltime_s": 1e19});
    let task = json!({"id": "a", "operator": "local", "command": "true", "resources": resources});
    let world = World::with_tasks(&json!([task]));
    let refused = world.run(&["init", "demo", "--run-id", "r"]).code(2);
    assert!(refused.stderr.contains("more than ten years"), "{refused:?}");
}

#[test]
fn a_pipe_for_an_output_that_another_task_takes_blocks_nothing() {
    let swap = "while ! grep -q . ../*/out 2>/dev/null; do sleep 0.05; done; sleep 0.5; \
                for f in ../a-*/out; do rm $f; mkfifo $f; done";
    let world = World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "echo x > out", "outputs": ["out"]},
        {"id": "s", "operator": "local", "command": swap, "depends_on": ["a"]},
        {"id": "b", "operator": "local", "command": "true", "depends_on": ["s"],
         "files": {"in": {"from": "a", "output": "out"}}},
    ]));
    world.init();
    world.run(&["loop", "r"]);
    assert!(world.tasks().contains("a=completed"), "{}", world.tasks());
    assert!(world.tasks().contains("b=failed"), "{}", world.tasks());
}
