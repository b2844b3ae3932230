//! A real Slurm behind a real sshd, through the binary: links that are cut, files that stay, and `backend` commands.
mod carry;
mod cuts;
mod liars;
mod trouble;

use crate::support::secret::{CANARY, Kept, find_canary};
use crate::support::slurm::{Cluster, Plan};
use crate::support::sshd::{HOST, Link, Sshd, Wire};
use crate::support::until;
use crate::support::world::{Done, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// A workspace here, and a cluster at the far end of a wire or a link.
struct Far {
    world: World,
    sshd: Sshd,
    cluster: Cluster,
    wire: Wire,
    link: Option<Link>,
}

impl Far {
    fn new(link: Option<Link>, tasks: &Value) -> Self {
        let far = Self::with(link, "", tasks);
        far.init();
        far
    }

    /// With further lines in the configuration of the sshd, and no run yet.
    fn with(link: Option<Link>, lines: &str, tasks: &Value) -> Self {
        let inside = link.as_ref().map(|link| link.entry().to_vec()).unwrap_or_default();
        let cluster = Cluster::start(Plan { inside, ..Plan::default() });
        let (name, conf) = cluster.environment();
        let lines = format!("SetEnv {name}={conf} {lines}\nClientAliveInterval 2\nClientAliveCountMax 2");
        let sshd = Sshd::with(link.as_ref(), &lines);
        let wire = Wire::to(sshd.address(), Duration::ZERO);
        if link.is_none() {
            sshd.write_config("config", "id", wire.address(), "");
        }
        let place = sshd.path();
        let world = World::new(&json!({
            "campaign": {"plugin": "builtin:workflow", "params": {"tasks": tasks}},
            "operators": {
                "hpc": {"plugin": "builtin:compute", "grants": {"compute": ["cluster"]}},
                "local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}},
            },
            "backends": {
                "local": {"kind": "local", "cores": 1},
                "cluster": {"kind": "slurm", "poll_interval_s": 0.2, "grace_s": 1.5, "submits_per_minute": 1000,
                    "ssh": {"host": HOST, "config": place.join("config")}, "remote_root": place.join("scratch")},
            },
        }));
        Self { world, sshd, cluster, wire, link }
    }

    fn init(&self) {
        self.run(&["init", "demo", "--run-id", "r"]).code(0);
    }

    fn link(&self) -> &Link {
        self.link.as_ref().expect("a link")
    }

    fn environment(&self) -> [(&'static str, String); 1] {
        [("XDG_RUNTIME_DIR", self.sshd.path().display().to_string())]
    }

    fn run(&self, arguments: &[&str]) -> Done {
        let environment = self.environment();
        let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.world.run_with(arguments, &environment)
    }

    fn step(&self) -> Value {
        self.run(&["step", "r", "--json"]).json()
    }

    #[track_caller]
    fn end(&self) {
        let mut last = Value::Null;
        until("the run ends", || {
            last = self.step();
            last["state"] != "active"
        });
        assert_eq!(last["state"], "completed", "{last} {}", self.run(&["explain", "r"]).stdout);
    }

    fn there(&self) -> PathBuf {
        self.sshd.path().join("scratch/r")
    }

    /// How often each attempt's command was started over there.
    fn starts(&self) -> BTreeMap<String, usize> {
        let entries = std::fs::read_dir(self.there()).into_iter().flatten().flatten();
        let attempts = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with("ms-"));
        let count =
            |path: PathBuf| std::fs::read_to_string(path.join("started.log")).unwrap_or_default().lines().count();
        attempts.map(|entry| (entry.file_name().to_string_lossy().into_owned(), count(entry.path()))).collect()
    }

    /// Asserts that every task had one attempt and every command one start.
    #[track_caller]
    fn check(&self, tasks: usize) {
        let starts = self.starts();
        assert!(starts.len() == tasks && starts.values().all(|count| *count == 1), "{starts:?}");
        let doctor = self.run(&["doctor", "r", "--json"]);
        assert_eq!(doctor.code, Some(0), "{doctor:?}");
    }

    /// Starts a tick, and cuts the link once the condition holds.
    fn cut_in(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let mut step = self.world.command(&["step", "r"]);
        step.envs(self.environment()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut step = step.spawn().expect("the binary runs");
        until(what, &mut condition);
        self.link().cut();
        self.cluster.signal("slurmctld", "CONT");
        step.wait().expect("the tick ends");
    }

    /// Whether a client of this cluster's is at work.
    fn runs(&self, program: &str) -> bool {
        let (name, conf) = self.cluster.environment();
        let wanted = format!("{name}={conf}");
        std::fs::read_dir("/proc").expect("processes").flatten().any(|entry| {
            let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            comm.trim() == program && environment.split(|byte| *byte == 0).any(|line| line == wanted.as_bytes())
        })
    }
}

fn task(id: &str, line: &str) -> Value {
    json!({"id": id, "operator": "hpc", "command": format!("echo started >> started.log; {line}"), "outputs": ["o"]})
}

#[test]
fn a_link_that_is_down_delays_a_submit_and_loses_nothing() {
    let far = Far::new(Some(Link::new()), &json!([task("a", "echo 1 > o"), task("b", "echo 1 > o")]));
    far.link().cut();
    let tick = far.step();
    assert_eq!((&tick["state"], &tick["submitted"]), (&json!("active"), &json!(0)));
    let said = far.run(&["explain", "r", "a", "--json"]).code(0).json()[0].clone();
    assert!(said["sentence"].as_str().is_some_and(|text| text.contains("does not answer")), "{said}");
    assert!(far.starts().is_empty());
    far.link().mend();
    far.end();
    far.check(2);
}

#[test]
fn a_link_that_is_cut_in_the_middle_of_sbatch_starts_nothing_twice() {
    let far = Far::new(Some(Link::new()), &json!([task("a", "echo 1 > o"), task("b", "echo 1 > o")]));
    // the controller holds sbatch up until the link is cut
    let mut stopped = false;
    let wrapper = || {
        let entries = std::fs::read_dir(far.there()).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().join("wrapper")).any(|path| path.exists())
    };
    far.cut_in("sbatch waits for the controller", || {
        if !stopped && wrapper() {
            far.cluster.signal("slurmctld", "STOP");
            stopped = true;
        }
        stopped && (far.runs("sbatch") || !far.cluster_jobs_unknown())
    });
    far.link().mend();
    far.end();
    far.check(2);
}

impl Far {
    /// While the controller stands still nobody can ask it; sbatch may have been faster than the test.
    fn cluster_jobs_unknown(&self) -> bool {
        self.starts().values().all(|count| *count == 0)
    }
}

#[test]
fn a_link_that_is_cut_while_jobs_run_changes_no_verdict() {
    let far = Far::new(
        Some(Link::new()),
        &json!([task("a", "while [ -e stdout ] && [ ! -e go ]; do sleep 0.1; done; echo 1 > o; exit 0")]),
    );
    until("the job runs", || {
        far.step();
        far.starts().values().sum::<usize>() == 1
    });
    far.link().cut();
    let attempt = far.starts().into_keys().next().expect("an attempt");
    std::fs::write(far.there().join(&attempt).join("go"), "").expect("a file");
    until("the job has ended", || far.there().join(&attempt).join("exit.json").exists());
    for _ in 0..2 {
        assert_eq!(far.step()["state"], "active");
    }
    far.link().mend();
    far.end();
    far.check(1);
}

#[test]
fn a_stream_that_breaks_on_its_way_is_repeated() {
    let large = "head -c 3000000 /dev/urandom > o";
    let far = Far::new(None, &json!([task("a", large), task("b", large)]));
    // the files of the batch
    far.wire.break_after(6_000);
    let tick = far.step();
    assert_eq!((&tick["state"], &tick["submitted"]), (&json!("active"), &json!(0)));
    far.wire.break_after(0);
    until("both have been submitted", || {
        far.step();
        far.starts().len() == 2
    });
    // the results
    until("both have ended", || {
        far.there()
            .read_dir()
            .is_ok_and(|entries| entries.flatten().filter(|entry| entry.path().join("exit.json").exists()).count() == 2)
    });
    far.wire.break_after_answer(1_000_000);
    let before = far.wire.bytes();
    until("the results break off", || {
        let tick = far.step();
        assert_eq!(tick["state"], "active", "{tick}");
        far.wire.bytes() > before + 1_000_000
    });
    far.wire.break_after_answer(0);
    far.end();
    far.check(2);
    let tasks = far.run(&["tasks", "r", "--json"]).code(0).json();
    for task in tasks.as_array().expect("tasks") {
        assert_eq!(task["outputs"][0]["size"], 3_000_000, "{task}");
    }
}

#[test]
fn a_backend_is_checked_step_by_step() {
    let far = Far::new(None, &json!([task("a", "echo 1 > o")]));
    let check = |name: &str| far.run(&["backend", "check", name, "--workspace", "demo", "--json"]);
    let steps = |done: &Done| -> Vec<(String, bool)> {
        let all = done.json();
        let step = |step: &Value| (step["step"].as_str().unwrap_or("").to_owned(), step["ok"] == true);
        all.as_array().expect("steps").iter().map(step).collect()
    };
    let names = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), true)).collect::<Vec<_>>();
    let done = check("cluster").code(0);
    let all = ["login", "clock", "programs", "remote_root", "submit", "run", "fetch", "clean up"];
    assert_eq!(steps(&done), names(&all), "{done:?}");
    assert!(std::fs::read_dir(far.sshd.path().join("scratch")).expect("a root").next().is_none(), "something is left");
    let done = check("local").code(0);
    assert_eq!(steps(&done), names(&["submit", "run", "fetch"]), "{done:?}");
    let done = check("clutser").code(2);
    assert!(done.stderr.contains("did you mean `cluster`?"), "{done:?}");
    assert!(
        far.world
            .root()
            .parent()
            .expect("a parent")
            .read_dir()
            .expect("a directory")
            .flatten()
            .all(|entry| { !entry.file_name().to_string_lossy().starts_with(".matterstack-check") })
    );

    // what a person sees when the login fails, with the command that opens the connection
    far.sshd.write_config("config", "other", far.wire.address(), "");
    let sockets = tempfile::tempdir().expect("a scratch directory");
    let sockets = [("XDG_RUNTIME_DIR", sockets.path().to_str().expect("UTF-8"))];
    let done = far.world.run_with(&["backend", "check", "cluster", "--workspace", "demo"], &sockets).code(74);
    assert!(done.stdout.starts_with("TROUBLE  login") && done.stdout.contains("-o ControlPersist=yes -fN"), "{done:?}");
    let nowhere = [("PATH", "/nonexistent")];
    let done = far.world.run_with(&["backend", "check", "cluster", "--workspace", "demo"], &nowhere).code(74);
    let said = ["program `ssh` not found", "install the OpenSSH client"];
    assert!(said.iter().all(|words| done.stdout.contains(words)), "{done:?}");
}

