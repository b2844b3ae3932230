//! What the local backend remembers: the journal decides what was started, whatever becomes of directories, files and
//! disks.
use super::local::{Run, code, until};
use super::{changes, supervised, synced};
use crate::support::disk::Disk;
use crate::support::pool::{ample_pool, program_on};
use matterstack::backend::local::LocalSettings;
use matterstack::backend::{Backends, Compute, JobKey};
use matterstack::model::config::LocalConfig;
use matterstack::model::contract::{Found, GuestError, Status};
use matterstack::model::id::{AttemptId, TaskId};
use matterstack::model::inputs::Inputs;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// A command that leaves a line outside its own directory each time it is started.
pub(super) fn counted(file: &Path, more: &str) -> String {
    serde_json::json!({"command": format!("echo $MATTERSTACK_ATTEMPT >> {}; {more}", file.display())}).to_string()
}

/// How often each attempt was started.
pub(super) fn starts(file: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        *counts.entry(line.to_owned()).or_insert(0) += 1;
    }
    counts
}

/// Waits until the supervisor has left: it leaves when everything is settled.
pub(super) fn settled(run: &Run) {
    let journal = run.backend_directory().join("journal");
    until(|| fs::read_to_string(&journal).is_ok_and(|text| text.trim_end().ends_with("}}}")));
}

fn size(run: &Run, name: &str) -> u64 {
    fs::metadata(run.backend_directory().join(name)).map_or(0, |file| file.len())
}

