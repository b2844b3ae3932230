//! How jobs end, as a real Slurm shows it: the rows of its state table that need no minutes.
use super::{Site, task, text};
use crate::support::slurm::{Plan, cannot_limit_memory};
use crate::support::{LONG, until};
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
#[ignore = "needs the memory controller of control groups, version 1: `cargo xtask test --slow`"]
fn a_control_group_out_of_memory_is_tried_again_with_more() {
    assert_eq!(cannot_limit_memory(), None, "this machine cannot hold jobs to their memory");
    // a script that exits 0 although what it called was killed, and one that is killed itself
    let hog = "python3 -c 'x = bytearray(100 << 20)'";
    let mut all = [task("hides", &format!("{hog}; exit 0")), task("tells", &format!("exec {hog}"))];
    for hog in &mut all {
        hog["resources"] = json!({"memory_mb": 50});
        hog["retry"] = json!({"max_attempts": 2, "on": {"oom": {"memory_factor": 6}}});
    }
    let site = Site::new(Plan { memory_limits: true, nodes: 1, ..Plan::default() }, &json!(all));
    site.init();
    site.step_until("one has ended", |tick| tick["finished"].as_u64() > Some(0));
    let words = site.cluster.jobs("%T %r");
    assert!(words.contains(&"OUT_OF_MEMORY OutOfMemory".to_owned()), "{words:?}");
    assert_eq!(
        site.step_to_end()["state"],
        "completed",
        "{:?} {:?}",
        site.attempts("hides"),
        site.cluster.jobs("%T %r")
    );
    for name in ["hides", "tells"] {
        let attempts = site.attempts(name);
        assert_eq!(attempts.len(), 2, "{attempts:?}");
        assert!(attempts[0]["state"] == "failed" && text(&attempts[0]["reason"]).contains("memory"), "{attempts:?}");
    }
    assert_eq!(site.cluster.jobs("%m").iter().filter(|memory| *memory == "300M").count(), 2);
    site.check();
}

#[test]
fn exit_codes_and_signals_are_what_the_command_made_of_them() {
    let failing = |id: &str, line: &str| {
        let mut task = task(id, line);
        task["allow_failure"] = json!(true);
        task
    };
    let all = json!([task("good", "true"), failing("three", "exit 3"), failing("killed", "kill -9 $$")]);
    let site = Site::new(Plan::default(), &all);
    site.init();
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!(site.tasks(), "good=completed three=failed killed=failed");
    assert!(site.last("three").1.contains("code 3"), "{:?}", site.last("three"));
    assert!(site.last("killed").1.contains("signal 9"), "{:?}", site.last("killed"));
    let mut words = site.cluster.jobs("%T %r");
    words.sort();
    assert_eq!(words, ["COMPLETED None", "FAILED NonZeroExitCode", "FAILED NonZeroExitCode"]);
    site.check();
}

#[test]
fn a_job_that_is_completing_has_not_ended() {
    // it says that it has started once neither it nor what it starts dies of the signal
    let mut a = task("a", "");
    a["command"] = json!("trap '' TERM; echo started >> started.log; until test -e ../go; do sleep 0.1; done; exit 1");
    let site = Site::new(Plan::default().line("KillWait=60"), &json!([a]));
    site.init();
    let id = started(&site);
    site.cluster.ask("scancel", &[&id]);
    site.step_until("it is completing", |_| site.cluster.jobs("%T") == ["COMPLETING"]);
    for _ in 0..5 {
        assert_eq!(site.look()["state"], "active");
        assert_eq!(site.last("a").0, "running");
    }
    std::fs::write(site.run_dir().join("operators/hpc/go"), "").expect("written");
    site.step_to_end();
    assert_eq!(site.last("a").0, "cancelled", "{:?}", site.last("a"));
    site.check();
}

