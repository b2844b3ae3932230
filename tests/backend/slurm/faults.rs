//! A cluster that hangs, crashes, forgets and lies. The measure: no command started twice, and every effect happened
//! once or the run says `lost` or held, and why.
use super::{Site, task, text};
use crate::support::slurm::Plan;
use crate::support::until;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Commands give up on a controller that hangs after two seconds.
fn hasty() -> Plan {
    Plan::default().line("MessageTimeout=2")
}

fn state_of(site: &Site, task: &str) -> String {
    site.last(task).0
}

#[test]
fn a_controller_that_hangs_changes_no_verdict() {
    let site = Site::new(hasty(), &json!([task("a", "sleep 20"), task("b", "sleep 20")]));
    site.init();
    site.step_until("both run", |_| site.starts().values().filter(|count| **count > 0).count() == 2);
    site.step();
    site.cluster.signal("slurmctld", "STOP");
    site.step_until("the run says so", |tick| {
        assert_eq!(tick["state"], "active");
        site.last("a").1.contains("does not answer")
    });
    let explained = site.run(&["explain", "r"]).code(0).stdout;
    assert!(explained.contains("does not answer"), "{explained}");
    site.cluster.signal("slurmctld", "CONT");
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!(site.tasks(), "a=completed b=completed");
    assert_eq!((site.attempts("a").len(), site.attempts("b").len()), (1, 1));
    site.check();
}

#[test]
fn a_submit_that_timed_out_and_took_effect_is_found() {
    let site = Site::new(hasty(), &json!([task("a", "true"), task("b", "true")]));
    site.init();
    // the size of arrays is asked for first, and that must have an answer
    let shims = site.shims(&[("sbatch", "kill -STOP CONTROLLER; REAL \"$@\"")]);
    site.run_with(&["step", "r"], &[("PATH", &shims)]);
    assert_eq!(state_of(&site, "a"), "submitting", "{:?}", site.last("a"));
    site.cluster.signal("slurmctld", "CONT");
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!((site.attempts("a").len(), site.attempts("b").len()), (1, 1));
    assert_eq!(site.starts().values().sum::<usize>(), 2);
    site.check();
}

#[test]
fn a_submit_that_never_arrived_is_made_again_under_the_same_key() {
    let site = Site::new(Plan::default(), &json!([task("a", "true"), task("b", "true")]));
    site.init();
    let shims = site.shims(&[("sbatch", "echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1")]);
    site.run_with(&["step", "r"], &[("PATH", &shims)]);
    assert_eq!(state_of(&site, "a"), "submitting");
    let waits = site.status()["waiting_on"].to_string();
    assert!(waits.contains("unknown-submit"), "{waits}");
    let doubted = Instant::now();
    site.step_until("it is submitted again", |_| site.cluster.jobs("%i").len() == 2);
    assert!(doubted.elapsed() >= Duration::from_millis(1400), "looked for twice, the grace apart");
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!((site.attempts("a").len(), site.attempts("b").len()), (1, 1));
    site.check();
}

#[test]
fn a_tick_and_its_sbatch_killed_in_mid_submit_lose_nothing() {
    for delay_ms in [300, 700] {
        let site = Site::new(hasty(), &json!([task("a", "true"), task("b", "true")]));
        site.init();
        let shims = site.shims(&[("sbatch", "kill -STOP CONTROLLER; touch HERE/called; exec REAL \"$@\"")]);
        let mut command = site.command(&["step", "r"]);
        command.env("PATH", &shims).stdout(Stdio::null()).stderr(Stdio::null());
        let mut tick = command.spawn().expect("a tick");
        until("sbatch is called", || site.world.root().join("shims/called").exists());
        std::thread::sleep(Duration::from_millis(delay_ms));
        tick.kill().expect("ours");
        tick.wait().expect("ended");
        site.kill_clients();
        site.cluster.signal("slurmctld", "CONT");
        assert_eq!(site.step_to_end()["state"], "completed");
        assert_eq!((site.attempts("a").len(), site.attempts("b").len()), (1, 1), "after {delay_ms} ms");
        assert_eq!(site.starts().values().sum::<usize>(), 2);
        site.check();
    }
}

