//! How jobs end, as a real Slurm shows it: the rows of its state table that need no minutes.
use super::{Site, task, text};
use crate::support::slurm::{Plan, until};
use serde_json::json;

/// Waits until a job has started its command, and gives its id.
fn started(site: &Site) -> String {
    site.step_until("the command has started", |_| site.starts().values().any(|count| *count > 0));
    site.cluster.jobs("%i").pop().expect("a job")
}

#[test]
fn a_job_that_an_administrator_cancels_is_cancelled() {
    let mut waits = task("waits", "true");
    waits["depends_on"] = json!(["runs"]);
    waits["allow_dependency_failure"] = json!(true);
    let mut runs = task("runs", "sleep 300");
    runs["allow_failure"] = json!(true);
    let site = Site::new(Plan::default(), &json!([runs, waits]));
    site.init();
    let id = started(&site);
    site.cluster.ask("scancel", &[&id]);
    site.step_to_end();
    assert_eq!(site.tasks(), "runs=cancelled waits=completed");
    site.check();
}

#[test]
fn a_pending_job_that_is_cancelled_never_starts() {
    let site = Site::new(
        Plan::default().line("PartitionName=main Nodes=ALL Default=YES State=DOWN"),
        &json!([task("a", "true")]),
    );
    site.init();
    site.step_until("it is queued", |_| site.cluster.jobs("%T") == ["PENDING"]);
    site.run(&["cancel", "r"]).code(0);
    site.step_until("the run is cancelled", |tick| tick["state"] == "cancelled");
    assert_eq!(site.last("a").0, "cancelled");
    assert_eq!(site.starts().values().sum::<usize>(), 0);
    site.check();
}

#[test]
fn a_command_that_runs_out_of_memory_says_so() {
    let plan = Plan::default()
        .line("JobAcctGatherType=jobacct_gather/linux")
        .line("JobAcctGatherFrequency=task=1")
        .line("JobAcctGatherParams=OverMemoryKill");
    let mut hog = task("hog", "exec python3 -c 'import time; x = bytearray(400 << 20); time.sleep(60)'");
    hog["resources"] = json!({"memory_mb": 50});
    hog["allow_failure"] = json!(true);
    let site = Site::new(plan, &json!([hog]));
    site.init();
    site.step_to_end();
    let (state, reason) = site.last("hog");
    assert!(state == "failed" && reason.contains("memory"), "{state} {reason} {:?}", site.cluster.jobs("%T %r"));
    site.check();
}

#[test]
fn a_requeued_job_does_not_start_its_command_again() {
    let site = Site::new(Plan::default(), &json!([task("a", "test -e ../go && exit 0; touch ../go; sleep 300")]));
    site.init();
    let id = started(&site);
    site.cluster.ask("scontrol", &["update", &format!("JobId={id}"), "Requeue=1"]);
    site.cluster.ask("scontrol", &["requeue", &id]);
    let end = site.step_to_end();
    assert_eq!(text(&end["state"]), "completed", "{}", site.status());
    let attempts = site.attempts("a");
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert!(text(&attempts[0]["reason"]).contains("start it again"), "{attempts:?}");
    until("the requeued job is gone", || site.cluster.jobs("%T").iter().all(|word| word != "PENDING"));
    site.check();
}

#[test]
fn a_job_whose_wrapper_was_killed_is_no_success() {
    let mut a = task("a", "echo $PPID > wrapper; sleep 300");
    a["allow_failure"] = json!(true);
    let site = Site::new(Plan::default(), &json!([a]));
    site.init();
    started(&site);
    // the wrapper is the parent of the job script, whose place the shell took
    let directory = site.run_dir().join("operators/hpc");
    let attempt = std::fs::read_dir(directory).expect("attempts").flatten().next().expect("one").path();
    let pid = std::fs::read_to_string(attempt.join("wrapper")).expect("a pid");
    let killed = std::process::Command::new("kill").args(["-KILL", pid.trim()]).status();
    assert!(killed.is_ok_and(|status| status.success()));
    site.step_to_end();
    let (state, reason) = site.last("a");
    assert!(state == "failed" && reason.contains("without an exit record"), "{state}: {reason}");
    site.check();
}

