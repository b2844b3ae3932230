//! Slurm as a backend, through the binary and against a real cluster that each test starts for itself.
mod admin;
mod chaos;
mod crash;
mod ends;
mod fanout;
mod faults;
pub(super) mod liars;
mod life;
mod rollback;
mod secrets;
mod setup;
mod slow;
mod time;
mod typed;

use crate::support::slurm::{Cluster, Plan};
use crate::support::until;
use crate::support::world::{Done, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A workspace whose tasks run on a cluster of the test's own, as operator `hpc`.
pub(super) struct Site {
    pub(super) cluster: Cluster,
    pub(super) world: World,
    environment: Vec<(String, String)>,
}

impl Site {
    pub(super) fn new(plan: Plan, tasks: &Value) -> Self {
        Self::with(plan, tasks, &json!({}))
    }

    /// With further keys of the backend.
    pub(super) fn with(plan: Plan, tasks: &Value, backend: &Value) -> Self {
        Self::below(&std::env::temp_dir(), plan, tasks, backend)
    }

    /// The same, with the workspace below this directory.
    pub(super) fn below(place: &Path, plan: Plan, tasks: &Value, backend: &Value) -> Self {
        let cluster = Cluster::start(plan);
        let mut slurm = json!({"kind": "slurm", "poll_interval_s": 0.2, "grace_s": 1.5, "submits_per_minute": 1000});
        for (key, value) in backend.as_object().into_iter().flatten() {
            slurm[key] = value.clone();
        }
        let world = World::below(
            place,
            &json!({
                "campaign": {"plugin": "builtin:workflow", "params": {"tasks": tasks}},
                "operators": {"hpc": {"plugin": "builtin:compute", "grants": {"compute": ["cluster"]}}},
                "backends": {"cluster": slurm},
                "limits": {"max_active": 20_000},
            }),
        );
        let (name, conf) = cluster.environment();
        Self { cluster, world, environment: vec![(name.to_owned(), conf)] }
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, &[])
    }

    pub(super) fn run_with(&self, arguments: &[&str], more: &[(&str, &str)]) -> Done {
        let mut environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        environment.extend(more);
        self.world.run_with(arguments, &environment)
    }

    /// The command with the environment it needs, not started yet.
    pub(super) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.world.command(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Puts scripts in front of Slurm's commands and returns the PATH that finds them. In a script, `REAL` is the real
    /// command, `CONTROLLER` the controller's pid and `HERE` a directory to leave things in.
    pub(super) fn shims(&self, scripts: &[(&str, &str)]) -> String {
        let directory = self.world.root().join("shims");
        std::fs::create_dir_all(&directory).expect("a directory");
        for (program, script) in scripts {
            let script = script
                .replace("REAL", &format!("/usr/bin/{program}"))
                .replace("CONTROLLER", &self.cluster.pid("slurmctld").to_string())
                .replace("HERE", &directory.display().to_string());
            let path = directory.join(program);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).expect("ours");
        }
        format!("{}:{}", directory.display(), crate::support::path())
    }

    /// Kills Slurm's commands that a killed tick has left: those of this cluster, and no other's.
    pub(super) fn kill_clients(&self) {
        let (name, conf) = self.cluster.environment();
        for pid in
            matterstack::ground::machine::processes_with_environment(&format!("{name}={conf}")).expect("processes")
        {
            let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if ["sbatch", "timeout"].contains(&command.trim()) {
                let _ = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        }
    }

    pub(super) fn init(&self) {
        self.run(&["init", "demo", "--run-id", "r"]).code(0);
    }

    pub(super) fn step(&self) -> Value {
        self.run(&["step", "r", "--json"]).json()
    }

    /// Steps until the queue has been looked at once more; returns what the step said that did.
    #[track_caller]
    pub(super) fn look(&self) -> Value {
        self.look_with(&[])
    }

    /// The same, with more in the environment.
    #[track_caller]
    pub(super) fn look_with(&self, more: &[(&str, &str)]) -> Value {
        let before = self.looked_at_ms();
        let mut last = Value::Null;
        until("the queue is looked at", || {
            last = self.run_with(&["step", "r", "--json"], more).json();
            self.looked_at_ms() > before
        });
        last
    }

    /// Waits until the queue may be looked at again.
    #[track_caller]
    pub(super) fn wait_for_poll(&self) {
        let now_ms = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as i64);
        until("the queue may be looked at again", || now_ms() - self.looked_at_ms() > 200);
    }

    /// When the queue was looked at last, in milliseconds since the epoch; 0 if it never was.
    pub(super) fn looked_at_ms(&self) -> i64 {
        let text = std::fs::read_to_string(self.run_dir().join("backends/cluster/queue.jsonl")).unwrap_or_default();
        let head: Value = text.lines().next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        head["polled_ms"].as_i64().unwrap_or(0)
    }

    /// Steps, each time in a new process, until the condition holds of what `step` says.
    #[track_caller]
    pub(super) fn step_until(&self, what: &str, mut condition: impl FnMut(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        until(what, || {
            last = self.step();
            condition(&last)
        });
        last
    }

    /// Steps until the run is neither active nor being cancelled.
    #[track_caller]
    pub(super) fn step_to_end(&self) -> Value {
        self.step_until("the run ends", |tick| {
            !["active", "cancelling"].contains(&tick["state"].as_str().unwrap_or(""))
        })
    }

    /// The state of each task, as `a=completed b=failed`.
    pub(super) fn tasks(&self) -> String {
        let tasks = self.run(&["tasks", "r", "--json"]).code(0).json();
        let word = |task: &Value| format!("{}={}", text(&task["id"]), text(&task["state"]));
        tasks.as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join(" ")
    }

    /// The attempts of a task.
    pub(super) fn attempts(&self, task: &str) -> Vec<Value> {
        let attempts = self.run(&["attempts", "r", task, "--json"]).code(0).json();
        attempts.as_array().cloned().unwrap_or_default()
    }

    /// The reason of the last attempt of a task, with its state.
    pub(super) fn last(&self, task: &str) -> (String, String) {
        let attempt = self.attempts(task).pop().expect("an attempt");
        (text(&attempt["state"]), text(&attempt["reason"]))
    }

    pub(super) fn status(&self) -> Value {
        self.run(&["status", "r", "--json"]).code(0).json()
    }

    pub(super) fn run_dir(&self) -> PathBuf {
        self.world.run_dir("r")
    }

    /// Every attempt directory with the number of times its command was started: commands of the tests append a line to
    /// `started.log`.
    pub(super) fn starts(&self) -> BTreeMap<String, usize> {
        let attempts = std::fs::read_dir(self.run_dir().join("operators/hpc")).into_iter().flatten().flatten();
        attempts
            .map(|attempt| {
                let log = std::fs::read_to_string(attempt.path().join("started.log")).unwrap_or_default();
                (attempt.file_name().to_string_lossy().into_owned(), log.lines().count())
            })
            .collect()
    }

    /// The process of the wrapper of a task's last attempt, whose command has written it to the file `wrapper`.
    pub(super) fn wrapper(&self, task: &str) -> Option<String> {
        let directory = self.run_dir().join(text(&self.attempts(task).pop()?["directory"]));
        let pid = std::fs::read_to_string(directory.join("wrapper")).ok()?;
        pid.ends_with('\n').then(|| pid.trim().to_owned())
    }

    /// Kills the wrapper of a task's last attempt, so that there will be no exit record.
    #[track_caller]
    pub(super) fn kill_wrapper(&self, task: &str) {
        let pid = self.wrapper(task).expect("it runs");
        let killed = std::process::Command::new("kill").args(["-KILL", &pid]).status();
        assert!(killed.is_ok_and(|status| status.success()), "{pid}");
    }

    /// Asserts that no attempt's command was started twice, and that the store's rules hold.
    #[track_caller]
    pub(super) fn check(&self) {
        for (attempt, count) in self.starts() {
            assert!(count <= 1, "the command of {attempt} was started {count} times");
        }
        let doctor = self.run(&["doctor", "r", "--json"]);
        assert_eq!(doctor.code, Some(0), "{doctor:?}");
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A task of the operator `hpc` that notes its start and then does this, as a line of shell.
pub(super) fn task(id: &str, line: &str) -> Value {
    json!({"id": id, "operator": "hpc", "command": format!("echo started >> started.log; {line}")})
}
