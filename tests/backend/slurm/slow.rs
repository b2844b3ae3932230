//! What needs minutes or a database server: ignored unless `cargo xtask test --slow` asks for it, and then required.
use super::{Site, task, text};
use crate::support::slurm::Plan;
use crate::support::{until, until_within};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn tasks(count: usize, line: &str) -> Value {
    (0..count).map(|n| task(&format!("t{n}"), line)).collect()
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --slow`"]
fn a_time_limit_of_the_partition_is_a_timeout() {
    let mut a = task("a", "sleep 600");
    a["allow_failure"] = json!(true);
    let plan = Plan::default().line("PartitionName=main Nodes=ALL Default=YES MaxTime=1 DefaultTime=1 State=UP");
    let site = Site::new(plan, &json!([a]));
    site.init();
    site.step_until("it runs", |_| site.starts().values().any(|count| *count > 0));
    // up to a minute and a half
    until_within(Duration::from_secs(200), "the run ends", || site.step()["state"] != "active");
    let (state, reason) = site.last("a");
    assert!(state == "failed" && reason.contains("out of time"), "{state}: {reason}");
    site.check();
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --slow`"]
fn a_cluster_that_holds_no_more_jobs_is_no_failure() {
    let line = "PartitionName=main Nodes=ALL Default=YES State=DOWN";
    let site = Site::new(Plan::default().line(line).line("MaxJobCount=6").line("MinJobAge=2"), &tasks(9, "true"));
    site.init();
    // sbatch waits and tries again by itself, and is given up
    let started = Instant::now();
    site.step();
    assert!(started.elapsed() < Duration::from_secs(100), "{:?}", started.elapsed());
    site.cluster.ask("scontrol", &["update", "PartitionName=main", "State=UP"]);
    until_within(Duration::from_secs(400), "the run completes", || site.step()["state"] == "completed");
    assert_eq!(site.starts().values().sum::<usize>(), 9);
    site.check();
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --slow`"]
fn preempted_jobs_are_tried_again_and_start_nothing_twice() {
    for mode in ["REQUEUE", "CANCEL"] {
        let plan = Plan { nodes: 1, cpus: 2, ..Plan::default() }
            .line("PreemptType=preempt/partition_prio")
            .line(&format!("PreemptMode={mode}"))
            .line("PartitionName=main Nodes=ALL Default=YES PriorityTier=1 State=UP")
            .line("PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF State=UP");
        let mut low = task("low", "test -e ../go && exit 0; sleep 300");
        low["resources"] = json!({"cores": 2});
        let site = Site::new(plan, &json!([low]));
        site.init();
        site.step_until("it runs", |_| site.starts().values().any(|count| *count > 0));
        std::fs::write(site.run_dir().join("operators/hpc/go"), "").expect("written");
        site.cluster.ask("sbatch", &["-p", "high", "-n2", "-o", "/dev/null", "--wrap", "sleep 2"]);
        until_within(Duration::from_secs(300), "the run completes", || {
            let state = site.step()["state"].clone();
            assert_ne!(
                state,
                "held",
                "{mode} {} {:?} {:?}",
                site.status(),
                site.last("low"),
                site.cluster.jobs("%i %T %r")
            );
            state == "completed"
        });
        let attempts = site.attempts("low");
        assert_eq!(attempts.len(), 2, "{mode}: {attempts:?}");
        assert!(text(&attempts[0]["reason"]).contains("preempted"), "{mode}: {attempts:?}");
        site.check();
    }
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --slow`"]
fn ten_thousand_live_jobs_are_one_poll() {
    let line = "PartitionName=main Nodes=ALL Default=YES State=DOWN";
    let site = Site::new(Plan::default().line(line).line("MaxArraySize=20001"), &tasks(10_000, "true"));
    site.init();
    // as many ticks as that takes of two seconds each
    site.step_until("all are handed in", |_| site.cluster.jobs("%i").len() == 10_000);
    until("what was due at first has been asked", || site.step()["polled"].as_u64() == Some(0));
    let path = site.shims(&[("squeue", "echo call >> HERE/squeue.calls; exec REAL \"$@\"")]);
    site.wait_for_poll();
    let started = Instant::now();
    site.run_with(&["step", "r"], &[("PATH", &path)]).code(0);
    eprintln!("a tick over 10 000 live jobs: {:?}", started.elapsed());
    let calls = std::fs::read_to_string(site.world.root().join("shims/squeue.calls")).expect("called");
    assert_eq!(calls.lines().count(), 1);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
#[ignore = "needs a database server: `cargo xtask test --slow`"]
fn a_limit_on_jobs_and_a_queue_that_forgets_where_the_site_keeps_accounts() {
    let mut all = tasks(12, "true");
    all[0] = task("t0", "echo $PPID > wrapper; sleep 300");
    let site = Site::with(with_accounts(), &all, &json!({"sacct": true}));
    site.cluster.ask("sacctmgr", &["-Qi", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=5"]);
    site.init();
    site.step_until("no more than five are in the queue", |tick| {
        assert_eq!(tick["state"], "active");
        tick["submitted"].as_u64() > Some(0)
    });
    assert!(site.last("t11").1.contains("no more jobs"), "{:?}", site.last("t11"));
    // one whose wrapper is killed and that the queue then forgets: the accounts still know how it ended
    until("t0 runs", || site.wrapper("t0").is_some());
    site.kill_wrapper("t0");
    until("the queue has forgotten all", || site.cluster.jobs("%i").is_empty());
    until_within(Duration::from_secs(300), "the run ends", || site.step()["state"] != "active");
    let (state, reason) = site.last("t0");
    assert!(state == "failed" && reason.contains("without an exit record"), "{state}: {reason}");
    assert!((1..12).all(|n| site.tasks().contains(&format!("t{n}=completed"))), "{}", site.tasks());
    site.check();
}

/// A cluster whose site keeps accounts, and whose queue forgets soon.
fn with_accounts() -> Plan {
    Plan { munge: true, accounts: true, ..Plan::default() }.line("MinJobAge=2").line("MessageTimeout=3")
}

#[test]
#[ignore = "needs a database server: `cargo xtask test --slow`"]
fn a_slurmdbd_that_dies_loses_nothing_and_decides_nothing() {
    let mut killed = task("killed", "echo $PPID > wrapper; sleep 300");
    killed["allow_failure"] = json!(true);
    let waits = task("waits", "while ! test -e ../go; do sleep 0.1; done");
    let mut next = task("next", "true");
    next["depends_on"] = json!(["waits"]);
    let mut site = Site::with(with_accounts(), &json!([killed, waits, next]), &json!({"sacct": true}));
    site.init();
    site.step_until("both run", |_| site.starts().values().filter(|count| **count > 0).count() == 2);
    until("it has said who its wrapper is", || site.wrapper("killed").is_some());
    // what slurmdbd has not committed yet is lost for ever
    until("the accounts know that both run", || {
        let words = site.cluster.ask("sacct", &["-n", "-P", "-X", "-S", "now-1days", "-o", "State"]);
        words.matches("RUNNING").count() == 2
    });
    site.cluster.kill("slurmdbd");
    site.kill_wrapper("killed");
    until("the queue has forgotten it", || site.cluster.jobs("%i").len() == 1);
    std::fs::write(site.run_dir().join("operators/hpc/go"), "").expect("written");
    // one job ends and another is submitted while nobody keeps accounts
    site.step_until("the others have ended", |tick| {
        assert_eq!(tick["state"], "active");
        site.tasks().contains("waits=completed next=completed")
    });
    site.step_until("the run says what it waits for", |tick| {
        assert_eq!(tick["state"], "active");
        site.last("killed").1.contains("accounts do not answer")
    });
    site.cluster.start_slurmdbd();
    assert_eq!(site.step_to_end()["state"], "completed", "{}", site.status());
    let (state, reason) = site.last("killed");
    assert!(state == "failed" && reason.contains("without an exit record"), "{state}: {reason}");
    assert_eq!((site.attempts("waits").len(), site.attempts("next").len()), (1, 1));
    site.check();
}

#[test]
#[ignore = "needs a database server: `cargo xtask test --slow`"]
fn what_an_administrator_cancelled_and_the_queue_forgot_is_known_from_the_accounts() {
    let plan = with_accounts().line("PartitionName=main Nodes=ALL Default=YES State=DOWN");
    let site = Site::with(plan, &tasks(2, "true"), &json!({"sacct": true}));
    site.init();
    site.step();
    let array = site.cluster.jobs("%F").pop().expect("a job");
    site.cluster.ask("scancel", &[&array]);
    until("the queue has forgotten them", || site.cluster.jobs("%i").is_empty());
    let user = std::fs::metadata(site.run_dir()).map(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata));
    let words = site.cluster.ask("sacct", &["-n", "-P", "-X", "-j", &array, "-o", "State"]);
    assert!(words.contains(&format!("CANCELLED by {}", user.expect("ours"))), "{words}");
    // the database answers, and the site's `sacct` does not
    let broken = site.shims(&[("sacct", "echo 'sacct: error: Problem talking to the database' >&2; exit 1")]);
    until("the run says what it waits for", || {
        let tick = site.run_with(&["step", "r", "--json"], &[("PATH", &broken)]).json();
        assert_eq!(tick["state"], "active");
        site.last("t0").1.contains("Problem talking to the database")
    });
    site.step_to_end();
    assert_eq!(site.tasks(), "t0=cancelled t1=cancelled");
    assert_eq!((site.attempts("t0").len(), site.starts().values().sum::<usize>()), (1, 0));
    site.check();
}

#[test]
#[ignore = "needs a database server: `cargo xtask test --slow`"]
fn limits_of_associations_and_of_a_qos_are_shown() {
    let mut all = tasks(2, "true");
    all[0]["resources"] = json!({"walltime_s": 600});
    all[1]["resources"] = json!({"cores": 4, "walltime_s": 60});
    let site = Site::new(with_accounts(), &all);
    let set = |words: &[&str]| site.cluster.ask("sacctmgr", &[&["-Qi", "modify"], words].concat());
    set(&["qos", "normal", "set", "MaxWall=5"]);
    let user = site.cluster.ask("id", &["-un"]);
    set(&["user", &user, "set", "GrpTRES=cpu=2"]);
    site.init();
    site.step_until("the run says so of both", |tick| {
        assert_eq!(tick["state"], "active");
        site.last("t0").1.contains("QOSMaxWallDurationPerJobLimit") && site.last("t1").1.contains("AssocGrpCpuLimit")
    });
    let waits = site.status()["waiting_on"].clone();
    let kind =
        |task: &str| waits.as_array().into_iter().flatten().find(|wait| wait["task"] == task).map(|w| &w["kind"]);
    assert_eq!((kind("t0"), kind("t1")), (Some(&json!("scheduler")), Some(&json!("queue"))), "{waits}");
    set(&["qos", "normal", "set", "MaxWall=-1"]);
    set(&["user", &user, "set", "GrpTRES=cpu=-1"]);
    assert_eq!(site.step_to_end()["state"], "completed", "{:?}", site.cluster.jobs("%i %T %r"));
    site.check();
}