#[test]
fn directories_of_a_run_are_removed_on_request() {
    let kept = json!({"pattern": "big", "keep": "remote"});
    let far = Far::new(
        None,
        &json!([
            {"id": "a", "operator": "hpc", "command": "echo started >> started.log; echo 1 > big", "outputs": [kept]},
            task("b", "echo 1 > o"),
        ]),
    );
    far.end();
    far.check(2);
    let removed = |more: &[&str]| {
        far.run(&[&["backend", "clean", "r", "--json"], more].concat()).code(0).json()[0]["removed"].clone()
    };
    // one array and the attempt whose file is nowhere else stays
    assert_eq!(removed(&[]), 2);
    assert_eq!(far.starts().len(), 1);
    assert_eq!(removed(&[]), 0);
    assert_eq!(removed(&["--kept"]), 1);
    assert!(!far.there().exists());
}

#[test]
fn files_that_stay_do_not_cross_the_wire_until_they_are_needed_here() {
    const SIZE: u64 = 5_000_000;
    let kept = json!({"pattern": "WAVE*", "keep": "remote"});
    let far = Far::new(
        None,
        &json!([
            {"id": "make", "operator": "hpc", "outputs": [kept, "o"],
             "command": format!("echo started >> started.log; head -c {SIZE} /dev/urandom > WAVECAR; sha256sum < WAVECAR > o")},
            {"id": "use", "operator": "hpc", "outputs": ["o"],
             "files": {"in/WAVECAR": {"from": "make", "output": "WAVECAR"}, "sum": {"from": "make", "output": "o"}},
             "command": "echo started >> started.log; sha256sum < in/WAVECAR > o && cmp o sum"},
            {"id": "folder", "operator": "hpc", "depends_on": ["use"], "outputs": ["o"],
             "files": {"in/": {"from": "make", "output": "*"}},
             "command": "echo started >> started.log; sha256sum < in/WAVECAR > o && cmp o in/o"},
            {"id": "wait", "operator": "local", "depends_on": ["folder"], "command": "touch ../../../used; while [ -e stdout ] && [ ! -e ../../../go ]; do sleep 0.1; done"},
            {"id": "here", "operator": "local", "depends_on": ["wait"],
             "files": {"WAVECAR": {"from": "make", "output": "WAVECAR"}, "sum": {"from": "make", "output": "o"}},
             "command": "sha256sum < WAVECAR | cmp - sum"},
        ]),
    );
    until("the file was used over there", || {
        far.step();
        far.world.run_dir("r").join("used").exists()
    });
    let crossed = far.wire.bytes();
    assert!(crossed < SIZE / 5, "{crossed} bytes crossed the wire for a file that stayed");
    let made = &far.run(&["tasks", "r", "--json"]).code(0).json()[0];
    let output = &made["outputs"][0];
    assert_eq!(
        (&output["path"], &output["size"], &output["remote"]["backend"]),
        (&json!("WAVECAR"), &json!(SIZE), &json!("cluster"))
    );
    let keys: Vec<&String> = output.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["path", "sha256", "size", "remote"], "as the schema `results` has them");
    let place = PathBuf::from(output["remote"]["path"].as_str().expect("a path"));
    assert_eq!(std::fs::metadata(place).expect("it is there").len(), SIZE);
    std::fs::write(far.world.run_dir("r").join("go"), "").expect("a file");
    far.end();
    assert!(far.wire.bytes() > crossed + SIZE);
    far.check(3);
}

