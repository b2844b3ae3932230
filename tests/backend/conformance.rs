//! The same cases over every backend, through the binary: how a job ends, what it leaves, and how it is stopped.
use crate::support::slurm::{Cluster, Plan};
use crate::support::sshd::{HOST, Sshd};
use crate::support::until;
use crate::support::world::{Done, World};
use serde_json::{Value, json};
use std::path::PathBuf;

/// A workspace whose operator `op` has the backend under test.
struct Ground {
    world: World,
    cluster: Option<Cluster>,
    sshd: Option<Sshd>,
}

impl Ground {
    fn on(kind: &str, tasks: &Value) -> Self {
        let cluster = (kind != "local").then(|| Cluster::start(Plan::default()));
        let sshd = cluster.as_ref().filter(|_| kind == "ssh").map(|cluster| {
            let (name, conf) = cluster.environment();
            Sshd::with(None, &format!("SetEnv {name}={conf}"))
        });
        let backend = match kind {
            "ssh" => {
                let place = sshd.as_ref().expect("an sshd").path();
                let ssh = json!({"host": HOST, "config": place.join("config")});
                json!({"kind": "slurm", "poll_interval_s": 0.2, "grace_s": 1, "ssh": ssh, "remote_root": place.join("scratch")})
            }
            "slurm" => json!({"kind": "slurm", "poll_interval_s": 0.2, "grace_s": 1}),
            _ => json!({"kind": "local", "cores": 8}),
        };
        let world = World::new(&json!({
            "campaign": {"plugin": "builtin:workflow", "params": {"tasks": tasks}},
            "operators": {"op": {"plugin": "builtin:compute", "grants": {"compute": ["there"]}}},
            "backends": {"there": backend},
        }));
        Self { world, cluster, sshd }
    }

    fn run(&self, arguments: &[&str], failpoint: &str) -> Done {
        // over ssh only the far end knows the cluster
        let near = self.cluster.as_ref().filter(|_| self.sshd.is_none());
        let conf = near.map(|cluster| cluster.environment().1).unwrap_or_default();
        let sockets = self.sshd.as_ref().map(|sshd| sshd.path().display().to_string()).unwrap_or_default();
        self.world.run_with(
            arguments,
            &[
                ("SLURM_CONF", conf.as_str()),
                ("XDG_RUNTIME_DIR", sockets.as_str()),
                ("MATTERSTACK_FAILPOINT", failpoint),
            ],
        )
    }

    fn step(&self) -> Value {
        self.run(&["step", "r", "--json"], "").json()
    }

    fn end(&self) {
        until("the run completes", || self.step()["state"] == "completed");
    }

    fn tasks(&self) -> Vec<Value> {
        self.run(&["tasks", "r", "--json"], "").code(0).json().as_array().cloned().unwrap_or_default()
    }

    fn attempt_directories(&self) -> Vec<PathBuf> {
        let near = self.world.run_dir("r").join("operators/op");
        let place = self.sshd.as_ref().map_or(near, |sshd| sshd.path().join("scratch/r"));
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
        // arrays have directories of their own at the far end
        entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with("ms-")).map(|e| e.path()).collect()
    }
}

