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

/// What a program on another machine has beside what all have here.
const THERE: (&str, &str) = ("MATTERSTACK_TEST_MACHINE_ID", "another machine");

fn explained(world: &World, task: &str, more: &[(&str, &str)]) -> Value {
    world.run_with(&["explain", "r", task, "--json"], more).code(0).json()[0].clone()
}

fn printed(world: &World, task: &str) -> String {
    world.run(&["logs", "r", task]).code(0).stdout
}

#[test]
fn on_another_machine_local_jobs_wait_until_a_person_pins_what_they_inherit() {
    let says = "printf %s \"$LANG\"";
    let mut config = crate::support::world::tasks_config(&json!([
        {"id": "a", "operator": "local", "command": says},
        {"id": "q", "operator": "human", "input": {"instructions": "go?"}},
        {"id": "b", "operator": "local", "command": says, "depends_on": ["q"]},
    ]));
    config["operators"]["human"] = json!({"plugin": "builtin:human"});
    let world = World::new(&config);
    world.run_with(&["init", "demo", "--run-id", "r"], &[("LANG", "de")]).code(0);
    // the loop there does not wait for what only a person can do, and other operators go on
    let ended = world.run_with(&["loop", "r"], &[THERE, ("LANG", "fr")]).code(5);
    assert!(ended.stderr.contains("is not pinned on"), "{ended:?}");
    assert!(world.tasks().starts_with("a=running q=running b=pending"), "{}", world.tasks());
    let told = explained(&world, "a", &[THERE]);
    assert_eq!((&told["code"], &told["command"]), (&json!("environment"), &json!("matterstack amend r environment")));
    let sentence = told["sentence"].as_str().unwrap_or_default();
    let host = matterstack::ground::machine::host_name();
    assert!(sentence.contains(&format!("what local jobs inherit is not pinned on {host}")), "{told}");
    let waits = world.status()["waiting_on"].clone();
    let kinds: Vec<&str> = waits.as_array().expect("a list").iter().filter_map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds, ["person", "environment"], "{waits}");
    assert!(!world.run_dir("r").join("backends/local").exists(), "nothing was handed in");
    let attempts = || world.run(&["attempts", "r", "a", "--json"]).code(0).json();
    assert_eq!(attempts().as_array().map(Vec::len), Some(1), "it costs no attempt");
    // a person says so there, and what waited goes on at once
    let done = world.run_with(&["amend", "r", "environment"], &[THERE, ("LANG", "eo")]).code(0);
    assert!(done.stderr.contains("what this shell has is pinned for local jobs on"), "{done:?}");
    world.run_with(&["amend", "r", "environment"], &[THERE, ("LANG", "eo")]).code(2);
    world.run_with(&["loop", "r"], &[THERE]).code(5);
    assert_eq!((printed(&world, "a").as_str(), attempts().as_array().map(Vec::len)), ("eo", Some(1)));
    // and here it is as it was pinned here
    world.run(&["respond", "r", "q", "--approve"]).code(0);
    world.run_with(&["loop", "r"], &[("LANG", "fr")]).code(0);
    assert_eq!(printed(&world, "b"), "de");
    let evidence = world.evidence();
    let of = |task: &str| recorded(&evidence, task)["variables"]["LANG"].clone();
    assert_eq!((of("a"), of("b")), (json!("eo"), json!("de")));
    let acts: Vec<&Value> =
        evidence["environments"].as_array().expect("a list").iter().map(|one| &one["act"]).collect();
    assert_eq!(acts, [&json!(1), &json!(2)]);
}

#[test]
fn what_waited_on_another_machine_goes_on_where_its_environment_is_pinned() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "printf %s \"$LANG\""}]));
    world.run_with(&["init", "demo", "--run-id", "r"], &[("LANG", "de")]).code(0);
    world.run_with(&["step", "r"], &[THERE]).code(0);
    assert_eq!(explained(&world, "a", &[THERE])["code"], "environment");
    world.run(&["loop", "r"]).code(0);
    assert_eq!(printed(&world, "a"), "de");
}

