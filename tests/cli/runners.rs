//! Runners of scripts that a person adds, and large components, which lie once on the disk.
use crate::support::world::{Done, World};
use matterstack::plugin::{CONTRACT, builtin};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut length = content.len();
    let mut bytes = vec![id];
    loop {
        let more = length >= 0x80;
        bytes.push((length & 0x7f) as u8 | if more { 0x80 } else { 0 });
        length >>= 7;
        if !more {
            return [&bytes, content].concat();
        }
    }
}

fn name(name: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes()].concat()
}

/// A component that imports an empty instance and exports it under these names; `text` stands in it.
fn component(import: &str, exports: &[String], text: &str) -> Vec<u8> {
    let export = |export: &String| [&name(export)[..], &[5, 0, 0]].concat();
    let all: Vec<u8> = exports.iter().flat_map(export).collect();
    [
        b"\0asm\x0d\0\x01\0".to_vec(),
        section(7, &[1, 0x42, 0]),
        section(10, &[&[1], &name(import)[..], &[5, 0]].concat()),
        section(11, &[&[exports.len() as u8], &all[..]].concat()),
        section(0, &[&[4], &b"text"[..], text.as_bytes()].concat()),
    ]
    .concat()
}

fn calls(version: &str) -> Vec<String> {
    ["campaign", "operator"].map(|role| format!("matterstack:plugin/{role}-calls@{version}")).to_vec()
}

/// What looks like a runner of Python, as far as nothing of it is executed.
fn looks_like_one() -> Vec<u8> {
    component("wasi:cli/exit@0.2.0", &calls(CONTRACT), "Py_InitializeFromConfig")
}

/// A world with a cache of its own.
struct Apart {
    world: World,
    /// Whether the binary is to take itself for one that carries no runner.
    bare: bool,
}

impl Apart {
    fn new() -> Self {
        Self { world: World::with_tasks(&json!([{"id": "a", "command": "true"}])), bare: false }
    }

    fn cache(&self) -> PathBuf {
        self.world.root().with_file_name("own")
    }

    fn run(&self, arguments: &[&str]) -> Done {
        let cache = self.cache();
        let mut variables = vec![("XDG_CACHE_HOME", cache.to_str().expect("UTF-8"))];
        variables.extend(self.bare.then_some(("MATTERSTACK_FAILPOINT", "no-runners")));
        self.world.run_with(arguments, &variables)
    }

    fn add(&self, bytes: &[u8]) -> Done {
        let file = self.world.root().with_file_name("runner.wasm");
        fs::write(&file, bytes).expect("a file");
        self.run(&["plugin", "runner", "add", file.to_str().expect("UTF-8"), "--json"])
    }
}

#[test]
fn a_runner_is_looked_at_before_it_is_added() {
    let apart = Apart::new();
    let refused = |bytes: &[u8], words: &str| {
        let done = apart.add(bytes).code(4);
        assert!(done.stderr.contains(words), "{words}: {done:?}");
    };
    refused(b"#!/usr/bin/python3\n", "is not WebAssembly");
    refused(builtin::builtin("workflow").expect("a plugin"), "is no runner of scripts: it does not export");
    refused(&looks_like_one()[..60], "is cut off or damaged");
    let of = |import: &str, version: &str, text: &str| component(import, &calls(version), text);
    refused(&of("wasi:cli/exit@0.2.0", "9.0.0", "QuickJS"), &format!("9.0.0; this matterstack speaks {CONTRACT}"));
    refused(&of("wasi:http/types@0.2.0", CONTRACT, "QuickJS"), "`wasi:http/types@0.2.0`, which no runner");
    refused(&of("matterstack:plugin/log@9.0.0", CONTRACT, "QuickJS"), "`matterstack:plugin/log@9.0.0`");
    refused(&of("wasi:cli/exit@0.2.0", CONTRACT, "perl"), "no interpreter that is known");
    refused(&of("wasi:cli/exit@0.2.0", CONTRACT, "QuickJS Py_InitializeFromConfig"), "no interpreter that is known");
    apart.run(&["plugin", "runner", "add", "nothing.wasm"]).code(2);
    assert!(!apart.cache().join("matterstack/runners").exists(), "nothing was kept");
}