fn ends_as_its_command_did(kind: &str) {
    let cases = [
        ("ok", json!({"command": ["true"]}), "completed", ""),
        ("code", json!({"command": "exit 3"}), "failed", "exited with code 3"),
        ("high-code", json!({"command": "exit 200"}), "failed", "exited with code 200"),
        ("shell-127", json!({"command": "no-such-program-at-all"}), "failed", "exited with code 127"),
        ("signal", json!({"command": "kill -9 $$"}), "failed", "signal 9"),
        ("missing", json!({"command": ["no-such-program"]}), "failed", "not found"),
        ("denied", json!({"command": ["/etc/passwd"]}), "failed", "cannot be executed"),
        ("late", json!({"command": ["sleep", "300"], "resources": {"walltime_s": 0.5}}), "failed", "walltime"),
        ("grandchild", json!({"command": "sleep 300 & wait", "resources": {"walltime_s": 0.5}}), "failed", "walltime"),
        (
            "env",
            json!({"command": "test \"$X$MATTERSTACK_TEST_LEAK\" = \"a 'b' \\$c\"", "env": {"X": "a 'b' $c"}}),
            "completed",
            "",
        ),
        (
            "output",
            json!({"command": "mkdir d; echo 1 > d/a.txt; echo 2 > b.txt", "outputs": ["d/*", "b.txt"]}),
            "completed",
            "",
        ),
        ("no-output", json!({"command": ["true"], "outputs": ["*.csv"]}), "failed", "matches no file"),
        (
            "fail-output",
            json!({"command": "echo 1 > a.txt; exit 1", "outputs": ["a.txt"]}),
            "failed",
            "exited with code 1",
        ),
        (
            "words",
            json!({"command": ["sh", "-c", "test \"$1\" = \"$2\"", "x", "\n'\"$(id)`", "\n'\"$(id)`"]}),
            "completed",
            "",
        ),
    ];
    let tasks: Vec<Value> = cases
        .iter()
        .map(|(id, spec, ..)| {
            let mut task = json!({"id": id, "operator": "op", "allow_failure": true});
            for (key, value) in spec.as_object().expect("keys") {
                task[key] = value.clone();
            }
            task
        })
        .collect();
    let ground = Ground::on(kind, &json!(tasks));
    ground.run(&["init", "demo", "--run-id", "r"], "").code(0);
    ground.end();
    let ended = ground.tasks();
    for ((id, _, state, reason), task) in cases.iter().zip(&ended) {
        let text = task["reason"].as_str().unwrap_or_default();
        assert!(task["state"] == *state && text.contains(reason), "{kind}, {id}: {task}");
    }
    let outputs = |id: &str| {
        let task = ended.iter().find(|task| task["id"] == id).expect("a task");
        task["outputs"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|o| o["path"].as_str().unwrap_or("").to_owned())
            .collect()
    };
    let left: Vec<String> = outputs("output");
    assert_eq!(left, ["b.txt", "d/a.txt"], "{kind}");
    for directory in ground.attempt_directories() {
        let record = std::fs::read(directory.join("exit.json")).expect("an exit record");
        let record: Value = serde_json::from_slice(&record).expect("JSON");
        for key in ["attempt", "code", "signal", "reason", "message", "started_at", "ended_at"] {
            assert!(record.get(key).is_some(), "{kind}: {record}");
        }
    }
}

#[test]
fn a_local_job_ends_as_its_command_did() {
    ends_as_its_command_did("local");
}

#[test]
fn a_slurm_job_ends_as_its_command_did() {
    ends_as_its_command_did("slurm");
}

#[test]
fn a_slurm_job_behind_ssh_ends_as_its_command_did() {
    ends_as_its_command_did("ssh");
}

/// What is recorded of a job: when it was handed in, started and ended, where it ran, and what it used.
fn tells_of_its_job(kind: &str) {
    let busy =
        "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; head -c 150000000 /dev/zero | tail -c 150000000 | wc -c";
    let ground = Ground::on(
        kind,
        &json!([
            {"id": "busy", "operator": "op", "command": busy, "outputs": []},
            {"id": "idle", "operator": "op", "command": "sleep 0.3", "outputs": [], "depends_on": ["busy"]},
        ]),
    );
    ground.run(&["init", "demo", "--run-id", "r"], "").code(0);
    ground.end();
    let job = |task: &str| {
        let attempts = ground.run(&["attempts", "r", task, "--json"], "").code(0).json();
        let kinds: Vec<&str> =
            attempts[0]["logs"].as_array().expect("logs").iter().filter_map(|l| l["kind"].as_str()).collect();
        assert_eq!(kinds, if task == "busy" { vec!["exit", "stdout"] } else { vec!["exit"] }, "{kind}: {attempts}");
        attempts[0]["job"].clone()
    };
    let (busy, idle) = (job("busy"), job("idle"));
    for job in [&busy, &idle] {
        let at = |key: &str| job[key].as_str().unwrap_or_else(|| panic!("{kind}: no {key} in {job}")).to_owned();
        let (queued, started, stopped) = (at("queued_at"), at("started_at"), at("stopped_at"));
        assert!(queued <= started && started < stopped, "{kind}: {job}");
        assert_eq!(job["node"], matterstack::ground::machine::host_name(), "{kind}: {job}");
        assert!(job["external_id"].is_string(), "{kind}: {job}");
    }
    let cpu = |job: &Value| job["cpu_ms"].as_u64().unwrap_or_else(|| panic!("{kind}: no cpu_ms in {job}"));
    assert!(cpu(&busy) >= 50 && cpu(&idle) < cpu(&busy), "{kind}: {busy} {idle}");
    // a cluster says that only in its own accounts
    if kind == "local" {
        let memory = |job: &Value| job["memory_peak_mb"].as_u64().expect("a size");
        assert!((143..1000).contains(&memory(&busy)) && memory(&idle) < 100, "{busy} {idle}");
    }
}

