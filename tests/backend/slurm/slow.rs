//! What needs minutes or a database server: only with `MATTERSTACK_TEST_SLOW=1`, and then required.
use super::{Site, task, text};
use crate::support::slurm::{Plan, until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Whether the tests that need minutes are wanted.
pub(super) fn wanted() -> bool {
    let wanted = std::env::var("MATTERSTACK_TEST_SLOW").is_ok_and(|value| value == "1");
    if !wanted {
        eprintln!("left out: set MATTERSTACK_TEST_SLOW=1");
    }
    wanted
}

fn tasks(count: usize, line: &str) -> Value {
    (0..count).map(|n| task(&format!("t{n}"), line)).collect()
}

#[test]
fn a_time_limit_of_the_partition_is_a_timeout() {
    if !wanted() {
        return;
    }
    let mut a = task("a", "sleep 600");
    a["allow_failure"] = json!(true);
    let plan = Plan::default().line("PartitionName=main Nodes=ALL Default=YES MaxTime=1 DefaultTime=1 State=UP");
    let site = Site::new(plan, &json!([a]));
    site.init();
    site.step_until("it runs", |_| site.starts().values().any(|count| *count > 0));
    // up to a minute and a half
    let started = Instant::now();
    while site.step()["state"] == "active" {
        assert!(started.elapsed() < Duration::from_secs(200), "{}", site.status());
        std::thread::sleep(Duration::from_millis(500));
    }
    let (state, reason) = site.last("a");
    assert!(state == "failed" && reason.contains("out of time"), "{state}: {reason}");
    site.check();
}

#[test]
fn a_cluster_that_holds_no_more_jobs_is_no_failure() {
    if !wanted() {
        return;
    }
    let line = "PartitionName=main Nodes=ALL Default=YES State=DOWN";
    let site = Site::new(Plan::default().line(line).line("MaxJobCount=6").line("MinJobAge=2"), &tasks(9, "true"));
    site.init();
    // sbatch waits and tries again by itself, and is given up
    let started = Instant::now();
    site.step();
    assert!(started.elapsed() < Duration::from_secs(100), "{:?}", started.elapsed());
    site.cluster.ask("scontrol", &["update", "PartitionName=main", "State=UP"]);
    let started = Instant::now();
    while site.step()["state"] != "completed" {
        assert!(started.elapsed() < Duration::from_secs(400), "{} {:?}", site.tasks(), site.last("t8"));
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(site.starts().values().sum::<usize>(), 9);
    site.check();
}

#[test]
fn preempted_jobs_are_tried_again_and_start_nothing_twice() {
    if !wanted() {
        return;
    }
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
        let started = Instant::now();
        while site.step()["state"] != "completed" {
            let jobs = site.cluster.jobs("%i|%F|%K|%T|%r|%S|%e|%j");
            let late = started.elapsed() > Duration::from_secs(300) || site.status()["state"] == "held";
            assert!(!late, "{mode} {} {:?} {jobs:?}", site.status(), site.last("low"));
            std::thread::sleep(Duration::from_millis(500));
        }
        let attempts = site.attempts("low");
        assert_eq!(attempts.len(), 2, "{mode}: {attempts:?}");
        assert!(text(&attempts[0]["reason"]).contains("preempted"), "{mode}: {attempts:?}");
        site.check();
    }
}

#[test]
fn ten_thousand_live_jobs_are_one_poll() {
    if !wanted() {
        return;
    }
    let line = "PartitionName=main Nodes=ALL Default=YES State=DOWN";
    let site = Site::new(Plan::default().line(line).line("MaxArraySize=20001"), &tasks(10_000, "true"));
    site.init();
    site.step();
    assert_eq!(site.cluster.jobs("%i").len(), 10_000);
    until("what was due at first has been asked", || site.step()["polled"].as_u64() == Some(0));
    let path = site.shims(&[("squeue", "echo call >> HERE/squeue.calls; exec REAL \"$@\"")]);
    std::thread::sleep(Duration::from_millis(250)); // the shortest time between two polls
    let started = Instant::now();
    site.run_with(&["step", "r"], &[("PATH", &path)]).code(0);
    eprintln!("a tick over 10 000 live jobs: {:?}", started.elapsed());
    let calls = std::fs::read_to_string(site.world.root().join("shims/squeue.calls")).expect("called");
    assert_eq!(calls.lines().count(), 1);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_limit_on_jobs_and_a_queue_that_forgets_where_the_site_keeps_accounts() {
    if !wanted() {
        return;
    }
    let plan = Plan { munge: true, accounts: true, ..Plan::default() }.line("MinJobAge=2").line("MessageTimeout=3");
    let mut all = tasks(12, "true");
    all[0] = task("t0", "test -e ../go && exit 0; echo $PPID > wrapper; sleep 300");
    let site = Site::with(plan, &all, &json!({"sacct": true}));
    site.cluster.ask("sacctmgr", &["-Qi", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=5"]);
    site.init();
    site.step_until("no more than five are in the queue", |tick| {
        assert_eq!(tick["state"], "active");
        tick["submitted"].as_u64() > Some(0)
    });
    assert!(site.last("t11").1.contains("no more jobs"), "{:?}", site.last("t11"));
    // one whose wrapper is killed and that the queue then forgets: the accounts still know how it ended
    let wrapper = || {
        let attempts = std::fs::read_dir(site.run_dir().join("operators/hpc")).ok()?.flatten();
        let mut pids = attempts.filter_map(|attempt| std::fs::read_to_string(attempt.path().join("wrapper")).ok());
        pids.next().filter(|text| text.ends_with('\n'))
    };
    until("t0 runs", || wrapper().is_some());
    let pid = wrapper().expect("seen");
    std::fs::write(site.run_dir().join("operators/hpc/go"), "").expect("written");
    std::process::Command::new("kill").args(["-KILL", pid.trim()]).status().expect("kill starts");
    until("the queue has forgotten all", || site.cluster.jobs("%i").is_empty());
    let started = Instant::now();
    while site.step()["state"] == "active" {
        assert!(started.elapsed() < Duration::from_secs(300), "{} {:?}", site.tasks(), site.last("t11"));
        std::thread::sleep(Duration::from_millis(200));
    }
    let (state, reason) = site.last("t0");
    assert!(state == "failed" && reason.contains("without an exit record"), "{state}: {reason}");
    assert!((1..12).all(|n| site.tasks().contains(&format!("t{n}=completed"))), "{}", site.tasks());
    site.check();
}
