//! `plugin new` and `plugin build`: what is new passes its own test, and becomes a plugin.
use crate::support::world::{Done, World, done};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

fn run_in(world: &World, folder: &str, words: &[&str]) -> Done {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(world.root().join(folder)).env_clear();
    done(command.env("PATH", crate::support::path()).output().expect("it starts"))
}

/// The Node.js that `cargo xtask test` installs.
fn node() -> String {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools");
    let folders = fs::read_dir(&tools).expect("tools").map(|entry| entry.expect("an entry").path());
    let found = folders.map(|folder| folder.join("bin/node")).find(|node| node.exists());
    found
        .unwrap_or_else(|| panic!("no node in {}: `cargo xtask test` installs it", tools.display()))
        .display()
        .to_string()
}

/// A new plugin, and what its folder is for.
struct New {
    language: &'static str,
    operator: bool,
    /// The script that the host takes.
    file: &'static str,
}

const SCRIPTS: [New; 6] = [
    New { language: "python", operator: false, file: "campaign.py" },
    New { language: "python", operator: true, file: "balance.py" },
    New { language: "javascript", operator: false, file: "campaign.js" },
    New { language: "javascript", operator: true, file: "balance.js" },
    New { language: "typescript", operator: false, file: "campaign.js" },
    New { language: "typescript", operator: true, file: "balance.js" },
];

/// Each passes the author's own test and the conformance kit's first step, and its workspace runs to its end.
#[test]
fn a_new_script_passes_its_own_test_and_runs() {
    let world = World::with_tasks(&json!([]));
    let node = node();
    for New { language, operator, file } in SCRIPTS {
        let name = format!("{language}{}", if operator { "-operator" } else { "" });
        let option: &[&str] = if operator { &["--operator"] } else { &[] };
        let made = world.run(&[&["plugin", "new", language, &name][..], option].concat()).code(0);
        assert_eq!(made.stdout, format!("{name}\n"));
        assert!(made.stderr.contains(&format!("`matterstack run {name}`")), "{made:?}");
        let folder = format!("workspaces/{name}");
        if language == "typescript" {
            let built = world.run(&["plugin", "build", &folder]).code(0);
            assert!(built.stdout.contains("script: javascript"), "{built:?}");
        } else {
            // a script is no source of a component
            let done = world.run(&["plugin", "build", &folder]).code(2);
            assert!(done.stderr.contains("is a script, which is run as it is"), "{done:?}");
        }
        let checked = world.run(&["plugin", "check", &format!("{folder}/{file}"), "--json"]).code(0).json();
        let kind = if operator { "operator" } else { "campaign" };
        assert_eq!((&checked["world"], &checked["problems"]), (&json!(kind), &json!([])));
        let test: &[&str] = if language == "python" { &["python3", "-m", "unittest"] } else { &[&node, "--test"] };
        run_in(&world, &name, test).code(0);
        world.run(&["init", &name, "--run-id", &name]).code(0);
        world.run(&["loop", &name]).code(0);
        let tasks = world.run(&["tasks", &name, "--json"]).code(0).json();
        let completed = tasks.as_array().expect("tasks").iter().filter(|task| task["state"] == "completed").count();
        assert_eq!(completed, if operator { 1 } else { 30 }, "{tasks}");
    }
}

