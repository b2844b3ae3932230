//! The pool of the machine: several runs, whose jobs together never take more than there is.
use super::local::{Run, code, until};
use super::{supervised, synced};
use crate::support::pool::{pool, program_on};
use matterstack::backend::Backends;
use matterstack::backend::local::LocalSettings;
use matterstack::model::config::LocalConfig;
use matterstack::model::contract::Status;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The size of a slot of the ledger.
pub(super) const SLOT: usize = 2048;

/// A machine with its pool, and runs on it.
pub(super) struct Machine {
    pub(super) directory: tempfile::TempDir,
    pub(super) place: PathBuf,
}

impl Machine {
    pub(super) fn new(said: &Value) -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let place = pool(directory.path(), said);
        Self { directory, place }
    }

    pub(super) fn run(&self, cores: u32) -> Run {
        self.run_with(LocalConfig { cores, ..LocalConfig::default() })
    }

    fn run_with(&self, config: LocalConfig) -> Run {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let mut backends = Backends::new(directory.path());
        backends.set_program(&program_on(&self.place));
        backends.add_local("local", LocalSettings { config, log_max: None });
        Run { directory, backends }
    }

    /// Runs a supervisor of a run on this machine that can be killed or given an environment.
    pub(super) fn supervisor(&self, run: &Run, environment: &[(&str, &str)]) -> std::process::Child {
        let place = self.place.display().to_string();
        let environment = [&[("MATTERSTACK_TEST_POOL", place.as_str())], environment].concat();
        run.supervisor(&environment)
    }

    pub(super) fn ledger(&self) -> PathBuf {
        self.place.join("matterstack-pool/ledger")
    }

    /// The documents in the ledger, without its header.
    fn records(&self) -> Vec<Value> {
        let bytes = fs::read(self.ledger()).unwrap_or_default();
        bytes.chunks(SLOT).skip(1).filter_map(|slot| serde_json::from_slice(slot.trim_ascii()).ok()).collect()
    }

    fn tickets(&self) -> usize {
        self.records().iter().filter(|record| record.get("ticket").is_some()).count()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// A job that runs until a file is there.
pub(super) fn until_there(file: &Path, cores: u32) -> String {
    let line = format!("while [ -e stdout ] && [ ! -e {} ]; do sleep 0.02; done", file.display());
    json!({"command": line, "resources": {"cores": cores}}).to_string()
}

pub(super) fn touch(file: &Path) {
    fs::write(file, "").expect("a file");
}

/// Waits until a job is told to wait for room; with why.
pub(super) fn waits_for_room(run: &Run, attempt: &str, handle: &str) -> String {
    let mut told = String::new();
    until(|| match run.status(attempt, handle) {
        Status::Waiting { kind, detail } => {
            assert_eq!(kind, "capacity");
            told = detail.to_string();
            true
        }
        status => {
            assert!(matches!(status, Status::Queued), "{attempt}: {status:?}");
            false
        }
    });
    told
}

/// Waits for an end, whatever is said of it before.
pub(super) fn ends(run: &Run, attempt: &str, handle: &str) -> Status {
    let mut last = Status::Queued;
    until(|| {
        supervised(&run.backends);
        last = run.status(attempt, handle);
        !matches!(last, Status::Queued | Status::Running(_) | Status::Waiting { .. })
    });
    last
}

/// Lets jobs of both runs wait behind one that holds the whole machine, until both have a ticket.
fn held_back(machine: &Machine, cores: u32, runs: &[&Run]) {
    let (holder, gate) = (machine.run(cores), machine.path("gate"));
    let handle = holder.submit("gate", &until_there(&gate, cores));
    holder.go();
    until(|| code(&holder.status("gate", &handle)) == "running");
    runs.iter().for_each(|run| run.go());
    until(|| machine.tickets() == runs.len());
    touch(&gate);
    assert_eq!(ends(&holder, "gate", &handle), Status::Succeeded);
}

#[test]
fn two_runs_never_take_more_cores_than_there_are_and_neither_starves() {
    const EACH: usize = 40;
    let machine = Machine::new(&json!({"cores": 2}));
    let runs = [machine.run(2), machine.run(2)];
    let log = machine.path("log");
    let mut handles = Vec::new();
    for (name, run) in ["a", "b"].into_iter().zip(&runs) {
        for number in 0..EACH {
            let attempt = format!("{name}{number}");
            let line = format!("echo +{name} >> {0}; sleep 0.01; echo -{name} >> {0}", log.display());
            handles.push((run, attempt.clone(), run.submit(&attempt, &json!({"command": line}).to_string())));
        }
    }
    held_back(&machine, 2, &[&runs[0], &runs[1]]);
    for (run, attempt, handle) in &handles {
        assert_eq!(ends(run, attempt, handle), Status::Succeeded, "{attempt}");
    }
    let log = fs::read_to_string(log).expect("a log");
    let (mut busy, mut most, mut started) = (0_i32, 0, [0_usize; 2]);
    for line in log.lines() {
        busy += if line.starts_with('+') { 1 } else { -1 };
        most = most.max(busy);
        started[usize::from(line.ends_with('b'))] += usize::from(line.starts_with('+'));
        // as long as both have something to do, neither gets far ahead
        let ahead = started[0].abs_diff(started[1]);
        assert!(ahead <= 12 || started.contains(&EACH), "{started:?}\n{log}");
    }
    assert_eq!((most, started), (2, [EACH, EACH]), "{log}");
    until(|| machine.records().is_empty());
}

#[test]
fn a_large_job_gets_its_room_although_small_ones_pass_it() {
    const SMALL: usize = 150;
    let machine = Machine::new(&json!({"cores": 2}));
    let (large, small) = (machine.run(2), machine.run(2));
    let log = machine.path("log");
    let line = |name: &str| format!("echo {name} >> {}; sleep 0.01", log.display());
    let handles: Vec<_> = (0..SMALL)
        .map(|number| format!("s{number}"))
        .map(|id| (id.clone(), small.submit(&id, &json!({"command": line("small")}).to_string())))
        .collect();
    let wide = large.submit("wide", &json!({"command": line("wide"), "resources": {"cores": 2}}).to_string());
    small.go();
    until(|| log.exists());
    large.go();
    assert_eq!(ends(&large, "wide", &wide), Status::Succeeded);
    for (attempt, handle) in &handles {
        assert_eq!(ends(&small, attempt, handle), Status::Succeeded, "{attempt}");
    }
    let log = fs::read_to_string(log).expect("a log");
    let before = log.lines().position(|line| line == "wide").expect("it ran");
    assert!(before < SMALL, "it ran last: {before}");
}

#[test]
fn a_small_job_passes_a_large_one_of_its_run() {
    let machine = Machine::new(&json!({"cores": 4}));
    let (run, gate) = (machine.run(2), machine.path("gate"));
    let first = run.submit("a1", &until_there(&gate, 1));
    let wide = run.submit("a2", r#"{"command":["true"],"resources":{"cores":2}}"#);
    let small = run.submit("a3", r#"{"command":["true"]}"#);
    run.go();
    assert_eq!(ends(&run, "a3", &small), Status::Succeeded);
    until(|| code(&run.status("a1", &first)) == "running");
    assert_eq!(code(&run.status("a2", &wide)), "queued", "it waits for its own run, and not for the machine");
    touch(&gate);
    assert_eq!(ends(&run, "a2", &wide), Status::Succeeded);
}

#[test]
fn what_waits_names_the_run_that_holds_the_room_and_is_not_claimed() {
    let machine = Machine::new(&json!({"cores": 2}));
    let (holder, waiter, gate) = (machine.run(2), machine.run(2), machine.path("gate"));
    let held = holder.submit("h1", &until_there(&gate, 2));
    holder.go();
    until(|| code(&holder.status("h1", &held)) == "running");
    let waits = waiter.submit("w1", r#"{"command":["true"]}"#);
    waiter.go();
    let told = waits_for_room(&waiter, "w1", &waits);
    let of = holder.directory.path().canonicalize().expect("a path").display().to_string();
    assert!(told.contains("waits for 1 core") && told.contains(&format!("run `{of}` holds 2 cores")), "{told}");
    let journal = fs::read_to_string(waiter.backend_directory().join("journal")).expect("a journal");
    assert!(!journal.contains("claim"), "{journal}");
    touch(&gate);
    assert_eq!(ends(&waiter, "w1", &waits), Status::Succeeded);
}

#[test]
fn jobs_whose_supervisor_was_killed_count_while_they_live_and_no_longer() {
    // before the ledger names the job, and after
    for point in ["local.spawned", "local.started"] {
        let machine = Machine::new(&json!({"cores": 1}));
        let (dead, other, gate) = (machine.run(1), machine.run(1), machine.path("gate"));
        dead.submit("d1", &until_there(&gate, 1));
        synced(&dead.backends);
        machine.supervisor(&dead, &[("MATTERSTACK_FAILPOINT", point)]).wait().expect("ended");
        let waits = other.submit("o1", r#"{"command":["true"]}"#);
        other.go();
        let told = waits_for_room(&other, "o1", &waits);
        assert!(told.contains("holds 1 core"), "{point}: {told}");
        touch(&gate);
        assert_eq!(ends(&other, "o1", &waits), Status::Succeeded, "{point}");
    }
}

#[test]
fn a_next_supervisor_holds_what_its_jobs_have() {
    let machine = Machine::new(&json!({"cores": 2, "gpus": ["a", "b"]}));
    let (run, other, gate) = (machine.run(2), machine.run(2), machine.path("gate"));
    let mut job: Value = serde_json::from_str(&until_there(&gate, 1)).expect("a job");
    job["resources"]["gpus"] = json!(1);
    let first = run.submit("r1", &job.to_string());
    synced(&run.backends);
    let mut supervisor = machine.supervisor(&run, &[]);
    until(|| code(&run.status("r1", &first)) == "running");
    supervisor.kill().expect("killed");
    supervisor.wait().expect("ended");
    // what the ledger said is gone as well: the next supervisor knows it from its journal
    fs::remove_file(machine.ledger()).expect("removed");
    run.go();
    until(|| machine.records().len() == 1);
    assert_eq!(machine.records()[0]["gpus"], json!(["a"]));
    let line = r#"{"command":"test \"$CUDA_VISIBLE_DEVICES\" = b","resources":{"gpus":1}}"#;
    let second = other.submit("o1", line);
    other.go();
    assert_eq!(ends(&other, "o1", &second), Status::Succeeded);
    touch(&gate);
    assert_eq!(code(&ends(&run, "r1", &first)), "lost", "nobody saw how it ended");
    until(|| machine.records().is_empty());
}

#[test]
fn a_supervisor_killed_anywhere_leaves_no_room_taken() {
    let points = ["local.room", "local.claim", "local.starting", "local.spawned", "local.started", "local.end-seen"];
    for point in points {
        let machine = Machine::new(&json!({"cores": 2}));
        let (run, other) = (machine.run(2), machine.run(2));
        let attempts: Vec<String> = (0..4).map(|number| format!("k{number}")).collect();
        let line = r#"{"command":"echo x >> counter; sleep 0.07"}"#;
        let handles: Vec<_> = attempts.iter().map(|attempt| run.submit(attempt, line)).collect();
        synced(&run.backends);
        machine.supervisor(&run, &[("MATTERSTACK_FAILPOINT", &format!("{point}:1"))]).wait().expect("ended");
        let whole = other.submit("whole", r#"{"command":["true"],"resources":{"cores":2}}"#);
        other.go();
        assert_eq!(ends(&other, "whole", &whole), Status::Succeeded, "{point}");
        run.go();
        for (attempt, handle) in attempts.iter().zip(&handles) {
            let status = ends(&run, attempt, handle);
            let counter = fs::read_to_string(run.attempt_directory(attempt).join("counter")).unwrap_or_default();
            assert!(counter.len() <= 2, "{attempt} started twice at {point}");
            assert!(matches!(status, Status::Succeeded | Status::Lost(_)), "{attempt} at {point}: {status:?}");
        }
    }
}

#[test]
fn a_job_is_told_its_graphics_processors_and_shares_none() {
    let machine = Machine::new(&json!({"cores": 8, "gpus": ["0", "GPU-7"]}));
    let runs = [machine.run(8), machine.run(8)];
    let log = machine.path("log");
    let line = format!(
        "test \"$CUDA_VISIBLE_DEVICES\" = \"$ROCR_VISIBLE_DEVICES\" || exit 1; g=$CUDA_VISIBLE_DEVICES; \
         mkdir {0}/held-$g || exit 2; sleep 0.02; rmdir {0}/held-$g; echo $g >> {1}",
        machine.directory.path().display(),
        log.display()
    );
    let mut handles = Vec::new();
    for (name, run) in ["a", "b"].into_iter().zip(&runs) {
        for number in 0..10 {
            let attempt = format!("{name}{number}");
            let job = json!({"command": line, "resources": {"gpus": 1}}).to_string();
            handles.push((run, attempt.clone(), run.submit(&attempt, &job)));
        }
        let none = r#"{"command":"test \"${CUDA_VISIBLE_DEVICES-unset}\" = \"\""}"#;
        handles.push((run, format!("{name}-none"), run.submit(&format!("{name}-none"), none)));
        let both = r#"{"command":"test \"$CUDA_VISIBLE_DEVICES\" = 0,GPU-7","resources":{"gpus":2}}"#;
        handles.push((run, format!("{name}-both"), run.submit(&format!("{name}-both"), both)));
        run.go();
    }
    for (run, attempt, handle) in &handles {
        assert_eq!(ends(run, attempt, handle), Status::Succeeded, "{attempt}");
    }
    let used = fs::read_to_string(log).expect("a log");
    assert!(used.contains("GPU-7\n") && used.contains("0\n"), "{used}");
    // where no graphics processor is named nothing is said of any
    let plain = Machine::new(&json!({"cores": 8}));
    let run = plain.run(1);
    let handle = run.submit("p", r#"{"command":"test \"${CUDA_VISIBLE_DEVICES-unset}\" = unset"}"#);
    run.go();
    assert_eq!(ends(&run, "p", &handle), Status::Succeeded);
}

#[test]
fn a_share_bounds_its_run_and_counts_bound_all() {
    let machine = Machine::new(&json!({"cores": 8, "memory_mb": 1000, "counts": {"licence": 1}}));
    let share =
        LocalConfig { cores: 8, memory_mb: Some(300), gpus: Some(vec!["3".to_owned()]), ..LocalConfig::default() };
    let (run, other, gate) = (machine.run_with(share), machine.run(8), machine.path("gate"));
    let with = |resources: &Value| {
        let mut job: Value = serde_json::from_str(&until_there(&gate, 1)).expect("a job");
        job["resources"] = resources.clone();
        job.to_string()
    };
    let first = run.submit("m1", &with(&json!({"memory_mb": 200, "gpus": 1, "counts": {"licence": 1}})));
    run.go();
    until(|| code(&run.status("m1", &first)) == "running");
    // it has no more memory left, and no other graphics processor
    let memory = run.submit("m2", r#"{"command":["true"],"resources":{"memory_mb":200}}"#);
    let gpu = run.submit("m3", r#"{"command":"test $CUDA_VISIBLE_DEVICES = 3","resources":{"gpus":1}}"#);
    let small = run.submit("m4", r#"{"command":["true"],"resources":{"memory_mb":100}}"#);
    run.go();
    assert_eq!(ends(&run, "m4", &small), Status::Succeeded);
    assert_eq!((code(&run.status("m2", &memory)), code(&run.status("m3", &gpu))), ("queued", "queued"));
    // others have more memory, and no licence
    let large = other.submit("o1", r#"{"command":["true"],"resources":{"memory_mb":800}}"#);
    let licence = other.submit("o2", r#"{"command":["true"],"resources":{"counts":{"licence":1}}}"#);
    other.go();
    assert_eq!(ends(&other, "o1", &large), Status::Succeeded);
    assert!(waits_for_room(&other, "o2", &licence).contains("1 of `licence`"));
    touch(&gate);
    for (run, attempt, handle) in [(&run, "m2", &memory), (&run, "m3", &gpu), (&other, "o2", &licence)] {
        assert_eq!(ends(run, attempt, handle), Status::Succeeded, "{attempt}");
    }
}

#[test]
fn what_there_never_is_is_said_and_stops_nothing_else() {
    let machine = Machine::new(&json!({"cores": 2, "gpus": ["0"]}));
    let run = machine.run(4);
    let asks = [
        ("n1", json!({"gpus": 2}), "2 GPUs, and 1"),
        ("n2", json!({"cores": 3}), "3 cores, and 2"),
        ("n3", json!({"counts": {"furnace": 1}}), "1 of `furnace`, and 0"),
        ("n4", json!({"cores": 5}), "its backend"),
    ];
    let job = |resources: &Value| json!({"command": ["true"], "resources": resources}).to_string();
    let handles: Vec<_> = asks.iter().map(|(attempt, asked, _)| run.submit(attempt, &job(asked))).collect();
    let small = run.submit("n9", r#"{"command":["true"]}"#);
    run.go();
    assert_eq!(ends(&run, "n9", &small), Status::Succeeded);
    for ((attempt, _, why), handle) in asks.iter().zip(&handles) {
        let told = waits_for_room(&run, attempt, handle);
        assert!(told.contains(why), "{attempt}: {told}");
    }
    // a person says that there is more
    let said = json!({"cores": 8, "gpus": ["0", "1"], "counts": {"furnace": 1}});
    pool(machine.directory.path(), &said);
    for ((attempt, ..), handle) in asks.iter().zip(&handles).take(3) {
        assert_eq!(ends(&run, attempt, handle), Status::Succeeded, "{attempt}");
    }
    run.cancel("n4", &handles[3]);
    assert_eq!(ends(&run, "n4", &handles[3]), Status::Cancelled);
}

#[test]
fn settings_that_cannot_be_read_are_named_and_waited_for() {
    let machine = Machine::new(&json!({"coers": 2}));
    let run = machine.run(1);
    let handle = run.submit("s1", r#"{"command":["true"]}"#);
    run.go();
    let told = waits_for_room(&run, "s1", &handle);
    assert!(told.contains("unknown field `coers`") && told.contains("config.json"), "{told}");
    pool(machine.directory.path(), &json!({"cores": 2}));
    assert_eq!(ends(&run, "s1", &handle), Status::Succeeded);
}

#[test]
fn without_a_pool_each_run_keeps_to_its_own_numbers() {
    let machine = Machine::new(&json!({"cores": 2, "pool": false}));
    let (holder, other, gate) = (machine.run(2), machine.run(2), machine.path("gate"));
    let held = holder.submit("h1", &until_there(&gate, 2));
    holder.go();
    until(|| code(&holder.status("h1", &held)) == "running");
    let free = other.submit("o1", r#"{"command":["true"],"resources":{"cores":2}}"#);
    other.go();
    assert_eq!(ends(&other, "o1", &free), Status::Succeeded);
    assert!(!machine.ledger().exists());
    touch(&gate);
    assert_eq!(ends(&holder, "h1", &held), Status::Succeeded);
}

#[test]
fn users_of_a_shared_directory_have_one_pool() {
    let scratch = tempfile::tempdir().expect("a directory");
    let shared = scratch.path().join("shared");
    fs::create_dir(&shared).expect("a directory");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o2770)).expect("permissions");
    let machine = Machine::new(&json!({"cores": 2, "shared": shared}));
    let (holder, other, gate) = (machine.run(2), machine.run(2), machine.path("gate"));
    let held = holder.submit("h1", &until_there(&gate, 1));
    holder.go();
    until(|| code(&holder.status("h1", &held)) == "running");
    let mode = |name: &str| fs::metadata(shared.join(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!((mode("ledger"), mode("bell")), (0o660, 0o660));
    let waits = other.submit("o1", r#"{"command":["true"],"resources":{"cores":2}}"#);
    other.go();
    assert!(waits_for_room(&other, "o1", &waits).contains("holds 1 core"));
    touch(&gate);
    assert_eq!(ends(&other, "o1", &waits), Status::Succeeded);
}
