//! The evidence bundle, through the binary.
mod bundle;
mod crates;
mod packed;
pub(crate) mod questions;
mod reading;
mod report;
mod signed;
mod studied;
mod study;
mod trouble;
mod verified;
mod zips;

use crate::support::world::World;
use matterstack::model::evidence::EvidenceBundle;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What stands in the folder of a bundle.
const NAMES: [&str; 10] = [
    "README.md",
    "config.json",
    "configs",
    "evidence.json",
    "files",
    "manifest-sha256.txt",
    "plugins",
    "report.html",
    "ro-crate-metadata.json",
    "state.sqlite",
];

/// Three tasks, of which one may fail, and two output files.
fn tasks() -> Value {
    json!([
        {"id": "ok", "operator": "local", "command": "echo 1 > r.json; mkdir sub; echo 2 > sub/s.txt", "outputs": ["r.json", "sub/*"]},
        {"id": "bad", "operator": "local", "command": "exit 7", "allow_failure": true, "retry": {"max_attempts": 2, "backoff_s": 0}},
        {"id": "last", "operator": "local", "command": ["cat", "r.json"], "files": {"r.json": {"from": "ok", "output": "r.json"}}},
    ])
}

/// A run that has come to its end.
fn ended() -> World {
    let world = World::with_tasks(&tasks());
    world.init();
    world.run(&["loop", "r"]).code(0);
    world
}

fn evidence_dir(world: &World) -> PathBuf {
    world.run_dir("r").join("evidence")
}

/// The bundle in a directory, once it is sure that its type holds all of it.
#[track_caller]
fn bundle(directory: &Path) -> EvidenceBundle {
    let text = std::fs::read_to_string(directory.join("evidence.json")).expect("evidence.json");
    let bundle: EvidenceBundle = serde_json::from_str(&text).expect("evidence.json is a bundle");
    let value: Value = serde_json::from_str(&text).expect("evidence.json is JSON");
    assert_eq!(serde_json::to_value(&bundle).expect("a value"), value, "the type holds the whole document");
    bundle
}

fn report(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("README.md")).expect("README.md")
}

/// Both files, byte for byte.
fn bytes(directory: &Path) -> (Vec<u8>, Vec<u8>) {
    let read = |name| std::fs::read(directory.join(name)).expect("a file of the bundle");
    (read("evidence.json"), read("README.md"))
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn attempt_dir(world: &World, task: &str) -> PathBuf {
    let attempts = world.run(&["attempts", "r", task, "--json"]).code(0).json();
    world.run_dir("r").join(attempts[0]["directory"].as_str().expect("a directory"))
}