/// What the types say of it, as an editor reads them, and that it is made again when it is older.
#[test]
fn a_new_plugin_in_typescript_is_typed_and_made_again() {
    let world = World::with_tasks(&json!([]));
    world.run(&["plugin", "new", "typescript", "ts"]).code(0);
    run_in(&world, "ts", &["tsc"]).code(0);
    world.run(&["plugin", "new", "typescript", "balance", "--operator"]).code(0);
    run_in(&world, "balance", &["tsc"]).code(0);
    let source = fs::read_to_string(world.root().join("ts/campaign.ts")).expect("a source");
    let wrong = source.replace("state.step / 2", "state.stepp / 2");
    world.write("../ts/campaign.ts", &wrong);
    let told = run_in(&world, "ts", &["tsc"]);
    assert!(told.code != Some(0) && told.stdout.contains("stepp"), "{told:?}");
    // without esbuild it is named
    let nothing = [("PATH", "/nonexistent")];
    for command in [&["plugin", "build", "workspaces/ts"][..], &["init", "ts"]] {
        let done = world.run_with(command, &nothing).code(2);
        assert!(done.stderr.contains("building needs `esbuild`, which is not there"), "{done:?}");
        assert!(done.stderr.contains("`npm install esbuild` in its directory"), "{done:?}");
    }
    world.write("../ts/campaign.ts", &source);
    let done = world.run(&["init", "ts"]).code(0);
    assert!(done.stderr.contains("`campaign.js` is not there yet: building it"), "{done:?}");
    // the source alone tells how, where the configuration does not
    let config = fs::read_to_string(world.root().join("ts/config.json")).expect("a configuration");
    let plain: Vec<&str> = config.lines().filter(|line| !line.contains("\"build\"")).collect();
    world.write("../ts/config.json", &plain.join("\n"));
    fs::remove_file(world.root().join("ts/campaign.js")).expect("removed");
    world.run(&["plugin", "build", "workspaces/ts"]).code(0);
    assert!(world.root().join("ts/campaign.js").is_file());
}

/// What a workspace runs as a script it runs as a component too, when its configuration names that.
#[test]
fn a_component_is_made_of_the_script_of_its_name() {
    let world = World::with_tasks(&json!([]));
    for (name, language, option) in [("c", "javascript", &[][..]), ("o", "typescript", &["--operator"])] {
        world.run(&[&["plugin", "new", language, name][..], option].concat()).code(0);
        let folder = world.root().join(name);
        let config = fs::read_to_string(folder.join("config.json")).expect("a configuration");
        let plain: Vec<&str> = config.lines().filter(|line| !line.contains("\"build\"")).collect();
        fs::write(folder.join("config.json"), plain.join("\n").replace(".js\"", ".wasm\"")).expect("changed");
        let nothing = [("PATH", "/nonexistent")];
        let done = world.run_with(&["plugin", "build", &format!("workspaces/{name}")], &nothing).code(2);
        assert!(done.stderr.contains("building needs `esbuild`"), "{done:?}");
        let built = world.run(&["plugin", "build", &format!("workspaces/{name}"), "--json"]).code(0).json();
        assert_eq!(built["checked"]["problems"], json!([]), "{built}");
        a_tool_that_dies_leaves_what_was_there(&world, name, built["path"].as_str().expect("a path"));
        world.run(&["init", name, "--run-id", name]).code(0);
        world.run(&["loop", name]).code(0);
        let tasks = world.run(&["tasks", name, "--json"]).code(0).json();
        let completed = tasks.as_array().expect("tasks").iter().filter(|task| task["state"] == "completed").count();
        assert_eq!(completed, if option.is_empty() { 30 } else { 1 }, "{tasks}");
    }
    // a script of which none can be made, and a tool of another language
    let py = world.root().join("p");
    fs::create_dir_all(&py).expect("a folder");
    world.write("../p/config.json", &json!({"campaign": {"plugin": "campaign.wasm"}}).to_string());
    world.write("../p/campaign.py", "def plan(ctx, state): return {}\n");
    let done = world.run(&["plugin", "build", "workspaces/p"]).code(4);
    assert!(done.stderr.contains("has no function `analyze`"), "{done:?}");
    world.write("../p/campaign.py", "def plan(ctx, state): return {}\ndef analyze(c, s, r): return s\n");
    let done = world.run_with(&["plugin", "build", "workspaces/p"], &[("PATH", "/nonexistent")]).code(2);
    assert!(
        done.stderr.contains("building needs `componentize-py`") && done.stderr.contains("pip install"),
        "{done:?}"
    );
}

/// Makes a component of a new script in Python.
fn component_in_python(world: &World) {
    world.run(&["plugin", "new", "python", "p"]).code(0);
    let config = fs::read_to_string(world.root().join("p/config.json")).expect("a configuration");
    world.write("../p/config.json", &config.replace(".py\"", ".wasm\""));
    let built = world.run(&["plugin", "build", "workspaces/p", "--json"]).code(0).json();
    assert_eq!(built["path"], "workspaces/p/campaign.wasm", "{built}");
    let checked = &built["checked"];
    assert_eq!((&checked["world"], &checked["problems"]), (&json!("campaign"), &json!([])), "{built}");
}

