//! The local backend: what ends how, and what a supervisor killed at any point leaves behind.
use super::{changes, supervised, synced};
use crate::support::pool::{ample_pool, program_on};
use matterstack::backend::local::LocalSettings;
use matterstack::backend::{Backends, Compute, JobKey};
use matterstack::model::config::LocalConfig;
use matterstack::model::contract::{Found, Status};
use matterstack::model::id::{AttemptId, TaskId};
use matterstack::model::inputs::Inputs;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_matterstack");

pub(super) struct Run {
    pub(super) directory: tempfile::TempDir,
    pub(super) backends: Backends,
}

impl Run {
    pub(super) fn new(slots: u32) -> Self {
        let directory = tempfile::tempdir().expect("scratch directory");
        let backends = Self::open(directory.path(), slots);
        Self { directory, backends }
    }

    pub(super) fn open(directory: &Path, slots: u32) -> Backends {
        let mut backends = Backends::new(directory);
        backends.set_program(&program_on(&ample_pool(directory)));
        backends.add_local(
            "local",
            LocalSettings { config: LocalConfig { cores: slots, ..LocalConfig::default() }, log_max: None },
        );
        backends
    }

    pub(super) fn attempt_directory(&self, attempt: &str) -> PathBuf {
        self.directory.path().join("operators").join(attempt)
    }

    pub(super) fn submit(&self, attempt: &str, job: &str) -> String {
        let directory = self.attempt_directory(attempt);
        fs::create_dir_all(&directory).expect("attempt directory");
        let id = AttemptId::from(attempt);
        self.backends
            .submit(
                "local",
                JobKey { attempt_id: &id, task_id: &TaskId::from("t"), directory: &directory },
                job,
                &Inputs::default(),
            )
            .expect("submitted")
    }

    pub(super) fn status(&self, attempt: &str, handle: &str) -> Status {
        self.status_by(&self.backends, attempt, handle)
    }

    pub(super) fn status_by(&self, backends: &Backends, attempt: &str, handle: &str) -> Status {
        let (id, directory) = (AttemptId::from(attempt), self.attempt_directory(attempt));
        let key = JobKey { attempt_id: &id, task_id: &TaskId::from("t"), directory: &directory };
        backends.status("local", key, handle).expect("status").status
    }

    /// The exit record, by a process that has asked nothing yet.
    pub(super) fn collect(&self, attempt: &str) -> String {
        let fresh = Self::open(self.directory.path(), 1);
        let (id, directory) = (AttemptId::from(attempt), self.attempt_directory(attempt));
        let key = JobKey { attempt_id: &id, task_id: &TaskId::from("t"), directory: &directory };
        let found = fresh.find("local", key).expect("found");
        let Found::Yes(submitted) = found else { panic!("{attempt} is not known") };
        fresh.collect("local", key, &submitted.handle).expect("a record")
    }

    pub(super) fn cancel(&self, attempt: &str, handle: &str) {
        let (id, directory) = (AttemptId::from(attempt), self.attempt_directory(attempt));
        self.backends
            .cancel("local", JobKey { attempt_id: &id, task_id: &TaskId::from("t"), directory: &directory }, handle)
            .expect("cancelled");
    }

    pub(super) fn go(&self) {
        synced(&self.backends);
        supervised(&self.backends);
    }

    /// Waits for an end as ticks do, each of which sees to it that there is a supervisor: of one that was killed the
    /// kernel may hold the locks for a moment yet, for a job that it was just starting.
    pub(super) fn wait(&self, attempt: &str, handle: &str) -> Status {
        let mut last = Status::Queued;
        until(|| {
            self.go();
            last = self.status(attempt, handle);
            !matches!(last, Status::Queued | Status::Running(_))
        });
        last
    }

    pub(super) fn backend_directory(&self) -> PathBuf {
        let mut entries = fs::read_dir(self.directory.path().join("backends/local")).expect("backend");
        entries.next().expect("one machine").expect("entry").path()
    }

    /// Runs a supervisor in the foreground of the test, so that it can be killed or given an environment.
    pub(super) fn supervisor(&self, environment: &[(&str, &str)]) -> std::process::Child {
        let mut command = Command::new(PROGRAM);
        command.env("MATTERSTACK_TEST_POOL", ample_pool(self.directory.path()));
        command.arg("__supervise").arg(self.backend_directory()).envs(environment.iter().copied());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("supervisor")
    }
}

/// Waits for what a supervisor does.
#[track_caller]
pub(super) fn until(condition: impl FnMut() -> bool) {
    crate::support::until_within(Duration::from_secs(20), "what a supervisor does", condition);
}

