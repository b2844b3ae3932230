//! Runs that are mended and grown: `amend … task`, `amend … file`, `rerun` with changes, `resume` of what has ended,
//! and lists that get longer.
use crate::support::world::World;
use serde_json::{Value, json};

fn attempts(world: &World, task: &str) -> Vec<Value> {
    world.run(&["attempts", "r", task, "--json"]).code(0).json().as_array().expect("a list").clone()
}

fn states(world: &World) -> Vec<String> {
    let tasks = world.run(&["tasks", "r", "--json"]).code(0).json();
    let of = |task: &Value| {
        let stale = if task["stale"] == true { " stale" } else { "" };
        format!("{} {}{stale}", task["id"].as_str().unwrap_or_default(), task["state"].as_str().unwrap_or_default())
    };
    tasks.as_array().expect("a list").iter().map(of).collect()
}

/// A chain relax → static for each structure, the second of which runs a script.
fn structures(count: u32) -> Value {
    let two = |n: u32| {
        [
            json!({"id": format!("relax-{n}"), "command": format!("echo {n} > r.dat"), "outputs": ["r.dat"]}),
            json!({"id": format!("static-{n}"), "command": "sh static.sh", "outputs": ["s.dat"], "files": {
                "static.sh": {"path": "scripts/static.sh"}, "r.dat": {"from": format!("relax-{n}"), "output": "r.dat"}}}),
        ]
    };
    (0..count).flat_map(two).collect()
}

#[test]
fn a_mended_script_runs_again_without_what_came_before() {
    let world = World::with_tasks(&structures(6));
    world.write("scripts/static.sh", "exit 3");
    world.init();
    world.run(&["loop", "r"]).code(1);
    world.write("scripts/static.sh", "cat r.dat > s.dat");
    // everybody is told, and nobody guesses which copy is meant
    assert_eq!(world.status()["changed_files"], json!(["scripts/static.sh"]));
    assert!(world.run(&["status", "r"]).code(0).stdout.contains("amend r file scripts/static.sh"));
    let explained = world.run(&["explain", "r", "--json"]).code(0).json();
    let told = explained.as_array().expect("a list").iter().find(|one| one["code"] == "files-changed").expect("a word");
    assert_eq!(told["command"], "matterstack amend r file scripts/static.sh");
    let unsaid = world.run(&["rerun", "r", "static-*"]).code(2);
    assert!(unsaid.stderr.contains("`scripts/static.sh` differs") && unsaid.stderr.contains("--pinned"), "{unsaid:?}");
    let pinned = world.run(&["rerun", "r", "static-0", "--pinned"]).code(0);
    assert!(pinned.stderr.contains("1 task(s) are pending again"), "{pinned:?}");
    world.run(&["loop", "r"]).code(1);
    let done = world.run(&["rerun", "r", "static-*", "--changed", "--reason", "the script was wrong"]).code(0);
    assert!(done.stderr.contains("6 task(s) are pending again"), "{done:?}");
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.status()["changed_files"], json!([]));
    assert_eq!(attempts(&world, "relax-5").len(), 1, "what came before did not run again");
    // which attempt ran with which script
    let all = world.evidence();
    let act = all["acts"].as_array().expect("acts").last().expect("an act").clone();
    assert_eq!((&act["verb"], &act["reason"]), (&json!("rerun"), &json!("the script was wrong")));
    let file = &act["arguments"]["files"][0];
    let script = |attempt: &Value| {
        let inputs = attempt["inputs"].as_array().expect("inputs").clone();
        inputs.into_iter().find(|input| input["destination"] == "static.sh").expect("a script")["sha256"].clone()
    };
    let scripts: Vec<Value> = attempts(&world, "static-0").iter().map(script).collect();
    assert_eq!(scripts, [file["before"].clone(), file["before"].clone(), file["after"].clone()]);
    world.is_sound("r");
}

