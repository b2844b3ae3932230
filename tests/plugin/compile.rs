//! Compiling: what costs too much costs a process of its own, and no run.
use super::*;
use crate::support::until;
use crate::support::world::{World, tasks_config};
use std::time::{Duration, Instant};

/// A section of a component or module.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &leb(content.len())[..], content].concat()
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0".to_vec(), sections.concat()].concat()
}

/// Components of which each makes ten instances of the one within.
fn nested_instances(levels: usize) -> Vec<u8> {
    let module = b"\0asm\x01\0\0\0";
    let innermost = component(&[section(1, module), section(2, &[1, 0, 0, 0])]);
    let ten = [&[10][..], &[0, 0, 0].repeat(10)].concat();
    (0..levels).fold(innermost, |inner, _| component(&[section(4, &inner), section(5, &ten)]))
}

/// A module within a component, with so many functions of so many loops within each other.
fn nested_loops(functions: usize, depth: usize) -> Vec<u8> {
    let body = [&[0][..], &[3, 0x40].repeat(depth), &[0x0b].repeat(depth + 1)].concat();
    let bodies = [leb(body.len()), body].concat().repeat(functions);
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[leb(functions), vec![0; functions]].concat()),
        section(10, &[leb(functions), bodies].concat()),
    ];
    component(&[section(1, &module.concat())])
}

fn with_plugin(bytes: &[u8], compile: Value) -> World {
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "p.wasm"});
    config["limits"] = json!({"compile": compile});
    let world = World::new(&config);
    fs::write(world.workspace().join("p.wasm"), bytes).unwrap();
    world
}

#[track_caller]
fn refused(world: &World, arguments: &[&str], words: &str) {
    let start = Instant::now();
    let done = world.run(arguments).code(4);
    assert!(done.stderr.contains(words) && !done.stderr.contains("panicked"), "{done:?}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn instances_within_instances_are_counted_before_anything_is_compiled() {
    for levels in [3, 9, 90] {
        let world = with_plugin(&nested_instances(levels), json!({}));
        refused(&world, &["plugin", "inspect", "workspaces/demo/p.wasm"], "would become");
        refused(&world, &["init", "demo"], "would become");
        assert_eq!(fs::read_dir(world.workspace().join("runs")).unwrap().count(), 0);
    }
}

#[test]
fn what_takes_too_long_to_compile_names_the_limit() {
    let world = with_plugin(&nested_loops(1, 100_000), json!({"cpu_s": 1}));
    refused(&world, &["init", "demo"], "`limits.compile.cpu_s` is 1");
}

#[test]
fn what_takes_too_much_memory_to_compile_names_the_limit() {
    let world = with_plugin(&nested_loops(100_000, 4), json!({"memory_mb": 24}));
    refused(&world, &["init", "demo"], "`limits.compile.memory_mb` is 24");
}

/// A command without a run goes by the limits of the workspace in which the file lies, else by a person's own.
#[test]
fn what_is_only_tried_is_bounded_as_well() {
    // a further section makes it a plugin that no cache knows
    let mut plugin = matterstack::plugin::builtin::builtin("workflow").unwrap().to_vec();
    plugin.extend([0, 9, 8]);
    plugin.extend(b"unlikely");
    let test: &[&str] = &["plugin", "test", "workspaces/demo/p.wasm"];
    let world = with_plugin(&plugin, json!({"memory_mb": 24}));
    refused(&world, test, "`limits.compile.memory_mb` is 24");
    let world = with_plugin(&plugin, json!({}));
    let own = world.root().join("own");
    fs::create_dir_all(own.join("matterstack")).unwrap();
    fs::write(own.join("matterstack/config.json"), "{\"limits\": {\"compile\": {\"memory_mb\": 24}}}").unwrap();
    fs::copy(world.workspace().join("p.wasm"), world.root().join("../p.wasm")).unwrap();
    let done = world.run_with(&["plugin", "test", "p.wasm"], &[("XDG_CONFIG_HOME", own.to_str().unwrap())]);
    assert!(done.code(4).stderr.contains("`limits.compile.memory_mb` is 24"));
}

#[test]
fn what_is_compiled_holds_no_lease() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.init();
    let loops = world.root().join("loops.wasm");
    fs::write(&loops, nested_loops(1, 100_000)).unwrap();
    let mut upgrade = world.command(&["amend", "r", "plugin", loops.to_str().unwrap()]).spawn().unwrap();
    let compiles = || {
        let children = format!("/proc/{0}/task/{0}/children", upgrade.id());
        !fs::read_to_string(children).unwrap_or_default().trim().is_empty()
    };
    until("the compiler starts", compiles);
    let start = Instant::now();
    world.run(&["pause", "r"]).code(0);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(upgrade.try_wait().unwrap().is_none(), "it still compiles");
    upgrade.kill().unwrap();
    upgrade.wait().unwrap();
}

#[test]
fn a_plugin_runs_where_nothing_can_be_cached() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.write("in-the-way", "a file");
    let cache = world.workspace().join("in-the-way");
    let cache = [("XDG_CACHE_HOME", cache.to_str().unwrap())];
    world.run_with(&["init", "demo", "--run-id", "r"], &cache).code(0);
    world.run_with(&["loop", "r", "--timeout", "100s"], &cache).code(0);
}

/// Everything that a run's plugins need of the file system is gone, and a tick with nothing to do does not notice.
#[test]
fn an_idle_tick_reads_no_plugin() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "sleep 60"}]));
    world.init();
    let idle = |tick: &Value| (&tick["polled"], &tick["submitted"]) == (&json!(0), &json!(0));
    let runs = || world.run(&["attempts", "r", "a", "--json"]).code(0).json()[0]["state"] == "running";
    until("the job runs and a tick has nothing to do", || {
        let before = runs();
        idle(&world.run(&["step", "r", "--json"]).code(0).json()) && before
    });
    fs::rename(world.run_dir("r").join("plugins"), world.root().join("aside")).unwrap();
    let cache = world.root().join("no-cache");
    let cache = [("XDG_CACHE_HOME", cache.to_str().unwrap())];
    let tick = world.run_with(&["step", "r", "--json"], &cache).code(0).json();
    assert!(idle(&tick), "{tick}");
    fs::rename(world.root().join("aside"), world.run_dir("r").join("plugins")).unwrap();
    world.run(&["cancel", "r"]).code(0);
    world.run(&["loop", "r", "--timeout", "100s"]).code(1);
}
