//! Runs that take what earlier runs of the workspace have computed: what is taken, what is not, and that nothing is
//! believed that was not looked at.
mod source;

use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// Makes a run that reuses, and drives it to its end.
fn follow(world: &World, run: &str, from: &str) {
    world.run(&["init", "demo", "--run-id", run, "--reuse", from]).code(0);
    world.run(&["loop", run]).code(0);
    world.is_sound(run);
}

fn tasks(world: &World, run: &str) -> Vec<Value> {
    world.run(&["tasks", run, "--json"]).code(0).json().as_array().expect("a list").clone()
}

/// The ids of the tasks that ran, in the order planned.
fn ran(world: &World, run: &str) -> Vec<String> {
    let own = tasks(world, run).into_iter().filter(|task| task["reused"].is_null());
    own.map(|task| task["id"].as_str().expect("an id").to_owned()).collect()
}

fn explained(world: &World, run: &str, task: &str) -> (String, String) {
    let told = world.run(&["explain", run, task, "--reuse", "--json"]).code(0).json();
    let word = |key: &str| told[0][key].as_str().expect("a text").to_owned();
    (word("code"), word("sentence"))
}

/// The directory of the last attempt at a task.
fn directory(world: &World, run: &str, task: &str) -> PathBuf {
    let attempts = world.run(&["attempts", run, task, "--json"]).code(0).json();
    let last = attempts.as_array().and_then(|all| all.last()).expect("an attempt").clone();
    world.run_dir(run).join(last["directory"].as_str().expect("a directory"))
}

fn set_tasks(world: &World, tasks: &Value) {
    world.write("config.json", &tasks_config(tasks).to_string());
}

fn database(world: &World, run: &str) -> rusqlite::Connection {
    rusqlite::Connection::open(world.run_dir(run).join("state.sqlite")).expect("the database")
}

/// Three steps for each structure; nine of them have another element.
fn structures(count: usize) -> Value {
    let of = |n: usize| {
        let element = if n < 9 { "ge.upf" } else { "si.upf" };
        let step = |name: &str, from: Option<&str>| {
            let mut task = json!({
                "id": format!("{name}-{n:02}"), "command": ["sh", "step.sh", name, n.to_string()], "outputs": [format!("{name}.dat")],
                "files": {"step.sh": {"path": "scripts/step.sh"}, "pseudo.upf": {"path": format!("scripts/{element}")}},
            });
            if let Some(from) = from {
                task["files"]["before.dat"] =
                    json!({"from": format!("{from}-{n:02}"), "output": format!("{from}.dat")});
            }
            task
        };
        [step("relax", None), step("static", Some("relax")), step("bands", Some("static"))]
    };
    (0..count).flat_map(of).collect()
}

