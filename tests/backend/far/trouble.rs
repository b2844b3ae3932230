//! Logins and clusters that are not as one would wish, through the binary: noise, delay, full disks, odd names, keys.
use super::cuts::Held;
use super::{Far, task, until};
use crate::support::sshd::Wire;
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_run_behind_a_noisy_login_goes_to_its_end() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let (banner, rc) = (scratch.path().join("banner"), scratch.path().join("rc"));
    std::fs::write(&banner, "AUTHORIZED USE ONLY\nPermission denied (publickey).\nslurm_load_jobs error\n")
        .expect("a banner");
    std::fs::write(&rc, "echo Welcome; echo 'gone r'; echo 'quota: 97 %' >&2; printf 'no line end'\n")
        .expect("an rc file");
    let lines = format!("BASH_ENV={}\nBanner {}", rc.display(), banner.display());
    let kept = json!({"pattern": "big", "keep": "remote"});
    let tasks = json!([
        {"id": "a", "operator": "hpc", "outputs": [kept, "o"], "command": "echo started >> started.log; echo 1 > o; echo 2 > big"},
        {"id": "b", "operator": "hpc", "outputs": ["o"], "command": "echo started >> started.log; cat in big > o",
         "files": {"in": {"from": "a", "output": "o"}, "big": {"from": "a", "output": "big"}}},
    ]);
    let far = Far::with(None, &lines, &tasks);
    far.init();
    far.end();
    far.check(2);
    let tasks = far.run(&["tasks", "r", "--json"]).code(0).json();
    assert_eq!((&tasks[1]["outputs"][0]["path"], &tasks[1]["outputs"][0]["size"]), (&json!("o"), &json!(4)), "{tasks}");
    assert_eq!(far.run(&["logs", "r", "b"]).code(0).stdout, "", "noise got into the job's output");
}

#[test]
fn a_run_over_a_slow_link_logs_in_once() {
    let far = Far::new(None, &json!([task("a", "echo 1 > o"), task("b", "echo 1 > o")]));
    let slow = Wire::to(far.sshd.address(), Duration::from_millis(150));
    far.sshd.write_config("config", "id", slow.address(), "");
    far.end();
    far.check(2);
    assert_eq!(far.sshd.logins(), 1, "{}", far.sshd.log());
}

/// A small file system where attempts go; unmounted in the end.
struct Small(std::path::PathBuf);

impl Small {
    fn new(far: &Far, size: &str) -> Self {
        let place = far.sshd.path().join("scratch");
        std::fs::create_dir_all(&place).expect("a directory");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&place).status();
        assert!(
            mounted.is_ok_and(|done| done.success()),
            "a small tmpfs needs root; run the suite as root in a container"
        );
        Self(place)
    }

    fn grow(&self, size: &str) {
        let grown = Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0).status();
        assert!(grown.is_ok_and(|done| done.success()));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_before_the_job_delays_it_and_says_so() {
    let mut large = task("a", "cat large > o");
    large["files"] = json!({"large": {"path": "scripts/large"}});
    let far = Far::with(None, "", &json!([large, task("b", "echo 1 > o")]));
    far.world.write("scripts/large", &"x".repeat(3_000_000));
    far.init();
    let small = Small::new(&far, "1m");
    let tick = far.step();
    assert_eq!((&tick["state"], &tick["submitted"]), (&json!("active"), &json!(0)));
    let said = far.run(&["explain", "r"]).code(0).stdout;
    assert!(said.contains("no room"), "{said}");
    small.grow("100m");
    far.end();
    far.check(2);
}

#[test]
fn a_job_that_fills_the_disk_is_no_success_and_says_so() {
    let mut filling = task("a", "head -c 100000000 /dev/zero > fill; echo 1 > o; exit 0");
    filling["allow_failure"] = json!(true);
    let far = Far::new(None, &json!([filling]));
    let small = Small::new(&far, "2m");
    far.end();
    let attempts = far.run(&["attempts", "r", "a", "--json"]).code(0).json();
    let reason = attempts[0]["reason"].as_str().unwrap_or_default();
    assert!(attempts[0]["state"] == "failed" && reason.contains("without an exit record"), "{attempts}");
    assert_eq!(attempts.as_array().map(Vec::len), Some(1), "{attempts}");
    drop(small);
}

#[test]
fn odd_names_arrive_as_they_are() {
    let ids = ["it's \"q\"", "$(touch owned) `touch owned`", "a\nb; touch owned", "-rf ü∑ \u{1f600} \\ %s", "../../x"];
    let mut tasks: Vec<Value> = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let name = format!("d/{}", id.replace(['/', '\n'], "_").replace("..", "__"));
        let mut one = json!({
            "id": id, "operator": "hpc", "outputs": ["out/*"], "env": {"NAME": name, "ODD": id},
            "files": {name.as_str(): {"content": id}},
            "command": ["sh", "-c", "echo started >> started.log; mkdir out; [ \"$ODD\" = \"$1\" ] && cp -- \"$NAME\" out/", "sh", id],
        });
        if let Some(before) = number.checked_sub(1) {
            one["depends_on"] = json!([ids[before]]);
        }
        tasks.push(one);
    }
    let far = Far::new(None, &json!(tasks));
    far.end();
    far.check(ids.len());
    for id in ids {
        let attempts = far.run(&["attempts", "--json", "--", "r", id]);
        assert_eq!(attempts.code, Some(0), "{attempts:?}");
        let directory = far.world.run_dir("r").join(attempts.json()[0]["directory"].as_str().expect("a directory"));
        let file = std::fs::read_dir(directory.join("out")).expect("fetched").flatten().next().expect("a file");
        assert_eq!(std::fs::read_to_string(file.path()).expect("UTF-8"), *id);
    }
    let found = Command::new("find").arg(far.sshd.path()).arg(far.world.root()).args(["-name", "owned"]).output();
    assert_eq!(String::from_utf8_lossy(&found.expect("find runs").stdout), "", "a name was run as a command");
}

