//! Jobs at the far end that do away with what tells that they ran.
use super::Far;
use crate::backend::slurm::liars::LIES;
use crate::support::until;
use serde_json::json;

#[test]
fn a_far_job_that_removed_its_claim_is_not_taken_for_one_that_never_started() {
    let task = |(n, lie): (usize, &&str)| {
        json!({"id": format!("t{n}"), "operator": "hpc", "allow_failure": true,
            "command": format!("echo started >> ../../ran-{n}; {lie}; kill -9 $PPID; sleep 300")})
    };
    let tasks: Vec<_> = LIES.iter().enumerate().map(task).collect();
    let far = Far::new(None, &json!(tasks));
    until("the run ends", || far.step()["state"] != "active");
    for (n, lie) in LIES.iter().enumerate() {
        let attempts = far.run(&["attempts", "r", &format!("t{n}"), "--json"]).code(0).json();
        assert_eq!(attempts.as_array().map(Vec::len), Some(1), "{}: {attempts}", lie);
        assert_eq!(attempts[0]["state"], "failed", "{}: {attempts}", lie);
        let ran = std::fs::read_to_string(far.there().join(format!("../ran-{n}"))).expect("it ran");
        assert_eq!(ran, "started\n", "{}", lie);
    }
}
