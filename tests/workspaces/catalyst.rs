//! The catalyst workspace: a person approves, chooses and rejects, and the campaign learns from what was computed.
use super::space::{Space, number, read, text};
use serde_json::{Value, json};

fn space() -> Space {
    Space::new("catalyst_human_in_loop", "campaign-catalyst")
}

/// Loops until the campaign asks; returns the task that asks.
fn asked(space: &Space) -> String {
    space.run(&["loop", "r"]).code(5);
    let status = space.status("r");
    assert_eq!(status["waiting_on"][0]["kind"], "person", "{status}");
    text(&status["waiting_on"][0]["task"]).to_owned()
}

fn ids(list: &Value, key: &str) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|entry| text(&entry[key]).to_owned()).collect()
}

/// Compares a ranking with the files that the computations left.
fn check(space: &Space, run: &str) -> Value {
    let result = space.result(run);
    let ranking = result["ranking"].as_array().expect("a ranking");
    let activity: Vec<f64> = ranking.iter().map(|entry| number(&entry["log10_tof_per_s"])).collect();
    assert!(activity.is_sorted_by(|a, b| a >= b), "{result}");
    for entry in ranking {
        let alloy = text(&entry["alloy"]);
        let [attempt] = &space.attempts(run, "compute", alloy)[..] else { panic!("one attempt of {alloy}") };
        let file = read(&attempt.join("activity.json"));
        assert_eq!(file["candidate"], alloy);
        assert_eq!(file["log10_tof_per_s"], entry["log10_tof_per_s"]);
    }
    result
}

#[test]
fn the_readme_approves_computes_and_ranks() {
    let space = space();
    let said = space.follow_readme("campaign-catalyst", "campaign/catalyst.wasm");
    assert!(said.contains("proposals: 2 approved, 0 rejected; best: "), "{said}");
    let result = check(&space, "latest");
    space.asked_by_a_stranger("latest");
    assert_eq!(result["ranking"].as_array().expect("a ranking").len(), 8);
    // the second round knows what the first taught: its best is nearer to the top of the volcano
    let best = |number_of: usize| {
        let computed = &result["proposals"][number_of]["computed"];
        let of = |entry: &&Value| computed.as_array().expect("a list").contains(&entry["alloy"]);
        let ranking = result["ranking"].as_array().expect("a ranking");
        ranking.iter().find(of).map(|entry| number(&entry["log10_tof_per_s"])).expect("an alloy")
    };
    assert!(best(1) > best(0), "{result}");
}

#[test]
fn the_switch_of_the_readme_computes_on_slurm_with_the_same_result() {
    let mut space = space();
    let (cluster, switch) = space.on_slurm();
    let whole = |run: &str, arguments: &[&str]| {
        space.init(run, arguments);
        for gate in ["approve-1", "approve-2"] {
            space.run(&["loop", run, "--timeout", "300s"]).code(5);
            space.run(&["respond", run, gate, "--approve"]).code(0);
        }
        space.run(&["loop", run, "--timeout", "300s"]).code(0);
        space.run(&["replay", run]).code(0);
        check(&space, run)
    };
    let there = whole("cluster", &switch);
    assert_eq!(cluster.jobs("%A").len(), 8, "every computation was a job of the cluster, once");
    assert_eq!(there, whole("here", &[]));
    assert_eq!(space.tasks_once("cluster"), space.tasks_once("here"));
}