#[test]
fn an_output_that_cannot_be_written_starts_nothing() {
    let backend = json!({"extra_args": ["--error=/no/such/directory/err"]});
    let site = Site::with(Plan::default(), &json!([task("a", "true")]), &backend);
    site.init();
    site.step_until("the first attempt ends", |_| site.attempts("a")[0]["state"] == "failed");
    let reason = text(&site.attempts("a")[0]["reason"]);
    assert!(reason.contains("before its command started"), "{reason}");
    site.run(&["amend", "r", "--set", "backends.cluster.extra_args=[]"]).code(0);
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!(site.starts().values().sum::<usize>(), 1);
    site.check();
}

#[test]
fn what_the_cluster_can_never_run_is_refused_once() {
    let mut big = task("big", "true");
    big["resources"] = json!({"memory_mb": 10_000_000});
    big["allow_failure"] = json!(true);
    let site = Site::new(Plan::default(), &json!([big, task("small", "true")]));
    site.init();
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!(site.tasks(), "big=failed small=completed");
    assert_eq!(site.attempts("big").len(), 1);
    site.check();
}

#[test]
fn a_reason_that_never_resolves_is_shown() {
    let site = Site::new(
        Plan::default().line("PartitionName=main Nodes=ALL Default=YES State=DOWN"),
        &json!([task("a", "true")]),
    );
    site.init();
    site.step_until("it is queued", |_| site.cluster.jobs("%T") == ["PENDING"]);
    let id = site.cluster.jobs("%i").pop().expect("a job");
    site.cluster.ask("scontrol", &["hold", &id]);
    site.step_until("the run says so", |_| {
        let waits = site.status()["waiting_on"].clone();
        waits[0]["kind"] == "scheduler" && text(&waits[0]["hint"]).contains("JobHeld")
            || waits.to_string().contains("JobHeld")
    });
    let explained = site.run(&["explain", "r", "a"]).code(0).stdout;
    assert!(explained.contains("JobHeld"), "{explained}");
    site.cluster.ask("scontrol", &["update", "PartitionName=main", "State=UP"]);
    site.cluster.ask("scontrol", &["release", &id]);
    assert_eq!(site.step_to_end()["state"], "completed");
    site.check();
}

#[test]
fn a_job_is_warned_before_its_time_is_over() {
    let mut a = task("a", "trap 'echo warned > warned; exit 0' USR1; sleep 300 & wait");
    a["resources"] = json!({"walltime_s": 60, "signal_before_s": 59});
    a["outputs"] = json!(["warned"]);
    let site = Site::new(Plan::default(), &json!([a]));
    site.init();
    assert_eq!(site.step_to_end()["state"], "completed");
    site.check();
}

#[test]
fn setup_lines_a_launcher_and_a_template_reach_the_command() {
    let template = "#!/bin/sh\n# of the site, {{ resources.cores }} cores\n{% for line in setup %}{{ line }}\n{% endfor %}\
                    export SITE=yes\nexec {{ launcher }} {{ command }}";
    let backend = json!({"setup": ["module() { export LOADED=$2; }", "module load lammps"], "template": template});
    let mut a = task("a", "test \"$LOADED $SITE $LAUNCHED\" = 'lammps yes with it'");
    a["resources"] = json!({"cores": 3});
    let site = Site::with(Plan::default(), &json!([a]), &backend);
    let launcher = "operators.hpc.config={\"launcher\": [\"env\", \"LAUNCHED=with it\"]}";
    site.run(&["init", "demo", "--run-id", "r", "--set", launcher]).code(0);
    assert_eq!(site.step_to_end()["state"], "completed", "{}", site.status());
    let directory = site.run_dir().join(text(&site.attempts("a")[0]["directory"]));
    let script = std::fs::read_to_string(directory.join("matterstack-job.sh")).expect("a script");
    assert!(script.contains("# of the site, 3 cores"), "{script}");
}
