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

#[test]
fn a_new_script_passes_its_own_test_and_is_a_campaign() {
    let world = World::with_tasks(&json!([]));
    let node = node();
    for (language, file, test) in [
        ("python", "campaign.py", &["python3", "-m", "unittest"][..]),
        ("javascript", "campaign.js", &[&node, "--test"]),
    ] {
        let made = world.run(&["plugin", "new", language, language]).code(0);
        assert_eq!(made.stdout, format!("{language}\n"));
        assert!(made.stderr.contains(&format!("`matterstack run {language}`")), "{made:?}");
        let file = format!("workspaces/{language}/{file}");
        let checked = world.run(&["plugin", "check", &file, "--json"]).code(0).json();
        assert_eq!((&checked["world"], &checked["problems"]), (&json!("campaign"), &json!([])));
        run_in(&world, language, test).code(0);
        // a script is no source of a component
        let done = world.run(&["plugin", "build", &format!("workspaces/{language}")]).code(2);
        assert!(done.stderr.contains("is a script, which is run as it is"), "{done:?}");
    }
}

#[test]
fn a_new_plugin_takes_no_place_that_is_taken_and_no_language_that_is_not_there() {
    let world = World::with_tasks(&json!([]));
    let done = world.run(&["plugin", "new", "python", "demo"]).code(2);
    assert!(done.stderr.contains("there is something at"), "{done:?}");
    world.run(&["plugin", "new", "cobol", "other"]).code(2);
    let done = world.run(&["plugin", "new", "python", "other", "--operator"]).code(2);
    assert!(done.stderr.contains("operators begin in: rust"), "{done:?}");
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
