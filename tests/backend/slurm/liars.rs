//! Jobs that do away with what tells that they ran: what vanishes from the attempt directory proves nothing.
use super::{Site, task};
use crate::support::slurm::Plan;
use crate::support::until;
use serde_json::json;

/// What a command does to its attempt directory before its wrapper is killed, so that it leaves no exit record.
pub(crate) const LIES: [&str; 3] =
    ["rm -rf .claim", "rm -rf .claim; mkdir .claim; touch .claim/fenced", "find . -mindepth 1 -delete"];

#[test]
fn a_job_that_removed_its_claim_is_not_taken_for_one_that_never_started() {
    let mut tasks = Vec::new();
    for (n, lie) in LIES.iter().enumerate() {
        let mut one = task(&format!("t{n}"), &format!("echo started >> ../ran-{n}; {lie}; kill -9 $PPID; sleep 300"));
        one["allow_failure"] = json!(true);
        tasks.push(one);
    }
    let site = Site::new(Plan::default(), &json!(tasks));
    site.init();
    site.step_to_end();
    for (n, lie) in LIES.iter().enumerate() {
        let (state, reason) = site.last(&format!("t{n}"));
        assert!(state == "failed" && reason.contains("without an exit record"), "{}: {state}: {reason}", lie);
        assert_eq!(site.attempts(&format!("t{n}")).len(), 1, "{}", lie);
        let ran = std::fs::read_to_string(site.run_dir().join(format!("operators/hpc/ran-{n}"))).expect("it ran");
        assert_eq!(ran, "started\n", "{}", lie);
    }
    assert_eq!(site.run(&["doctor", "r"]).code, Some(0));
}

#[test]
fn a_submit_without_an_answer_whose_job_removed_its_claim_is_not_made_again() {
    let a = task("a", &format!("echo started >> ../ran; {}; kill -9 $PPID; sleep 300", LIES[0]));
    let site = Site::new(Plan::default().line("MinJobAge=2"), &json!([a]));
    site.init();
    let shims = site.shims(&[("sbatch", "REAL \"$@\" > /dev/null; exit 1")]);
    site.run_with(&["step", "r"], &[("PATH", &shims)]);
    let ran = site.run_dir().join("operators/hpc/ran");
    until("it ran", || ran.exists());
    until("the queue has forgotten it", || site.cluster.jobs("%i").is_empty());
    assert_eq!(site.step_to_end()["state"], "held", "{:?}", site.last("a"));
    assert_eq!(site.last("a").0, "lost");
    assert_eq!(std::fs::read_to_string(&ran).expect("it ran"), "started\n");
    site.check();
}
