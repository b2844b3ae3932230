//! The local backend when somebody, a job of its own perhaps, takes away, empties, cuts or replaces its files: no
//! command starts twice, and none starts that was called lost.
use super::local::{Run, code, until};
use super::local_memory::{counted, settled, starts};
use super::{supervised, synced};
use crate::support::pool::ample_pool;
use matterstack::backend::Compute;
use matterstack::backend::{Backends, JobKey};
use matterstack::model::contract::Status;
use matterstack::model::id::{AttemptId, TaskId};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// What is done to a journal, given an older state of it.
type Harm<'a> = &'a dyn Fn(&Path, &[u8]);

/// Asks, and lets a supervisor be started, as a `loop` does, until the answer is an end.
fn end_of(run: &Run, backends: &Backends, attempt: &str, handle: &str) -> Status {
    let mut last = Status::Queued;
    until(|| {
        supervised(backends);
        last = run.status_by(backends, attempt, handle);
        !matches!(last, Status::Queued | Status::Running(_) | Status::Unavailable(_) | Status::Waiting { .. })
    });
    last
}

fn fresh(run: &Run) -> Backends {
    Run::open(run.directory.path(), 2)
}

/// A new attempt is started, once.
#[track_caller]
fn goes_on(run: &Run, effects: &Path) {
    let handle = run.submit("after", &counted(effects, "true"));
    run.go();
    assert_eq!(end_of(run, &run.backends, "after", &handle), Status::Succeeded);
    let starts = starts(effects);
    assert!(starts.contains_key("after") && starts.values().all(|count| *count == 1), "{starts:?}");
}

fn cut(path: &Path, length: impl Fn(&[u8]) -> usize) {
    let bytes = fs::read(path).expect("a file");
    File::options().write(true).open(path).expect("a file").set_len(length(&bytes) as u64).expect("cut");
}

fn header_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').expect("a line") + 1
}

fn remove(path: &Path) {
    fs::remove_file(path).expect("removed");
}

#[test]
fn a_job_that_removes_the_journal_starts_nothing_again() {
    let run = Run::new(1);
    let effects = run.directory.path().join("effects");
    let first = run.submit("a1", &counted(&effects, "rm -f ../../backends/local/*/journal"));
    let second = run.submit("a2", &counted(&effects, "true"));
    run.go();
    // the process that handed them in, and another one
    for backends in [&run.backends, &fresh(&run)] {
        assert_eq!(code(&end_of(&run, backends, "a1", &first)), "lost");
        assert_eq!(code(&end_of(&run, backends, "a2", &second)), "lost");
    }
    assert!(!starts(&effects).contains_key("a2"), "what waited when the journal went never starts");
    goes_on(&run, &effects);
}

#[test]
fn a_journal_that_vanishes_when_all_has_ended_starts_nothing_again() {
    let harms: [&dyn Fn(&Path); 4] = [&remove, &|path| cut(path, |_| 0), &|path| cut(path, header_length), &|path| {
        remove(path);
        fs::write(path, "").expect("a file");
    }];
    for (number, harm) in harms.iter().enumerate() {
        for known in [false, true] {
            let run = Run::new(2);
            let effects = run.directory.path().join("effects");
            let attempts = ["e1", "e2", "e3"];
            let handles = attempts.map(|attempt| run.submit(attempt, &counted(&effects, "rm -f stdout stderr")));
            run.go();
            until(|| starts(&effects).len() == 3);
            settled(&run);
            harm(&run.backend_directory().join("journal"));
            let other = fresh(&run);
            let backends = if known { &run.backends } else { &other };
            for (attempt, handle) in attempts.iter().zip(&handles) {
                assert_eq!(code(&end_of(&run, backends, attempt, handle)), "lost", "{attempt} {number}");
            }
            goes_on(&run, &effects);
        }
    }
}

#[test]
fn a_journal_removed_under_a_living_supervisor_starts_nothing_again() {
    let run = Run::new(1);
    let effects = run.directory.path().join("effects");
    let first = run.submit("a1", &counted(&effects, "sleep 1"));
    let second = run.submit("a2", &counted(&effects, "true"));
    run.go();
    until(|| starts(&effects).len() == 1);
    remove(&run.backend_directory().join("journal"));
    assert_eq!(code(&end_of(&run, &fresh(&run), "a1", &first)), "lost");
    assert_eq!(code(&end_of(&run, &fresh(&run), "a2", &second)), "lost");
    goes_on(&run, &effects);
    assert!(!starts(&effects).contains_key("a2"));
}

