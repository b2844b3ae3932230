//! A machine's pool of a test's own, so that tests at the same time do not wait for each other.
use super::world::PROGRAM;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes a pool in a directory, where `machine` says what there is, and tells what names it in the environment.
pub(crate) fn pool(directory: &Path, machine: &Value) -> PathBuf {
    let place = directory.join("machine");
    std::fs::create_dir_all(&place).expect("a directory");
    std::fs::write(place.join("config.json"), json!({"machine": machine}).to_string()).expect("settings");
    place
}

/// A pool in a directory that is large enough for anything.
pub(crate) fn ample_pool(directory: &Path) -> PathBuf {
    pool(directory, &json!({"cores": 64}))
}

/// The binary, for whoever starts it without an environment of its own, on a machine with this pool.
pub(crate) fn program_on(pool: &Path) -> PathBuf {
    let path = pool.join("matterstack");
    if !path.exists() {
        let script = format!("#!/bin/sh\nMATTERSTACK_TEST_POOL='{}' exec '{PROGRAM}' \"$@\"\n", pool.display());
        // by another process: nothing that this one starts meanwhile may keep it open for writing
        let write = "printf %s \"$1\" > \"$2\" && chmod 755 \"$2\"";
        let written = Command::new("sh").args(["-c", write, "sh", &script]).arg(&path).status().expect("sh");
        assert!(written.success(), "no script");
    }
    path
}
