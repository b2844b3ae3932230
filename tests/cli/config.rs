//! What is wrong with a configuration is said once, where it was written: which key, in which line of which file or by
//! which `--set`, and what was probably meant.
use crate::support::world::World;
use serde_json::{Value, json};

/// A world whose config.json is this text.
fn written(text: &str) -> World {
    let world = World::new(&Value::Null);
    world.write("config.json", text);
    world
}

/// Asserts that both `init` and `config check` refuse a configuration in one error with these words, and leave nothing.
#[track_caller]
fn refused(text: &str, sets: &[&str], words: &[&str]) {
    let world = written(text);
    for command in [&["init", "demo"][..], &["config", "check", "demo"]] {
        let arguments: Vec<&str> = command.iter().copied().chain(sets.iter().flat_map(|set| ["--set", *set])).collect();
        let done = world.run(&arguments).code(2);
        assert_eq!(done.stderr.matches("error:").count(), 1, "{done:?}");
        for word in words {
            assert!(done.stderr.contains(word), "`{word}` is missing: {}", done.stderr);
        }
    }
    let runs = std::fs::read_dir(world.workspace().join("runs")).map_or(0, |runs| runs.count());
    assert_eq!(runs, 0, "nothing is left");
}

const LOCAL: &str = r#""operators": {"local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}}},
"backends": {"local": {"kind": "local", "cores": 1}}"#;

#[test]
fn a_key_that_stands_twice_is_named_with_both_lines() {
    let task = r#"{"id": "a", "command": "true", "env": {"T": "300"}, "env": {"P": "1"}}"#;
    let text = format!(
        "{{\"campaign\": {{\"plugin\": \"builtin:workflow\", \"params\": {{\"tasks\": [\n{task}]}}}},\n{LOCAL}}}"
    );
    refused(&text, &[], &["`campaign.params.tasks[0].env` stands twice", "(line 2, column"]);
    let text = format!("{{\"campaign\": {{\"plugin\": \"builtin:workflow\"}},\n{LOCAL},\n\"backends\": {{}}}}");
    refused(&text, &[], &["`backends` stands twice, first in line 3", "(line 4, column 1)"]);
    let text = "{\"campaign\": {\"plugin\": \"builtin:workflow\", \"params\": {\"deep\": [[{\"x\": {\"y\": 1, \"\\u0079\": 2}}]]}}}";
    refused(text, &[], &["`campaign.params.deep[0][0].x.y` stands twice"]);
    refused(
        "{}",
        &["campaign={\"plugin\":\"a\",\"plugin\":\"b\"}"],
        &["`--set campaign=", "`campaign.plugin` stands twice"],
    );
}

#[test]
fn a_key_that_is_not_known_is_named_with_its_line_and_the_nearest() {
    let cases: [(&str, &[&str]); 6] = [
        ("{\n\"campain\": {}}", &["at `campain` (line 2)", "did you mean `campaign`?"]),
        ("{\"campaign\": {\n\"plugn\": \"x\"}}", &["at `campaign.plugn` (line 2)", "did you mean `plugin`?"]),
        (
            "{\"campaign\": {\"plugin\": \"x\"}, \"backends\": {\"b\": {\"kind\": \"local\",\n\"slots\": 2}}}",
            &["at `backends.b.slots` (line 2)", "known are cores"],
        ),
        (
            "{\"campaign\": {\"plugin\": \"x\"}, \"limits\": {\n\"plugin\": {\n\n\"memory\": 2}}}",
            &["at `limits.plugin.memory` (line 4)", "did you mean `memory_mb`?"],
        ),
        (
            "{\"campaign\": {\"plugin\": \"builtin:workflow\", \"params\": {\"tasks\": [{\"id\": \"a\", \"command\": \"true\"},\n\
             {\"id\": \"b\", \"command\": \"true\",\n\"resources\": {\"walltime\": 60}}]}}}",
            &["(task `b`)", "`resources.walltime`", "(line 3 of `", "did you mean `walltime_s`?"],
        ),
        (
            "{\"campaign\": {\"plugin\": \"builtin:workflow\", \"params\": {\"tasks\": [{\"id\": \"b\",\n\"dependson\": []}]}}}",
            &["task `b`", "`dependson`", "(line 2 of `", "did you mean `depends_on`?"],
        ),
    ];
    for (text, words) in cases {
        refused(text, &[], words);
    }
}

