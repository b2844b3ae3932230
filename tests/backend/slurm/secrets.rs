//! Secrets of jobs on a cluster: the job reads them there, and neither the scheduler nor a script ever has one.
use super::{Site, task, text};
use crate::support::secret::{CANARY, Kept, find_canary};
use crate::support::slurm::Plan;
use serde_json::json;
use std::path::PathBuf;

#[test]
fn a_secret_is_read_by_the_job_and_found_nowhere_else() {
    let kept = Kept::new("canary", Some((format!("{CANARY}\n").as_bytes(), 0o600)));
    let mut silent =
        task("silent", "printf %s \"$TOKEN$PLAIN\" | sha256sum > digest; scontrol show job $SLURM_JOB_ID > job.txt");
    silent["env"] = json!({"TOKEN": {"secret": kept.name}, "PLAIN": "x"});
    silent["outputs"] = json!(["digest", "job.txt"]);
    let mut prints = task("prints", "echo \"$TOKEN\"");
    prints["env"] = json!({"TOKEN": {"secret": kept.name}});
    // what a template puts where others see it has no secret in it
    let template = "#!/bin/sh\n{% for variable in env %}export {{ variable }}\n{% endfor %}exec env {{ command }}";
    for backend in [json!({}), json!({"template": template})] {
        let site = Site::with(Plan { nodes: 1, ..Plan::default() }, &json!([silent, prints]), &backend);
        site.init();
        let dry = site.run(&["step", "r", "--dry-run"]).code(0).stdout;
        assert!(!dry.contains(CANARY), "{dry}");
        site.step_to_end();
        assert_eq!(site.tasks(), "silent=completed prints=completed", "{:?}", site.last("silent"));
        let directory = site.run_dir().join(text(&site.attempts("silent")[0]["directory"]));
        let digest = std::fs::read_to_string(directory.join("digest")).expect("an output");
        let expected = matterstack::model::document::sha256(format!("{CANARY}x").as_bytes());
        assert!(digest.starts_with(&expected), "{digest}");
        site.run(&["evidence", "r"]).code(0);
        let found = find_canary(&site.run_dir());
        let named: Vec<String> = found.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        assert!(named.len() == 1 && named[0].contains("prints") && named[0].ends_with("stdout"), "{named:?}");
        // scripts and environments that the controller and the node keep, and what they log
        for part in ["ctld", "spool", "log"] {
            assert_eq!(find_canary(&site.cluster.path(part)), [] as [PathBuf; 0]);
        }
        site.check();
    }
}

#[test]
fn a_secret_that_is_not_as_it_should_be_ends_the_job_before_its_command() {
    let cases = [
        ("missing", None, "there is no `~/.config/matterstack/secrets/test-"),
        ("open", Some((&b"x"[..], 0o644)), "is open to other users (mode 644); `chmod 600` it"),
        ("empty", Some((&b"\n"[..], 0o600)), "is empty"),
        ("nul", Some((&b"a\0b"[..], 0o600)), "holds a NUL character"),
        ("fine", Some((&b"x"[..], 0o600)), ""),
    ];
    let kept: Vec<Kept> = cases.iter().map(|(name, secret, _)| Kept::new(name, *secret)).collect();
    let tasks: Vec<_> = cases
        .iter()
        .zip(&kept)
        .map(|((name, ..), kept)| {
            let mut task = task(name, "test $A = x");
            task["env"] = json!({"A": {"secret": kept.name}});
            task["allow_failure"] = json!(true);
            task
        })
        .collect();
    let site = Site::new(Plan { nodes: 1, ..Plan::default() }, &json!(tasks));
    site.init();
    site.step_to_end();
    for (name, _, words) in &cases {
        let (state, reason) = site.last(name);
        if *name == "fine" {
            assert_eq!(state, "completed", "{reason}");
            continue;
        }
        assert!(state == "failed" && reason.contains(words), "{name}: {state} {reason}");
        assert_eq!(site.run(&["explain", "r", name, "--json"]).code(0).json()[0]["code"], "secret");
    }
    assert_eq!(site.starts().values().sum::<usize>(), 1, "only what had its secret was started");
    site.check();
}
