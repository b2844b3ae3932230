//! What an ordinary life looks like: tasks go out as arrays, are polled together and come back with their outputs.
use super::{Site, task, text};
use crate::support::slurm::Plan;
use serde_json::json;

#[test]
fn a_run_goes_from_init_to_completed() {
    let mut build = task("build", "echo 41 > out.txt");
    build["outputs"] = json!(["out.txt"]);
    let mut relax = task("relax 'it'\n$(touch x) \u{fc}", "test \"$(cat in.txt)-$X\" = \"41-it's\n$(echo 1)\"");
    relax["files"] = json!({"in.txt": {"from": "build", "output": "out.txt"}});
    relax["env"] = json!({"X": "it's\n1"});
    relax["resources"] = json!({"cores": 2, "memory_mb": 100, "walltime_s": 600, "nodes": 1, "tasks": 1});
    let site = Site::new(Plan::default(), &json!([build, relax]));
    site.init();
    let end = site.step_to_end();
    assert_eq!(text(&end["state"]), "completed", "{} {:?}", site.status(), site.cluster.jobs("%i %T %r %j"));
    site.check();
    let attempt = &site.attempts("build")[0];
    let directory = site.run_dir().join(text(&attempt["directory"]));
    let script = std::fs::read_to_string(directory.join("matterstack-job.sh")).expect("a job script");
    assert!(script.starts_with("#!/bin/sh\n") && script.contains("exec /bin/sh -c"), "{script}");
    assert!(text(&attempt["external_id"]).ends_with("_0"), "{attempt}");
}

/// What Slurm knows of a job, as `scontrol show job` gives it.
fn known(site: &Site, key: &str) -> String {
    let id = site.cluster.jobs("%i").pop().expect("a job");
    let job = site.cluster.ask("scontrol", &["-o", "show", "job", &id]);
    let value = job.split(' ').find_map(|word| word.strip_prefix(&format!("{key}=")));
    value.unwrap_or_else(|| panic!("no {key} in {job}")).to_owned()
}

#[test]
fn everything_that_is_asked_for_reaches_the_cluster() {
    let plan = Plan { node: "Feature=fast Gres=gpu:2", ..Plan::default() }
        .line("GresTypes=gpu")
        .line("PartitionName=main Nodes=ALL Default=YES State=DOWN")
        .line("PartitionName=other Nodes=ALL State=DOWN");
    let mut a = task("a", "true");
    a["resources"] = json!({"nodes": 2, "tasks": 4, "cores": 3, "memory_mb": 300, "gpus": 1, "walltime_s": 7000, "signal_before_s": 9});
    let backend = json!({
        "partition": "other", "account": "abc", "qos": "normal", "constraint": "fast", "extra_args": ["--nice=7", "--mail-type=NONE"],
    });
    let site = Site::with(plan, &json!([a]), &backend);
    site.init();
    site.step_until("it is queued", |_| site.cluster.jobs("%T") == ["PENDING"]);
    for (key, value) in [
        ("Partition", "other"),
        ("Account", "abc"),
        ("Features", "fast"),
        ("NumNodes", "2-2"),
        ("NumTasks", "4"),
        ("CPUs/Task", "3"),
        ("MinMemoryNode", "300M"),
        ("TresPerNode", "gres:gpu:1"),
        ("TimeLimit", "01:57:00"),
        ("Nice", "7"),
        ("Requeue", "0"),
    ] {
        assert_eq!(known(&site, key), value, "{key}");
    }
    assert!(known(&site, "JobName").starts_with("ms-"), "{}", known(&site, "JobName"));
    // a cluster without accounts forgets the qos
    let directory = site.run_dir().join(text(&site.attempts("a")[0]["directory"]));
    let script = std::fs::read_to_string(directory.join("matterstack-job.sh")).expect("a job script");
    assert!(script.contains("#SBATCH --qos=normal\n"), "{script}");
}