#[test]
fn a_changed_potential_repeats_what_it_reaches_and_nothing_else() {
    let world = World::with_tasks(&structures(60));
    world.write(
        "scripts/step.sh",
        "cat pseudo.upf before.dat 2>/dev/null > $1.dat; echo $1 $2 >> $1.dat; echo said $2\n",
    );
    world.write("scripts/si.upf", "silicon\n");
    world.write("scripts/ge.upf", "germanium\n");
    world.init();
    world.run(&["loop", "r"]).code(0);
    world.write("scripts/ge.upf", "germanium, mended\n");
    let made = world.run(&["init", "demo", "--run-id", "two", "--reuse", "r"]).code(0);
    assert!(made.stderr.contains("results for 51 of the 60 task(s)"), "{made:?}");
    let (code, sentence) = explained(&world, "two", "relax-03");
    assert_eq!(code, "not-reused");
    assert!(sentence.contains("attempt 1 at task `relax-03` of run `r`"), "{sentence}");
    assert!(sentence.ends_with("differs in the files that it is given: `pseudo.upf`"), "{sentence}");
    assert_eq!(explained(&world, "two", "relax-20").0, "reusable");
    world.run(&["loop", "two"]).code(0);
    let own = ran(&world, "two");
    assert_eq!((own.len(), tasks(&world, "two").len()), (27, 180));
    assert!(own.iter().all(|id| id[id.len() - 2..] < *"09"), "{own:?}");
    // what was taken is there, with what was printed, and says where it comes from
    let bands = directory(&world, "two", "bands-59");
    assert_eq!(
        fs::read(bands.join("bands.dat")).ok(),
        fs::read(directory(&world, "r", "bands-59").join("bands.dat")).ok()
    );
    assert_eq!(world.run(&["logs", "two", "bands-59"]).code(0).stdout, "said 59\n");
    let attempt = world.run(&["attempts", "two", "bands-59", "--json"]).code(0).json()[0].clone();
    let then = world.run(&["attempts", "r", "bands-59", "--json"]).code(0).json()[0].clone();
    let id = &then["attempt_id"];
    assert_eq!(attempt["reused"], json!({"run": "r", "attempt": id, "origin": id}));
    assert_eq!((&attempt["outputs"], &attempt["external_id"]), (&then["outputs"], &Value::Null));
    assert!(world.run(&["tasks", "two"]).code(0).stdout.contains("completed (reused)"));
    assert_eq!(explained(&world, "two", "bands-59").0, "reused");
    world.is_sound("two");
    world.run(&["evidence", "two"]).code(0);
    let bundle = fs::read_to_string(world.run_dir("two").join("evidence/evidence.json")).expect("a bundle");
    let bundle: matterstack::model::evidence::EvidenceBundle = serde_json::from_str(&bundle).expect("its schema");
    assert_eq!(bundle.attempts.iter().filter(|attempt| attempt.reused.is_some()).count(), 153);
    assert_eq!(bundle.verified.findings(), 0);
    // one that has taken everything is as good a source
    follow(&world, "three", "workspace");
    assert_eq!(ran(&world, "three"), [] as [&str; 0]);
}

/// So many measurements of one sample, each of which comes to something else.
fn replicates(count: usize) -> Value {
    let one =
        |n: usize| json!({"id": format!("m-{n}"), "command": "echo $$-$(date +%s%N) > m.dat", "outputs": ["m.dat"]});
    (0..count).map(one).collect()
}

#[test]
fn measurements_of_one_sample_stay_as_many() {
    let world = World::with_tasks(&replicates(3));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let values = |run: &str, count: usize| -> Vec<String> {
        let read = |n| fs::read_to_string(directory(&world, run, &format!("m-{n}")).join("m.dat")).expect("a value");
        (0..count).map(read).collect()
    };
    let three = values("r", 3);
    set_tasks(&world, &replicates(4));
    follow(&world, "two", "r");
    assert_eq!(ran(&world, "two"), ["m-3"], "one result stands for one measurement");
    let four = values("two", 4);
    assert_eq!((&four[..3], three.contains(&four[3])), (&three[..], false));
    // of two runs that have the same three results, one more sample gets none of them
    set_tasks(&world, &replicates(5));
    follow(&world, "three", "workspace");
    assert_eq!(ran(&world, "three"), ["m-4"]);
    let mut five = values("three", 5);
    five.sort();
    five.dedup();
    assert_eq!(five.len(), 5);
    let (code, sentence) = explained(&world, "three", "m-4");
    assert!(code == "not-reused" && sentence.contains("serves another task of this run"), "{sentence}");
}

