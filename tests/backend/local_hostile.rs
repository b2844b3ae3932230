//! The local backend against jobs that put something in its way, and against what happens to its supervisor.
use super::local::{Run, code, until};
use super::synced;
use matterstack::backend::Compute;
use matterstack::model::contract::Status;
use matterstack::model::inputs::Inputs;
use std::fs;
use std::path::Path;

fn fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(made.success());
}

#[test]
fn a_job_that_blocks_its_exit_record_stops_no_other() {
    let blocks = [
        "mkdir exit.json",
        "mkdir -p .exit.json.tmp/x",
        "mkfifo .exit.json.tmp",
        "ln -s /dev/full .exit.json.tmp",
        "d=$PWD; cd ..; rm -r $d; touch $d",
    ];
    let run = Run::new(1);
    for (number, block) in blocks.iter().enumerate() {
        let (first, second) = (format!("a{number}"), format!("b{number}"));
        let blocking = run.submit(&first, &format!("{{\"command\":{block:?}}}"));
        let other = run.submit(&second, r#"{"command":"true"}"#);
        run.go();
        assert_eq!(run.wait(&first, &blocking), Status::Succeeded, "{block}");
        assert_eq!(run.wait(&second, &other), Status::Succeeded, "{block}");
    }
    let record = run.collect("a0");
    assert!(record.contains("`exit.json` cannot be written"), "{record}");
    assert!(!run.collect("a2").contains("cannot be written"));
}

#[test]
fn a_pipe_or_a_link_for_a_file_of_the_host_is_refused_and_not_followed() {
    let run = Run::new(1);
    let elsewhere = run.attempt_directory("victim");
    fs::create_dir_all(elsewhere.parent().expect("a parent")).expect("directory");
    fs::write(&elsewhere, "keep").expect("a file");
    for (attempt, name) in [("a1", "stdout"), ("a2", "stderr")] {
        fs::create_dir_all(run.attempt_directory(attempt)).expect("attempt directory");
        fifo(&run.attempt_directory(attempt).join(name));
    }
    fs::create_dir_all(run.attempt_directory("a3")).expect("attempt directory");
    std::os::unix::fs::symlink(&elsewhere, run.attempt_directory("a3").join("stdout")).expect("a link");
    let handles = ["a1", "a2", "a3"].map(|attempt| run.submit(attempt, r#"{"command":"echo x"}"#));
    let last = run.submit("a4", r#"{"command":"mkfifo exit.json"}"#);
    run.go();
    for (attempt, handle) in ["a1", "a2", "a3"].iter().zip(&handles) {
        assert_eq!(code(&run.wait(attempt, handle)), "cannot-start", "{attempt}");
    }
    assert_eq!(run.wait("a4", &last), Status::Succeeded);
    assert_eq!(fs::read_to_string(&elsewhere).expect("a file"), "keep");
    for name in ["queue", "journal", "supervisor.lock", "wake"] {
        let run = Run::new(1);
        run.submit("a1", r#"{"command":"true"}"#);
        synced(&run.backends);
        let path = run.backend_directory().join(name);
        let _ = fs::remove_file(&path);
        fifo(&path);
        let outcome = run.supervisor(&[]).wait().expect("the supervisor ends");
        assert!(!outcome.success(), "{name}");
    }
}

#[test]
fn only_the_supervisor_says_that_a_job_has_ended() {
    let run = Run::new(1);
    let forge = r#"printf '{"attempt":"%s","code":0,"signal":null,"reason":"exited","message":null,"started_at":null,"ended_at":"2026-01-01T00:00:00Z"}' $MATTERSTACK_ATTEMPT > exit.json; touch forged; sleep 600"#;
    let handle = run.submit("a1", &serde_json::json!({ "command": forge }).to_string());
    synced(&run.backends);
    let mut supervisor = run.supervisor(&[]);
    let forged = run.attempt_directory("a1").join("forged");
    until(|| forged.exists() && code(&run.status("a1", &handle)) == "running");
    supervisor.kill().expect("killed");
    supervisor.wait().expect("ended");
    let fresh = Run::open(run.directory.path(), 1);
    assert_eq!(code(&run.status_by(&fresh, "a1", &handle)), "running");
    run.go();
    let next = run.submit("a2", r#"{"command":"true"}"#);
    run.cancel("a2", &next);
    assert_eq!(run.wait("a2", &next), Status::Cancelled);
    assert_eq!(code(&run.status("a1", &handle)), "running");
    run.cancel("a1", &handle);
    assert_eq!(run.wait("a1", &handle), Status::Cancelled);
}

#[test]
fn an_end_that_was_seen_survives_the_supervisor() {
    for point in ["local.end-seen", "local.exit-recorded"] {
        let run = Run::new(1);
        let handle = run.submit("a1", r#"{"command":"exit 3"}"#);
        synced(&run.backends);
        run.supervisor(&[("MATTERSTACK_FAILPOINT", point)]).wait().expect("ended");
        run.go();
        assert_eq!(code(&run.wait("a1", &handle)), "exit-code", "{point}");
        assert!(run.attempt_directory("a1").join("exit.json").exists(), "{point}");
    }
}

#[test]
fn an_adopted_job_is_as_old_as_its_process_whatever_the_clock_said() {
    let run = Run::new(2);
    let handle = run.submit("a1", r#"{"command":["sleep","600"],"resources":{"walltime_s":3600}}"#);
    synced(&run.backends);
    let mut supervisor = run.supervisor(&[]);
    until(|| code(&run.status("a1", &handle)) == "running");
    supervisor.kill().expect("killed");
    supervisor.wait().expect("ended");
    let path = run.backend_directory().join("journal");
    let text = fs::read_to_string(&path).expect("journal");
    let at = text.find("\"started_at\":\"20").expect("a start") + "\"started_at\":\"".len();
    let text = format!("{}2001{}", &text[..at], &text[at + 4..]);
    fs::write(&path, text).expect("journal");
    let second = run.submit("a2", r#"{"command":"sleep 0.2"}"#);
    run.go();
    assert_eq!(run.wait("a2", &second), Status::Succeeded);
    assert_eq!(code(&run.status("a1", &handle)), "running");
    run.cancel("a1", &handle);
    assert_eq!(run.wait("a1", &handle), Status::Cancelled);
}

#[test]
fn a_job_is_warned_before_its_time_is_over() {
    let run = Run::new(1);
    // two seconds for the shell to set its trap, and then an hour that nobody waits for
    let job = r#"{"command":"trap 'echo warned > note; exit 7' USR1; while :; do sleep 0.05 || :; done","resources":{"walltime_s":3602,"signal_before_s":3600}}"#;
    let handle = run.submit("a1", job);
    run.go();
    assert!(matches!(run.wait("a1", &handle), Status::Failed(detail) if detail.message.contains('7')));
    assert_eq!(fs::read_to_string(run.attempt_directory("a1").join("note")).expect("a note"), "warned\n");
}

#[test]
fn what_will_never_start_fails_and_is_no_misfire() {
    let run = Run::new(1);
    let long = "x".repeat(200_000);
    let handle = run.submit("a1", &serde_json::json!({"command": ["echo", long]}).to_string());
    fs::create_dir_all(run.attempt_directory("a2").parent().expect("a parent")).expect("directory");
    let second = run.submit("a2", r#"{"command":["true"]}"#);
    fs::remove_dir(run.attempt_directory("a2")).expect("removed");
    fs::write(run.attempt_directory("a2"), "").expect("a file");
    run.go();
    assert_eq!(code(&run.wait("a1", &handle)), "cannot-start");
    assert_eq!(code(&run.wait("a2", &second)), "cannot-start");
}

#[test]
fn a_walltime_beyond_every_clock_is_refused() {
    let run = Run::new(1);
    let id = matterstack::model::id::AttemptId::from("a1");
    let directory = run.attempt_directory("a1");
    fs::create_dir_all(&directory).expect("attempt directory");
    let key = matterstack::backend::JobKey { attempt_id: &id, task_id: &"t".into(), directory: &directory };
    let job = r#"{"command":["true"],"resources":{"walltime_s":1e19}}"#;
    let error = run.backends.submit("local", key, job, &Inputs::default()).expect_err("refused");
    assert!(error.detail().message.contains("ten years"), "{error:?}");
}