#[test]
fn a_host_key_that_has_changed_stops_nothing_but_the_talk() {
    let far = Far::new(
        None,
        &json!([
            task("a", "while [ -e stdout ] && [ ! -e ../../../go ]; do sleep 0.1; done; echo 1 > o"),
            task("b", "echo 1 > o")
        ]),
    );
    until("both have started", || {
        far.step();
        far.starts().values().sum::<usize>() == 2
    });
    let known = far.sshd.path().join("config.known");
    let right = std::fs::read_to_string(&known).expect("known hosts");
    let other = std::fs::read_to_string(far.sshd.path().join("other.pub")).expect("a key");
    std::fs::write(&known, format!("{} {other}", crate::support::sshd::HOST)).expect("known hosts");
    far.sshd.end_sessions();
    std::fs::write(far.sshd.path().join("go"), "").expect("a file");
    let mut said = String::new();
    until("the ticks say what is wrong", || {
        assert_eq!(far.step()["state"], "active");
        said = far.run(&["explain", "r"]).code(0).stdout;
        said.contains("has changed")
    });
    assert!(said.contains("ssh-keygen -R"), "{said}");
    let logins = far.sshd.logins();
    far.step();
    assert_eq!(far.sshd.logins(), logins, "a host with another key was talked to");
    std::fs::write(&known, right).expect("known hosts");
    far.end();
    far.check(2);
}

#[test]
fn a_tick_that_carries_for_long_can_be_watched_and_its_run_is_called_busy() {
    let held = Held::new("sha256sum", false);
    let far = Far::with(None, &held.environment(), &json!([task("a", "echo 1 > o")]));
    far.init();
    held.hold();
    let mut step = far.world.command(&["step", "r"]);
    step.envs(far.environment()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut step = step.spawn().expect("the binary runs");
    until("the stream stands still", || held.waits());
    for command in ["status", "explain", "tasks"] {
        far.run(&[command, "r"]).code(0);
    }
    let done = far.run(&["pause", "r"]).code(3);
    assert!(done.stderr.contains(&step.id().to_string()), "the holder is named: {done:?}");
    held.let_go();
    assert!(step.wait().expect("the tick ends").success());
    far.run(&["pause", "r"]).code(0);
    far.run(&["resume", "r"]).code(0);
    far.end();
    far.check(1);
}

#[test]
fn a_scratch_that_is_purged_under_a_job_starts_nothing_again() {
    let mut purged =
        task("a", "echo started >> ../../ran; while [ -e stdout ] && [ ! -e ../../go ]; do sleep 0.1; done");
    purged["allow_failure"] = json!(true);
    let far = Far::new(None, &json!([purged]));
    let scratch = far.sshd.path().join("scratch");
    until("it runs", || {
        far.step();
        scratch.join("ran").exists()
    });
    std::fs::remove_dir_all(scratch.join("r")).expect("removed");
    std::fs::write(scratch.join("go"), "").expect("a file");
    far.end();
    assert_eq!(std::fs::read_to_string(scratch.join("ran")).expect("it ran"), "started\n");
    let attempts = far.run(&["attempts", "r", "a", "--json"]).code(0).json();
    assert_eq!(attempts.as_array().map(Vec::len), Some(1), "{attempts}");
}

#[test]
fn a_run_that_was_renamed_finds_its_far_jobs_and_clears_up_nothing_of_another() {
    let far = Far::new(
        None,
        &json!([task(
            "a",
            "touch ../../runs; while [ -e stdout ] && [ ! -e ../../go ]; do sleep 0.1; done; echo 1 > o"
        )]),
    );
    let scratch = far.sshd.path().join("scratch");
    until("it runs", || {
        far.step();
        scratch.join("runs").exists()
    });
    let old = far.world.run_dir("r");
    std::fs::rename(&old, old.with_file_name("renamed")).expect("renamed");
    std::fs::create_dir(far.there().join("another")).expect("a directory");
    std::fs::write(scratch.join("go"), "").expect("a file");
    until("the run ends", || far.run(&["step", "renamed", "--json"]).json()["state"] == "completed");
    assert_eq!(far.starts().into_values().sum::<usize>(), 1);
    let cleaned = far.run(&["backend", "clean", "renamed", "--json"]).code(0).json();
    assert_eq!(cleaned[0]["removed"], 2, "the attempt and its array: {cleaned}");
    assert!(far.there().join("another").exists());
}