#[test]
fn a_far_job_without_an_exit_record_is_no_success_and_its_outputs_come_all_the_same() {
    let mut lost = task("a", "echo partial > o; kill -9 $PPID; sleep 30");
    lost["allow_failure"] = json!(true);
    let far = Far::new(None, &json!([lost]));
    far.end();
    let attempt = far.run(&["attempts", "r", "a", "--json"]).code(0).json()[0].clone();
    let reason = attempt["reason"].as_str().unwrap_or_default();
    assert!(attempt["state"] == "failed" && reason.contains("without an exit record"), "{attempt}");
    let directory = far.world.run_dir("r").join(attempt["directory"].as_str().expect("a directory"));
    assert_eq!(std::fs::read_to_string(directory.join("o")).expect("fetched"), "partial\n");
    far.check(1);
}

#[test]
fn what_was_kept_on_a_cluster_is_removed_there_and_stays_in_the_record() {
    let kept = json!({"pattern": "big", "keep": "remote"});
    let keeps = json!({"id": "a", "operator": "hpc", "command": "echo started >> started.log; head -c 30000 /dev/zero > big; \
                       echo 1 > o", "outputs": [kept, "o"]});
    let far = Far::new(None, &json!([keeps, task("b", "echo 1 > o")]));
    let early = far.run(&["clean", "r", "--remote"]).code(2);
    assert!(early.stderr.contains("its tasks may need what others left"), "{early:?}");
    far.end();
    far.check(2);
    let outputs = || far.run(&["tasks", "r", "a", "--json"]).code(0).json()[0]["outputs"].clone();
    let before = outputs();
    assert!(before.as_array().is_some_and(|outputs| outputs.len() == 2), "{before}");
    let dry = far.run(&["clean", "r", "--remote", "--dry-run"]).code(0);
    assert!(dry.stderr.contains("dry run") && dry.stderr.contains("1 outputs kept on clusters"), "{dry:?}");
    assert!(far.starts().len() == 2 && outputs() == before);
    let done = far.run(&["clean", "r", "--remote", "--json"]).code(0);
    assert!(done.stderr.contains("backend `cluster`: 3 directories removed, "), "two attempts, one array: {done:?}");
    assert_eq!(done.json()[0]["remote"], 1, "{done:?}");
    assert!(std::fs::read_dir(far.there()).map_or(0, Iterator::count) == 0, "something is left there");
    assert_eq!(outputs(), before, "the digests stay");
    far.run(&["doctor", "r"]).code(0);
    far.run(&["evidence", "r"]).code(0);
    let bundle = std::fs::read_to_string(far.world.run_dir("r").join("evidence/evidence.json")).expect("a bundle");
    let bundle: Value = serde_json::from_str(&bundle).expect("JSON");
    assert_eq!(bundle["findings"], json!([]));
    let removed =
        bundle["attempts"].as_array().expect("attempts").iter().find(|one| one["removed"][0]["path"] == "big");
    assert!(removed.is_some_and(|one| one["removed"][0]["user"].is_string()), "{}", bundle["attempts"]);
    let acts = bundle["acts"].as_array().expect("acts").iter().filter(|act| act["verb"] == "clean").count();
    assert_eq!(acts, 1, "a dry run is no act");
    // a second time there is nothing to do
    let again = far.run(&["clean", "r", "--remote", "--json"]).code(0);
    assert!(again.stderr.contains("backend `cluster`: 0 directories removed, 0 bytes freed"), "{again:?}");
    assert_eq!((&again.json()[0]["remote"], &again.json()[0]["bytes"]), (&json!(0), &json!(0)), "{again:?}");
    // what looks for the file is told
    let told = far.run(&["export", "r", "--out", "out"]).code(74);
    assert!(told.stderr.contains("`big` of task `a` was removed by `clean` on 20"), "{told:?}");
}