#[test]
fn a_component_is_made_of_a_script_in_python() {
    component_in_python(&World::with_tasks(&json!([])));
}

#[test]
#[ignore = "compiles CPython for the machine"]
fn a_component_of_a_script_in_python_runs() {
    let world = World::with_tasks(&json!([]));
    component_in_python(&world);
    world.run(&["init", "p", "--run-id", "p"]).code(0);
    world.run(&["loop", "p"]).code(0);
    let tasks = world.run(&["tasks", "p", "--json"]).code(0).json();
    assert!(tasks.as_array().expect("tasks").iter().all(|task| task["state"] == "completed"), "{tasks}");
    assert_eq!(tasks.as_array().map(Vec::len), Some(30));
}

/// A tool of the author's own that ends when it has written a half.
fn a_tool_that_dies_leaves_what_was_there(world: &World, name: &str, component: &str) {
    let component = world.root().parent().expect("a parent").join(component);
    let before = fs::read(&component).expect("a component");
    let tools = world.root().join(name).join("venv/bin");
    fs::create_dir_all(&tools).expect("a folder");
    let tool = tools.join("componentize-qjs");
    fs::write(&tool, "#!/bin/sh\nfor last; do :; done\nprintf half > \"$last\"\nexit 1\n").expect("a tool");
    fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("ours");
    let done = world.run(&["plugin", "build", &format!("workspaces/{name}")]).code(2);
    assert!(done.stderr.contains("failed"), "{done:?}");
    assert!(fs::read(&component).expect("a component") == before, "half of one is in its place");
    fs::remove_dir_all(world.root().join(name).join("venv")).expect("ours");
}

/// As a tool chain leaves it that makes no components; the binary makes one, and it decides as the linker's does.
#[test]
fn a_core_module_becomes_a_component() {
    let aside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a scratch directory");
    let module = crate::support::core_module("steps", aside.path());
    let task = json!({"id": "a", "operator": "local", "command": "true"});
    let mut config = crate::support::world::tasks_config(&json!([]));
    config["campaign"] =
        json!({"plugin": "steps.component.wasm", "params": {"steps": [{"tasks": [task]}, {"complete": true}]}});
    let world = World::new(&config);
    fs::copy(module, world.workspace().join("steps.wasm")).expect("a copy");
    let refused = world.run(&["plugin", "check", "workspaces/demo/steps.wasm"]).code(4);
    assert!(refused.stderr.contains("core module") && refused.stderr.contains("plugin build FILE"), "{refused:?}");
    // by its bare name, where it lies
    let mut build = world.command(&["plugin", "build", "steps.wasm"]);
    let built = done(build.current_dir(world.workspace()).output().expect("it starts")).code(0);
    assert!(built.stderr.contains("can be used as a campaign"), "{built:?}");
    world.init();
    world.run(&["loop", "r"]).code(0);
    assert_eq!(world.tasks(), "a=completed");
}

#[test]
fn a_new_plugin_takes_no_place_that_is_taken_and_no_language_that_is_not_there() {
    let world = World::with_tasks(&json!([]));
    let done = world.run(&["plugin", "new", "python", "demo"]).code(2);
    assert!(done.stderr.contains("there is something at"), "{done:?}");
    world.run(&["plugin", "new", "cobol", "other"]).code(2);
    assert!(!world.root().join("other").exists());
}

