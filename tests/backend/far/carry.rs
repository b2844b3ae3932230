//! What a task carries from one attempt to the next, behind ssh: over there, without the bytes crossing the wire.
use super::{Far, until};
use serde_json::{Value, json};

const SIZE: u64 = 5_000_000;

/// How a first attempt goes on that is to end when a test says so.
const UNTIL_TOLD: &str = "while [ -e stdout ] && [ ! -e ../../../go ]; do sleep 0.1; done; exit 1";

/// A task that leaves a large restart file and then does something else, and that completes once it finds such a file
/// as it was left.
fn restarted(then: &str) -> Value {
    let begin = format!("head -c {SIZE} /dev/urandom > restart.dat; sha256sum < restart.dat > restart.sum");
    json!({
        "id": "a", "operator": "hpc", "outputs": ["o"], "resources": {},
        "retry": {"max_attempts": 2, "backoff_s": 0, "carry": ["restart.*"]},
        "command": format!(
            "echo started >> started.log; if [ -e restart.dat ]; then sha256sum < restart.dat | cmp - restart.sum && echo on > o; \
             else {begin}; ln -s /etc/passwd restart.link; {then}; fi"
        ),
    })
}

impl Far {
    fn attempts(&self) -> Vec<Value> {
        self.run(&["attempts", "r", "a", "--json"]).code(0).json().as_array().cloned().unwrap_or_default()
    }

    /// Stops with a first attempt that has ended, before a second one starts.
    fn pause_after_the_first(&self) {
        until("the first attempt runs", || {
            self.step();
            self.starts().values().sum::<usize>() == 1
        });
        self.run(&["pause", "r"]).code(0);
        std::fs::write(self.sshd.path().join("go"), "").expect("a file");
        self.resume_after_the_first();
    }

    fn resume_after_the_first(&self) {
        until("the first attempt has ended", || {
            self.step();
            self.attempts().first().is_some_and(|attempt| attempt["ended_at"].is_string())
        });
        self.run(&["resume", "r"]).code(0);
    }
}

/// Asserts that the second attempt's record names what it took along from the first, as it lies there now.
#[track_caller]
fn took_along(attempts: &[Value], there: &std::path::Path) {
    let taken: Vec<(&str, &str, &Value)> = attempts[1]["inputs"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| Some((one["destination"].as_str()?, one["sha256"].as_str()?, &one["from_attempt"])))
        .collect();
    let digest = |name: &str| matterstack::model::document::sha256(&std::fs::read(there.join(name)).expect("a file"));
    let (data, sum) = (digest("restart.dat"), digest("restart.sum"));
    let first = &attempts[0]["attempt_id"];
    assert_eq!(taken, [("restart.dat", data.as_str(), first), ("restart.sum", sum.as_str(), first)]);
}

#[test]
fn a_retry_goes_on_over_there_whatever_breaks_in_between() {
    let mut task = restarted("sleep 300");
    task["resources"]["walltime_s"] = json!(5);
    let far = Far::new(None, &json!([task]));
    until("the first attempt runs", || {
        far.step();
        far.starts().values().sum::<usize>() == 1
    });
    // the tick dies once the second attempt is in place, and is repeated over a link that breaks
    until("a tick dies after it has put the second attempt in place", || {
        let environment = far.environment();
        let mut environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        environment.push(("MATTERSTACK_FAILPOINT", "slurm.put.after:1"));
        far.world.run_with(&["step", "r"], &environment).code.is_none()
    });
    let second = far.attempts()[1]["attempt_id"].as_str().expect("an id").to_owned();
    assert!(far.there().join(&second).join("restart.dat").exists());
    far.wire.break_after(1_000);
    far.step();
    far.wire.break_after(0);
    far.end();
    far.check(2);
    let attempts = far.attempts();
    assert!(
        attempts.len() == 2 && attempts[0]["reason"].as_str().is_some_and(|why| why.contains("walltime")),
        "{attempts:?}"
    );
    assert!(!far.there().join(&second).join("restart.link").exists(), "a link was carried over");
    took_along(&attempts, &far.there().join(&second));
    let crossed = far.wire.bytes();
    assert!(crossed < SIZE / 5, "{crossed} bytes crossed the wire for a file that stayed over there");
}