#[test]
fn a_secret_behind_ssh_is_read_by_the_job_and_found_nowhere_else() {
    let kept = Kept::new("far-canary", Some((format!("{CANARY}\n").as_bytes(), 0o600)));
    let mut silent = task("silent", "printf %s \"$TOKEN\" | sha256sum > o; scontrol show job $SLURM_JOB_ID >> o");
    silent["env"] = json!({"TOKEN": {"secret": kept.name}});
    let far = Far::new(None, &json!([silent]));
    let dry = far.run(&["step", "r", "--dry-run"]).code(0).stdout;
    assert!(!dry.contains(CANARY), "{dry}");
    far.end();
    far.check(1);
    let directory = far.run(&["path", "r", "silent"]).code(0).stdout;
    let digest = std::fs::read_to_string(PathBuf::from(directory.trim()).join("o")).expect("an output");
    assert!(digest.starts_with(&matterstack::model::document::sha256(CANARY.as_bytes())), "the job had it: {digest}");
    far.run(&["evidence", "r"]).code(0);
    // the store, the queue, evidence and logs here; all that lies over there, and what the sshd logged; what the
    // controller and the node keep of scripts, environments and options
    for place in [far.world.root().to_owned(), far.sshd.path().to_owned()] {
        assert_eq!(find_canary(&place), [] as [PathBuf; 0]);
    }
    assert!(
        far.there().read_dir().is_ok_and(|mut entries| entries.next().is_some()),
        "there was something to look through"
    );
    for part in ["ctld", "spool", "log"] {
        assert_eq!(find_canary(&far.cluster.path(part)), [] as [PathBuf; 0]);
    }
}