#[test]
fn acknowledged_jobs_that_a_controller_crash_lost_are_fenced_and_made_again() {
    // jobs wait, so that none has started when the controller forgets them
    let line = "PartitionName=main Nodes=ALL Default=YES State=DOWN";
    let mut site = Site::new(hasty().line(line), &json!([task("a", "true"), task("b", "true")]));
    site.init();
    site.step();
    site.cluster.kill("slurmctld");
    assert_eq!(state_of(&site, "a"), "submitted");
    site.cluster.start_controller();
    let kept = site.cluster.jobs("%i").len();
    site.cluster.ask("scontrol", &["update", "PartitionName=main", "State=UP"]);
    site.cluster.wait_for_nodes();
    assert_eq!(site.step_to_end()["state"], "completed", "{}", site.status());
    let attempts = site.attempts("a");
    assert!(if kept == 0 { attempts.len() == 2 } else { attempts.len() == 1 }, "{kept} {attempts:?}");
    if kept == 0 {
        assert!(text(&attempts[0]["reason"]).contains("lost it before its command started"), "{attempts:?}");
    }
    site.check();
}

#[test]
fn a_controller_crash_after_the_state_was_saved_loses_nothing() {
    let mut site = Site::new(hasty(), &json!([task("a", "sleep 8"), task("b", "true")]));
    site.init();
    site.step_until("a runs", |_| site.starts().len() == 2 && site.tasks().contains("b=completed"));
    let saved = || std::fs::metadata(site.cluster.path("ctld/job_state")).and_then(|file| file.modified()).ok();
    let before = saved();
    until("the controller saves its state", || saved() > before);
    site.cluster.kill("slurmctld");
    site.step();
    site.cluster.start_controller();
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!(site.attempts("a").len(), 1, "{:?}", site.attempts("a"));
    site.check();
}

#[test]
fn a_finished_job_that_a_crash_brings_back_does_not_start_again() {
    let mut site = Site::new(hasty(), &json!([task("a", "true"), task("b", "true")]));
    site.init();
    site.step();
    until("both have ended", || site.starts().values().filter(|count| **count > 0).count() == 2);
    site.cluster.kill("slurmctld");
    site.cluster.start_controller();
    site.cluster.wait_for_nodes();
    assert_eq!(site.step_to_end()["state"], "completed");
    site.check();
    assert_eq!(site.starts().values().sum::<usize>(), 2, "what came back ran into the claim");
    assert_eq!((site.attempts("a").len(), site.attempts("b").len()), (1, 1));
}

#[test]
fn jobs_on_a_lost_node_are_lost_and_one_command_mends_them() {
    let tasks: Vec<Value> = (0..40).map(|n| task(&format!("t{n}"), "test -e ../go && exit 0; sleep 300")).collect();
    let mut site =
        Site::new(Plan { cpus: 64, ..Plan::default() }.line("SlurmdTimeout=5").line("DefMemPerCPU=1"), &json!(tasks));
    site.init();
    site.step_until("all run", |_| site.starts().values().filter(|count| **count > 0).count() == 40);
    for node in [1, 2] {
        site.cluster.kill(&format!("slurmd-n{node}"));
    }
    site.cluster.kill_steps();
    let held = site.step_to_end();
    assert_eq!(text(&held["state"]), "held", "{held}");
    let lost =
        site.status()["waiting_on"].as_array().map_or(0, |all| all.iter().filter(|w| w["kind"] == "lost").count());
    assert!(lost > 0, "{}", site.status());
    assert!(text(&held["reason"]).contains("40 lost"), "{held}");
    std::fs::write(site.run_dir().join("operators/hpc/go"), "").expect("written");
    for node in [1, 2] {
        site.cluster.start_node(node);
    }
    site.cluster.wait_for_nodes();
    site.run(&["rerun", "r", "--state", "lost", "--operator", "hpc"]).code(0);
    site.run(&["resume", "r"]).code(0);
    assert_eq!(site.step_to_end()["state"], "completed", "{}", site.status());
    site.check();
}

#[test]
fn a_cluster_whose_munged_died_is_waited_for() {
    let mut site = Site::new(Plan { munge: true, ..hasty() }, &json!([task("a", "sleep 4"), task("b", "true")]));
    let first = &["init", "demo", "--run-id", "r", "--set", "limits.max_active=1"];
    site.run(first).code(0);
    site.step_until("a runs", |_| site.starts().values().any(|count| *count > 0));
    site.cluster.kill("munged");
    std::fs::remove_file(site.cluster.path("run/munge.sock")).expect("left behind");
    for _ in 0..3 {
        assert_eq!(site.step()["state"], "active");
    }
    site.cluster.start_munged();
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!((site.attempts("a").len(), site.attempts("b").len()), (1, 1));
    site.check();
}

