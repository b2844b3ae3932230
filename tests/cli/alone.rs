//! The installed binary by itself: no file of the project, no setting, nothing cached.
use crate::support::world::{PROGRAM, tasks_config};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory with the binary, a workspace, an empty home, and nothing else.
struct Alone {
    directory: tempfile::TempDir,
}

impl Alone {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let demo = directory.path().join("workspaces/demo");
        std::fs::create_dir_all(&demo).expect("a workspace");
        std::fs::create_dir(directory.path().join("home")).expect("a home");
        // by another process: a program that this one still holds open for writing, in a fork of another test, cannot
        // start
        let copied = Command::new("cp").arg(PROGRAM).arg(directory.path().join("matterstack")).status();
        assert!(copied.expect("cp runs").success(), "a copy of the binary");
        let tasks = json!([
            {"id": "a", "operator": "local", "command": "echo 1 > a.txt", "outputs": ["a.txt"]},
            {"id": "b", "operator": "local", "command": ["cat", "a.txt"], "files": {"a.txt": {"from": "a", "output": "a.txt"}}},
        ]);
        std::fs::write(demo.join("config.json"), tasks_config(&tasks).to_string()).expect("a configuration");
        Self { directory }
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Gives a command and returns what it printed as JSON.
    fn run(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(self.directory.path().join("matterstack"));
        command.args(arguments).arg("--json").current_dir(self.directory.path());
        command.env_clear().env("PATH", crate::support::path()).env("HOME", self.home());
        let done = command.output().expect("the binary runs");
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).expect("JSON")
    }
}

/// Every file below a directory, with what changes when it is written again.
fn files(directory: &Path) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let metadata = path.symlink_metadata().expect("metadata");
        if metadata.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path, (metadata.ino(), metadata.mtime(), metadata.mtime_nsec()));
        }
    }
    found
}

#[test]
fn the_binary_needs_no_other_file() {
    let alone = Alone::new();
    alone.run(&["init", "demo", "--run-id", "r"]);
    let end = alone.run(&["loop", "r"]);
    assert_eq!(end["state"], "completed", "{end}");
}

#[test]
fn standard_plugins_are_compiled_once() {
    let alone = Alone::new();
    alone.run(&["init", "demo", "--run-id", "first"]);
    let compiled = files(&alone.home());
    let native = compiled.keys().filter(|path| path.extension().is_some_and(|extension| extension == "native"));
    assert_eq!(native.count(), 2, "the campaign and the operator: {compiled:?}");
    for arguments in [["loop", "first"].as_slice(), &["init", "demo", "--run-id", "second"], &["loop", "second"]] {
        alone.run(arguments);
        assert_eq!(files(&alone.home()), compiled, "{arguments:?} compiles again what the first command has compiled");
    }
}