#[test]
fn a_retry_elsewhere_fetches_what_it_goes_on_from() {
    let far = Far::new(None, &json!([restarted(UNTIL_TOLD)]));
    far.pause_after_the_first();
    assert!(far.wire.bytes() < SIZE / 5);
    far.run(&["amend", "r", "config", "operators.hpc.grants.compute=[\"local\"]", "--reason", "the queue is long"])
        .code(0);
    far.end();
    let attempts = far.attempts();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    let directory = far.world.run_dir("r").join(attempts[1]["directory"].as_str().expect("a directory"));
    assert_eq!(std::fs::metadata(directory.join("restart.dat")).expect("fetched").len(), SIZE);
    assert!(!directory.join("restart.link").exists() && far.wire.bytes() > SIZE);
    took_along(&attempts, &directory);
}

#[test]
fn a_retry_that_goes_to_a_cluster_brings_back_what_became_of_what_it_took_along() {
    let command = "if [ -e restart.dat ]; then echo more >> restart.dat; else echo some > restart.dat; \
                   while [ -e stdout ] && [ ! -e ../../../go ]; do sleep 0.1; done; exit 1; fi";
    let far = Far::with(
        None,
        "",
        &json!([{"id": "a", "operator": "hpc", "outputs": ["*.dat"], "command": command,
            "retry": {"max_attempts": 2, "backoff_s": 0, "carry": ["restart.*"]}}]),
    );
    let granted = |backend: &str| format!("operators.hpc.grants.compute=[\"{backend}\"]");
    far.run(&["init", "demo", "--run-id", "r", "--set", &granted("local")]).code(0);
    far.step();
    far.run(&["pause", "r"]).code(0);
    std::fs::write(far.world.run_dir("r").join("go"), "").expect("a file");
    far.resume_after_the_first();
    far.run(&["amend", "r", "config", &granted("cluster")]).code(0);
    far.end();
    let attempts = far.attempts();
    let directory = far.world.run_dir("r").join(attempts[1]["directory"].as_str().expect("a directory"));
    assert_eq!(far.starts().len(), 1, "the second attempt ran over there: {attempts:?}");
    assert_eq!(std::fs::read_to_string(directory.join("restart.dat")).expect("fetched"), "some\nmore\n");
}

#[test]
fn a_retry_that_finds_nothing_to_go_on_from_says_so() {
    let far = Far::new(None, &json!([restarted(UNTIL_TOLD)]));
    far.pause_after_the_first();
    // cleaning spares what the task will go on from
    assert_eq!(far.run(&["backend", "clean", "r", "--json"]).code(0).json()[0]["removed"], 1, "the array alone");
    // the site has no such manners
    let first = far.starts().into_keys().next().expect("an attempt");
    std::fs::remove_dir_all(far.there().join(first)).expect("removed");
    let mut warned = String::new();
    until("the second attempt is submitted", || {
        warned = far.run(&["step", "r"]).stderr;
        far.attempts().len() == 2
    });
    assert!(warned.contains("carries nothing over"), "{warned}");
    let reason = far.attempts()[1]["reason"].clone();
    assert!(reason.as_str().is_some_and(|reason| reason.contains("carries nothing over")), "{reason}");

    // no backend of that name is left
    let far = Far::new(None, &json!([restarted(UNTIL_TOLD)]));
    far.pause_after_the_first();
    let backends = "backends={\"local\": {\"kind\": \"local\", \"cores\": 1}}";
    far.run(&["amend", "r", "config", backends, "operators.hpc.grants.compute=[\"local\"]"]).code(0);
    let mut warned = String::new();
    until("the second attempt is submitted", || {
        warned = far.run(&["step", "r"]).stderr;
        far.attempts().len() == 2
    });
    assert!(warned.contains("carries nothing over"), "{warned}");
}
