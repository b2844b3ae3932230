//! Who did what to a run, from where and why.
use crate::support::world::World;
use matterstack::model::act::{ActRecord, VERSION};
use matterstack::store::Store;
use serde_json::json;

fn acts(world: &World) -> Vec<ActRecord> {
    Store::read(&world.run_dir("r").join("state.sqlite")).expect("the store").acts().expect("acts")
}

#[test]
fn every_command_that_changes_a_run_is_an_act() {
    let world = World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "exit 3"},
        {"id": "b", "operator": "local", "command": "true"},
    ]));
    world.init();
    world.run(&["pause", "r", "--reason", "lunch"]).code(0);
    world.run(&["pause", "r"]).code(0);
    world.run(&["resume", "r", "--set", "go=1"]).code(0);
    world.run(&["amend", "r", "config", "limits.max_active=7", "--reason", "more"]).code(0);
    world.run(&["cancel", "r", "--reason", "enough"]).code(0);
    world.run(&["resume", "r", "--reason", "again"]).code(0);
    world.run(&["pause", "r"]).code(0);
    world.run(&["cancel", "r", "a"]).code(0);
    world.run(&["rerun", "r", "a"]).code(0);
    let acts = acts(&world);
    let told: Vec<(&str, Option<&str>)> = acts.iter().map(|act| (act.verb.as_str(), act.reason.as_deref())).collect();
    let expected = [
        ("init", None),
        ("pause", Some("lunch")),
        ("resume", None),
        ("amend", Some("more")),
        ("cancel", Some("enough")),
        ("resume", Some("again")),
        ("pause", None),
        ("cancel", None),
        ("rerun", None),
    ];
    assert_eq!(told, expected, "what changed nothing is none");
    assert_eq!(acts[2].arguments, json!({"set": ["go=1"]}));
    assert_eq!(acts[7].arguments, json!({"task": "a"}));
    for act in &acts {
        assert_eq!(act.by.user_id, matterstack::ground::machine::user_id());
        assert_eq!(act.by.host, matterstack::ground::machine::host_name());
        assert_eq!(act.by.version.as_deref(), Some(VERSION));
    }
    // each configuration since the act that put it in place
    let store = Store::read(&world.run_dir("r").join("state.sqlite")).expect("the store");
    let mut configs = Vec::new();
    store
        .each_config(|config| {
            configs.push((config.act, config.text.contains("\"max_active\": 7")));
            Ok::<_, matterstack::store::StoreError>(())
        })
        .expect("configurations");
    assert_eq!(configs, [(1, false), (4, true)]);
}

#[test]
fn an_answer_is_an_act_of_who_gave_it() {
    let form = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]});
    let world = World::new(&json!({
        "campaign": {"plugin": "builtin:workflow", "params": {"tasks": [
            {"id": "ask", "operator": "human", "input": {"instructions": "# Go on?", "schema": form}},
        ]}},
        "operators": {"human": {"plugin": "builtin:human"}},
    }));
    world.init();
    world.run(&["loop", "r"]).code(5);
    world.run(&["respond", "r", "ask", "--set", "ok=true"]).code(0);
    world.run(&["loop", "r"]).code(0);
    let acts = acts(&world);
    let respond = acts.last().expect("an act");
    assert_eq!(respond.verb, "respond");
    assert_eq!(respond.arguments["task"], "ask");
    assert_eq!(respond.by.version.as_deref(), Some(VERSION));
}

/// A run whose only task asks a person, at the moment when it does.
fn asking() -> (World, std::path::PathBuf) {
    let world = World::new(&json!({
        "campaign": {"plugin": "builtin:workflow", "params": {"tasks": [
            {"id": "ask", "operator": "human", "input": {"instructions": "# Go on?", "schema": {"type": "object"}}},
        ]}},
        "operators": {"human": {"plugin": "builtin:human"}},
    }));
    world.init();
    world.run(&["step", "r"]).code(0);
    let attempts = world.run(&["attempts", "r", "ask", "--json"]).code(0).json();
    let directory = world.run_dir("r").join(attempts[0]["directory"].as_str().expect("a directory"));
    (world, directory)
}

#[test]
fn an_answer_that_was_put_there_by_hand_is_an_act_of_whose_file_it_is() {
    assert!(rustix::process::geteuid().is_root(), "only root can give a file to somebody else: run the suites as root");
    let (world, directory) = asking();
    let aside = directory.join(".being-written");
    std::fs::write(&aside, "{}").expect("an answer");
    std::os::unix::fs::chown(&aside, Some(1), None).expect("root may");
    std::fs::rename(&aside, directory.join("response.json")).expect("it is whole");
    world.run(&["loop", "r"]).code(0);
    let acts = acts(&world);
    let respond = acts.last().expect("an act");
    assert_eq!((respond.verb.as_str(), respond.by.user_id, respond.by.user.as_str()), ("respond", 1, "daemon"));
    assert_eq!(respond.by.version, None, "no version of ours wrote it");
    assert_eq!(respond.arguments["signed_as"], serde_json::Value::Null, "whose it is and who signed are one");
}

#[test]
fn a_signature_of_another_name_than_the_files_owner_is_not_believed() {
    assert!(rustix::process::geteuid().is_root(), "only root can give a file to somebody else: run the suites as root");
    let (world, directory) = asking();
    world.run(&["respond", "r", "ask", "--set", "x=1"]).code(0);
    std::os::unix::fs::chown(directory.join("response.json"), Some(1), None).expect("root may");
    world.run(&["loop", "r"]).code(0);
    let acts = acts(&world);
    let respond = acts.last().expect("an act");
    assert_eq!((respond.verb.as_str(), respond.by.user_id, respond.by.user.as_str()), ("respond", 1, "daemon"));
    assert_eq!(respond.arguments["signed_as"], json!({"user_id": 0, "user": "root"}));
}