pub(super) fn code(status: &Status) -> &str {
    match status {
        Status::Succeeded => "succeeded",
        Status::Cancelled => "cancelled",
        Status::Failed(detail) => &detail.code,
        Status::Lost(_) => "lost",
        Status::NotStarted(_) => "not-started",
        Status::Queued => "queued",
        Status::Running(_) => "running",
        Status::Waiting { .. } => "waiting",
        Status::Unavailable(_) => "unavailable",
    }
}

#[test]
fn a_job_ends_as_its_command_did() {
    let run = Run::new(2);
    let cases = [
        ("a1", r#"{"command":["true"]}"#, "succeeded"),
        ("a2", r#"{"command":"exit 3"}"#, "exit-code"),
        ("a3", r#"{"command":"kill -9 $$"}"#, "signal"),
        ("a4", r#"{"command":["no-such-program"]}"#, "not-found"),
        ("a5", r#"{"command":["sleep","30"],"resources":{"walltime_s":0.1}}"#, "timeout"),
        ("a6", r#"{"command":"test \"$X-$MATTERSTACK_ATTEMPT-$CARGO\" = y-a6-","env":{"X":"y"}}"#, "succeeded"),
        ("a7", r#"{"command":["/etc/passwd"]}"#, "not-executable"),
        ("a8", r#"{"command":["test","x y"],"launcher":["env","L=x y"]}"#, "succeeded"),
        ("a9", r#"{"command":"test \"$L\" = 'x y'","launcher":["env","L=x y"]}"#, "succeeded"),
        ("a10", r#"{"command":["sh","-c","test \"$L\" = 'x y'"],"launcher":"env 'L=x y'"}"#, "succeeded"),
    ];
    let handles: Vec<_> = cases.iter().map(|(attempt, job, _)| run.submit(attempt, job)).collect();
    run.go();
    for ((attempt, _, expected), handle) in cases.iter().zip(&handles) {
        assert_eq!(code(&run.wait(attempt, handle)), *expected, "{attempt}");
    }
    let files = fs::read_dir(run.attempt_directory("a1")).expect("files").count();
    assert_eq!(files, 3, "stdout, stderr and the exit record");
}

#[test]
fn cancel_reaches_grandchildren_and_jobs_that_wait() {
    let run = Run::new(1);
    let running = run.submit("a1", r#"{"command":"sleep 77 & echo $! > child; wait"}"#);
    let waiting = run.submit("a2", r#"{"command":"touch ran"}"#);
    run.go();
    let child = run.attempt_directory("a1").join("child");
    until(|| fs::read_to_string(&child).is_ok_and(|text| text.ends_with('\n')));
    run.cancel("a2", &waiting);
    run.cancel("a1", &running);
    assert_eq!(run.wait("a1", &running), Status::Cancelled);
    assert_eq!(run.wait("a2", &waiting), Status::Cancelled);
    assert!(!run.attempt_directory("a2").join("ran").exists());
    let pid = fs::read_to_string(&child).expect("pid").trim().parse().expect("number");
    until(|| matterstack::ground::machine::process_start_time(pid).is_none());
}

#[test]
fn a_supervisor_killed_anywhere_starts_nothing_twice() {
    let points =
        ["local.claim", "local.starting", "local.spawned", "local.started", "local.end-seen", "local.exit-recorded"];
    for point in points {
        for passage in ["1", "3"] {
            let run = Run::new(2);
            let attempts: Vec<String> = (0..6).map(|number| format!("b{number}")).collect();
            let submit = |attempt: &String| run.submit(attempt, r#"{"command":"echo x >> counter; sleep 0.07"}"#);
            let handles: Vec<_> = attempts.iter().map(submit).collect();
            synced(&run.backends);
            let failpoint = format!("{point}:{passage}");
            run.supervisor(&[("MATTERSTACK_FAILPOINT", &failpoint)]).wait().expect("ended");
            run.go();
            for (attempt, handle) in attempts.iter().zip(&handles) {
                let status = run.wait(attempt, handle);
                let counter = fs::read_to_string(run.attempt_directory(attempt).join("counter")).unwrap_or_default();
                assert!(counter.len() <= 2, "{attempt} started twice at {failpoint}");
                match status {
                    Status::Succeeded => assert_eq!(counter, "x\n", "{attempt} at {failpoint}"),
                    Status::Lost(_) => {}
                    other => panic!("{attempt} at {failpoint}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_supervisor_waits_for_somebody_who_looks_at_its_lock_and_not_for_ever() {
    let run = Run::new(1);
    let handle = run.submit("a1", r#"{"command":["true"]}"#);
    synced(&run.backends);
    let lock = fs::File::create(run.backend_directory().join("supervisor.lock")).expect("a lock");
    lock.lock_shared().expect("a look");
    // of one that keeps it, it leaves again, so that those of later ticks do not pile up
    let mut waits = run.supervisor(&[]);
    let begun = Instant::now();
    assert!(waits.wait().expect("ended").success());
    assert!(begun.elapsed() > Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(code(&run.status("a1", &handle)), "queued");
    // of one that lets go while it waits, it takes its place
    let mut waits = run.supervisor(&[]);
    std::thread::sleep(Duration::from_millis(200));
    lock.unlock().expect("looked");
    until(|| run.status("a1", &handle) == Status::Succeeded);
    waits.wait().expect("ended");
}

#[test]
fn a_job_whose_supervisor_died_keeps_its_slot_and_ends_lost() {
    let run = Run::new(1);
    let first = run.submit("a1", r#"{"command":"sleep 0.7; touch done"}"#);
    let second = run.submit("a2", r#"{"command":"test -e ../a1/done"}"#);
    synced(&run.backends);
    let mut supervisor = run.supervisor(&[]);
    until(|| code(&run.status("a1", &first)) == "running");
    supervisor.kill().expect("killed");
    supervisor.wait().expect("ended");
    run.go();
    assert_eq!(code(&run.wait("a2", &second)), "succeeded");
    assert_eq!(code(&run.wait("a1", &first)), "lost");
}

#[test]
fn a_restart_of_the_machine_loses_what_was_claimed_and_starts_the_rest() {
    let run = Run::new(1);
    let first = run.submit("a1", r#"{"command":"sleep 0.3; echo x >> counter"}"#);
    synced(&run.backends);
    let mut supervisor = run.supervisor(&[("MATTERSTACK_TEST_BOOT_ID", "earlier")]);
    until(|| code(&run.status("a1", &first)) == "running");
    supervisor.kill().expect("killed");
    supervisor.wait().expect("ended");
    let second = run.submit("a2", r#"{"command":["true"]}"#);
    run.go();
    assert_eq!(code(&run.wait("a1", &first)), "lost");
    assert_eq!(code(&run.wait("a2", &second)), "succeeded");
}

#[test]
fn torn_lines_count_for_nothing() {
    use std::io::Write;
    let run = Run::new(1);
    let first = run.submit("a1", r#"{"command":["true"]}"#);
    synced(&run.backends);
    for (file, text) in
        [("queue", r#"{"submit":{"attempt":"a9","directory":"x","command":["true"]}}"#), ("journal", "{\"cl")]
    {
        let path = run.backend_directory().join(file);
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).expect("file");
        file.write_all(text.as_bytes()).expect("torn");
    }
    let fresh = Run::open(run.directory.path(), 1);
    let id = AttemptId::from("a9");
    let directory = run.attempt_directory("a9");
    let key = JobKey { attempt_id: &id, task_id: &TaskId::from("t"), directory: &directory };
    assert_eq!(fresh.find("local", key).expect("found"), Found::No);
    let second = run.submit("a2", r#"{"command":["true"]}"#);
    run.go();
    assert_eq!(run.wait("a1", &first), Status::Succeeded);
    assert_eq!(run.wait("a2", &second), Status::Succeeded);
    assert_eq!(fresh.find("local", key).expect("found"), Found::No);
}

#[test]
fn changes_name_each_attempt_once_and_the_supervisor_leaves_no_zombie() {
    let run = Run::new(2);
    for number in 0..5 {
        run.submit(&format!("a{number}"), r#"{"command":["true"]}"#);
    }
    run.go();
    let mut ended = std::collections::BTreeSet::new();
    let mut cursors = BTreeMap::new();
    until(|| {
        let changes = changes(&run.backends, &cursors);
        cursors = changes.cursors;
        ended.extend(
            changes
                .attempts
                .into_iter()
                .filter(|attempt| run.attempt_directory(attempt.as_str()).join("exit.json").exists()),
        );
        ended.len() == 5
    });
    let journal = run.backend_directory().join("journal");
    until(|| fs::read_to_string(&journal).expect("journal").trim_end().ends_with("}}}"));
    assert!(changes(&run.backends, &cursors).attempts.is_empty());
    let id = std::process::id();
    until(|| {
        let children = fs::read_to_string(format!("/proc/self/task/{id}/children")).unwrap_or_default();
        children
            .split_whitespace()
            .all(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z")))
    });
}
