//! The contract itself: every item of `wit/` is documented, and real documents keep the published schemas.
use super::*;
use crate::support::root;
use crate::support::world::World;
use std::collections::BTreeSet;

/// What stands on a line of WIT and needs a doc comment above it.
fn needs_words(line: &str) -> bool {
    let closes = line.starts_with('}');
    let refers = ["use ", "import ", "export ", "include "].iter().any(|word| line.starts_with(word));
    !line.is_empty() && !line.starts_with("//") && !closes && !refers
}

#[test]
fn every_item_of_the_contract_is_documented() {
    let mut items = BTreeSet::new();
    for entry in fs::read_dir(root().join("wit")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let mut documented = false;
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if needs_words(line) {
                assert!(documented, "{}:{}: `{line}` has no doc comment", path.display(), number + 1);
                items.insert(line.to_owned());
            }
            documented = line.starts_with("///") && (documented || line.len() > 8);
        }
    }
    for item in
        ["world campaign {", "world operator {", "world compute-operator {", "interface compute {", "lost(detail),"]
    {
        assert!(items.contains(item), "{item} is not among {items:?}");
    }
    assert!(items.len() > 80, "{}", items.len());
}

/// Checks a document against a JSON Schema and lists what is wrong. It knows the keywords that the published schemas
/// use and panics at any other, so that none is passed over. (The crates that know them all would change the features
/// of crates that Cranelift is built with.)
fn violations(root: &Value, schema: &Value, document: &Value, place: &str) -> Vec<String> {
    let Some(keywords) = schema.as_object() else {
        assert!(schema.is_boolean(), "{schema} is no schema");
        return if *schema == json!(false) { vec![format!("{place}: nothing may stand here")] } else { Vec::new() };
    };
    let mut found = Vec::new();
    let all = |schema: &Value, document: &Value, place: &str| violations(root, schema, document, place);
    let mut refuse = |held: bool, text: &str| {
        if !held {
            found.push(format!("{place}: {text}: {document}"));
        }
    };
    let mut nested = Vec::new();
    for (keyword, value) in keywords {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" => {}
            "$ref" => {
                let pointer = value.as_str().unwrap().strip_prefix('#').unwrap();
                nested.extend(all(root.pointer(pointer).unwrap(), document, place));
            }
            "type" => {
                let names: Vec<&str> = match value {
                    Value::Array(names) => names.iter().map(|name| name.as_str().unwrap()).collect(),
                    name => vec![name.as_str().unwrap()],
                };
                refuse(names.iter().any(|name| is_of(document, name)), "is of the wrong type");
            }
            "const" => refuse(document == value, "is not the constant"),
            "enum" => refuse(value.as_array().unwrap().contains(document), "is none of the words"),
            "minimum" => refuse(document.as_f64().is_none_or(|n| n >= value.as_f64().unwrap()), "is too small"),
            "maximum" => refuse(document.as_f64().is_none_or(|n| n <= value.as_f64().unwrap()), "is too large"),
            "anyOf" => {
                let fits = value.as_array().unwrap().iter().any(|one| all(one, document, place).is_empty());
                refuse(fits, "fits no variant");
            }
            "oneOf" => {
                let fits = value.as_array().unwrap().iter().filter(|one| all(one, document, place).is_empty()).count();
                refuse(fits == 1, "does not fit exactly one variant");
            }
            "required" => {
                for name in value.as_array().unwrap() {
                    refuse(document.get(name.as_str().unwrap()).is_some(), &format!("lacks {name}"));
                }
            }
            "items" => {
                for (index, item) in document.as_array().into_iter().flatten().enumerate() {
                    nested.extend(all(value, item, &format!("{place}[{index}]")));
                }
            }
            "properties" | "additionalProperties" => {
                let known = schema["properties"].as_object();
                for (name, member) in document.as_object().into_iter().flatten() {
                    let place = format!("{place}.{name}");
                    match (known.and_then(|known| known.get(name)), keyword.as_str()) {
                        (Some(schema), "properties") => nested.extend(all(schema, member, &place)),
                        (None, "additionalProperties") => nested.extend(all(value, member, &place)),
                        _ => {}
                    }
                }
            }
            other => panic!("the schema uses `{other}`, which this test does not know"),
        }
    }
    found.extend(nested);
    found
}

fn is_of(document: &Value, name: &str) -> bool {
    match name {
        "null" => document.is_null(),
        "boolean" => document.is_boolean(),
        "string" => document.is_string(),
        "array" => document.is_array(),
        "object" => document.is_object(),
        "number" => document.is_number(),
        "integer" => document.is_i64() || document.is_u64() || document.as_f64().is_some_and(|n| n.fract() == 0.0),
        other => panic!("`{other}` is no type"),
    }
}

fn schema(world: &World, name: &str) -> Value {
    world.run(&["config", "schema", name]).code(0).json()
}

#[track_caller]
fn valid(schema: &Value, document: &Value) {
    assert_eq!(violations(schema, schema, document, ""), Vec::<String>::new());
}

#[track_caller]
fn invalid(schema: &Value, document: &Value) {
    assert!(!violations(schema, schema, document, "").is_empty(), "{document} is taken for valid");
}