/// The binary of the tests carries the runners that were made before it, and may carry none.
#[test]
fn what_was_added_is_used_where_the_binary_carries_none() {
    let apart = Apart { bare: true, ..Apart::new() };
    let list = || apart.run(&["plugin", "runner", "list", "--json"]).code(0).json();
    let init = |run: &str| apart.run(&["init", "demo", "--run-id", run, "--set", "campaign.plugin=campaign.py"]);
    fs::write(apart.world.root().join("demo/campaign.py"), "def plan(ctx, state): pass\n").expect("a script");
    assert_eq!(list()[0], json!({"language": "python", "from": "none", "sha256": null, "size": null}));
    let none = init("none").code(4).stderr;
    assert!(none.contains("this matterstack carries no runner for Python"), "{none}");
    assert!(none.contains("`matterstack plugin runner add python.wasm` adds one"), "{none}");
    let text = apart.run(&["plugin", "runner", "list"]).code(0).stdout;
    assert!(text.contains("python: none (this matterstack carries no runner for Python"), "{text}");

    let other = component("wasi:cli/exit@0.2.0", &calls(CONTRACT), "another Py_InitializeFromConfig");
    apart.add(&other).code(0);
    let added = apart.add(&looks_like_one()).code(0).json();
    assert_eq!((&added["language"], &added["contract"]), (&json!("python"), &json!(CONTRACT)), "{added}");
    let runners = apart.cache().join("matterstack/runners");
    assert_eq!(fs::metadata(&runners).expect("a directory").permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(&runners).expect("runners").count(), 2, "the earlier one has gone");
    let (from, digest) = (list()[0]["from"].clone(), list()[0]["sha256"].clone());
    assert_eq!((from, &digest), (json!("added"), &added["sha256"]));
    let carrying = Apart { bare: false, ..apart };
    let listed = carrying.run(&["plugin", "runner", "list", "--json"]).code(0).json();
    assert_eq!(listed[0]["from"], "carried", "it comes first");
    let apart = Apart { bare: true, ..carrying };
    let init = |run: &str| apart.run(&["init", "demo", "--run-id", run, "--set", "campaign.plugin=campaign.py"]);
    let tried = init("tried").stderr;
    assert!(!tried.contains("carries no runner"), "it was found: {tried}");

    // one that somebody changed is none
    let file = runners.join(format!("{}.wasm", digest.as_str().expect("a digest")));
    let mut bytes = fs::read(&file).expect("a runner");
    bytes.push(0);
    fs::write(&file, bytes).expect("changed");
    let gone = init("gone").code(4).stderr;
    assert!(gone.contains("the runner for Python that was added is gone or changed"), "{gone}");
    let note = runners.join("python.json");
    let old = fs::read_to_string(&note).expect("a note").replace(CONTRACT, "0.1.9");
    fs::write(&note, old).expect("a note");
    let other = init("other").code(4).stderr;
    assert!(other.contains("is built for contract version 0.1.9; this matterstack speaks"), "{other}");
}

/// A standard plugin, made large by what nobody reads.
fn large() -> Vec<u8> {
    let text = vec![b'x'; 2 * 1024 * 1024];
    [builtin::builtin("workflow").expect("a plugin"), &section(0, &[&[4], &b"text"[..], &text[..]].concat())].concat()
}

fn plugin_of(run: &Path) -> PathBuf {
    let plugins = fs::read_dir(run.join("plugins")).expect("plugins").map(|entry| entry.expect("an entry").path());
    let found: Vec<PathBuf> = plugins.filter(|path| path.metadata().expect("a file").len() > 1024 * 1024).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn a_large_plugin_lies_once_on_the_disk_and_each_run_has_it_to_itself() {
    let apart = Apart::new();
    fs::write(apart.world.workspace().join("large.wasm"), large()).expect("a plugin");
    for run in ["r", "two", "three"] {
        apart.run(&["init", "demo", "--run-id", run, "--set", "campaign.plugin=large.wasm"]).code(0);
    }
    let held = |run: &str| plugin_of(&apart.world.run_dir(run));
    let inode = |path: &Path| fs::metadata(path).expect("a file").ino();
    let kept = fs::read_dir(apart.cache().join("matterstack/components")).expect("a shelf");
    let kept: Vec<PathBuf> = kept.map(|entry| entry.expect("an entry").path()).collect();
    let [kept] = &kept[..] else { panic!("{kept:?}") };
    // a clone is a file by itself
    let clones = inode(&held("r")) != inode(kept);
    assert!(clones || inode(&held("r")) == inode(&held("two")), "neither clones nor second names");

    // the workspace's own file is nobody else's
    fs::write(apart.world.workspace().join("large.wasm"), b"built again").expect("a plugin");
    let again = apart.world.root().join("large.wasm");
    fs::write(&again, large()).expect("a plugin");
    let before = inode(&held("two"));
    apart.run(&["amend", "two", "plugin", again.to_str().expect("UTF-8")]).code(0);
    assert_eq!(inode(&held("two")), before, "what is there is not written again");

    // what goes away here stays there
    apart.run(&["cancel", "three"]).code(0);
    apart.run(&["step", "three"]);
    apart.run(&["rm", "three", "--anyway"]).code(0);
    fs::remove_dir_all(apart.cache().join("matterstack/components")).expect("the cache is cleaned");
    for run in ["r", "two"] {
        assert!(fs::read(held(run)).expect("a plugin") == large(), "{run}");
        apart.run(&["loop", run]).code(0);
        apart.run(&["replay", run]).code(0);
        apart.run(&["doctor", run]).code(0);
        apart.run(&["evidence", run]).code(0);
    }
    let backup = apart.world.root().with_file_name("r.sqlite");
    apart.run(&["backup", "r", "--out", backup.to_str().expect("UTF-8")]).code(0);
    assert!(fs::read(held("r")).expect("a plugin") == large());
}

#[test]
fn a_component_on_the_shelf_that_was_changed_goes_into_no_run() {
    let apart = Apart::new();
    fs::write(apart.world.workspace().join("large.wasm"), large()).expect("a plugin");
    let init = |run: &str| apart.run(&["init", "demo", "--run-id", run, "--set", "campaign.plugin=large.wasm"]);
    init("r").code(0);
    let shelf = apart.cache().join("matterstack/components");
    let kept = fs::read_dir(&shelf).expect("a shelf").next().expect("a file").expect("an entry").path();
    assert_eq!(fs::metadata(&kept).expect("a file").permissions().mode() & 0o777, 0o444);
    // by a new file, so that the run keeps what it has
    let mut bytes = large();
    let end = bytes.len();
    bytes[end - 1] ^= 1;
    fs::remove_file(&kept).expect("removed");
    fs::write(&kept, bytes).expect("another");
    init("two").code(0);
    for run in ["r", "two"] {
        assert!(fs::read(plugin_of(&apart.world.run_dir(run))).expect("a plugin") == large(), "{run}");
        apart.run(&["loop", run]).code(0);
    }
}