#[test]
fn what_is_not_as_it_was_left_is_computed_again() {
    let big = "head -c 100000 /dev/zero > b.dat";
    let tasks: Value = (0..7)
        .map(|n| json!({"id": format!("t-{n}"), "command": format!("echo value {n} > a.dat; {big}"), "outputs": ["*.dat"]}))
        .collect();
    let world = World::with_tasks(&tasks);
    world.init();
    world.run(&["loop", "r"]).code(0);
    let of = |n: usize| directory(&world, "r", &format!("t-{n}"));
    fs::remove_file(of(0).join("a.dat")).expect("deleted");
    fs::write(of(1).join("a.dat"), "VALUE 1\n").expect("altered");
    fs::write(of(2).join("b.dat"), "").expect("cut off");
    fs::remove_dir_all(of(3)).expect("purged");
    fs::remove_file(of(4).join("a.dat")).expect("deleted");
    std::os::unix::fs::symlink("b.dat", of(4).join("a.dat")).expect("a link in its place");
    let mut changed = fs::read(of(5).join("b.dat")).expect("a file");
    changed[99_999] = 1;
    fs::write(of(5).join("b.dat"), changed).expect("altered");
    world.run(&["init", "demo", "--run-id", "two", "--reuse", "r"]).code(0);
    for (task, words) in
        [("t-0", "`a.dat` is gone"), ("t-1", "`a.dat` was changed"), ("t-3", "`a.dat`"), ("t-5", "`b.dat` was changed")]
    {
        let (code, sentence) = explained(&world, "two", task);
        assert!(code == "not-reused" && sentence.contains(words), "{task}: {sentence}");
    }
    world.run(&["loop", "two"]).code(0);
    assert_eq!(ran(&world, "two"), ["t-0", "t-1", "t-2", "t-3", "t-4", "t-5"]);
    world.is_sound("two");
    let left: Vec<_> =
        fs::read_dir(world.run_dir("two").join("operators/local")).expect("attempts").flatten().collect();
    assert_eq!(left.len(), 7, "nothing is left of what was taken for nothing");
}

#[test]
fn only_sound_results_are_taken() {
    let mut tasks = json!([
        {"id": "plain", "command": "echo 1 > a.dat", "outputs": ["a.dat"]},
        {"id": "rejected", "command": "echo 2 > a.dat", "outputs": ["a.dat"]},
        {"id": "stale", "command": "sh s.sh; echo 3 > a.dat", "outputs": ["a.dat"], "files": {"s.sh": {"path": "scripts/s.sh"}}},
        {"id": "failed", "command": "echo 4 > a.dat; test -e ../../../ok/go", "outputs": ["a.dat"], "allow_failure": true},
        {"id": "again", "command": "echo 5 > a.dat", "outputs": ["a.dat"]},
    ]);
    let world = World::with_tasks(&tasks);
    world.write("scripts/s.sh", "true\n");
    world.init();
    world.run(&["loop", "r"]).code(0);
    let rejected = world.run(&["reuse", "reject", "r", "rejected", "--reason", "the furnace was off"]).code(0);
    assert!(rejected.stderr.contains("no later run takes the results of task `rejected`"), "{rejected:?}");
    assert!(world.run(&["reuse", "reject", "r", "rejected"]).code(2).stderr.contains("rejected already"));
    assert!(world.run(&["reuse", "reject", "r", "failed"]).code(2).stderr.contains("has completed"));
    assert!(world.run(&["reuse", "reject", "r", "nobody"]).code(2).stderr.contains("nobody"));
    world.write("scripts/s.sh", "true # mended\n");
    world.run(&["amend", "r", "file", "scripts/s.sh"]).code(0);
    // the same script as the stale attempt had
    world.write("scripts/s.sh", "true\n");
    tasks[4]["resources"] = json!({"walltime_s": 60, "cores": 2});
    tasks[4]["retry"] = json!({"max_attempts": 4});
    set_tasks(&world, &tasks);
    let environment = [("LANG", "C.UTF-8"), ("OMP_NUM_THREADS", "7"), ("SHELL", "/bin/zsh")];
    let two = &["init", "demo", "--run-id", "two", "--reuse", "workspace"];
    world.run_with(two, &environment).code(0);
    let (code, sentence) = explained(&world, "two", "again");
    assert_eq!(code, "reusable", "{sentence}");
    assert!(sentence.contains("`LANG`") && sentence.contains("no part of the key"), "{sentence}");
    for (task, words) in [("rejected", "a person rejected"), ("stale", "it is stale")] {
        let (code, sentence) = explained(&world, "two", task);
        assert!(code == "not-reused" && sentence.contains(words), "{task}: {sentence}");
    }
    world.run_with(&["loop", "two"], &environment).code(0);
    assert_eq!(ran(&world, "two"), ["rejected", "stale", "failed"]);
    // what runs again runs, and is not taken from elsewhere
    world.run(&["rerun", "two", "plain"]).code(0);
    world.run(&["loop", "two"]).code(0);
    assert_eq!(ran(&world, "two"), ["plain", "rejected", "stale", "failed"]);
    world.is_sound("two");
    // rejected where it was taken, it is rejected where it was made
    world.run(&["reuse", "reject", "two", "again"]).code(0);
    follow(&world, "three", "workspace");
    assert_eq!(ran(&world, "three"), ["failed", "again"]);
    let acts = world.run(&["evidence", "r", "--json"]).code(0);
    drop(acts);
    let bundle = fs::read_to_string(world.run_dir("r").join("evidence/evidence.json")).expect("a bundle");
    assert!(bundle.contains("\"reuse_reject\"") && bundle.contains("the furnace was off"));
}