#[test]
fn a_journal_changed_after_its_supervisor_was_killed_starts_nothing_again() {
    let old = |run: &Run| fs::read(run.backend_directory().join("journal")).expect("a journal");
    let harms: [(&str, Harm<'_>); 5] = [
        ("emptied", &|path, _| cut(path, |_| 0)),
        ("removed", &|path, _| remove(path)),
        ("halved", &|path, _| cut(path, |bytes| bytes.len() / 2)),
        ("cut to its header", &|path, _| cut(path, header_length)),
        ("overwritten by an older one", &|path, old| fs::write(path, old).expect("a file")),
    ];
    for (name, harm) in harms {
        let run = Run::new(2);
        let effects = run.directory.path().join("effects");
        let zeroth = run.submit("k0", &counted(&effects, "true"));
        run.go();
        assert_eq!(run.wait("k0", &zeroth), Status::Succeeded);
        settled(&run);
        let older = old(&run);
        let attempts = ["k1", "k2"];
        let handles = attempts.map(|attempt| run.submit(attempt, &counted(&effects, "sleep 1.5")));
        synced(&run.backends);
        let mut supervisor = run.supervisor(&[]);
        until(|| starts(&effects).len() == 3);
        supervisor.kill().expect("killed");
        supervisor.wait().expect("ended");
        harm(&run.backend_directory().join("journal"), &older);
        for (attempt, handle) in attempts.iter().zip(&handles) {
            assert_eq!(code(&end_of(&run, &fresh(&run), attempt, handle)), "lost", "{attempt}: {name}");
        }
        goes_on(&run, &effects);
    }
}

#[test]
fn a_lock_removed_under_a_living_supervisor_lets_no_second_one_in() {
    let run = Run::new(1);
    let effects = run.directory.path().join("effects");
    let attempts = ["a1", "a2", "a3"];
    let handles = attempts.map(|attempt| run.submit(attempt, &counted(&effects, "sleep 0.5")));
    synced(&run.backends);
    let mut supervisor = run.supervisor(&[]);
    until(|| starts(&effects).len() == 1);
    remove(&run.backend_directory().join("supervisor.lock"));
    // whoever starts one all the same finds the journal taken
    assert!(run.supervisor(&[]).wait().expect("ended").success());
    for (attempt, handle) in attempts.iter().zip(&handles) {
        assert_eq!(end_of(&run, &fresh(&run), attempt, handle), Status::Succeeded, "{attempt}");
    }
    assert!(supervisor.wait().expect("ended").success());
    goes_on(&run, &effects);
}

#[test]
fn what_was_called_lost_when_the_files_went_never_starts() {
    let harms: [&dyn Fn(&Path); 2] = [&|backends| fs::remove_dir_all(backends).expect("removed"), &|backends| {
        fs::rename(backends, backends.with_extension("old")).expect("renamed")
    }];
    for (number, harm) in harms.iter().enumerate() {
        let run = Run::new(1);
        let effects = run.directory.path().join("effects");
        run.submit("a1", &counted(&effects, "sleep 1"));
        let second = run.submit("a2", &counted(&effects, "true"));
        synced(&run.backends);
        let mut supervisor = run.supervisor(&[]);
        until(|| starts(&effects).len() == 1);
        harm(&run.directory.path().join("backends"));
        // also to the process that handed it in
        for backends in [&run.backends, &fresh(&run)] {
            assert_eq!(code(&end_of(&run, backends, "a2", &second)), "lost", "{number}");
        }
        goes_on(&run, &effects);
        assert!(supervisor.wait().expect("ended").success(), "it leaves by itself");
        assert!(!starts(&effects).contains_key("a2"), "{number}");
    }
}

#[test]
fn what_a_queue_held_that_was_emptied_is_lost() {
    for harm in [&remove as &dyn Fn(&Path), &|path| cut(path, |_| 0)] {
        let run = Run::new(1);
        let effects = run.directory.path().join("effects");
        let first = run.submit("a1", &counted(&effects, "sleep 0.5"));
        let many: Vec<String> = (0..20).map(|number| format!("b{number}")).collect();
        let handles: Vec<String> = many.iter().map(|attempt| run.submit(attempt, &counted(&effects, "true"))).collect();
        synced(&run.backends);
        let mut supervisor = run.supervisor(&[]);
        until(|| code(&run.status("a1", &first)) == "running");
        supervisor.kill().expect("killed");
        supervisor.wait().expect("ended");
        assert_eq!(code(&run.status("b19", &handles[19])), "queued");
        harm(&run.backend_directory().join("queue"));
        for backends in [&run.backends, &fresh(&run)] {
            assert_eq!(code(&end_of(&run, backends, "a1", &first)), "lost");
            for number in [0, 19] {
                assert_eq!(code(&end_of(&run, backends, &many[number], &handles[number])), "lost", "{number}");
            }
        }
        goes_on(&run, &effects);
    }
}

#[test]
fn a_journal_emptied_under_a_living_supervisor_is_named() {
    let run = Run::new(2);
    let effects = run.directory.path().join("effects");
    let first = run.submit("a1", &counted(&effects, "while ! test -e ../stop; do sleep 0.1; done"));
    let second = run.submit("a2", &counted(&effects, "while ! test -e ../soon; do sleep 0.1; done"));
    run.go();
    until(|| starts(&effects).len() == 2);
    let journal = run.backend_directory().join("journal");
    cut(&journal, |_| 0);
    let named = |status: &Status| match status {
        Status::Unavailable(detail) => {
            assert!(detail.message.contains("journal") && detail.message.contains("emptied"), "{detail:?}");
            assert!(!detail.message.contains("queue cannot") && !detail.message.contains("version"), "{detail:?}");
        }
        other => panic!("{other:?}"),
    };
    named(&run.status_by(&fresh(&run), "a1", &first));
    // also once the supervisor has written something into it
    File::create(run.directory.path().join("operators/soon")).expect("a file");
    until(|| fs::metadata(&journal).expect("a file").len() > 0);
    named(&run.status_by(&fresh(&run), "a2", &second));
    File::create(run.directory.path().join("operators/stop")).expect("a file");
    match end_of(&run, &fresh(&run), "a1", &first) {
        Status::Lost(detail) => {
            assert!(detail.message.contains("journal: it was emptied"), "{detail:?}");
            assert!(!detail.message.contains("copy"), "{detail:?}");
        }
        other => panic!("{other:?}"),
    }
    goes_on(&run, &effects);
}

#[test]
fn a_supervisor_that_may_have_too_little_makes_way_for_another() {
    let run = Run::new(1);
    let effects = run.directory.path().join("effects");
    let handle = run.submit("a1", &counted(&effects, "true"));
    synced(&run.backends);
    let mut cramped = false;
    for limit in 8..20 {
        let mut supervise = Command::new("prlimit");
        supervise.args([&format!("--nofile={limit}:{limit}"), env!("CARGO_BIN_EXE_matterstack"), "__supervise"]);
        supervise.env("MATTERSTACK_TEST_POOL", ample_pool(run.directory.path()));
        let mut supervisor = supervise.arg(run.backend_directory()).spawn().expect("prlimit");
        let journal = run.backend_directory().join("journal");
        let mut ended = None;
        until(|| {
            ended = supervisor.try_wait().expect("asked");
            ended.is_some()
        });
        if ended.expect("it ends").success() {
            cramped = fs::read_to_string(&journal).expect("a journal").contains("no_room");
            break;
        }
    }
    assert!(cramped, "there was room for the job: the test tests nothing");
    assert!(starts(&effects).is_empty());
    assert_eq!(end_of(&run, &fresh(&run), "a1", &handle), Status::Succeeded);
    goes_on(&run, &effects);
}

#[test]
fn a_command_is_not_started_where_its_directory_shows_a_start() {
    let run = Run::new(2);
    let effects = run.directory.path().join("effects");
    for (attempt, name) in [("d1", "stdout"), ("d2", "stderr"), ("d3", "exit.json")] {
        let handle = run.submit(attempt, &counted(&effects, "true"));
        let path = run.attempt_directory(attempt).join(name);
        File::create(&path).and_then(|mut file| file.write_all(b"kept")).expect("a file");
        run.go();
        assert_eq!(code(&end_of(&run, &run.backends, attempt, &handle)), "lost");
        let (id, task) = (AttemptId::from(attempt), TaskId::from("t"));
        let key = JobKey { attempt_id: &id, task_id: &task, directory: &run.attempt_directory(attempt) };
        let record = fresh(&run).collect("local", key, &handle).expect("a record");
        assert!(record.contains("shows that it was started"), "{record}");
        assert!(name == "exit.json" || fs::read_to_string(&path).expect("a file") == "kept");
    }
    assert!(starts(&effects).is_empty());
}