#[test]
fn real_documents_keep_the_published_schemas() {
    let tasks = json!([
        {"id": "a", "operator": "local", "command": ["sh", "-c", "echo 1 > out.txt"], "outputs": ["*.txt"],
         "env": {"N": "1"}, "resources": {"cores": 1, "walltime_s": 60}},
        {"id": "b", "operator": "local", "command": "exit 3", "depends_on": ["a"], "allow_failure": true,
         "files": {"in.txt": {"from": "a", "output": "out.txt"}, "c": {"content": "x"}},
         "retry": {"max_attempts": 1, "backoff_s": 0.5, "on": {"timeout": {"walltime_factor": 2}, "lost": false}}},
    ]);
    let world = World::with_tasks(&tasks);
    let config = schema(&world, "config");
    valid(&config, &crate::support::world::tasks_config(&tasks));
    valid(&schema(&world, "tasks"), &tasks);
    world.init();
    let died = world.run_with(&["loop", "r"], &[("MATTERSTACK_FAILPOINT", "analyze.before:1")]);
    assert_eq!(died.code, None, "{died:?}");
    let store = matterstack::store::Store::read(&world.run_dir("r").join("state.sqlite")).unwrap();
    let portion = matterstack::store::Portion { most: 10, bytes_max: usize::MAX };
    let (_, results) = store.undelivered(1, portion).unwrap().expect("what a campaign is about to receive");
    let results = serde_json::to_value(results).unwrap();
    assert_eq!(results.as_array().unwrap().len(), 2);
    valid(&schema(&world, "results"), &results);
    drop(store);
    let resolved: Value = read(&world.run_dir("r").join("config.json"));
    valid(&config, &resolved);
    assert!(resolved["limits"]["plugin"]["host_calls"].is_u64(), "every default is written out");
    assert_eq!(world.step_to_end()["state"], "completed");
    for attempt in fs::read_dir(world.run_dir("r").join("operators/local")).unwrap() {
        valid(&schema(&world, "exit"), &read(&attempt.unwrap().path().join("exit.json")));
    }
    let store = matterstack::store::Store::read(&world.run_dir("r").join("state.sqlite")).unwrap();
    for task in store.tasks(None, None).unwrap() {
        let row: Value = serde_json::from_str(&store.attempts(task.key).unwrap()[0].task_json).unwrap();
        valid(&schema(&world, "tasks"), &json!([row]));
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_schemas_refuse_what_the_host_refuses() {
    let world = World::with_tasks(&json!([]));
    let (config, tasks) = (schema(&world, "config"), schema(&world, "tasks"));
    invalid(&config, &json!({"campain": {}}));
    invalid(&config, &json!({"campaign": {"plugin": 3}}));
    invalid(&config, &json!({"campaign": {"plugin": "x"}, "limits": {"plugin": {"fuel": "much"}}}));
    invalid(&tasks, &json!({"id": "a", "operator": "local"}));
    invalid(&tasks, &json!([{"operator": "local"}]));
    invalid(&tasks, &json!([{"id": "a", "operator": "local", "comand": ["true"]}]));
    invalid(&tasks, &json!([{"id": "a", "operator": "local", "depends_on": "b"}]));
    invalid(&tasks, &json!([{"id": "a", "operator": "local", "files": {"x": {"path": 1}}}]));
    invalid(&schema(&world, "job"), &json!({"env": {}}));
    invalid(&schema(&world, "exit"), &json!({"code": 0}));
}

#[test]
fn a_campaign_receives_results_under_their_schema_and_a_backend_jobs_under_theirs() {
    let world = World::with_tasks(&json!([]));
    let results = json!([{"task": "a", "outcome": "failed", "code": "exit-code", "reason": "exited with 3",
        "allow_failure": false, "attempt": "a1", "attempts": 1, "data": {"exit": 3},
        "outputs": [{"path": "x", "sha256": "0".repeat(64), "size": 3},
            {"path": "y", "sha256": "0".repeat(64), "size": 3, "remote": {"backend": "hpc", "path": "/scratch/y"}}]}]);
    let published = schema(&world, "results");
    valid(&published, &results);
    let fixture = crate::tick::results_of_one_failure();
    valid(&published, &fixture);
    invalid(&published, &json!([{"task": "a", "outcome": "lost"}]));
    let mut elsewhere = results.clone();
    elsewhere[0]["outputs"][1]["remote"] = json!("/scratch/y");
    invalid(&published, &elsewhere);

    let mut bench = Bench::new(limits());
    let path = bench.file("compute.wasm", builtin::builtin("compute").unwrap());
    bench.host.add_operator(key(), source(&path), granted(&["local"]));
    let task = json!({"id": "a", "operator": "op", "command": ["true"], "env": {"A": "1"}, "outputs": ["x"],
        "resources": {"cores": 2}, "files": {"a": {"content": "x"}}});
    let handle: Value = serde_json::from_str(&bench.host.submit(&key(), &bench.attempt(task)).unwrap().handle).unwrap();
    valid(&schema(&world, "job"), &handle["job"]["document"]);
    assert_eq!(handle["job"]["document"]["env"], json!({"A": "1"}));
}
