//! The campaign in every language, as a run from its beginning to its end through the binary: with results one by one,
//! a task that fails, one that is given up, a person who is asked, and a result that is taken back.
use super::{LANGUAGES, subject};
use crate::support::bundle::verified_alone;
use crate::support::until;
use crate::support::world::World;
use matterstack::model::document::canonical;
use matterstack::model::evidence::DecisionKind;
use matterstack::store::Store;
use serde_json::{Value, json};

/// Number, kind and iteration of a decision, and the digests and words that belong to it.
type Decided = (u64, DecisionKind, u32, Option<String>, Option<String>, Option<String>);

/// What a run's record says, without what may differ: the plugin's digest and fuel, and times.
#[derive(Debug, PartialEq)]
struct Record {
    decisions: Vec<Decided>,
    outputs: Value,
    state: Option<String>,
    result: Option<String>,
}

const START: &str =
    r#"{"label": "Lösung ⚗ 𝛼", "numbers": [1.5e17, 1e21, 0.1, -0.0, 5e-324], "signs": {"𝛼": 1, "ﬀ": 2}}"#;

fn world(language: &str) -> World {
    let subject = subject("loop", language);
    let (source, plugin) = subject.named();
    // an interval whose quarters are no whole numbers, so that floats cross the contract too
    let params = json!({"lo": 0, "hi": 1003, "target": 613, "iterations": 3, "carried": 1.5e17, "jitter": 7,
        "fails_in": 2, "watch": true, "ask": true});
    let world = World::new(&json!({
        "campaign": {"plugin": plugin, "params": params, "seed": 42, "inputs": {"start": "start.json"},
            "analyze": "each-result", "takes_back": true},
        "operators": {"local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}}},
        "backends": {"local": {"kind": "local", "cores": 4}},
    }));
    world.write("start.json", START);
    std::fs::copy(source, world.workspace().join(plugin)).expect("a copy");
    world
}

fn record(language: &str) -> Record {
    let world = world(language);
    world.init();
    world.run(&["loop", "r"]);
    assert_eq!(world.status()["state"], "held", "{language}: {}", world.status());
    let first = world.run(&["tasks", "r", "--json"]).code(0).json()[0]["id"].as_str().expect("an id").to_owned();
    world.run(&["rerun", "r", &first]).code(0);
    until("the task to end again", || {
        world.run(&["step", "r"]);
        world.tasks().contains(&format!("{first}=completed"))
    });
    world.run(&["resume", "r", "--set", "note=\"già\"", "--set", "n=1.5e17"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.run(&["doctor", "r"]).code(0);
    let found = verified_alone(&world);
    let count = |key: &str| found[key].as_u64().expect("a count");
    assert!(count("agreed") > 12 && count("agreed") == count("decisions"), "{language}: {found}");
    assert_eq!(count("left_out"), 0, "{language}: {found}");
    let tasks = world.run(&["tasks", "r", "--json"]).code(0).json();
    let outputs = tasks.as_array().expect("tasks").iter();
    let outputs = outputs.map(|task| json!([task["id"], task["state"], task["outputs"]]));
    let store = Store::read(&world.run_dir("r").join("state.sqlite")).expect("the store");
    let decisions = store.decisions().expect("decisions").into_iter();
    let row = store.run().expect("the run");
    Record {
        decisions: decisions.map(|d| (d.number, d.kind, d.iteration, d.next, d.reason, d.output_sha256)).collect(),
        outputs: outputs.collect(),
        state: store.campaign_state().expect("a state").map(|(_, text)| text),
        // it is kept as the plugin has written it
        result: row.result.map(|text| canonical(&text).expect("canonical JSON")),
    }
}

#[test]
fn every_language_leaves_the_same_record() {
    let first = record(LANGUAGES[0]);
    let result: Value = serde_json::from_str(first.result.as_ref().expect("a result")).expect("JSON");
    assert_eq!((&result["evaluated"], &result["cancelled"], &result["corrected"]), (&json!(8), &json!(3), &json!(1)));
    assert_eq!(result["failed"][0]["code"], "exit-code", "{result}");
    assert_eq!(result["supplied"], json!({"note": "già", "n": 150_000_000_000_000_000_u64}), "{result}");
    assert_eq!(result["notes"], "Lösung ⚗ 𝛼, round 3\n");
    let state = first.state.as_ref().expect("a state");
    assert!(state.contains("\"carried\":150000000000000000") && state.contains("\"dose\":712500000000000000"));
    for language in &LANGUAGES[1..] {
        assert_eq!(record(language), first, "{language}");
    }
}