#[test]
fn one_task_gets_more_time() {
    let world = World::with_tasks(&json!([
        {"id": "relax", "command": "echo x > r", "outputs": ["r"]},
        {"id": "md", "command": "sleep 2", "depends_on": ["relax"], "resources": {"walltime_s": 1}},
        {"id": "after", "command": "true", "depends_on": ["md"]},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(1);
    let done = world.run(&["rerun", "r", "md", "--set", "resources.walltime_s=60"]).code(0);
    assert!(done.stderr.contains("2 task(s) are pending again") && done.stderr.contains("1 were changed"), "{done:?}");
    world.run(&["loop", "r"]).code(0);
    assert_eq!(states(&world), ["relax completed", "md completed", "after completed"]);
    assert_eq!(attempts(&world, "relax").len(), 1);
    let all = world.evidence();
    let md = all["tasks"].as_array().expect("tasks").iter().find(|task| task["id"] == "md").expect("the task").clone();
    let walltimes: Vec<&Value> = md["versions"]
        .as_array()
        .expect("versions")
        .iter()
        .map(|one| &one["spec"]["resources"]["walltime_s"])
        .collect();
    assert_eq!((md["version"].clone(), walltimes), (json!(2), vec![&json!(1), &json!(60)]));
    let ran: Vec<&Value> =
        all["attempts"].as_array().expect("attempts").iter().filter(|one| one["task"] == "md").collect();
    assert_eq!(ran.iter().map(|one| one["version"].clone()).collect::<Vec<_>>(), [json!(1), json!(2)]);
    world.is_sound("r");
}

#[test]
fn what_is_wanted_first_starts_first() {
    let tasks: Vec<Value> = ["x", "y", "z"].map(|id| json!({"id": id, "command": "true"})).into();
    let world = World::with_tasks(&json!(tasks));
    world.run(&["init", "demo", "--run-id", "r", "--set", "limits.max_active=1"]).code(0);
    world.run(&["amend", "r", "task", "z", "priority=9"]).code(0);
    let refused = world.run(&["amend", "r", "task", "y", "priority=2000000"]).code(2);
    assert!(refused.stderr.contains("within ±1000000"), "{refused:?}");
    // from here on it goes on with what has begun
    world.run(&["amend", "r", "task", "y", "depends_on=[\"z\"]"]).code(0);
    world.is_sound("r");
    world.run(&["loop", "r"]).code(0);
    let order = || -> Vec<Value> {
        let all = world.evidence();
        all["attempts"].as_array().expect("attempts").iter().map(|one| one["task"].clone()).collect()
    };
    assert_eq!(order(), ["z", "y", "x"]);
    // it says nothing of what was computed
    world.run(&["amend", "r", "task", "z", "priority=-1"]).code(0);
    assert_eq!(world.status()["stale"], 0);
    world.run(&["rerun", "r", "y"]).code(0);
    world.run(&["rerun", "r", "x", "--set", "priority=1"]).code(0);
    world.run(&["rerun", "r", "z"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(order()[3..], ["x", "z", "y"]);
    world.is_sound("r");
}

#[test]
fn what_completed_on_an_old_file_is_stale_until_it_runs_again() {
    let mut tasks = structures(3);
    let last = json!({"id": "sum", "command": "cat s0 > sum.dat", "outputs": ["sum.dat"],
        "files": {"s0": {"from": "static-0", "output": "s.dat"}}});
    tasks.as_array_mut().expect("a list").push(last);
    let world = World::with_tasks(&tasks);
    world.write("scripts/static.sh", "cat r.dat > s.dat");
    world.init();
    world.run(&["loop", "r"]).code(0);
    world.write("scripts/static.sh", "cat r.dat r.dat > s.dat");
    let amended = world.run(&["amend", "r", "file", "scripts/static.sh", "--json"]).code(0);
    assert_eq!(amended.json()["stale"], 3);
    assert!(amended.stderr.contains("3 completed task(s) used the old file and stay"), "{amended:?}");
    assert_eq!(world.status()["state"], "completed", "it changes nothing by itself");
    let stale = ["relax-0 completed", "static-0 completed stale", "relax-1 completed", "static-1 completed stale"];
    assert_eq!(states(&world)[..4], stale);
    assert_eq!(world.status()["stale"], 3);
    let explained = world.run(&["explain", "r", "static-0", "--json"]).code(0).json();
    assert_eq!(explained[0]["code"], "stale");
    // one alone: what took its output is stale then
    world.run(&["rerun", "r", "static-0"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!((&states(&world)[1][..], &states(&world)[6][..]), ("static-0 completed", "sum completed stale"));
    world.run(&["rerun", "r", "--state", "stale", "--recursive"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.status()["stale"], 0);
    assert_eq!(["relax-0", "static-1", "sum"].map(|task| attempts(&world, task).len()), [1, 2, 2]);
    world.is_sound("r");
}

#[test]
fn a_live_task_goes_on_as_it_was_begun() {
    let world = World::with_tasks(&json!([
        {"id": "a", "command": "while [ -e stdout ] && [ ! -e ../../../go ]; do sleep 0.05; done; exit 1", "retry": {"max_attempts": 2, "backoff_s": 0.1}},
        {"id": "b", "command": "true", "depends_on": ["a"]},
    ]));
    world.init();
    world.run(&["step", "r"]).code(0);
    let amended = world.run(&["amend", "r", "task", "*", "command=true", "env.A.B=1"]).code(0);
    for words in ["1 task(s) that have not started run as changed", "1 go on as they were begun"] {
        assert!(amended.stderr.contains(words), "{amended:?}");
    }
    std::fs::write(world.run_dir("r").join("go"), "").expect("a signal");
    world.run(&["loop", "r"]).code(0);
    let states: Vec<Value> = attempts(&world, "a").iter().map(|attempt| attempt["state"].clone()).collect();
    assert_eq!(states, [json!("failed"), json!("completed")]);
    world.is_sound("r");
}

#[test]
fn what_reaches_nothing_or_cannot_be_is_refused_and_changes_nothing() {
    let world = World::with_tasks(&structures(2));
    world.write("scripts/static.sh", "cat r.dat > s.dat");
    world.init();
    let acts = || world.evidence()["acts"].as_array().expect("acts").len();
    let before = (states(&world), acts());
    for (arguments, words) in [
        (&["task", "relax-0", "command=echo 0 > r.dat"][..], "nothing is changed"),
        (&["task", "nobody", "command=true"], "no task `nobody`"),
        (&["task", "no*", "command=true"], "no task's id matches `no*`"),
        (&["task", "relax-0", "depends_on=[\"static-0\"]"], "would depend on itself"),
        (&["task", "relax-*", "depends_on=[\"nobody\"]"], "which is not in the run"),
        (&["task", "relax-0", "outputs=[\"q.dat\"]"], "can never be there"),
        (&["task", "relax-0", "files.x={\"path\":\"scripts/none.sh\"}"], "scripts/none.sh"),
        (&["task", "relax-0", "resources.walltim_s=1"], "did you mean `walltime_s`?"),
        (&["task", "relax-0", "id=x"], "cannot be changed"),
        (&["task", "relax-0", "operator=hpc"], "`hpc`"),
        (&["file", "scripts/static.sh"], "nothing is changed"),
        (&["file", "scripts/none.sh"], "no file `scripts/none.sh`"),
        (&["file", "../../etc/passwd"], "no file `../../etc/passwd`"),
        (&["config", "limits.max_active=500"], "nothing is changed"),
        (&["config", "campaign.plugin=x.wasm"], "cannot be amended"),
    ] {
        let refused = world.run(&[&["amend", "r"], arguments].concat()).code(2);
        assert!(refused.stderr.contains(words), "{arguments:?} does not say {words}: {refused:?}");
    }
    assert_eq!((states(&world), acts()), before);
    world.run(&["loop", "r"]).code(0);
}

#[test]
fn a_list_grows_while_its_run_goes_on_and_after_it_has_completed() {
    let world = World::with_tasks(&structures(2));
    world.write("scripts/static.sh", "cat r.dat > s.dat");
    world.init();
    world.run(&["step", "r"]).code(0);
    let list = |tasks: &Value| format!("campaign.params.tasks={tasks}");
    let grown = world.run(&["amend", "r", "config", &list(&structures(4)), "--json"]).code(0);
    assert_eq!(grown.json()["added"], 4);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.status()["result"]["completed"], 8);
    // what was amended is known as it was planned and as it is
    world.run(&["amend", "r", "task", "relax-0", "resources.cores=2"]).code(0);
    let mut changed = structures(5);
    changed[2]["command"] = json!("echo other > r.dat");
    let refused = world.run(&["amend", "r", "config", &list(&changed)]).code(2);
    assert!(refused.stderr.contains("task `relax-1` is in the run already"), "{refused:?}");
    assert!(refused.stderr.contains("amend r task relax-1"), "{refused:?}");
    assert_eq!(
        (world.status()["state"].clone(), world.status()["tasks"]["total"].clone()),
        (json!("completed"), json!(8))
    );
    world.run(&["amend", "r", "config", &list(&structures(5))]).code(0);
    assert_eq!((world.status()["state"].clone(), world.status()["result"].clone()), (json!("active"), Value::Null));
    world.run(&["loop", "r"]).code(0);
    assert_eq!(
        world.status()["result"],
        json!({"total": 10, "completed": 10, "failed": 0, "skipped": 0, "cancelled": 0})
    );
    // a task of the first plan runs again, and its result stands in the place of the earlier one
    world.run(&["rerun", "r", "relax-1", "--recursive"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.status()["result"]["completed"], 10);
    world.is_sound("r");
}

#[test]
fn a_list_in_an_input_grows_by_its_file() {
    let lines =
        |tasks: &Value| tasks.as_array().expect("a list").iter().map(|task| format!("{task}\n")).collect::<String>();
    let world = World::with_tasks(&json!([]));
    let mut config: Value =
        serde_json::from_str(&std::fs::read_to_string(world.workspace().join("config.json")).expect("a configuration"))
            .expect("JSON");
    config["campaign"]["params"] = json!({});
    config["campaign"]["inputs"] = json!({"tasks": "tasks.jsonl"});
    world.write("config.json", &config.to_string());
    world.write("scripts/static.sh", "cat r.dat > s.dat");
    world.write("tasks.jsonl", &lines(&structures(2)));
    world.init();
    world.run(&["loop", "r"]).code(0);
    world.write("tasks.jsonl", &lines(&structures(3)));
    assert_eq!(world.status()["changed_files"], json!(["tasks.jsonl"]));
    let grown = world.run(&["amend", "r", "file", "tasks.jsonl"]).code(0);
    assert!(grown.stderr.contains("2 task(s) of the list are new"), "{grown:?}");
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.status()["result"]["completed"], 6);
    world.is_sound("r");
}

#[test]
fn an_ended_run_is_resumed_with_what_did_not_complete() {
    let world = World::with_tasks(&json!([
        {"id": "a", "command": "true"},
        {"id": "b", "command": "test -e ../../../mended", "allow_failure": true},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.status()["result"]["failed"], 1);
    std::fs::write(world.run_dir("r").join("mended"), "").expect("a mended machine");
    world.run(&["resume", "r"]).code(0);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(
        world.status()["result"],
        json!({"total": 2, "completed": 2, "failed": 0, "skipped": 0, "cancelled": 0})
    );
    assert_eq!(attempts(&world, "a").len(), 1);
    let nothing = world.run(&["resume", "r"]).code(2);
    assert!(nothing.stderr.contains("rerun r TASK"), "{nothing:?}");
    world.is_sound("r");
}

#[test]
fn of_two_amends_at_once_both_are_kept() {
    let world = World::with_tasks(&json!([{"id": "a", "command": "true"}]));
    world.init();
    let mut both = ["resources.walltime_s=60", "env.A=1"]
        .map(|set| world.command(&["amend", "r", "task", "a", set]).spawn().expect("the binary runs"));
    assert!(both.iter_mut().all(|one| one.wait().expect("an end").success()));
    let task = world.evidence()["tasks"][0].clone();
    assert_eq!(task["version"], 3);
    assert_eq!((&task["spec"]["resources"]["walltime_s"], &task["spec"]["env"]["A"]), (&json!(60), &json!("1")));
    world.run(&["loop", "r"]).code(0);
    world.is_sound("r");
}