#[test]
fn a_value_of_another_kind_is_named_with_its_unit() {
    let task = |task: &str| {
        format!("{{\"campaign\": {{\"plugin\": \"builtin:workflow\", \"params\": {{\"tasks\": [\n{task}]}}}}}}")
    };
    for (text, words) in [
        (
            r#"{"id": "a", "resources": {"walltime_s": "1h"}}"#,
            ["task `a`", "`resources.walltime_s`", "a number of seconds"],
        ),
        (r#"{"id": "a", "resources": {"memory_mb": "2G"}}"#, ["task `a`", "`resources.memory_mb`", "a number of MiB"]),
        (r#"{"id": "a", "resources": {"cores": 1.5}}"#, ["task `a`", "`resources.cores`", "a whole number of cores"]),
        (r#"{"id": "a", "retry": {"backoff_s": null}}"#, ["task `a`", "`retry.backoff_s`", "a number of seconds"]),
        (r#"{"id": "a", "files": {"x": "y"}}"#, ["task `a`", "`files.x`", "{\"path\": …}"]),
        (r#"{"id": "a", "env": {"N": 1}}"#, ["task `a`", "`env.N`", "expected a text, or {\"secret\": NAME}"]),
    ] {
        refused(&task(text), &[], &words);
        refused(&task(text), &[], &["(line 2 of `"]);
    }
}

#[test]
fn a_list_is_no_object() {
    let base = |key: &str, value: &str| {
        let local = if key == "operators" || key == "backends" { "" } else { LOCAL };
        let comma = if local.is_empty() { "" } else { ",\n" };
        format!("{{\"campaign\": {{\"plugin\": \"builtin:workflow\"}}{comma}{local},\n\"{key}\": {value}}}")
    };
    for (key, value, place) in [
        ("limits", "[5,6]", "at `limits` (line 4)"),
        ("store", "[\"rollback\"]", "at `store` (line 4)"),
        ("notify", "[[\"true\"]]", "at `notify` (line 4)"),
        ("reuse", "[\"workspace\"]", "at `reuse` (line 4)"),
        ("operators", "{\n\"local\": [\"builtin:compute\"]}", "at `operators.local` (line 3)"),
        ("backends", "{\n\"local\": [\"local\", 1]}", "at `backends.local` (line 3)"),
        ("backends", "{\"c\": {\"kind\": \"slurm\",\n\"ssh\": [\"host\"]}}", "at `backends.c.ssh` (line 3)"),
    ] {
        refused(&base(key, value), &[], &[place, "expected an object"]);
    }
    refused("[{\"plugin\": \"builtin:workflow\"}]", &[], &["expected an object"]);
    let text = format!("{{\"campaign\": {{\"plugin\": \"builtin:workflow\"}},\n{LOCAL}}}");
    refused(&text, &["limits=[5,6]"], &["`--set limits=[5,6]`", "expected an object"]);
}

#[test]
fn a_whole_number_may_be_written_as_a_float() {
    let task = r#"{"id": "a", "command": "true", "resources": {"cores": 1.0}, "retry": {"max_attempts": 2.0}}"#;
    let world = written(&format!(
        "{{\"format\": 1.0, \"campaign\": {{\"plugin\": \"builtin:workflow\", \"seed\": 1.0, \"params\": {{\"tasks\": [{task}]}}}}, \
         \"limits\": {{\"plugin\": {{\"fuel\": 1e11}}}}, \"backends\": {{\"local\": {{\"kind\": \"local\", \"cores\": 2.0}}}}}}"
    ));
    world.init();
    let config: Value =
        serde_json::from_slice(&std::fs::read(world.run_dir("r").join("config.json")).expect("it")).expect("JSON");
    assert_eq!((&config["format"], &config["campaign"]["seed"]), (&json!(1), &json!(1)));
    assert_eq!(config["limits"]["plugin"]["fuel"], json!(100_000_000_000_u64));
    assert_eq!(config["backends"]["local"]["cores"], json!(2));
    world.run(&["loop", "r"]).code(0);
}

/// A configuration with one operator of this kind.
fn operator(plugin: &str, config: &str) -> String {
    format!(
        "{{\"campaign\": {{\"plugin\": \"builtin:workflow\", \"params\": {{\"tasks\": []}}}},\n\"operators\": {{\"o\": {{\"plugin\": \
         \"{plugin}\", \"grants\": {{\"compute\": [\"local\"]}},\n\"config\": {config}}}}}, \"backends\": {{\"local\": {{\"kind\": \
         \"local\"}}, \"other\": {{\"kind\": \"local\"}}}}}}"
    )
}

#[test]
fn the_config_of_a_standard_operator_is_checked_before_anything_is_tried() {
    let cases: [(&str, &str, &[&str]); 13] = [
        ("compute", "{\"lancher\": [\"srun\"]}", &["`operators.o.config.lancher`", "did you mean `launcher`?"]),
        ("compute", "{\"launcher\": 3}", &["`operators.o.config.launcher`", "a list of texts"]),
        ("compute", "{\"launcher\": [3]}", &["`operators.o.config.launcher`", "a list of texts"]),
        ("compute", "{\"backend\": \"locl\"}", &["operators.o.config.backend is `locl`", "did you mean `local`?"]),
        ("compute", "{\"backend\": \"other\"}", &["operators.o.config.backend", "is not granted"]),
        ("compute", "[\"local\"]", &["`operators.o.config`", "expected an object"]),
        ("experiment", "{\"poll\": 3}", &["`operators.o.config.poll`", "did you mean `poll_s`?"]),
        ("experiment", "{\"poll_s\": \"3\"}", &["`operators.o.config.poll_s`", "a number of seconds"]),
        ("experiment", "{\"poll_s\": -1}", &["operators.o.config.poll_s is negative"]),
        ("manual-hpc", "{\"headr\": []}", &["`operators.o.config.headr`", "did you mean `header`?"]),
        ("manual-hpc", "{\"header\": [\"x\"]}", &["operators.o.config.header", "begin with `#`"]),
        ("manual-hpc", "{\"setup\": [\"a\\nb\"]}", &["operators.o.config.setup", "single lines"]),
        ("manual-hpc", "{\"settle_s\": -1}", &["operators.o.config.settle_s is negative"]),
    ];
    for (plugin, config, words) in cases {
        let text = operator(&format!("builtin:{plugin}"), config);
        refused(&text, &[], &[words, &["(line 3 of `"]].concat());
    }
    let config = "{\"backend\": \"local\", \"launcher\": [\"env\"]}";
    let world = written(&operator("builtin:compute", config));
    world.init();
    let done = world.run(&["amend", "r", "config", "operators.o.config.lancher=[\"srun\"]"]).code(2);
    assert!(done.stderr.contains("did you mean `launcher`?"), "{done:?}");
}

#[test]
fn what_makes_everything_fail_is_refused() {
    let text =
        format!("{{\"campaign\": {{\"plugin\": \"builtin:workflow\", \"params\": {{\"tasks\": []}}}},\n{LOCAL}}}");
    for key in [
        "limits.attempt_log_mb",
        "limits.plugin.handles",
        "limits.plugin.plan_ms",
        "limits.compile.memory_mb",
        "limits.compile.cpu_s",
    ] {
        refused(&text, &[&format!("{key}=0")], &[&format!("{key} is 0; at least 1 is needed"), "(`--set "]);
    }
    refused(&text, &["notify.command=[]"], &["notify.command names no program"]);
    refused(&text, &["notify.command=[\"\"]"], &["notify.command names no program"]);
    refused(&text, &["format=2"], &["is of format 2 (`--set format=2`)"]);
    let world = written(&text);
    world.init();
    let done = world.run(&["amend", "r", "config", "limits.plugin.plan_ms=0"]).code(2);
    assert!(done.stderr.contains("limits.plugin.plan_ms is 0"), "{done:?}");
}

#[test]
fn a_check_refuses_what_init_refuses() {
    let campaign = |more: &str| format!("{{\"campaign\": {{{more}}}, {LOCAL}}}");
    let tasks = "\"params\": {\"tasks\": []}";
    refused(&campaign("\"plugin\": \"builtin:nope\""), &[], &["`builtin:nope`, which is no standard plugin"]);
    refused(&campaign("\"plugin\": \"none.wasm\""), &[], &["campaign.plugin is `none.wasm`", "cannot be found"]);
    let text = campaign("\"plugin\": \"builtin:workflow\", \"inputs\": {\"tasks\": \"none.jsonl\"}");
    refused(&text, &[], &["campaign.inputs.tasks is `none.jsonl`", "cannot be found"]);
    let text = campaign(&format!("\"plugin\": \"builtin:workflow\", {tasks}, \"files\": [\"../*\"]"));
    refused(&text, &[], &["leads out of the workspace"]);
    let text = campaign(&format!("\"plugin\": \"builtin:workflow\", {tasks}"));
    let nope = "operators.local.plugin=builtin:compue";
    refused(&text, &[nope], &["operators.local.plugin", "did you mean `builtin:compute`?"]);
}

#[test]
fn a_key_is_set_once_and_named_as_it_was_given() {
    let task = r#"{"id": "a", "command": "true"}"#;
    let text = format!(
        "{{\"campaign\": {{\"plugin\": \"builtin:workflow\", \"params\": {{\"tasks\": [{task}]}}}},\n{LOCAL}}}"
    );
    refused(
        &text,
        &["limits.max_active=1", "limits.max_active=2"],
        &["`limits.max_active` is set twice: `--set limits.max_active=1` and `--set limits.max_active=2`"],
    );
    let world = written(&text);
    world.init();
    let refused = |arguments: &[&str], words: &str| {
        let done = world.run(arguments).code(2);
        assert!(done.stderr.contains(words) && !done.stderr.contains("--set"), "{done:?}");
    };
    let twice = ["amend", "r", "config", "limits.max_active=3", "limits.max_active=4"];
    refused(&twice, "`limits.max_active` is set twice: `limits.max_active=3` and `limits.max_active=4`");
    refused(&["amend", "r", "task", "a", "env.A=1", "env.A=2"], "`env.A` is set twice");
    refused(&["amend", "r", "config", "limits.max_active=x"], "`limits.max_active=x` is not valid");
    refused(&["amend", "r", "config", "limits.max_active=0"], "(`limits.max_active=0`)");
    refused(&["amend", "r", "config", "limits.max_active"], "there is no `=`");
    refused(&["amend", "r", "config", "reuse.from=nowhere"], "nowhere");
    refused(&["amend", "r", "config", "reuse.from=r"], "the run itself");
    refused(&["amend", "r", "task", "a", "command="], "its `command` is empty");
    refused(&["amend", "r", "task", "a", "env.A=B=C", "command=[]"], "its `command` is empty");
    for sets in [["resume", "r", "--set", "n=1", "--set", "n=2"], ["rerun", "r", "a", "--set", "env.A=1", "--set"]] {
        let more: &[&str] = if sets[0] == "rerun" { &["env.A=2"] } else { &[] };
        let done = world.run(&[&sets[..], more].concat()).code(2);
        assert!(done.stderr.contains("is set twice"), "{done:?}");
    }
    world.run(&["loop", "r"]).code(0);
    let done = world.run(&["rerun", "r", "a", "--set", "command=null"]).code(2);
    assert!(done.stderr.contains("it has no `command`"), "{done:?}");
}

#[test]
fn a_number_that_readers_would_change_is_named_where_it_stands() {
    let params = |value: &str| {
        format!("{{\"campaign\": {{\"plugin\": \"builtin:workflow\",\n\"params\": {{\"n\": {value}}}}}}}")
    };
    refused(&params("9007199254740993"), &[], &["`campaign.params.n` is 9007199254740993", "(line 2,"]);
    refused(&params("NaN"), &[], &["`campaign.params.n` is NaN", "(line 2,"]);
    refused(&params("-Infinity"), &[], &["`campaign.params.n` is -Infinity"]);
    refused(&params("1e999"), &[], &["`campaign.params.n` is 1e999"]);
    refused(&params("\"\\ud800\""), &[], &["`campaign.params.n` holds \\ud800"]);
    refused(&format!("\u{feff}{}", params("1")), &[], &["byte order mark"]);
    refused(&params("1"), &["campaign.params.n=9007199254740993"], &["`--set campaign.params.n=9007199254740993`"]);
    let seed = r#"{"campaign": {"plugin": "builtin:workflow", "seed": 9007199254740992}}"#;
    refused(seed, &[], &["campaign.seed is 9007199254740992", "(line 1 of `"]);
    for wrong in ["-1", "1.5", "\"x\""] {
        refused(&seed.replace("9007199254740992", wrong), &[], &["campaign.seed"]);
    }
}

#[test]
fn a_set_that_is_wrong_is_named() {
    let text =
        format!("{{\"campaign\": {{\"plugin\": \"builtin:workflow\", \"params\": {{\"tasks\": []}}}},\n{LOCAL}}}");
    for set in [
        "limits.max_active=x",
        "limits.max_active=0",
        "limits.max_activ=3",
        "backends.local.cores=-1",
        "backends.local.kind=locl",
        "operators.local.grants.compute=[\"none\"]",
        "campaign.seed=9007199254740992",
        "campaign.params.tasks=[{\"id\":\"a\",\"comand\":\"true\"}]",
    ] {
        refused(&text, &["limits.max_tasks=9", set], &[&format!("`--set {set}`")]);
    }
    let world = written(&text);
    world.init();
    for set in ["limits.max_active=x", "limits.max_active=0", "backends.local.cores=9007199254740993"] {
        let done = world.run(&["amend", "r", "config", set]).code(2);
        assert!(done.stderr.contains(&format!("`{set}`")), "{done:?}");
    }
    let done = world.run(&["resume", "r", "--set", "n=9007199254740993"]).code(2);
    assert!(done.stderr.contains("`--set n=9007199254740993`"), "{done:?}");
}

#[test]
fn people_may_comment_and_say_less() {
    let world = written(
        "// what runs\r\n{\r\n  \"$schema\": \"../schema.json\", \"format\": 1, /* the only one */\r\n  \"campaign\": {\r\n    \
         \"plugin\": \"builtin:workflow\",\r\n    \"params\": { \"tasks\": [ { \"id\": \"a\", \"command\": \"true\", }, ], },\r\n  },\r\n}\r\n",
    );
    let made = world.run(&["init", "demo", "--run-id", "r"]).code(0);
    let cores = std::thread::available_parallelism().expect("cores").get();
    assert!(
        made.stderr.contains(&format!("`local` runs commands on this machine, on {cores} cores")),
        "{}",
        made.stderr
    );
    assert!(made.stderr.contains("operator `local` (builtin:compute)"), "{}", made.stderr);
    let config: Value =
        serde_json::from_slice(&std::fs::read(world.run_dir("r").join("config.json")).expect("it")).expect("JSON");
    assert_eq!(config["backends"]["local"], json!({"kind": "local", "cores": cores}));
    assert_eq!(config["format"], 1);
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.run(&["tasks", "r", "--json"]).json()[0]["operator"], "local");
    refused(
        "{\"format\": 2, \"campaign\": {\"plugin\": \"builtin:workflow\"}}",
        &[],
        &["is of format 2", "(line 1 of `"],
    );
    refused("{\"campaign\": {\"plugin\": \"builtin:workflow\"},,}", &[], &["is not JSON"]);
}

#[test]
fn an_operator_is_left_out_only_where_there_is_one() {
    let tasks = json!([{"id": "a", "command": "true"}]);
    let two = json!({
        "campaign": {"plugin": "builtin:workflow", "params": {"tasks": tasks}},
        "operators": {"one": {"plugin": "builtin:human"}, "two": {"plugin": "builtin:human"}},
    });
    let done = written(&two.to_string()).run(&["init", "demo"]).code(2);
    assert!(done.stderr.contains("task `a` names no operator; there are one, two"), "{done:?}");
    let mut own = two;
    own["operators"] = json!({"lab": {"plugin": "builtin:compute", "grants": {"compute": ["bench"]}}});
    own["backends"] = json!({"bench": {"kind": "local"}});
    let world = written(&own.to_string());
    let made = world.run(&["init", "demo", "--run-id", "r"]).code(0);
    assert!(!made.stderr.contains("no operator is configured"), "{made:?}");
    assert_eq!(world.run(&["tasks", "r", "--json"]).json()[0]["operator"], "lab");
    world.run(&["loop", "r"]).code(0);
}