#[test]
fn the_first_difference_is_named() {
    let table = tempfile::tempdir().expect("a scratch directory");
    let path = table.path().join("table.csv");
    fs::write(&path, "1").expect("a file");
    let task = json!({"id": "t", "command": ["cp", path, "a.dat"], "outputs": ["a.dat"], "env": {"A": "1"}, "input": {"x": 1}});
    let world = World::with_tasks(&json!([task]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let told = |run: &str, from: &str| {
        world.run(&["init", "demo", "--run-id", run, "--reuse", from]).code(0);
        explained(&world, run, "t")
    };
    assert_eq!(told("same", "r").0, "reusable");
    let changes: [(&str, Value, &str); 4] = [
        ("/env/A", json!("2"), "the task's `env`"),
        ("/input/x", json!(2), "the task's `input`"),
        ("/command/2", json!("b.dat"), "the command"),
        ("/outputs/0", json!("?.dat"), "it kept no files by the pattern `?.dat`"),
    ];
    for (at, (pointer, value, words)) in changes.into_iter().enumerate() {
        let mut other = task.clone();
        *other.pointer_mut(pointer).expect("a place") = value;
        set_tasks(&world, &json!([other]));
        let (code, sentence) = told(&format!("other-{at}"), "r");
        assert!(code == "not-reused" && sentence.contains(words), "{pointer}: {sentence}");
    }
    // of another id, and with a file that the command names and nobody has pinned
    let mut other = task.clone();
    other["id"] = json!("u");
    set_tasks(&world, &json!([other]));
    world.run(&["init", "demo", "--run-id", "named", "--reuse", "r"]).code(0);
    assert_eq!(explained(&world, "named", "u").0, "reusable");
    fs::write(&path, "2").expect("a file");
    let (_, sentence) = explained(&world, "named", "u");
    assert!(
        sentence.contains("at task `t`") && sentence.contains("differs in a file that the command names"),
        "{sentence}"
    );
    // where nothing can be told of it
    let untold = [
        (json!(["ls", table.path()]), "the folder"),
        (json!("cat $HOME/x > a.dat"), "only its shell knows"),
        (json!(["docker", "run", "x:latest"]), "by a tag"),
    ];
    for (at, (command, words)) in untold.into_iter().enumerate() {
        set_tasks(&world, &json!([{"id": "t", "command": command}]));
        let (code, sentence) = told(&format!("untold-{at}"), "r");
        assert!(code == "not-reused" && sentence.contains(words), "{sentence}");
    }
    // and where nothing is to be reused
    set_tasks(&world, &json!([task]));
    assert!(told("none", "none").1.contains("`reuse.from` is not set"));
    let mut config = tasks_config(&json!([task]));
    config["reuse"] = json!({"from": "workspace", "operators": []});
    world.write("config.json", &config.to_string());
    world.run(&["init", "demo", "--run-id", "others"]).code(0);
    assert!(explained(&world, "others", "t").1.contains("`reuse.operators` does not name"));
    world.run(&["explain", "others", "nobody", "--reuse"]).code(2);
}

#[test]
fn people_are_asked_again() {
    let mut config = tasks_config(
        &json!([{"id": "ask", "operator": "human", "input": {"instructions": "look", "schema": {"type": "object"}}}]),
    );
    config["operators"]["human"] = json!({"plugin": "builtin:human"});
    config["reuse"] = json!({"from": "workspace"});
    let world = World::new(&config);
    world.init();
    assert!(explained(&world, "r", "ask").1.contains("what people, kits and instruments do is not reused"));
}

fn tasks_of(world: &World, run: &str) -> Vec<String> {
    let word = |task: &Value| {
        let word = if task["reused"].is_null() { &task["state"] } else { &json!("reused") };
        format!("{} {}", task["id"].as_str().unwrap_or_default(), word.as_str().unwrap_or_default())
    };
    tasks(world, run).iter().map(word).collect()
}

#[test]
fn a_tick_that_dies_while_it_takes_results_is_finished_by_the_next() {
    let world = World::with_tasks(&json!([
        {"id": "a", "command": "echo 1 > a.dat; head -c 100000 /dev/zero > b.dat", "outputs": ["*.dat"]},
        {"id": "b", "command": "cat in.dat > a.dat; cat in.dat in.dat > c.dat", "outputs": ["*.dat"], "files": {"in.dat": {"from": "a", "output": "a.dat"}}},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let points = ["reuse.before", "reuse.after", "store.before-commit", "store.after-commit"];
    for (number, (name, n)) in points.iter().flat_map(|name| (1..=4).map(move |n| (name, n))).enumerate() {
        let run = format!("x-{number}");
        world.run(&["init", "demo", "--run-id", &run, "--reuse", "r"]).code(0);
        let point = format!("{name}:{n}");
        let died = world.run_with(&["step", &run], &[("MATTERSTACK_FAILPOINT", &point)]).code.is_none();
        assert!(died || n > 2, "{point} was not reached");
        if died && n == 1 {
            // what was begun is not taken for what the job was given or has left
            fs::remove_file(directory(&world, "r", "a").join("b.dat")).expect("gone");
        }
        world.run(&["loop", &run]).code(0);
        assert_eq!(tasks(&world, &run).iter().filter(|task| task["state"] == "completed").count(), 2, "{point}");
        let outputs = world.run(&["attempts", &run, "a", "--json"]).code(0).json()[0]["outputs"].clone();
        assert_eq!(outputs.as_array().map(Vec::len), Some(2), "{point}");
        world.is_sound(&run);
        let (there, back) = (directory(&world, "r", "a").join("b.dat"), directory(&world, &run, "a").join("b.dat"));
        if !there.exists() {
            fs::copy(back, there).expect("back again");
        }
    }
}

#[test]
fn another_release_of_ours_finds_what_this_one_has_left() {
    let world = World::with_tasks(&json!([{"id": "t", "command": "echo 1 > a.dat", "outputs": ["a.dat"]}]));
    world.init();
    // as an earlier release would have pinned it: the operator does the same, and its bytes are others
    let dir = world.run_dir("r");
    let text = fs::read_to_string(dir.join("config.json")).expect("a configuration");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    let pinned = &mut config["pinned"]["plugins"]["builtin:compute"];
    let mut bytes = fs::read(dir.join(pinned["path"].as_str().expect("a path"))).expect("a plugin");
    bytes.extend([0, 3, 1, b'a', 1]);
    let digest = matterstack::model::document::sha256(&bytes);
    (pinned["path"], pinned["sha256"]) = (json!("plugins/compute-older.wasm"), json!(digest));
    pinned["size"] = json!(bytes.len());
    fs::write(dir.join("plugins/compute-older.wasm"), &bytes).expect("a plugin");
    let text = config.to_string();
    fs::write(dir.join("config.json"), &text).expect("a configuration");
    let whole = matterstack::model::document::sha256(text.as_bytes());
    let database = database(&world, "r");
    database.execute("UPDATE run SET config_sha256 = unhex(?1)", [&whole]).expect("recorded");
    database.execute("UPDATE configs SET sha256 = unhex(?1)", [&whole]).expect("recorded");
    let sql =
        "UPDATE plugins SET sha256 = unhex(?1), path = 'plugins/compute-older.wasm' WHERE name = 'builtin:compute'";
    database.execute(sql, [&digest]).expect("recorded");
    drop(database);
    world.run(&["loop", "r"]).code(0);
    world.run(&["init", "demo", "--run-id", "two", "--reuse", "r"]).code(0);
    world.run(&["loop", "two"]).code(0);
    assert_eq!(ran(&world, "two"), [] as [&str; 0]);
    // what a person puts in the place of the standard operator is told apart by what it says of itself
    let older = dir.join("plugins/compute-older.wasm");
    let (says, other) = (br#""reuse_version": "1""#, br#""reuse_version": "2""#);
    // the text stands among the data too, before its section
    let at = bytes.windows(says.len()).rposition(|window| window == says).expect("a manifest");
    bytes[at..at + says.len()].copy_from_slice(other);
    let newer = world.root().join("compute-newer.wasm");
    fs::write(&newer, &bytes).expect("a plugin");
    for (name, plugin, same) in [("three", &older, true), ("four", &newer, false)] {
        world.run(&["init", "demo", "--run-id", name, "--reuse", "r"]).code(0);
        world.run(&["amend", name, "plugin", plugin.to_str().expect("UTF-8"), "--operator", "local"]).code(0);
        let told = explained(&world, name, "t").1;
        assert_eq!(told.contains("differs in the operator's plugin"), !same, "{told}");
    }
}

#[test]
fn a_difference_that_is_accepted_is_passed_over_and_recorded() {
    let world = World::with_tasks(&json!([{"id": "a", "command": "echo 1 > o", "outputs": ["o"]}]));
    let configured = |setup: &str, version: &str| {
        let mut config = tasks_config(&json!([{"id": "a", "command": "echo 1 > o", "outputs": ["o"]}]));
        config["backends"]["local"]["setup"] = json!([setup]);
        config["backends"]["local"]["record"] = json!([{"command": format!("echo {version}"), "key": true}]);
        world.write("config.json", &config.to_string());
    };
    let init = |run: &str, more: &[&str]| world.run(&[&["init", "demo", "--run-id", run, "--reuse"], more].concat());
    configured("true", "1");
    world.run(&["init", "demo", "--run-id", "one"]).code(0);
    world.run(&["loop", "one"]).code(0);
    configured("true # as elsewhere", "1");
    for (more, refused) in [
        (&["none", "--reuse-ignore", "setup"][..], "none are reused"),
        (&["one", "--reuse-ignore", "files"], "possible values"),
    ] {
        let done = init("never", more).code(2);
        assert!(done.stderr.contains(refused), "{done:?}");
    }
    init("strict", &["one"]).code(0);
    let (code, sentence) = explained(&world, "strict", "a");
    assert!(code == "not-reused" && sentence.contains("`setup` or `template`"), "{sentence}");
    assert!(sentence.contains("--reuse-ignore setup"), "{sentence}");
    // another difference is none of those that were accepted
    init("other", &["one", "--reuse-ignore", "record"]).code(0);
    assert_eq!(explained(&world, "other", "a").0, "not-reused");
    let told = init("lenient", &["one", "--reuse-ignore", "setup"]).code(0);
    assert!(told.stderr.contains("results for 1 of the 1 task(s)"), "{told:?}");
    let (code, sentence) = explained(&world, "lenient", "a");
    assert!(code == "reusable" && sentence.contains("it differs in the backend's `setup`"), "{sentence}");
    world.run(&["loop", "lenient"]).code(0);
    world.is_sound("lenient");
    assert!(ran(&world, "lenient").is_empty());
    let attempt = world.run(&["attempts", "lenient", "a", "--json"]).code(0).json()[0].clone();
    assert!(attempt["reason"].as_str().is_some_and(|text| text.contains("which `reuse.ignore` accepts")), "{attempt}");
    world.run(&["evidence", "lenient"]).code(0);
    let text = fs::read_to_string(world.run_dir("lenient").join("evidence/evidence.json")).expect("a bundle");
    let bundle: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(bundle["acts"][0]["arguments"]["reuse_ignore"], json!(["setup"]));
    // whoever does not accept it is not served it at second hand
    init("second", &["lenient"]).code(0);
    assert_eq!(explained(&world, "second", "a").0, "not-reused");
    // and several, of which each is accepted
    configured("true # elsewhere again", "2");
    init("both", &["one", "--reuse-ignore", "setup", "--reuse-ignore", "record"]).code(0);
    let (code, sentence) = explained(&world, "both", "a");
    assert_eq!(code, "reusable", "{sentence}");
    init("half", &["one", "--reuse-ignore", "setup"]).code(0);
    assert_eq!(explained(&world, "half", "a").0, "not-reused");
}