#[test]
fn a_copy_that_is_adopted_on_another_machine_starts_nothing_unpinned() {
    let world = World::with_tasks(&json!([
        {"id": "a", "operator": "local", "command": "true"}, {"id": "b", "operator": "local", "command": "true", "depends_on": ["a"]},
    ]));
    world.init();
    let copied = std::process::Command::new("cp").arg("-a").args([world.run_dir("r"), world.run_dir("s")]).status();
    assert!(copied.expect("cp").success());
    let adopted = world.run_with(&["adopt", "s"], &[THERE]).code(0);
    assert!(adopted.stderr.contains("`matterstack amend s environment`"), "{adopted:?}");
    world.run_with(&["loop", "s"], &[THERE]).code(5);
    assert!(!world.run_dir("s").join("backends/local").exists(), "nothing was handed in");
    world.run_with(&["amend", "s", "environment"], &[THERE]).code(0);
    world.run_with(&["loop", "s"], &[THERE]).code(0);
}

/// A world whose backend records what a program of its own says.
fn recording(record: Value) -> World {
    let mut config = crate::support::world::tasks_config(&json!([{"id": "a", "operator": "local", "command": "tool"}]));
    config["backends"]["local"]["record"] = record;
    config["backends"]["local"]["setup"] = json!(["PATH=$MATTERSTACK_WORKSPACE_DIR/bin:$PATH"]);
    let world = World::new(&config);
    tool(&world, "tool 1.0");
    world
}

