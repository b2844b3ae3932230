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
