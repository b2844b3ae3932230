//! Many tasks at once: arrays, few calls, limits.
use super::{Site, task, text};
use crate::support::slurm::Plan;
use crate::support::until;
use serde_json::{Value, json};
use std::time::Instant;

/// A partition in which nothing starts.
const DOWN: &str = "PartitionName=main Nodes=ALL Default=YES State=DOWN";

fn tasks(count: usize, line: &str) -> Value {
    (0..count).map(|n| task(&format!("t{n}"), line)).collect()
}

fn calls(site: &Site, program: &str) -> usize {
    std::fs::read_to_string(site.world.root().join("shims").join(program).with_extension("calls"))
        .unwrap_or_default()
        .lines()
        .count()
}

fn counting(site: &Site) -> String {
    let script = |program: &str| format!("echo call >> HERE/{program}.calls; exec REAL \"$@\"");
    let scripts: Vec<(&str, String)> =
        ["sbatch", "squeue", "scancel"].into_iter().map(|program| (program, script(program))).collect();
    let scripts: Vec<(&str, &str)> = scripts.iter().map(|(program, script)| (*program, script.as_str())).collect();
    site.shims(&scripts)
}

#[test]
fn a_thousand_tasks_are_three_calls_at_most_and_one_poll() {
    let site = Site::new(Plan::default().line(DOWN), &tasks(1000, "true"));
    site.init();
    let path = counting(&site);
    let started = Instant::now();
    // a tick's time is no part of what is claimed here, and a busy machine must not cut it short
    let one_tick = [("PATH", path.as_str()), ("MATTERSTACK_TEST_STILL", "1")];
    let tick = site.run_with(&["step", "r", "--json"], &one_tick).json();
    let took = started.elapsed();
    assert_eq!(tick["submitted"], 1000, "{tick}");
    assert!(calls(&site, "sbatch") <= 3, "{} calls", calls(&site, "sbatch"));
    eprintln!("1000 tasks submitted in {took:?} with {} calls of sbatch", calls(&site, "sbatch"));
    assert_eq!(site.cluster.jobs("%i").len(), 1000);
    let (before, steps) = (calls(&site, "squeue"), site.looked_at_ms());
    site.look_with(&[("PATH", &path)]);
    assert!(site.looked_at_ms() > steps && calls(&site, "squeue") == before + 1);
    let started = Instant::now();
    site.run_with(&["cancel", "r"], &one_tick).code(0);
    let asked = started.elapsed();
    let mut ticks = Vec::new();
    until("all are cancelled", || {
        let started = Instant::now();
        let state = site.run_with(&["step", "r", "--json"], &one_tick).json()["state"].clone();
        ticks.push(started.elapsed());
        state == "cancelled"
    });
    eprintln!("cancelled with {} calls of scancel: `cancel` {asked:?}, ticks {ticks:?}", calls(&site, "scancel"));
    assert_eq!(calls(&site, "scancel"), 1);
    assert_eq!(site.starts().values().sum::<usize>(), 0);
    site.check();
}

#[test]
fn a_task_that_is_cancelled_leaves_the_rest_of_its_array_alone() {
    let mut all = tasks(6, "true");
    all[2]["allow_failure"] = json!(true);
    let site = Site::new(Plan::default().line(DOWN), &all);
    site.init();
    site.step_until("all are pending", |_| {
        site.cluster.jobs("%T").iter().filter(|word| *word == "PENDING").count() == 6
    });
    site.run(&["cancel", "r", "t2"]).code(0);
    site.step_until("one is cancelled", |_| site.last("t2").0 == "cancelled");
    assert_eq!(site.cluster.jobs("%T").iter().filter(|word| *word == "PENDING").count(), 5);
    site.cluster.ask("scontrol", &["update", "PartitionName=main", "State=UP"]);
    site.step_to_end();
    let completed = site.tasks().matches("=completed").count();
    assert_eq!((completed, site.last("t2").0.as_str()), (5, "cancelled"), "{}", site.tasks());
    assert_eq!(site.starts().values().sum::<usize>(), 5);
    site.check();
}