#[test]
fn a_person_chooses_rejects_and_is_heard() {
    let space = space();
    space.init("r", &[]);
    assert_eq!(asked(&space), "approve-1");
    assert!(space.attempts("r", "compute", "").is_empty(), "nothing is computed before a person says so");
    let refused =
        space.run(&["respond", "r", "approve-1", "--set", "approved=true", "--set", r#"candidates=["Au50"]"#]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert_eq!(asked(&space), "approve-1", "the question is still open");

    let chosen = ["--set", "approved=true", "--set", r#"candidates=["Ni25Pt75","Ni25Pd75"]"#];
    space.run(&[&["respond", "r", "approve-1"], &chosen[..]].concat()).code(0);
    assert_eq!(asked(&space), "approve-2");
    assert_eq!(space.attempts("r", "compute", "").len(), 2);
    space.run(&["respond", "r", "approve-2", "--reject", "--set", "comment=no silver please"]).code(0);
    assert_eq!(asked(&space), "approve-3");
    let [gate] = &space.attempts("r", "human", "approve-3")[..] else { panic!("one gate") };
    let instructions = std::fs::read_to_string(gate.join("instructions.md")).expect("instructions");
    assert!(instructions.contains("was rejected; the comment: no silver please"), "{instructions}");
    space.run(&["respond", "r", "approve-3", "--approve"]).code(0);
    space.run(&["loop", "r"]).code(0);
    space.run(&["replay", "r"]).code(0);

    let result = check(&space, "r");
    let proposals = &result["proposals"];
    assert_eq!(ids(proposals, "verdict"), ["approved", "rejected", "approved"]);
    assert_eq!(proposals[0]["computed"], json!(["Ni25Pd75", "Ni25Pt75"]));
    assert_eq!(proposals[1]["comment"], "no silver please");
    let rejected = proposals[1]["alloys"].as_array().expect("a list");
    let ranked = ids(&result["ranking"], "alloy");
    assert_eq!(ranked.len(), 6);
    assert!(rejected.iter().all(|alloy| !ranked.contains(&text(alloy).to_owned())), "{result}");
}

#[test]
fn who_rejects_everything_ends_the_run_with_the_last_word() {
    let space = space();
    space.init("r", &["--set", "campaign.params.max_rejections=2"]);
    for number in 1..=2 {
        assert_eq!(asked(&space), format!("approve-{number}"));
        let comment = format!("comment=reason {number}");
        space.run(&["respond", "r", &format!("approve-{number}"), "--reject", "--set", &comment]).code(0);
    }
    let failed = space.run(&["loop", "r"]).code(1);
    assert!(failed.stdout.contains("2 proposals were rejected; the last comment: reason 2"), "{failed:?}");
    assert!(space.attempts("r", "compute", "").is_empty());
}

#[test]
fn a_cancelled_question_holds_the_run_and_is_asked_again() {
    let space = space();
    space.init("r", &[]);
    assert_eq!(asked(&space), "approve-1");
    space.run(&["cancel", "r", "approve-1"]).code(0);
    let held = space.run(&["loop", "r"]).code(5);
    assert!(held.stdout.contains("proposal 1 has no answer"), "{held:?}");
    space.run(&["resume", "r"]).code(0);
    assert_eq!(asked(&space), "approve-2");
    let schema = |gate: &str| read(&space.attempts("r", "human", gate)[0].join("schema.json"));
    assert_eq!(schema("approve-2"), schema("approve-1"), "the same alloys");
}

fn alloy(x: f64, first: f64, second: f64) -> Value {
    let element = |fraction: f64, binding: f64| json!({"fraction": fraction, "binding_ev": binding});
    json!({"candidate": "AxBy", "elements": [element(x, first), element(1.0 - x, second)]})
}

#[test]
fn the_volcano_has_its_top_where_it_should() {
    let space = space();
    let at = |binding: f64| match space.script("activity.py", &alloy(1.0, binding, 0.0)) {
        (Some(0), _, result) => result,
        other => panic!("{other:?}"),
    };
    let top = at(-0.5);
    assert!((number(&top["coverage"]) - 0.5).abs() < 1e-4, "both steps are as fast: {top}");
    // k T / h * exp(-0.65 eV / k T) / 2 at 500 K
    assert!((number(&top["log10_tof_per_s"]) - 6.165).abs() < 2e-3, "{top}");
    let [weak, strong] = [at(-0.3), at(-0.7)].map(|side| number(&side["log10_tof_per_s"]));
    assert!(weak < 6.0 && strong < 6.0 && (weak - strong).abs() < 0.02, "{weak} {strong}");
    let (code, said, left) = space.script("activity.py", &alloy(1.5, -0.5, 0.0));
    assert_eq!((code, left), (Some(2), Value::Null));
    assert_eq!(said, "error: `fraction` must be a number from 0 to 1, not 1.5\n");
}
