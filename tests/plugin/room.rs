//! Machines with too little: address space is limited, and a plugin runs without reserving any, or the machine is
//! blamed.
use super::*;
use crate::support::world::World;

fn two_tasks() -> World {
    World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "true", "retry": {"max_attempts": 1}},
        {"id": "b", "operator": "local", "command": "true", "depends_on": ["a"]},
    ]))
}

/// How many attempts the tasks had, and how many of them have ended.
fn attempts(world: &World) -> (usize, usize) {
    let all = ["a", "b"].map(|task| world.run(&["attempts", "r", task, "--json"]).code(0).json());
    let all: Vec<&Value> = all.iter().filter_map(Value::as_array).flatten().collect();
    (all.len(), all.iter().filter(|attempt| !attempt["ended_at"].is_null()).count())
}

#[test]
fn a_run_goes_its_way_under_a_limit_of_address_space() {
    let world = two_tasks();
    for arguments in [&["init", "demo", "--run-id", "r"][..], &["step", "r"], &["loop", "r", "--timeout", "100s"]] {
        world.limited(4_000_000, arguments).code(0);
    }
    assert_eq!(world.tasks(), "a=completed b=completed");
}

#[test]
fn a_machine_without_room_for_a_call_is_blamed_and_nothing_else() {
    let world = two_tasks();
    world.init();
    let mut blamed = 0;
    // from where the program itself does not start to where everything works
    for kb in (20_000..400_000).step_by(2_000) {
        let done = world.limited(kb, &["step", "r"]);
        assert!(!world.tasks().contains("failed") && !world.tasks().contains("skipped"), "{kb}: {done:?}");
        match done.code {
            Some(0) => break,
            Some(74) => {
                blamed += 1;
                assert!(done.stderr.contains("ulimit") || done.stderr.contains("memory"), "{kb}: {done:?}");
            }
            _ => {}
        }
        let (all, ended) = attempts(&world);
        assert!(all <= 1 && ended == 0, "{kb}: {all} {ended} {done:?}");
    }
    assert!(blamed > 0, "no limit was in between");
    world.run(&["loop", "r", "--timeout", "100s"]).code(0);
    assert_eq!((world.tasks().as_str(), attempts(&world)), ("a=completed b=completed", (2, 2)));
}

/// A directory with very many names is read as far as somebody asks, and not into the host's memory.
#[test]
fn a_huge_directory_costs_the_host_no_memory() {
    const NAMES: usize = 20_000;
    let mut config = crate::support::world::tasks_config(&json!([
        {"id": "a", "operator": "lister", "input": {"mode": "list"}, "retry": {"max_attempts": 1}},
    ]));
    let world = World::new(&json!({}));
    let exchange = world.root().join("exchange");
    fs::create_dir(&exchange).unwrap();
    (0..NAMES).for_each(|n| drop(fs::File::create(exchange.join(format!("{n:0>200}"))).unwrap()));
    let grants = json!({"compute": ["local"], "exchange": exchange});
    config["operators"] = json!({"lister": {"plugin": "lister.wasm", "grants": grants}});
    config["limits"] = json!({"plugin": {"call_ms": 600_000}});
    fs::write(world.workspace().join("config.json"), config.to_string()).unwrap();
    fs::copy(guest("hostile-operator"), world.workspace().join("lister.wasm")).unwrap();
    world.init();
    // a hundred times the directory would not go into this
    world.limited(700_000, &["loop", "r", "--timeout", "300s"]).code(0);
    assert_eq!(world.tasks(), "a=completed");
    world.run(&["evidence", "r"]).code(0);
    let evidence = fs::read(world.run_dir("r").join("evidence/evidence.json")).unwrap();
    let evidence: Value = serde_json::from_slice(&evidence).unwrap();
    assert_eq!(evidence["attempts"][0]["data"], json!({"open": 100, "entries": NAMES}));
}

/// A campaign may have more memory than the machine has: it cannot tell, and the run is not held for it.
#[test]
fn a_campaign_that_the_machine_starves_is_asked_again() {
    let mut config = crate::support::world::tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "hostile.wasm", "params": {"mode": "", "again": true}});
    config["limits"] = json!({"plugin": {"memory_mb": 3000}});
    let world = World::new(&config);
    fs::copy(guest("hostile"), world.workspace().join("hostile.wasm")).unwrap();
    world.init();
    world.run(&["amend", "r", "config", "campaign.params.mode=memory"]).code(0);
    let mut last = world.limited(1_000_000, &["loop", "r", "--timeout", "60s"]);
    while last.code == Some(0) {
        last = world.limited(1_000_000, &["step", "r"]);
    }
    assert_eq!(last.code, Some(74), "{last:?}");
    assert!(last.stderr.contains("no more memory to give"), "{last:?}");
    assert_eq!(world.status()["state"], "active");
    world.run(&["amend", "r", "config", "campaign.params={\"mode\":\"\"}"]).code(0);
    world.run(&["loop", "r", "--timeout", "100s"]).code(0);
}