#[test]
fn a_job_that_the_queue_has_forgotten_is_known_by_its_exit_record() {
    let site = Site::new(Plan::default().line("MinJobAge=2"), &json!([task("a", "true")]));
    site.init();
    site.step();
    until("it ended", || site.starts().values().sum::<usize>() == 1);
    until("the queue has forgotten it", || site.cluster.jobs("%i").is_empty());
    assert_eq!(site.step_to_end()["state"], "completed");
    site.check();
}

#[test]
fn a_forgotten_job_without_an_exit_record_is_lost() {
    let mut a = task("a", "echo $PPID > wrapper; sleep 300");
    a["retry"] = json!({"max_attempts": 3});
    let site = Site::new(Plan::default().line("MinJobAge=2"), &json!([a]));
    site.init();
    site.step();
    until("it runs", || site.wrapper("a").is_some());
    site.kill_wrapper("a");
    until("the queue has forgotten it", || site.cluster.jobs("%i").is_empty());
    assert_eq!(site.step_to_end()["state"], "held");
    let (state, reason) = site.last("a");
    assert!(state == "lost" && reason.contains("does not know it"), "{state}: {reason}");
    assert_eq!(site.attempts("a").len(), 1);
    site.check();
}

#[test]
fn accounts_that_do_not_answer_decide_nothing() {
    // this cluster keeps no accounts, so `sacct` fails
    let a = task("a", "echo $PPID > wrapper; sleep 300");
    let site = Site::with(Plan::default().line("MinJobAge=2"), &json!([a]), &json!({"sacct": true}));
    site.init();
    site.step();
    until("it runs", || site.wrapper("a").is_some());
    site.kill_wrapper("a");
    until("the queue has forgotten it", || site.cluster.jobs("%i").is_empty());
    site.step_until("the run says so", |tick| {
        assert_eq!(tick["state"], "active");
        site.last("a").1.contains("accounts do not answer")
    });
    let explained = site.run(&["explain", "r", "a"]).code(0).stdout;
    assert!(explained.contains("Slurm accounting storage is disabled"), "{explained}");
    let since = site.looked_at_ms();
    while site.looked_at_ms() < since + 2000 {
        assert_eq!(site.look()["state"], "active", "longer than the grace");
    }
    site.run(&["amend", "r", "config", "backends.cluster.sacct=false"]).code(0);
    assert_eq!(site.step_to_end()["state"], "held");
    let (state, reason) = site.last("a");
    assert!(state == "lost" && reason.contains("does not know it"), "{state}: {reason}");
    site.check();
}

#[test]
fn answers_that_are_garbage_or_of_others_change_nothing() {
    let site = Site::new(Plan::default(), &json!([task("a", "while ! test -e ../go; do sleep 0.1; done")]));
    site.init();
    site.step_until("it runs", |_| site.starts().values().any(|count| *count > 0));
    let id = site.cluster.jobs("%F").pop().expect("a job");
    let name = site.cluster.jobs("%j").pop().expect("a job");
    let time = "2026-11-24T10:00:00";
    // what stands before a row, and between its last fields, is in what is asked for
    let row = |row: &str| format!("for f; do :; done; m=${{f%%%*}}; printf '%s%s%s%s%s%s\\n' \"$m\" {row}");
    let foreign = row(&format!("'{id}_0|{id}|0|FAILED|n1|{time}|{time}|None' \"$m\" somebody-else \"$m\" ''"));
    let unknown = row(&format!("'{id}_0|{id}|0|NEW_STATE|n1|{time}|N/A|None' \"$m\" {name} \"$m\" ''"));
    let unmarked = format!("echo '{id}_0|{id}|0|FAILED|n1|{time}|{time}|None|{name}'");
    for answer in [
        foreign.as_str(),
        unmarked.as_str(),
        "printf 'a|b\\n\\001\\377|||||||||\\n'",
        "exit 1",
        "true",
        unknown.as_str(),
        "sleep 1; kill -9 $$",
    ] {
        let shims = site.shims(&[("squeue", answer)]);
        let tick = site.look_with(&[("PATH", &shims)]);
        assert_eq!(tick["state"], "active", "{answer}");
        assert!(["submitted", "running", "waiting_external"].contains(&state_of(&site, "a").as_str()), "{answer}");
    }
    std::fs::write(site.run_dir().join("operators/hpc/go"), "").expect("written");
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!(site.attempts("a").len(), 1);
    site.check();
}

