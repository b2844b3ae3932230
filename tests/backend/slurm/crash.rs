//! The host dies at every point at which it deals with the cluster; ticks recover.
use super::{Site, task, text};
use crate::support::slurm::Plan;
use serde_json::json;

#[test]
fn a_tick_that_dies_anywhere_is_finished_by_the_next() {
    // submits die once each for two arrays, polls and collections at their first and second passage
    let points = [
        "slurm.array-written:1",
        "slurm.array-written:2",
        "slurm.sbatch.before:1",
        "slurm.sbatch.before:2",
        "slurm.sbatch.after:1",
        "slurm.sbatch.after:2",
        "store.before-commit:3",
        "store.before-commit:4",
        "check-status.after:1",
        "collect-results.after:1",
        "cancel.after:1",
    ];
    let mut reached = 0;
    for point in points {
        let mut b = task("b", "true");
        b["resources"] = json!({"cores": 2});
        let site = Site::new(Plan { nodes: 1, ..Plan::default() }, &json!([task("a", "true"), b]));
        site.init();
        reached += usize::from(site.run_with(&["loop", "r"], &[("MATTERSTACK_FAILPOINT", point)]).code.is_none());
        site.check();
        assert_eq!(site.step_to_end()["state"], "completed", "{point}: {}", site.status());
        assert_eq!(site.tasks(), "a=completed b=completed", "{point}");
        assert_eq!(site.starts().values().sum::<usize>(), 2, "{point}: two commands, each started once");
        assert_eq!((site.attempts("a").len(), site.attempts("b").len()), (1, 1), "{point}");
        site.check();
    }
    assert!(reached >= 9, "only {reached} points were reached");
}

#[test]
fn a_tick_by_another_user_is_refused() {
    let site = Site::new(Plan { nodes: 1, ..Plan::default() }, &json!([task("a", "true")]));
    site.init();
    let shared = std::process::Command::new("chmod").args(["-R", "a+rwX"]).arg(site.world.root()).status();
    assert!(shared.is_ok_and(|status| status.success()));
    let parent = site.world.root().join("..").canonicalize().expect("a directory");
    let opened = std::process::Command::new("chmod").arg("a+rwx").arg(parent).status();
    assert!(opened.is_ok_and(|status| status.success()));
    // a copy that the other user may execute, wherever the build lies
    let program = site.world.root().join("matterstack");
    std::fs::copy(crate::support::world::PROGRAM, &program).expect("a copy");
    let as_nobody = |arguments: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program).args(arguments);
        command.current_dir(site.world.root()).env_clear().env("PATH", "/usr/bin:/bin");
        command.env("HOME", site.world.root()).output().expect("setpriv starts")
    };
    let done = as_nobody(&["step", "r"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("belongs to user 0 (root), not to user 65534 (nobody)") && said.contains("adopt"), "{said}");
    assert!(site.cluster.jobs("%i").is_empty(), "nothing was submitted");
    assert_eq!(text(&site.step_to_end()["state"]), "completed");
    site.check();
}