#[test]
fn a_local_job_is_told_of() {
    tells_of_its_job("local");
}

#[test]
fn a_slurm_job_is_told_of() {
    tells_of_its_job("slurm");
}

#[test]
fn a_slurm_job_behind_ssh_is_told_of() {
    tells_of_its_job("ssh");
}

fn is_cancelled(kind: &str) {
    let ground = Ground::on(
        kind,
        &json!([{"id": "a", "operator": "op", "command": "echo $$ > pid; sleep 300 & wait", "allow_failure": true}]),
    );
    ground.run(&["init", "demo", "--run-id", "r"], "").code(0);
    let mut pid = None;
    until("the command runs", || {
        ground.step();
        let read = |d: PathBuf| std::fs::read_to_string(d.join("pid")).ok()?.trim().parse::<i32>().ok();
        pid = ground.attempt_directories().into_iter().find_map(read);
        pid.is_some()
    });
    ground.run(&["cancel", "r"], "").code(0);
    until("the run is cancelled", || ground.step()["state"] == "cancelled");
    assert_eq!(ground.tasks()[0]["state"], "cancelled", "{kind}");
    let pid = pid.expect("seen");
    until("its process is gone", || matterstack::ground::machine::process_start_time(pid).is_none());
}

#[test]
fn a_local_job_is_cancelled() {
    is_cancelled("local");
}

#[test]
fn a_slurm_job_is_cancelled() {
    is_cancelled("slurm");
}

#[test]
fn a_slurm_job_behind_ssh_is_cancelled() {
    is_cancelled("ssh");
}

/// The tick dies right after the backend took the job in, or right before the store learns of it.
fn is_found_again(kind: &str) {
    let near =
        ["submit.before:2", "submit.after:1", "submit.after:3", "store.before-commit:4", "store.before-commit:5"];
    let far = [
        "slurm.put.before",
        "slurm.put.after",
        "slurm.sbatch.before",
        "slurm.sbatch.after",
        "slurm.fetch.before",
        "slurm.fetch.after",
    ];
    for point in near.into_iter().chain(far.into_iter().filter(|_| kind == "ssh")) {
        let task = |id: &str| json!({"id": id, "operator": "op", "command": "echo started >> started.log"});
        let ground = Ground::on(kind, &json!([task("a"), task("b"), task("c")]));
        ground.run(&["init", "demo", "--run-id", "r"], "").code(0);
        ground.run(&["loop", "r"], point);
        ground.end();
        let directories = ground.attempt_directories();
        for directory in &directories {
            let log = std::fs::read_to_string(directory.join("started.log")).unwrap_or_default();
            assert!(log.lines().count() <= 1, "{kind}, {point}: {}", directory.display());
        }
        assert_eq!(directories.len(), 3, "{kind}, {point}: one attempt each");
    }
}

#[test]
fn a_local_job_is_found_again() {
    is_found_again("local");
}

#[test]
fn a_slurm_job_is_found_again() {
    is_found_again("slurm");
}

#[test]
fn a_slurm_job_behind_ssh_is_found_again() {
    is_found_again("ssh");
}