#[test]
fn backends_of_one_cluster_share_a_poll() {
    let wait = "while ! test -e ../../go; do sleep 0.1; done";
    let mut all: Vec<Value> = (0..4).map(|n| task(&format!("t{n}"), wait)).collect();
    for task in &mut all[2..] {
        task["operator"] = json!("other");
    }
    let site = Site::new(Plan::default(), &json!(all));
    let second = "backends.second={\"kind\": \"slurm\", \"poll_interval_s\": 0.1, \"array_max\": 1}";
    let other = "operators.other={\"plugin\": \"builtin:compute\", \"grants\": {\"compute\": [\"second\"]}}";
    site.run(&["init", "demo", "--run-id", "r", "--set", second, "--set", other]).code(0);
    site.step();
    until("all run", || site.cluster.jobs("%T") == ["RUNNING"; 4]);
    let path = counting(&site);
    for n in 1..=3 {
        site.wait_for_poll();
        site.run_with(&["step", "r"], &[("PATH", &path)]).code(0);
        assert_eq!(calls(&site, "squeue"), n, "one for both backends");
    }
    assert!((0..4).all(|n| site.last(&format!("t{n}")).0 == "running"), "{}", site.tasks());
    std::fs::write(site.run_dir().join("operators/go"), "").expect("written");
    assert_eq!(site.step_to_end()["state"], "completed");
    assert!((0..4).all(|n| site.attempts(&format!("t{n}")).len() == 1), "{}", site.tasks());
    site.check();
}

#[test]
fn polls_keep_their_distance_across_processes() {
    let site = Site::with(Plan::default().line(DOWN), &tasks(3, "true"), &json!({"poll_interval_s": 60}));
    site.init();
    let path = counting(&site);
    for _ in 0..5 {
        site.run_with(&["step", "r"], &[("PATH", &path)]).code(0);
    }
    assert_eq!(calls(&site, "squeue"), 1, "one poll in a minute, though every step is a new process");
}

#[test]
fn arrays_keep_to_the_clusters_size_and_to_equal_needs() {
    let mut all = tasks(13, "true");
    for n in 10..13 {
        all[n]["resources"] = json!({"cores": 2});
    }
    let site = Site::new(Plan::default().line("MaxArraySize=5"), &all);
    site.init();
    let path = counting(&site);
    site.run_with(&["step", "r"], &[("PATH", &path)]).code(0);
    assert_eq!(calls(&site, "sbatch"), 3, "ten in two arrays of five, three in one of their own");
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!(site.starts().values().sum::<usize>(), 13);
    site.check();
}

#[test]
fn a_cluster_without_arrays_takes_single_jobs() {
    let site = Site::new(Plan::default().line("MaxArraySize=0"), &tasks(3, "true"));
    site.init();
    assert_eq!(site.step_to_end()["state"], "completed", "{:?}", site.last("t0"));
    let id = text(&site.attempts("t0")[0]["external_id"]);
    assert!(!id.contains('_'), "{id}");
    site.check();
}

#[test]
fn submits_keep_to_their_rate() {
    let mut all = tasks(4, "true");
    for n in 0..4 {
        all[n]["resources"] = json!({"memory_mb": 50 + n});
    }
    let site = Site::with(Plan::default().line(DOWN), &all, &json!({"submits_per_minute": 3}));
    site.init();
    let path = counting(&site);
    let tick = site.run_with(&["step", "r", "--json"], &[("PATH", &path)]).json();
    assert_eq!((&tick["submitted"], calls(&site, "sbatch")), (&json!(3), 3), "{tick}");
    let (state, reason) = site.last("t3");
    assert!(state == "prepared" && reason.contains("submits_per_minute"), "{state}: {reason}");
    site.run_with(&["step", "r"], &[("PATH", &path)]).code(0);
    assert_eq!(calls(&site, "sbatch"), 3);
    site.check();
}

#[test]
fn a_full_cluster_is_no_failure() {
    let site = Site::new(Plan::default().line(DOWN), &tasks(20, "true"));
    site.init();
    // what a user's limit of seven jobs does
    let limit = "echo call >> HERE/sbatch.calls\n\
                 range=$(echo \"$*\" | sed -n 's/.*--array=\\([0-9]*\\)-\\([0-9]*\\).*/\\2 - \\1 + 1/p')\n\
                 if [ $(($(squeue -h -r | wc -l) + $range)) -gt 7 ]; then\n\
                 echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2\n\
                 echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS policy' >&2\n\
                 exit 1; fi\nexec REAL \"$@\"";
    let path = site.shims(&[("sbatch", limit)]);
    let tick = site.run_with(&["step", "r", "--json"], &[("PATH", &path)]).json();
    assert_eq!(tick["submitted"], 7, "{tick} {:?}", site.last("t0"));
    assert_eq!(tick["state"], "active");
    let called = calls(&site, "sbatch");
    site.run_with(&["step", "r"], &[("PATH", &path)]).code(0);
    assert_eq!(calls(&site, "sbatch"), called, "a full cluster is left alone for a while");
    let (state, reason) = site.last("t19");
    assert!(state == "prepared" && reason.contains("no more jobs"), "{state}: {reason}");
    site.cluster.ask("scontrol", &["update", "PartitionName=main", "State=UP"]);
    until("all have come through", || {
        site.run_with(&["step", "r", "--json"], &[("PATH", &path)]).json()["state"] == "completed"
    });
    assert_eq!(site.attempts("t19").len(), 1);
    site.check();
}