#[test]
fn an_sbatch_that_prints_garbage_is_ambiguous_and_its_job_is_found() {
    let site = Site::new(Plan::default(), &json!([task("a", "true")]));
    site.init();
    let shims = site.shims(&[("sbatch", "REAL \"$@\" > /dev/null; printf 'job \\001 accepted\\n'")]);
    site.run_with(&["step", "r"], &[("PATH", &shims)]);
    assert_eq!(state_of(&site, "a"), "submitting");
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!((site.attempts("a").len(), site.cluster.jobs("%i").len()), (1, 1));
    site.check();
}

#[test]
fn an_exit_code_of_0_does_not_hide_what_the_scheduler_knows() {
    for (word, reason) in [("OUT_OF_MEMORY", "memory"), ("TIMEOUT", "time"), ("NODE_FAIL", "node failed")] {
        let mut a = task("a", "true");
        a["allow_failure"] = json!(true);
        let site = Site::new(Plan::default(), &json!([a]));
        site.init();
        site.step();
        until("it ended", || site.starts().values().sum::<usize>() == 1);
        // what a cluster with cgroups shows when a child of the command was killed
        let shims = site.shims(&[("squeue", &format!("REAL \"$@\" | sed 's/|COMPLETED|/|{word}|/'"))]);
        let mut reasons = String::new();
        until("the first attempt ends", || {
            site.run_with(&["step", "r"], &[("PATH", &shims)]);
            let first = site.attempts("a").remove(0);
            reasons = text(&first["reason"]);
            assert_ne!(first["state"], "completed", "{word}");
            first["state"] == "failed"
        });
        assert!(reasons.contains(reason), "{word}: {reasons}");
        site.check();
    }
}

#[test]
fn a_handle_that_a_plugin_has_spoilt_leads_nowhere() {
    use matterstack::backend::{Backends, Compute, JobKey};
    use matterstack::model::config::SlurmConfig;
    use matterstack::model::id::AttemptId;
    let run = tempfile::tempdir().expect("a scratch directory");
    let mut backends = Backends::new(run.path());
    backends.add_slurm("c", SlurmConfig::default());
    let directory = run.path().join("attempt");
    let (arrays, own, other) =
        (run.path().join("backends/c/arrays"), AttemptId("own".to_owned()), AttemptId("other".to_owned()));
    std::fs::create_dir_all(&arrays).expect("a directory");
    std::fs::create_dir(&directory).expect("a directory");
    let token = format!("ms-{}", "a".repeat(32));
    std::fs::write(arrays.join(format!("{token}.map")), "0 shell other attempt\n").expect("an array");
    let task = matterstack::model::id::TaskId::from("t");
    let key = |attempt_id| JobKey { attempt_id, task_id: &task, directory: &directory };
    for array in [token.as_str(), "../../../escaped", "/tmp/escaped", "", "ms-\n"] {
        let handle = json!({"array": array, "index": 0, "external_id": "1_0"}).to_string();
        let answers = [
            backends.status("c", key(&own), &handle).map(drop),
            backends.collect("c", key(&own), &handle).map(drop),
            backends.cancel("c", key(&own), &handle),
        ];
        for answer in answers {
            assert_eq!(answer.expect_err(array).detail().code, "handle");
        }
    }
    assert!(!directory.join(".cancel").exists());
    let handle = json!({"array": token, "index": 0}).to_string();
    assert!(backends.status("c", key(&other), &handle).is_ok(), "its own");
}

#[test]
fn a_variable_that_no_shell_can_export_is_refused_and_not_run() {
    let mut tasks = Vec::new();
    for (id, name) in [("a", "A-B"), ("b", "X;touch ../../owned;Y"), ("c", "$(touch ../owned)"), ("d", "1")] {
        let mut task = task(id, "true");
        task["env"] = json!({name: "v"});
        task["allow_failure"] = json!(true);
        tasks.push(task);
    }
    let site = Site::new(Plan::default(), &json!(tasks));
    site.init();
    site.step_to_end();
    for id in ["a", "b", "c", "d"] {
        let (state, reason) = site.last(id);
        assert!(state == "failed" && reason.contains("cannot name a variable of a shell"), "{state}: {reason}");
    }
    assert!(site.starts().values().all(|count| *count == 0));
}
