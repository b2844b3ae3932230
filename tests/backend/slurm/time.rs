//! What depends on the time, by a clock that the test holds in its hand: a real cluster behind a real sshd.
use super::super::{changes, synced};
use crate::support::slurm::{Cluster, Plan};
use crate::support::sshd::{HOST, Sshd};
use crate::support::until;
use matterstack::backend::{Backends, Clock, Compute, JobKey};
use matterstack::model::config::{SlurmConfig, SshConfig};
use matterstack::model::contract::{Found, GuestError};
use matterstack::model::id::{AttemptId, TaskId};
use matterstack::model::inputs::Inputs;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// A cluster, the way to it, and a clock.
struct Bench {
    cluster: Cluster,
    sshd: Sshd,
    directory: tempfile::TempDir,
    now: Arc<AtomicI64>,
}

impl Bench {
    fn new(plan: Plan) -> Self {
        let cluster = Cluster::start(plan);
        let (name, conf) = cluster.environment();
        let sshd = Sshd::with(None, &format!("SetEnv {name}={conf}"));
        let directory = tempfile::tempdir().expect("a scratch directory");
        Self { cluster, sshd, directory, now: Arc::new(AtomicI64::new(1_800_000_000_000)) }
    }

    /// The backends as a new process has them.
    fn backends(&self) -> Backends {
        let mut backends = Backends::new(self.directory.path());
        let now = self.now.clone();
        backends.set_clock(Clock::of(move || now.load(Ordering::Relaxed)));
        let config = self.sshd.path().join("config").display().to_string();
        let settings = SlurmConfig {
            poll_interval_s: 10.0,
            grace_s: 10.0,
            submits_per_minute: 2,
            remote_root: Some(self.sshd.path().join("scratch").display().to_string()),
            ssh: Some(SshConfig { host: HOST.to_owned(), config: Some(config) }),
            ..SlurmConfig::default()
        };
        backends.add_slurm("c", settings);
        backends
    }

    fn wait(&self, time: Duration) {
        self.now.fetch_add(time.as_millis() as i64, Ordering::Relaxed);
    }

    fn attempt(&self, name: &str) -> (AttemptId, TaskId, PathBuf) {
        let directory = self.directory.path().join("operators/op").join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        (AttemptId::from(name), TaskId::from("t"), directory)
    }
}

fn submit(
    backends: &Backends,
    (attempt_id, task_id, directory): &(AttemptId, TaskId, PathBuf),
) -> Result<String, GuestError> {
    let key = JobKey { attempt_id, task_id, directory };
    let handle = backends.submit("c", key, r#"{"command": "sleep 300"}"#, &Inputs::default())?;
    match synced(backends).remove(attempt_id) {
        Some(error) => Err(error),
        None => Ok(handle),
    }
}

fn delay_s(answer: Result<String, GuestError>, code: &str) -> u64 {
    match answer {
        Err(GuestError::Transient { detail, retry_after_ms: Some(after) }) if detail.code == code => {
            after.div_ceil(1000)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn submits_keep_to_their_number_in_a_minute_and_a_clock_set_back_makes_none_wait() {
    let bench = Bench::new(Plan::default());
    let attempts: Vec<_> = ["a1", "a2", "a3", "a4"].map(|name| bench.attempt(name)).into();
    submit(&bench.backends(), &attempts[0]).expect("the first");
    bench.wait(Duration::from_secs(20));
    submit(&bench.backends(), &attempts[1]).expect("the second");
    assert_eq!(delay_s(submit(&bench.backends(), &attempts[2]), "submit-rate"), 40);
    bench.wait(Duration::from_secs(41));
    submit(&bench.backends(), &attempts[2]).expect("a minute after the first");
    bench.now.store(1_700_000_000_000, Ordering::Relaxed);
    submit(&bench.backends(), &attempts[3]).expect("as if none had been before");
    assert_eq!(bench.cluster.jobs("%i").len(), 4);
}

#[test]
fn polls_are_due_by_the_clock_and_at_once_after_it_was_set_back() {
    let bench = Bench::new(Plan::default());
    submit(&bench.backends(), &bench.attempt("a1")).expect("submitted");
    let after = || bench.backends().poll_after().expect("there is a job").as_secs();
    assert_eq!(after(), 0);
    let poll = || drop(changes(&bench.backends(), &BTreeMap::new()));
    poll();
    assert_eq!(after(), 10);
    bench.wait(Duration::from_secs(4));
    poll();
    assert_eq!(after(), 6, "nobody was asked");
    bench.wait(Duration::from_secs(7));
    assert_eq!(after(), 0);
    poll();
    bench.now.store(1_700_000_000_000, Ordering::Relaxed);
    assert!(after() <= 10);
    poll();
    assert!(after() <= 10);
}

#[test]
fn a_wish_to_stop_that_was_not_heard_is_told_again_after_half_a_minute() {
    let bench = Bench::new(Plan::default());
    let attempt = bench.attempt("a1");
    let key = JobKey { attempt_id: &attempt.0, task_id: &attempt.1, directory: &attempt.2 };
    let handle = submit(&bench.backends(), &attempt).expect("submitted");
    until("it runs", || bench.cluster.jobs("%T") == ["RUNNING"]);
    // the process that was to tell it dies
    bench.backends().cancel("c", key, &handle).expect("noted");
    let look = || {
        bench.wait(Duration::from_secs(11));
        let backends = bench.backends();
        changes(&backends, &BTreeMap::new());
        backends.status("c", key, &handle).expect("a status");
        assert!(backends.flush().is_empty());
    };
    look();
    look();
    assert_eq!(bench.cluster.jobs("%T"), ["RUNNING"], "22 s");
    look();
    until("it is stopped", || bench.cluster.jobs("%T") == ["CANCELLED"]);
}

#[test]
fn a_submit_without_an_answer_is_looked_for_until_the_queue_has_answered_twice_the_grace_apart() {
    let bench = Bench::new(Plan::default().line("MessageTimeout=3"));
    let attempt = bench.attempt("a1");
    let key = JobKey { attempt_id: &attempt.0, task_id: &attempt.1, directory: &attempt.2 };
    // asked for first: what the cluster's limits are
    submit(&bench.backends(), &bench.attempt("a0")).expect("submitted");
    bench.cluster.signal("slurmctld", "STOP");
    let answer = submit(&bench.backends(), &attempt);
    assert!(matches!(answer, Err(GuestError::Ambiguous(_))), "{answer:?}");
    let find = || bench.backends().find("c", key).expect("an answer");
    assert!(matches!(find(), Found::Unknown { .. }), "silent");
    bench.cluster.signal("slurmctld", "CONT");
    bench.cluster.ask("scancel", &["-u", "root"]);
    until("nothing is left of it", || bench.cluster.jobs("%T").iter().all(|word| word != "RUNNING"));
    let word = |found: Found| match found {
        Found::Yes(_) => "yes",
        Found::No => "no",
        Found::Unknown { .. } => "unknown",
    };
    bench.wait(Duration::from_secs(11));
    let first = word(find());
    // the controller may have taken it in once it went on: then it is found, and never made again
    let names = bench.cluster.jobs("%j");
    let expected = if names.len() > 1 { ["yes", "yes", "yes"] } else { ["unknown", "unknown", "no"] };
    bench.wait(Duration::from_secs(5));
    let second = word(find());
    bench.wait(Duration::from_secs(11));
    assert_eq!([first, second, word(find())], expected, "{names:?}");
}