#[test]
fn a_job_out_of_time_is_tried_again_with_more() {
    let mut a = task("a", "test -e ../go && sleep 3 && exit 0; touch ../go; sleep 300");
    a["resources"] = json!({"walltime_s": 2});
    a["retry"] = json!({"max_attempts": 2, "on": {"timeout": {"walltime_factor": 60}}});
    let site = Site::new(Plan::default(), &json!([a]));
    site.init();
    assert_eq!(site.step_to_end()["state"], "completed", "{:?}", site.attempts("a"));
    let attempts = site.attempts("a");
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert!(text(&attempts[0]["reason"]).contains("time"), "{attempts:?}");
    let mut limits = site.cluster.jobs("%l");
    limits.sort();
    assert_eq!(limits, ["1:00", "2:00"]);
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
    until("it has said who that is", || site.wrapper("a").is_some());
    site.kill_wrapper("a");
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
    site.run(&["amend", "r", "config", "backends.cluster.extra_args=[]"]).code(0);
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
fn a_wrong_partition_is_named_and_mended_by_the_command_shown() {
    let site =
        Site::with(Plan { nodes: 1, ..Plan::default() }, &json!([task("a", "true")]), &json!({"partition": "mian"}));
    site.init();
    site.run(&["loop", "r"]).code(1);
    let explained = site.run(&["explain", "r", "a", "--json"]).code(0).json()[0].clone();
    assert!(explained["code"] == "refused" && explained["sentence"].to_string().contains("mian"), "{explained}");
    assert_eq!(explained["command"], "matterstack amend r config backends.cluster.KEY=VALUE && matterstack resume r");
    site.run(&["amend", "r", "config", "backends.cluster.partition=main"]).code(0);
    site.run(&["resume", "r"]).code(0);
    assert_eq!(site.step_to_end()["state"], "completed");
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
    let mut wait = json!(null);
    site.step_until("the run says so", |_| {
        wait = site.status()["waiting_on"][0].clone();
        text(&wait["reason"]).contains("JobHeld")
    });
    assert_eq!((&wait["kind"], &wait["hint"]), (&json!("scheduler"), &json!("matterstack explain r a")));
    let explained = site.run(&["explain", "r", "a", "--json"]).code(0).json()[0].clone();
    assert_eq!(explained["command"], "matterstack cancel r a");
    let sentence = format!(
        "Slurm holds job {id} back: JobHeldAdmin (an administrator holds it); `scontrol release {id}` on the cluster lets it go"
    );
    assert_eq!(explained["sentence"], sentence);
    site.run(&["loop", "r"]).code(5);
    site.cluster.ask("scontrol", &["update", "PartitionName=main", "State=UP"]);
    site.cluster.ask("scontrol", &["release", &id]);
    assert_eq!(site.step_to_end()["state"], "completed");
    site.check();
}

#[test]
fn reasons_that_only_a_person_can_resolve_are_shown_each_and_the_jobs_go_on() {
    let limits = "PartitionName=main Nodes=ALL Default=YES MaxNodes=1 MaxTime=60 DefaultTime=10 State=UP";
    let mut all: Vec<_> =
        ["long", "wide", "held", "uheld", "feature", "moved", "dep"].iter().map(|id| task(id, "true")).collect();
    all[0]["resources"] = json!({"walltime_s": 7200});
    all[1]["resources"] = json!({"nodes": 2});
    let site = Site::new(Plan::default().line(limits).line("PartitionName=other Nodes=n1 State=UP"), &json!(all));
    let update = |words: &[&str]| site.cluster.ask("scontrol", &[&["update"], words].concat());
    let features = |word: &str| {
        update(&["NodeName=n1,n2", &format!("AvailableFeatures={word}"), &format!("ActiveFeatures={word}")])
    };
    features("fast");
    let blocks = ["--parsable", "-n8", "-a", "0-1", "-o", "/dev/null", "--wrap", "sleep 300"];
    let block = site.cluster.ask("sbatch", &blocks);
    until("both nodes are taken", || site.cluster.jobs("%T").iter().all(|word| word == "RUNNING"));
    site.init();
    let id = |task: &str| text(&site.attempts(task)[0]["external_id"]);
    site.step_until("the queue shows them", |_| id("dep").contains('_') && id("long").contains('_'));
    let job = |task: &str| format!("JobId={}", id(task));
    site.cluster.ask("scontrol", &["hold", &id("held")]);
    site.cluster.ask("scontrol", &["uhold", &id("uheld")]);
    update(&[&job("dep"), &format!("Dependency=afterok:{block}")]);
    update(&[&job("moved"), "Partition=other"]);
    update(&["PartitionName=other", "Nodes="]);
    update(&[&job("feature"), "Features=fast"]);
    features("slow");
    site.cluster.ask("scancel", &[&block]);
    let reasons = [
        ("long", "PartitionTimeLimit"),
        ("wide", "PartitionNodeLimit"),
        ("held", "JobHeldAdmin"),
        ("uheld", "JobHeldUser"),
        ("feature", "BadConstraints"),
        ("moved", "PartitionConfig"),
        ("dep", "DependencyNeverSatisfied"),
    ];
    let mut last = json!(null);
    let shown = |status: &serde_json::Value, task: &str, reason: &str| {
        let waits = status["waiting_on"].as_array().into_iter().flatten();
        waits.filter(|wait| wait["task"] == task && wait["kind"] == "scheduler").any(|w| w.to_string().contains(reason))
    };
    let started = std::time::Instant::now();
    site.step_until("the run says so of each", |tick| {
        assert_eq!(tick["state"], "active");
        last = site.status();
        let missing: Vec<_> = reasons.iter().filter(|(task, reason)| !shown(&last, task, reason)).collect();
        assert!(started.elapsed() < LONG / 2, "{missing:?} {:?} {last}", site.cluster.jobs("%i %T %r %S"));
        missing.is_empty()
    });
    for (task, reason) in reasons {
        let explained = site.run(&["explain", "r", task]).code(0).stdout;
        assert!(explained.contains(reason), "{task}: {explained}");
        let words = if task == "long" { "asks for more time than its partition allows" } else { "" };
        assert!(explained.contains(words), "{task}: {explained}");
    }
    update(&["PartitionName=main", "MaxNodes=2", "MaxTime=INFINITE"]);
    update(&[&job("dep"), "Dependency="]);
    update(&[&job("moved"), "Partition=main"]);
    features("fast");
    site.cluster.ask("scontrol", &["release", &id("held"), &id("uheld")]);
    assert_eq!(site.step_to_end()["state"], "completed", "{:?}", site.cluster.jobs("%i %T %r"));
    assert_eq!(site.starts().values().sum::<usize>(), 7);
    site.check();
}

#[test]
fn a_launch_that_failed_and_is_held_is_shown() {
    let down = "PartitionName=main Nodes=ALL Default=YES State=DOWN";
    let site = Site::new(Plan::default().line("Prolog=/bin/false").line(down), &json!([task("a", "true")]));
    site.init();
    site.step_until("it is queued", |_| site.cluster.jobs("%T") == ["PENDING"]);
    let id = site.cluster.jobs("%i").pop().expect("a job");
    // as a job is after some crashes of a controller
    site.cluster.ask("scontrol", &["update", &format!("JobId={id}"), "Requeue=1"]);
    site.cluster.ask("scontrol", &["update", "PartitionName=main", "State=UP"]);
    site.step_until("the run says so", |_| {
        site.status()["waiting_on"].to_string().contains("launch failed requeued held")
    });
    assert_eq!(site.status()["waiting_on"][0]["kind"], "scheduler");
    site.run(&["cancel", "r"]).code(0);
    assert_eq!(site.step_to_end()["state"], "cancelled");
    assert_eq!((site.last("a").0.as_str(), site.starts().values().sum::<usize>()), ("cancelled", 0));
    site.check();
}

#[test]
fn a_node_whose_prolog_fails_cancels_nothing() {
    // Slurm drains the node, and shows the job as cancelled where it may not be requeued
    let site = Site::new(Plan { nodes: 3, ..Plan::default() }.line("Prolog=/bin/false"), &json!([task("a", "true")]));
    site.init();
    site.step_until("the first attempt ends", |_| site.attempts("a")[0]["ended_at"].is_string());
    let first = site.attempts("a").remove(0);
    assert_eq!(first["state"], "failed", "{first} {:?}", site.cluster.jobs("%T %r %N"));
    assert!(text(&first["reason"]).contains("before its command started"), "{first}");
    assert!(site.cluster.jobs("%T").contains(&"CANCELLED".to_owned()), "{:?}", site.cluster.jobs("%T %r %N"));
    assert_eq!(site.step()["state"], "active", "it is tried again");
    assert_eq!(site.starts().values().sum::<usize>(), 0);
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

#[test]
fn a_directory_that_was_removed_under_its_job_is_no_proof_that_nothing_started() {
    let mut a = task("a", "echo started >> ../ran; while [ -e stdout ] && [ ! -e ../go ]; do sleep 0.1; done");
    a["allow_failure"] = json!(true);
    let site = Site::new(Plan::default(), &json!([a]));
    site.init();
    let hpc = site.run_dir().join("operators/hpc");
    site.step_until("it runs", |_| hpc.join("ran").exists());
    let place = site.attempts("a")[0]["directory"].as_str().expect("a directory").to_owned();
    std::fs::remove_dir_all(site.run_dir().join(place)).expect("removed");
    std::fs::write(hpc.join("go"), "").expect("a file");
    site.step_to_end();
    let (state, reason) = site.last("a");
    assert!(state == "failed" && reason.contains("without an exit record"), "{state}: {reason}");
    assert_eq!(std::fs::read_to_string(hpc.join("ran")).expect("it ran"), "started\n");
    assert_eq!(site.attempts("a").len(), 1);
}

#[test]
fn what_a_job_puts_in_the_place_of_the_hosts_own_files_stops_no_tick() {
    let hostile = "echo keep > ../precious; rm -rf .claim/owner matterstack-job.sh
        mkfifo .claim/owner matterstack-job.sh; ln -s ../precious .cancel; touch ../ready; sleep 300";
    let site =
        Site::new(Plan::default(), &json!([task("a", hostile), task("b", "mkfifo .cancel; touch ../also; sleep 300")]));
    site.init();
    let hpc = site.run_dir().join("operators/hpc");
    site.step_until("they run", |_| hpc.join("ready").exists() && hpc.join("also").exists());
    site.run(&["cancel", "r", "a"]).code(0);
    site.run(&["cancel", "r", "b"]).code(0);
    site.step_to_end();
    assert_eq!(site.tasks(), "a=cancelled b=cancelled");
    assert_eq!(std::fs::read_to_string(hpc.join("precious")).expect("it is there"), "keep\n");
}

#[test]
fn what_a_job_puts_in_the_place_of_its_exit_record_hides_no_end() {
    let hostile = "mkdir ../outside; ln -s ../outside exit.json; mkfifo .exit.json.tmp";
    let site = Site::new(Plan::default(), &json!([task("a", hostile)]));
    site.init();
    assert_eq!(site.step_to_end()["state"], "completed", "{}", site.status());
    let outside = site.run_dir().join("operators/hpc/outside");
    assert_eq!(std::fs::read_dir(outside).expect("a directory").count(), 0);
    site.check();
}
