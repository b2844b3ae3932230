//! Every language is given the calls of `calls.json`, each with the state that the answer before it has left, and
//! answers what stands in `answers.json`. `UPDATE_GOLDEN=1` writes down what the campaign in Rust answers.
use super::{Canonical, LANGUAGES, Shelf, canonical_decision, host};
use crate::support::root;
use crate::support::view::View;
use matterstack::model::contract::Context;
use matterstack::model::document::canonical;
use matterstack::plugin::{PluginHost, Plugins};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

const CALLS: &str = "tests/conformance/calls.json";
const ANSWERS: &str = "tests/conformance/answers.json";

fn recorded(file: &str) -> Value {
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A decision as a script writes it, under the schema `decision`, in canonical JSON.
fn document(decision: Canonical) -> String {
    let Canonical { state, next, cancel, wake_at_ms, summary, reason, skips_known } = decision;
    assert!(!skips_known);
    let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let mut said = Map::from_iter([("state".to_owned(), parsed(&state)), ("reason".to_owned(), reason.into())]);
    let (key, value) = next.split_once(' ').map_or((next.as_str(), json!(true)), |(key, text)| (key, parsed(text)));
    said.insert(key.to_owned(), value);
    if !cancel.is_empty() {
        said.insert("cancel".to_owned(), cancel.into());
    }
    said.extend(wake_at_ms.map(|at| ("wake_at_ms".to_owned(), at.into())));
    said.extend(summary.map(|text| ("summary".to_owned(), parsed(&text))));
    canonical(&Value::Object(said).to_string()).expect("canonical JSON")
}

/// The results of a recorded call, with their files on the shelf.
fn results(call: &Value, shelf: &Shelf) -> Value {
    let results = call["results"].as_array().expect("results").iter().cloned();
    let result = |mut result: Value| {
        let files = result.as_object_mut().expect("a result").remove("files");
        let files = files.as_ref().and_then(Value::as_object).into_iter().flatten();
        let outputs = files.map(|(path, held)| {
            let bytes = held.to_string().into_bytes();
            json!({"path": path, "sha256": shelf.put(&bytes), "size": bytes.len()})
        });
        let outputs: Value = outputs.collect();
        let mut whole = json!({"attempts": 1, "allow_failure": false, "outputs": outputs});
        whole.as_object_mut().expect("a result").extend(result.as_object().expect("a result").clone());
        whole
    };
    results.map(result).collect()
}

/// What a recorded call depends on, beside the state.
fn context(recorded: &Value, call: &Value, inputs: &BTreeMap<String, Value>) -> Context {
    let number = |key: &str| call[key].as_u64().expect("a number");
    let words = |key: &str| -> Vec<String> { serde_json::from_value(call[key].clone()).expect("words") };
    let view = View {
        params: canonical(&recorded["params"].to_string()).expect("canonical JSON"),
        inputs: json!(inputs).to_string(),
        supplied: call.get("supplied").map(|supplied| canonical(&supplied.to_string()).expect("canonical JSON")),
        open: words("open"),
    };
    Context {
        decision: number("decision"),
        iteration: u32::try_from(number("iteration")).expect("an iteration"),
        now_ms: number("now_ms"),
        seed: recorded["seed"].as_u64().expect("a seed"),
        asked: words("asked"),
        open_tasks: view.open.len() as u64,
        run: Arc::new(view),
    }
}

/// What a host answers to every recorded call, in canonical JSON.
fn answers(host: &PluginHost, shelf: &Shelf, recorded: &Value) -> Vec<String> {
    let mut inputs = BTreeMap::new();
    for (name, text) in recorded["inputs"].as_object().expect("inputs") {
        let bytes = text.as_str().expect("a text").as_bytes();
        inputs.insert(name.clone(), json!({"sha256": shelf.put(bytes), "size": bytes.len()}));
    }
    let (mut state, mut answers) = (None::<String>, Vec::new());
    for call in recorded["calls"].as_array().expect("calls") {
        if let Some(plan) = call.get("plan") {
            let answer = host.plan(&context(recorded, plan, &inputs), state.as_deref());
            // the run keeps what was written, so that it can be read later
            answer.written.values().for_each(|bytes| drop(shelf.put(bytes)));
            let decision = canonical_decision(answer.value.expect("a plan"));
            state = Some(decision.state.clone());
            answers.push(document(decision));
        } else {
            let before = state.take().expect("a state");
            let results = results(call, shelf).to_string();
            let answer = host.analyze(&context(recorded, &call["analyze"], &inputs), &before, &results);
            let folded = answer.value.expect("a state");
            let summary: Value = serde_json::from_str(&folded.summary.expect("a summary")).expect("JSON");
            let canonical = |text: &str| canonical(text).expect("canonical JSON");
            let after = canonical(&folded.state);
            let parsed: Value = serde_json::from_str(&after).expect("JSON");
            answers.push(canonical(&json!({"folded": {"state": parsed, "summary": summary}}).to_string()));
            state = Some(after);
        }
    }
    answers
}

#[test]
fn every_language_answers_every_call_alike() {
    let (recorded, shelf) = (recorded(CALLS), Arc::new(Shelf::default()));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let answers = answers(&host(LANGUAGES[0], &shelf), &shelf, &recorded);
        std::fs::write(root().join(ANSWERS), format!("[\n{}\n]\n", answers.join(",\n"))).expect("written");
    }
    let expected: Vec<Value> = serde_json::from_value(self::recorded(ANSWERS)).expect("answers");
    let expected: Vec<String> =
        expected.iter().map(|answer| canonical(&answer.to_string()).expect("canonical JSON")).collect();
    for language in LANGUAGES {
        let answers = answers(&host(language, &shelf), &shelf, &recorded);
        for (number, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
            assert_eq!(answer, expected, "{language}: {}", recorded["calls"][number]);
        }
        assert_eq!(answers.len(), expected.len(), "{language}");
    }
}

/// What the table is for: what is not in the recorded answers is not compared.
#[test]
fn the_recorded_answers_have_all_that_a_campaign_can_say() {
    let text = std::fs::read_to_string(root().join(ANSWERS)).expect("answers");
    for word in [
        "\"tasks\":[",
        "\"wait\":true",
        "\"hold\":{",
        "\"complete\":{",
        "\"cancel\":[",
        "\"wake_at_ms\":",
        "\"digest\":",
        "\"carried\":150000000000000000",
        "\"dose\":712500000000000000",
        "\"corrected\":1",
        "\"code\":\"exit-code\"",
        "\"time+waited\"",
        "\"supplied\":{",
        "⚗ 𝛼 \\\"x\\\\ é, round 3",
        "\"\u{2028}\\u0001\":[[],{},\"\"]",
        "5e-324",
        "🧪",
    ] {
        assert!(text.contains(word), "{word}");
    }
}

/// The same scripts outside of the sandbox, under the author's own Python and Node.
#[test]
fn scripts_answer_the_same_outside_of_the_sandbox() {
    let root = root().canonicalize().expect("the repository");
    let python = root.join("tests/python/conforms.py");
    let node = super::built("guests-test/javascript/conforms.mjs", &["tests/guests/loop-javascript"]);
    for (program, script) in [("python3", &python), ("node", &node)] {
        let mut command = Command::new(program);
        command.arg(script).args([root.join(CALLS), root.join(ANSWERS)]).env("PYTHONDONTWRITEBYTECODE", "1");
        let done = command.output().expect("an interpreter");
        let told = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&told));
    }
}