/// The folder of a new plugin in Rust is whole: source, configuration, and the SDK, which no registry has.
#[test]
fn a_new_plugin_in_rust_has_the_sdk_beside_it() {
    let world = World::with_tasks(&json!([]));
    world.run(&["plugin", "new", "rust", "labs/My-Lab"]).code(0);
    let folder = world.root().join("labs/My-Lab");
    let read = |name: &str| fs::read_to_string(folder.join(name)).expect(name);
    assert!(read("Cargo.toml").contains("name = \"my_lab\"") && read("config.json").contains("my_lab.wasm"));
    assert!(!read("src/manifest.json").contains("{{"));
    for file in ["plugins/sdk/rust/src/lib.rs", "host/document/src/lib.rs", "wit/world.wit", "Cargo.toml"] {
        assert!(folder.join("vendor/matterstack").join(file).is_file(), "{file}");
    }
    // without a tool chain it says what is missing
    let nothing = [("PATH", "/nonexistent")];
    let done = world.run_with(&["plugin", "build", "workspaces/labs/My-Lab"], &nothing).code(2);
    assert!(done.stderr.contains("building needs `cargo`") && done.stderr.contains("rustup"), "{done:?}");
}

#[test]
fn the_configuration_says_how_a_plugin_is_made() {
    let world = World::with_tasks(&json!([]));
    let bytes = matterstack::plugin::builtin::builtin("workflow").expect("a standard plugin");
    fs::write(world.workspace().join("source"), bytes).expect("a file");
    let config = |build: &[&str]| {
        let mut config = crate::support::world::tasks_config(&json!([]));
        config["campaign"] = json!({"plugin": "p.wasm", "build": build});
        world.write("config.json", &config.to_string());
    };
    config(&["sh", "-c", "echo it builds; cp source p.wasm"]);
    let done = world.run(&["plugin", "build", "workspaces/demo"]).code(0);
    assert!(done.stderr.contains("it builds") && done.stdout.contains("world: campaign"), "{done:?}");
    config(&["sh", "-c", "exit 3"]);
    let done = world.run(&["plugin", "build", "workspaces/demo"]).code(2);
    assert!(done.stderr.contains("`sh -c exit 3` failed") && done.stderr.contains('3'), "{done:?}");
    config(&["no-such-builder"]);
    let done = world.run(&["plugin", "build", "workspaces/demo"]).code(2);
    assert!(done.stderr.contains("building needs `no-such-builder`"), "{done:?}");
    world.write("other.wasm", "text");
    let done = world.run(&["plugin", "build", "workspaces/demo/other.wasm"]).code(2);
    assert!(done.stderr.contains("is no core module"), "{done:?}");
}

#[test]
fn init_makes_a_plugin_whose_source_is_newer() {
    let world = World::with_tasks(&json!([]));
    let bytes = matterstack::plugin::builtin::builtin("workflow").expect("a standard plugin");
    fs::write(world.workspace().join("made"), bytes).expect("a file");
    let task = json!({"id": "a", "operator": "local", "command": "true"});
    let mut config = crate::support::world::tasks_config(&json!([task]));
    config["campaign"]["plugin"] = json!("p.wasm");
    config["campaign"]["build"] = json!(["sh", "-c", "echo one >> log.txt; cp made p.wasm"]);
    world.write("config.json", &config.to_string());
    world.write("src/lib.rs", "source");
    let builds = || fs::read_to_string(world.workspace().join("log.txt")).unwrap_or_default().lines().count();
    let done = world.run(&["init", "demo"]).code(0);
    assert!(done.stderr.contains("`p.wasm` is not there yet: building it"), "{done:?}");
    assert_eq!(builds(), 1);
    world.run(&["init", "demo"]).code(0);
    assert_eq!(builds(), 1, "nothing is newer");
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let source = fs::File::options().write(true).open(world.workspace().join("src/lib.rs")).expect("the source");
    source.set_modified(later).expect("a later time");
    let done = world.run(&["init", "demo"]).code(0);
    assert!(done.stderr.contains("`p.wasm` is older than `src/lib.rs`: building it"), "{done:?}");
    assert_eq!(builds(), 2);
    // what does not build makes no run
    config["campaign"]["build"] = json!(["sh", "-c", "exit 3"]);
    world.write("config.json", &config.to_string());
    let runs = || fs::read_dir(world.workspace().join("runs")).expect("runs").count();
    let before = runs();
    let done = world.run(&["init", "demo"]).code(2);
    assert!(done.stderr.contains("`sh -c exit 3` failed"), "{done:?}");
    assert_eq!(runs(), before);
}