fn tool(world: &World, says: &str) {
    world.write("bin/tool", &format!("#!/bin/sh\necho {says}\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.workspace().join("bin/tool"), mode).expect("ours");
}

#[test]
fn what_programs_say_of_themselves_is_recorded_and_may_be_a_part_of_what_is_reused() {
    let world = recording(json!([{"command": "tool --version", "key": true}, "pwd; echo $LANG >&2"]));
    world.run_with(&["init", "demo", "--run-id", "r"], &[("LANG", "de")]).code(0);
    let environments = || world.evidence()["environments"].clone();
    let told = environments()[0]["recorded"].clone();
    assert_eq!(told[0], json!({"backend": "local", "command": "tool --version", "output": "tool 1.0\n"}));
    let workspace = std::fs::canonicalize(world.workspace()).expect("a workspace");
    assert_eq!(told[1]["output"], format!("{}\nde\n", workspace.display()));
    world.run(&["loop", "r"]).code(0);
    // the same program: reused; another one: told by name
    let reuse = |run: &str| {
        world.run_with(&["init", "demo", "--run-id", run, "--reuse", "r"], &[("LANG", "de")]).code(0);
        let told = world.run(&["explain", run, "a", "--reuse", "--json"]).code(0).json()[0].clone();
        (told["code"].as_str().unwrap_or_default().to_owned(), told["sentence"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(reuse("same").0, "reusable");
    tool(&world, "tool 2.0");
    let (code, sentence) = reuse("other");
    assert!(code == "not-reused" && sentence.contains("what `record` told of the programs"), "{sentence}");
    // a person takes the new one into the run
    let done = world.run_with(&["amend", "r", "environment"], &[("LANG", "de")]).code(0);
    assert!(done.stderr.contains("what `record` tells here now is recorded"), "{done:?}");
    assert_eq!(environments()[1]["recorded"][0]["output"], "tool 2.0\n");
    assert_eq!(environments()[0]["recorded"][0]["output"], "tool 1.0\n", "what jobs had before stays");
    // what was never run here is in no key
    world.run(&["amend", "other", "config", "backends.local.record=[{\"command\":\"tool x\",\"key\":true}]"]).code(0);
    let told = world.run(&["explain", "other", "a", "--reuse", "--json"]).code(0).json()[0]["sentence"].clone();
    assert!(
        told.as_str().is_some_and(|told| told.contains("`tool x` of `record` has not been run here yet")),
        "{told}"
    );
}

#[test]
fn a_command_that_cannot_tell_what_a_program_is_is_refused_before_there_is_a_run() {
    for (record, words) in [
        (
            json!(["no-such-tool --version"]),
            "`no-such-tool --version` of backends.local.record ended with exit status: 127",
        ),
        (json!(["echo broken; exit 3"]), "ended with exit status: 3; it printed `broken`"),
        (json!(["kill -9 $$"]), "ended with signal: 9"),
        (json!([""]), "backends.local.record has a command that is empty"),
        (json!(["true", {"command": "true"}]), "backends.local.record has `true` twice"),
        (json!([{"comand": "true"}]), "expected a text, or {\"command\": TEXT, \"key\": true}"),
    ] {
        let world = recording(record);
        let refused = world.run(&["init", "demo", "--run-id", "r"]).code(2);
        assert!(refused.stderr.contains(words), "{words}: {refused:?}");
        assert!(!world.run_dir("r").exists());
    }
    let cluster = json!({"kind": "slurm", "record": ["true"]});
    let set = format!("backends.local={cluster}");
    let refused = recording(json!([])).run(&["init", "demo", "--set", &set]).code(2).stderr;
    assert!(refused.contains("only backends of the kind `local` have `record`"), "{refused}");
    // bounded in what is kept and in time, and nothing that it began stays
    let world = recording(json!(["yes | head -c 100000; sleep 600 >/dev/null 2>&1 & echo $! > pid"]));
    world.init();
    let told = world.evidence()["environments"][0]["recorded"][0].clone();
    assert_eq!((told["output"].as_str().map(str::len), &told["cut"]), (Some(4096), &json!(true)));
    let pid = std::fs::read_to_string(world.workspace().join("pid")).expect("a process");
    until("what it left running is gone", || !std::path::Path::new("/proc").join(pid.trim()).join("exe").exists());
    let refused = recording(json!(["sleep 600"])).run(&["init", "demo"]).code(2).stderr;
    assert!(refused.contains("did not end within 10 s"), "{refused}");
}

#[test]
fn jobs_have_the_environment_of_init_and_neither_that_of_cron_nor_that_of_a_later_shell() {
    let mut config = crate::support::world::tasks_config(&json!([
        {"id": "long", "operator": "local", "command": "while [ ! -e ../../../go ]; do sleep 0.02; done"},
        {"id": "q", "operator": "human", "input": {"instructions": "go?"}},
        {"id": "mine", "operator": "local", "command": "env", "depends_on": ["q"]},
    ]));
    config["operators"]["human"] = json!({"plugin": "builtin:human"});
    config["backends"]["local"]["pass_env"] = json!(["OMP_*", "CONDA_*"]);
    let world = World::new(&config);
    let mine = [("VIRTUAL_ENV", "/opt/venv"), ("OMP_NUM_THREADS", "1"), ("CONDA_PREFIX", "/opt/c")];
    world.run_with(&["init", "demo", "--run-id", "r"], &mine).code(0);
    // cron's tick starts the supervisor
    world.run(&["step", "r"]).code(0);
    let later = [("OMP_NUM_THREADS", "8"), ("CUDA_VISIBLE_DEVICES", "3")];
    world.run_with(&["respond", "r", "q", "--approve"], &later).code(0);
    until("the task ends", || {
        world.run_with(&["step", "r"], &later).code(0);
        world.tasks().contains("mine=completed")
    });
    let seen = printed(&world, "mine");
    for (name, value) in mine {
        assert!(seen.lines().any(|line| line == format!("{name}={value}")), "{name}: {seen}");
        assert_eq!(world.evidence()["environments"][0]["variables"][name], value);
    }
    assert!(!seen.contains("CUDA_VISIBLE_DEVICES"), "{seen}");
    std::fs::write(world.run_dir("r").join("go"), "").expect("a file");
    world.run(&["loop", "r"]).code(0);
}
