//! What a job inherits of the environment is what stands in the record: that of the shell in which the run was made,
//! until a person amends it, whatever shell ticks it, and also where one supervisor has the jobs of many ticks.
use crate::support::until;
use crate::support::world::World;
use matterstack::backend::local::INHERITED;
use matterstack::store::Store;
use serde_json::{Value, json};

/// Tasks that print what they were given as `LANG`, and one that keeps the supervisor alive meanwhile.
fn speaking(count: usize) -> World {
    let wait = |name: &str| format!("while [ -e stdout ] && [ ! -e ../../../{name} ]; do sleep 0.02; done");
    let mut tasks = vec![json!({"id": "long", "operator": "local", "command": wait("go")})];
    for n in 0..count {
        let before = if n == 0 { Vec::new() } else { vec![format!("t{}", n - 1)] };
        tasks.push(json!({
            "id": format!("t{n}"), "operator": "local", "depends_on": before, "outputs": ["said"],
            "command": format!("printf %s \"$LANG\" > said; {}", wait(&format!("go{n}"))),
        }));
    }
    World::with_tasks(&json!(tasks))
}

/// The environment of an attempt as evidence has it.
fn recorded<'a>(evidence: &'a Value, task: &str) -> &'a Value {
    let attempts = evidence["attempts"].as_array().expect("attempts");
    let attempt = attempts.iter().find(|attempt| attempt["task"] == *task).expect("an attempt");
    let all = evidence["environments"].as_array().expect("environments");
    all.iter().find(|one| one["environment"] == attempt["environment"]).expect("its environment")
}

#[test]
fn an_attempt_names_the_environment_that_its_job_had() {
    const TONGUES: [&str; 4] = ["de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.UTF-8", "C"];
    let world = speaking(TONGUES.len());
    let secret = ("AWS_SECRET_ACCESS_KEY", "do-not-keep-this");
    for (n, tongue) in TONGUES.iter().enumerate() {
        let here = [("LANG", *tongue), secret];
        if n == 0 {
            world.run_with(&["init", "demo", "--run-id", "r"], &here).code(0);
        } else {
            let done = world.run_with(&["amend", "r", "environment"], &here).code(0);
            assert!(done.stderr.contains("`LANG`"), "{done:?}");
        }
        assert_eq!(world.run_with(&["amend", "r", "environment"], &here).code, Some(2), "there is nothing to change");
        let step = || world.run_with(&["step", "r", "--json"], &[("LANG", "eo"), secret]).code(0).json();
        until("the job to end", || {
            step();
            world.tasks().contains(&format!("t{n}=running"))
        });
        let said = || std::fs::read_to_string(said(&world, n)).unwrap_or_default();
        until("the job to speak", || said() == *tongue);
        std::fs::write(world.run_dir("r").join(format!("go{n}")), "").expect("a file");
    }
    std::fs::write(world.run_dir("r").join("go"), "").expect("a file");
    world.run(&["loop", "r"]).code(0);
    world.run(&["evidence", "r"]).code(0);
    let text = std::fs::read_to_string(world.run_dir("r").join("evidence/evidence.json")).expect("a bundle");
    assert!(!text.contains(secret.0) && !text.contains(secret.1), "a secret is in the record");
    let evidence: Value = serde_json::from_str(&text).expect("JSON");
    for (n, tongue) in TONGUES.iter().enumerate() {
        let environment = recorded(&evidence, &format!("t{n}"));
        assert_eq!(environment["variables"]["LANG"], *tongue, "t{n}: {environment}");
        assert_eq!(environment["host"], matterstack::ground::machine::host_name());
    }
    assert_eq!(recorded(&evidence, "t0")["environment"], recorded(&evidence, "t2")["environment"], "it is noted once");
    let store = Store::read(&world.run_dir("r").join("state.sqlite")).expect("the store");
    let environments = store.environments().expect("environments");
    assert_eq!(environments.len(), 3, "that of the shells that tick it is none of them: {environments:?}");
    assert!(environments.iter().flat_map(|one| one.variables.keys()).all(|name| INHERITED.contains(&name.as_str())));
}

/// The file that a task's job left.
fn said(world: &World, n: usize) -> std::path::PathBuf {
    let attempts = world.run(&["attempts", "r", &format!("t{n}"), "--json"]).code(0).json();
    world.run_dir("r").join(attempts[0]["directory"].as_str().expect("a directory")).join("said")
}

#[test]
fn the_documented_list_names_no_secrets() {
    for name in INHERITED {
        let secret = ["TOKEN", "KEY", "SECRET", "PASSWORD"].iter().any(|word| name.contains(word));
        assert!(!secret, "`{name}` is recorded with its value");
    }
}