#[test]
fn an_attempt_is_never_started_again_whatever_its_directory_holds() {
    let run = Run::new(2);
    let effects = run.directory.path().join("effects");
    let vanish: [&dyn Fn(&Path); 4] = [
        &|_| {},
        &|directory| fs::remove_file(directory.join("exit.json")).expect("a file"),
        &|directory| fs::remove_dir_all(directory).expect("a directory"),
        &|directory| {
            fs::remove_file(directory.join("exit.json")).expect("a file");
            fs::create_dir(directory.join("exit.json")).expect("a directory");
        },
    ];
    for settles in [false, true] {
        for (number, vanish) in vanish.iter().enumerate() {
            let attempt = format!("v{number}-{settles}");
            let handle = run.submit(&attempt, &counted(&effects, "true"));
            run.go();
            assert_eq!(run.wait(&attempt, &handle), Status::Succeeded);
            if settles {
                settled(&run);
            }
            vanish(&run.attempt_directory(&attempt));
            // by the same process, and by another that knows nothing
            let fresh = Run::open(run.directory.path(), 2);
            for backends in [&run.backends, &fresh] {
                let (id, directory) = (AttemptId::from(attempt.as_str()), run.attempt_directory(&attempt));
                fs::create_dir_all(&directory).expect("attempt directory");
                let key = JobKey { attempt_id: &id, task_id: &TaskId::from("t"), directory: &directory };
                let handle =
                    backends.submit("local", key, &counted(&effects, "true"), &Inputs::default()).expect("submitted");
                synced(backends);
                supervised(backends);
                assert_eq!(run.status_by(backends, &attempt, &handle), Status::Succeeded);
            }
            let after = format!("w{number}-{settles}");
            let handle = run.submit(&after, r#"{"command":"true"}"#);
            run.go();
            assert_eq!(run.wait(&after, &handle), Status::Succeeded);
        }
    }
    let starts = starts(&effects);
    assert!(starts.len() == 8 && starts.values().all(|count| *count == 1), "{starts:?}");
}

#[test]
fn queue_and_journal_do_not_grow_with_what_has_ended() {
    let run = Run::new(2);
    let effects = run.directory.path().join("effects");
    let long = run.submit("long", r#"{"command":"while ! test -e ../stop; do sleep 0.1; done"}"#);
    let ids: Vec<String> = (0..1500_u32).map(|n| format!("{:08x}-{n}", n.wrapping_mul(2_654_435_761))).collect();
    let mut handles = BTreeMap::new();
    for id in &ids {
        handles.insert(id.clone(), run.submit(id, &counted(&effects, "true")));
    }
    run.go();
    let last = ids.last().expect("ids");
    // an answer within a poll, whatever was begun anew meanwhile
    until(|| starts(&effects).len() == 1500 && run.status(last, &handles[last]) == Status::Succeeded);
    until(|| size(&run, "journal") < 400_000 && size(&run, "queue") < 400_000);
    assert_eq!(code(&run.status("long", &long)), "running");
    let entries = fs::read_dir(run.backend_directory()).expect("a directory").count();
    assert!(entries < 16, "{entries} files");
    // what ended long ago is told by a process that has asked nothing yet, and is not started again
    let fresh = Run::open(run.directory.path(), 2);
    for id in ids.iter().step_by(100) {
        assert_eq!(run.status_by(&fresh, id, &handles[id]), Status::Succeeded, "{id}");
        run.submit(id, &counted(&effects, "true"));
    }
    fs::write(run.directory.path().join("operators/stop"), "").expect("a file");
    run.go();
    assert_eq!(run.wait("long", &long), Status::Succeeded);
    settled(&run);
    assert!(size(&run, "journal") < 40_000 && size(&run, "queue") < 40_000);
    run.submit("last", r#"{"command":"true"}"#);
    for id in &ids {
        run.submit(id, &counted(&effects, "true"));
    }
    run.go();
    let handle = run.submit("after", r#"{"command":"true"}"#);
    run.go();
    assert_eq!(run.wait("after", &handle), Status::Succeeded);
    let starts = starts(&effects);
    assert!(starts.len() == 1500 && starts.values().all(|count| *count == 1));
    assert!(run.collect(&ids[700]).contains("exited"));
}

#[test]
fn a_supervisor_that_dies_while_it_begins_its_files_anew_loses_nothing() {
    for point in ["local.ends-kept", "local.journal-anew", "local.queue-anew"] {
        let run = Run::new(2);
        let effects = run.directory.path().join("effects");
        let ids: Vec<String> = (0..900).map(|n| format!("a{n}")).collect();
        let handles: Vec<String> = ids.iter().map(|id| run.submit(id, &counted(&effects, "true"))).collect();
        synced(&run.backends);
        let status = run.supervisor(&[("MATTERSTACK_FAILPOINT", &format!("{point}:1"))]).wait().expect("ended");
        assert!(!status.success(), "{point} was reached");
        run.go();
        let mut lost = 0;
        for (id, handle) in ids.iter().zip(&handles) {
            match run.wait(id, handle) {
                Status::Succeeded => {}
                // those that ran when it died
                Status::Lost(_) => lost += 1,
                other => panic!("{id} at {point}: {other:?}"),
            }
        }
        assert!(lost <= 2, "{lost} at {point}");
        let starts = starts(&effects);
        assert!(starts.len() >= 898 && starts.values().all(|count| *count == 1), "{point}");
    }
}

#[test]
fn a_copy_of_an_unsettled_queue_starts_nothing() {
    let run = Run::new(1);
    let effects = run.directory.path().join("effects");
    let first = run.submit("a1", &counted(&effects, "true"));
    run.go();
    assert_eq!(run.wait("a1", &first), Status::Succeeded);
    settled(&run);
    let handle = run.submit("a2", &counted(&effects, "true"));
    synced(&run.backends);
    let place = tempfile::tempdir().expect("a directory");
    let copied = Command::new("cp").arg("-a").arg(run.directory.path()).arg(place.path()).status().expect("cp");
    assert!(copied.success());
    let copy = place.path().join(run.directory.path().file_name().expect("a name"));
    let backend =
        fs::read_dir(copy.join("backends/local")).expect("backend").next().expect("one").expect("entry").path();
    let mut supervise = Command::new(env!("CARGO_BIN_EXE_matterstack"));
    supervise.env("MATTERSTACK_TEST_POOL", ample_pool(run.directory.path()));
    assert!(!supervise.arg("__supervise").arg(&backend).status().expect("a supervisor").success());
    let backends = Run::open(&copy, 1);
    supervised(&backends);
    let status = |attempt: &str, handle: &str| {
        let (id, directory) = (AttemptId::from(attempt), copy.join("operators").join(attempt));
        backends
            .status("local", JobKey { attempt_id: &id, task_id: &TaskId::from("t"), directory: &directory }, handle)
            .expect("status")
            .status
    };
    assert_eq!(status("a1", &first), Status::Succeeded, "what had ended is known");
    assert_eq!(code(&status("a2", &handle)), "lost");
    let id = AttemptId::from("a3");
    let directory = copy.join("operators/a3");
    fs::create_dir_all(&directory).expect("a directory");
    let key = JobKey { attempt_id: &id, task_id: &TaskId::from("t"), directory: &directory };
    let third = backends.submit("local", key, &counted(&effects, "true"), &Inputs::default()).expect("submitted");
    synced(&backends);
    supervised(&backends);
    until(|| status("a3", &third) == Status::Succeeded);
    let names: Vec<_> = starts(&effects).into_keys().collect();
    assert_eq!(names, ["a1", "a3"], "the original still has its job");
    run.go();
    assert_eq!(run.wait("a2", &handle), Status::Succeeded);
}

/// The format that a file of the backend says it has.
fn format_of(text: &str) -> u64 {
    let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap_or_default()).expect("a header");
    header["format"].as_u64().expect("a format")
}

#[test]
fn nothing_is_handed_to_a_supervisor_of_another_format() {
    for name in ["queue", "journal"] {
        let run = Run::new(1);
        let first = run.submit("a1", r#"{"command":"true"}"#);
        run.go();
        assert_eq!(run.wait("a1", &first), Status::Succeeded);
        settled(&run);
        let path = run.backend_directory().join(name);
        let text = fs::read_to_string(&path).expect("a file");
        fs::write(&path, text.replacen(&format!("\"format\":{}", format_of(&text)), "\"format\":7", 1))
            .expect("a file");
        // a supervisor lives while its lock is held
        let lock = fs::File::options().read(true).write(true).open(run.backend_directory().join("supervisor.lock"));
        let lock = lock.expect("the lock");
        until(|| lock.try_lock().is_ok());
        let fresh = Run::open(run.directory.path(), 1);
        let (id, directory) = (AttemptId::from("a2"), run.attempt_directory("a2"));
        fs::create_dir_all(&directory).expect("attempt directory");
        let key = JobKey { attempt_id: &id, task_id: &TaskId::from("t"), directory: &directory };
        let job = r#"{"command":"true"}"#;
        match fresh.submit("local", key, job, &Inputs::default()) {
            Err(GuestError::Transient { detail, retry_after_ms: Some(_) }) => {
                assert_eq!(detail.code, "other-format");
                assert!(detail.message.contains("format 7") && detail.message.contains("have ended"), "{detail:?}");
            }
            other => panic!("{name}: {other:?}"),
        }
        changes(&fresh, &BTreeMap::new());
        drop(lock);
        let second = fresh.submit("local", key, job, &Inputs::default()).expect("its supervisor is gone");
        synced(&fresh);
        supervised(&fresh);
        until(|| run.status_by(&fresh, "a2", &second) == Status::Succeeded);
        // an attempt that was handed to the other is never taken for one that was not
        let old = AttemptId::from("a1");
        let key = JobKey { attempt_id: &old, task_id: &TaskId::from("t"), directory: &run.attempt_directory("a1") };
        assert!(matches!(fresh.find("local", key).expect("an answer"), Found::Yes(_)));
    }
}

#[test]
fn what_has_no_room_waits_for_a_job_to_end() {
    let run = Run::new(40);
    let attempts: Vec<String> = (0..40).map(|number| format!("r{number}")).collect();
    let handles: Vec<_> =
        attempts.iter().map(|id| run.submit(id, r#"{"command":"sleep 0.2; ulimit -Sn > n"}"#)).collect();
    synced(&run.backends);
    let mut supervise = Command::new("prlimit");
    supervise.args(["--nofile=18:24", env!("CARGO_BIN_EXE_matterstack"), "__supervise"]).arg(run.backend_directory());
    supervise.env("MATTERSTACK_TEST_POOL", ample_pool(run.directory.path()));
    let mut supervisor = supervise.spawn().expect("prlimit");
    for (attempt, handle) in attempts.iter().zip(&handles) {
        until(|| match run.status(attempt, handle) {
            Status::Waiting { kind, detail: why } => {
                assert!(kind == "capacity" && why.contains("Too many open files"), "{kind}: {why}");
                false
            }
            status => {
                assert!(matches!(status, Status::Queued | Status::Running(_) | Status::Succeeded), "{status:?}");
                status == Status::Succeeded
            }
        });
        assert_eq!(fs::read_to_string(run.attempt_directory(attempt).join("n")).expect("a limit"), "18\n");
    }
    assert!(supervisor.wait().expect("ended").success());
    let said = ["journal", "journal.before"].map(|name| fs::read_to_string(run.backend_directory().join(name)));
    assert!(
        said.iter().flatten().any(|text| text.contains("no_room")),
        "there was room for all: the test tests nothing"
    );
}

#[test]
fn a_job_that_waited_for_room_when_its_supervisor_died_is_not_lost() {
    let run = Run::new(40);
    let effects = run.directory.path().join("effects");
    let attempts: Vec<String> = (0..40).map(|number| format!("n{number}")).collect();
    let handles: Vec<_> = attempts.iter().map(|id| run.submit(id, &counted(&effects, "sleep 0.3"))).collect();
    synced(&run.backends);
    let mut supervise = Command::new("prlimit");
    supervise.args(["--nofile=24:24", env!("CARGO_BIN_EXE_matterstack"), "__supervise"]).arg(run.backend_directory());
    supervise.env("MATTERSTACK_TEST_POOL", ample_pool(run.directory.path()));
    let died = supervise.env("MATTERSTACK_FAILPOINT", "local.no-room").status().expect("prlimit");
    assert!(!died.success(), "there was room for all: the test tests nothing");
    let before = starts(&effects).len();
    run.go();
    let mut lost = 0;
    for (attempt, handle) in attempts.iter().zip(&handles) {
        lost += usize::from(matches!(run.wait(attempt, handle), Status::Lost(_)));
    }
    let starts = starts(&effects);
    assert!(lost <= 24 && before <= 24, "only what ran is lost: {lost}");
    assert!(starts.len() == 40 && starts.values().all(|count| *count == 1), "{starts:?}");
}

#[test]
fn a_job_that_prints_too_much_is_ended_with_a_code_of_its_own() {
    let run = Run::new(3);
    let mut backends = Backends::new(run.directory.path());
    backends.set_program(&program_on(&ample_pool(run.directory.path())));
    backends.add_local(
        "local",
        LocalSettings { config: LocalConfig { cores: 3, ..LocalConfig::default() }, log_max: Some(1024 * 1024) },
    );
    let run = Run { backends, ..run };
    let jobs = [
        ("a1", r#"{"command":"yes"}"#, "log-limit"),
        ("a2", r#"{"command":"yes >&2"}"#, "log-limit"),
        ("a3", r#"{"command":"head -c 500000 /dev/zero; sleep 0.6"}"#, "succeeded"),
    ];
    let handles: Vec<_> = jobs.iter().map(|(attempt, job, _)| run.submit(attempt, job)).collect();
    run.go();
    for ((attempt, _, expected), handle) in jobs.iter().zip(&handles) {
        let status = run.wait(attempt, handle);
        assert_eq!(code(&status), *expected, "{attempt}");
        if let Status::Failed(detail) = status {
            assert!(detail.message.contains("limits.attempt_log_mb"), "{detail:?}");
        }
    }
}

#[test]
fn what_ran_unseen_is_told_from_what_may_never_have_started() {
    for (point, expected) in [("local.started", "end-unseen"), ("local.starting", "start-unseen")] {
        let run = Run::new(1);
        let handle = run.submit("unseen", r#"{"command":"sleep 0.3"}"#);
        synced(&run.backends);
        run.supervisor(&[("MATTERSTACK_FAILPOINT", point)]).wait().expect("ended");
        run.go();
        match run.wait("unseen", &handle) {
            Status::Lost(detail) => assert_eq!(detail.code, expected, "{detail:?}"),
            other => panic!("{point}: {other:?}"),
        }
    }
}

/// A disk gives up, forgets what was not synced, and is mounted again in the same boot.
#[test]
fn a_disk_that_gave_up_starts_nothing_twice() {
    let disk = Disk::new(64);
    let scratch = tempfile::tempdir().expect("a directory");
    let effects = scratch.path().join("effects");
    let root = disk.root().join("run");
    fs::create_dir(&root).expect("a directory");
    let run = Run { directory: scratch, backends: Run::open(&root, 4) };
    let directory = |id: &str| root.join("operators").join(id);
    let mut handles = BTreeMap::new();
    for number in 0..40 {
        let id = format!("t{number}");
        fs::create_dir_all(directory(&id)).expect("attempt directory");
        let (attempt, place) = (AttemptId::from(id.as_str()), directory(&id));
        let key = JobKey { attempt_id: &attempt, task_id: &TaskId::from("t"), directory: &place };
        handles.insert(
            id,
            run.backends.submit("local", key, &counted(&effects, "sleep 0.2"), &Inputs::default()).expect("submitted"),
        );
    }
    synced(&run.backends);
    let backend =
        fs::read_dir(root.join("backends/local")).expect("backend").next().expect("one").expect("entry").path();
    let mut supervise = Command::new(env!("CARGO_BIN_EXE_matterstack"));
    supervise.env("MATTERSTACK_TEST_POOL", ample_pool(run.directory.path()));
    let mut supervisor = supervise.arg("__supervise").arg(&backend).spawn().expect("a supervisor");
    until(|| starts(&effects).len() >= 12);
    disk.abort();
    supervisor.kill().expect("killed");
    supervisor.wait().expect("ended");
    until(|| disk.try_unmount());
    let before = starts(&effects).len();
    disk.mend();
    let mut fresh = Run::open(&root, 4);
    // what was on the disk may be gone
    fresh.set_program(&program_on(&ample_pool(run.directory.path())));
    supervised(&fresh);
    let mut lost = 0;
    for (id, handle) in &handles {
        let (attempt, place) = (AttemptId::from(id.as_str()), directory(id));
        let key = JobKey { attempt_id: &attempt, task_id: &TaskId::from("t"), directory: &place };
        until(|| match fresh.status("local", key, handle).expect("status").status {
            Status::Queued | Status::Running(_) => false,
            Status::Lost(_) => {
                lost += 1;
                true
            }
            _ => true,
        });
    }
    let starts = starts(&effects);
    assert!(before < 40 && lost > 0, "{before} started before, {lost} lost: the test tests nothing");
    assert!(starts.values().all(|count| *count == 1), "{starts:?}");
    assert!(starts.len() + lost >= 40, "what never started and was not claimed is started: {} {lost}", starts.len());
    let _ = std::io::stdout().flush();
}
