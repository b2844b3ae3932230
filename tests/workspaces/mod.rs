//! The worked examples, run as their authors mean them.
mod coatings;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of a workspace.
fn workspace(slug: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workspaces").join(slug)
}

/// The component of the coatings campaign, built from its sources under a lock, so that test processes at once build it
/// once.
fn coatings_component() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("campaign-coatings")).join("campaign_coatings.wasm")
}

fn build(package: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = root.join("target/guests");
    fs::create_dir_all(&target).expect("target directory");
    let lock = File::create(target.join("tests.lock")).expect("lock file");
    lock.lock().expect("lock");
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    cargo.current_dir(root).args(["build", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2"]);
    cargo.arg("--target-dir").arg(&target).args(["--package", package]);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_") && text != "CARGO_HOME" || text == "RUSTFLAGS" {
            cargo.env_remove(&name);
        }
    }
    assert!(cargo.status().expect("cargo").success(), "`{package}` does not build");
    target.join("wasm32-wasip2/guest")
}
